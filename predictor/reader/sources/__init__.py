"""Where a log is read from: outbox, files of OTLP JSON lines, Loki."""
