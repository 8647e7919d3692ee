"""Reading the prediction log: from the outbox, from OTLP JSON-lines files, or from Loki."""
