// StdoutSink
