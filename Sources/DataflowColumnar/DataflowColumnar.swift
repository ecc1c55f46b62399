// DataflowColumnar
