// DataflowBuiltins
