// DataflowText
