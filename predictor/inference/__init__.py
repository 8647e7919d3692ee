"""ONNX models and how rows reach them: description, sessions, batches. Knows neither HTTP nor logs."""
