// FileSink
