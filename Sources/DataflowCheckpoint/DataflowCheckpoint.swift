// DataflowCheckpoint
