"""Other people's clients of the inference protocols, each in an environment of its own, made by scripts/clients."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.external_programs import CACHE, absent
from tests.support.server import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PATIENCE = 300.0  # s; the first import of a client takes long


def python_of(name: str) -> Path:
    """Return the Python of a client's environment; skips the test if it is not installed."""
    python = CACHE / "clients" / name / "bin" / "python"
    return python if python.exists() else absent(name, "run `make clients`, which installs it from its lock")


class Client(NamedTuple):
    """A client in one of its variants."""

    name: str
    """Of its environment."""
    script: str
    variant: str

    @property
    def calls_grpc(self) -> bool:
        """Whether it is run with a place, `HOST:PORT`, instead of a URL."""
        return self.script.endswith("_grpc.py")

    def run(self, url: str, cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return what came of the cases; skips the test if the client is not installed."""
        done = subprocess.run(
            [python_of(self.name), ROOT / "tests" / "clients" / self.script, url, self.variant],
            input=json.dumps(cases),
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found


TRITON = Client("tritonclient", "with_tritonclient.py", "plain")
TRITON_ASYNCIO = TRITON._replace(variant="asyncio")
KSERVE = Client("kserve", "with_kserve.py", "v2")
KSERVE_V1 = KSERVE._replace(variant="v1")
OPEN_INFERENCE = Client("open-inference", "with_open_inference.py", "plain")
TRITON_GRPC = TRITON._replace(script="with_tritonclient_grpc.py")
TRITON_GRPC_ASYNCIO = TRITON_GRPC._replace(variant="asyncio")
KSERVE_GRPC = KSERVE._replace(script="with_kserve_grpc.py")
OPEN_INFERENCE_ASYNCIO = OPEN_INFERENCE._replace(variant="asyncio")
