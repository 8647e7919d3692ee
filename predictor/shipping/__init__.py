"""Ships the outbox's files to the Collector: reads them, posts them, keeps what is refused; calls nobody back."""
