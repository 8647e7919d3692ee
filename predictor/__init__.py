"""A prediction server whose prediction log can be trusted: acknowledged means logged."""

import os
from importlib.metadata import version

# Without it ONNX Runtime (1.29 and later) writes a device id to the home folder and reports usage to its maker; it is
# read once, when onnxruntime is imported, and everything here is imported after this package.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# NumPy's library for matrix products, of which there are none here, starts a thread for each core of the machine; where
# it gets none it sends the process a SIGINT.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# gRPC's library would write to stderr, past the operator's log, whatever a caller does wrong in a handshake.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

__version__ = version("prediction-log-server")
