"""How to get the packages of an extra into the very environment that this runs in."""

from __future__ import annotations

import re
import shlex
import sys
from importlib import metadata
from importlib.util import find_spec

_PROJECT = "prediction-log-server"
_OF_EXTRA = re.compile(r"""([^;]+);\s*extra\s*==\s*['"](\w+)['"]""")
_PACKAGES = {
    "extensions": ("onnxruntime-extensions",),
    "grpc": ("grpcio", "grpcio-health-checking", "grpcio-reflection", "protobuf"),
    "log": ("pyarrow", "rich"),
    "prometheus": ("opentelemetry-exporter-prometheus",),
    "sign": ("cryptography",),
}
"""Where the project runs without being installed, which says it of itself."""


def command(extra: str) -> str:
    """Return what installs an extra here: by pip, or by uv where the environment has no pip."""
    wanted = " ".join(shlex.quote(each) for each in _requirements(extra))
    python = shlex.quote(sys.executable)
    return f"{python} -m pip install {wanted}" if find_spec("pip") else f"uv pip install --python {python} {wanted}"


def _requirements(extra: str) -> list[str]:
    try:
        said = metadata.requires(_PROJECT) or []
    except metadata.PackageNotFoundError:
        said = []
    matches = (_OF_EXTRA.fullmatch(each) for each in said)
    return [match[1].strip() for match in matches if match and match[2] == extra] or [*_PACKAGES[extra]]
