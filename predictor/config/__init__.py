"""The settings: one reader of the environment, its parsers, and OpenTelemetry's variables."""
