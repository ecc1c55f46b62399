// DataflowPipeline
