// DataflowExpression
