// A plugin sees the contract and what it is made of.
@_exported public import DataflowColumnar
@_exported public import DataflowConfig
@_exported public import DataflowExpression
