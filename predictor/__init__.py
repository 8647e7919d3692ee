"""A prediction server whose prediction log can be trusted: acknowledged means logged."""

import os
from importlib.metadata import version

# Without it ONNX Runtime (1.29 and later) writes a device id to the home folder and reports usage to its maker; it is
# read once, when onnxruntime is imported, and everything here is imported after this package.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = version("prediction-log-server")
