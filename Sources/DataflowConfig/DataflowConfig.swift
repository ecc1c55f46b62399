// DataflowConfig
