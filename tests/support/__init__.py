"""What tests, chaos and bench share: servers, sinks, models, ledgers."""
