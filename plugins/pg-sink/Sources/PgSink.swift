// PgSink
