"""A real Collector that writes what it receives to files."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from bench.pinned import YIELDING, BenchError, Pinned
from bench.variants import ROOT
from tests.support.collector import to_files

if TYPE_CHECKING:
    from pathlib import Path

_BINARY = ROOT / ".cache" / "collector" / "otelcol"


def version() -> str:
    """Return the Collector's version; raises BenchError with how to get it."""
    if not _BINARY.exists():
        msg = f"there is no Collector at {_BINARY.relative_to(ROOT)}: `make collector` builds it (needs Go)"
        raise BenchError(msg)
    done = subprocess.run([_BINARY, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


class LiveCollector:
    """A Collector on `core` that writes `logs.json` and `traces.json` to `folder`."""

    def __init__(self, folder: Path, port: int, core: int) -> None:
        """Start it and wait until it listens."""
        folder.mkdir(parents=True)
        self.files = (folder / "logs.json", folder / "traces.json")
        self.endpoint = f"http://127.0.0.1:{port}"
        config = folder / "config.yaml"
        config.write_text(to_files(port, *self.files, cuttable=True))
        command = [*YIELDING, str(_BINARY), "--config", str(config)]
        self._process = Pinned("the Collector", command, core, os.environ, folder / "output", folder)
        try:
            self._process.wait_for(f"{self.endpoint}/v1/logs", b"{}")
        except BaseException:
            self._process.end()
            raise

    def cpu(self) -> float:
        """Return the seconds of processor time used so far."""
        return self._process.cpu()

    def size(self) -> int:
        """Return how many bytes it has written since `clear`."""
        return sum(path.stat().st_size for path in self.files if path.exists())

    def clear(self) -> None:
        """Cut the files to nothing, so that a long run does not fill the disk; nothing may be under way."""
        for path in self.files:
            if path.exists():
                os.truncate(path, 0)

    def end(self) -> None:
        """End it."""
        self._process.end()
