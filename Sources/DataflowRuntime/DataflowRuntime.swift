// DataflowRuntime
