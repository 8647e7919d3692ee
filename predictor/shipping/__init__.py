"""From the outbox's files to the Collector. Reads files, posts them, keeps what is refused; calls nobody back."""
