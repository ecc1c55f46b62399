// DataflowCLI
