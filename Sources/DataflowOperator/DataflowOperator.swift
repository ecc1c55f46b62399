// DataflowOperator
