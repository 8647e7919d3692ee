"""Tests against the real Collector and the real Loki, configured as the overlays configure them: `make test-stack`."""
