"""Other people's programs on loopback that have a URL for whether they are ready."""

from __future__ import annotations

import os
import subprocess
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from tests.support import program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Program(program.Program):
    """One program that is ready when its URL answers 200; what it prints is in `stdout` and `stderr`."""

    patience = 120.0  # Loki is not ready before 15 s, and the machine may be busy

    def __init__(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str], folder: Path, ready: str
    ) -> None:
        """Start nothing yet."""
        self.stdout, self.stderr = (folder / f"{name}.{stream}" for stream in ("stdout", "stderr"))
        super().__init__(name, self.stderr)
        self._command: Sequence[str | Path] = command
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder)} | dict(environment)
        self._folder = folder
        self._ready = ready

    @property
    def running(self) -> bool:
        """Whether it was started and not ended."""
        return self.process is not None

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self.stdout.open("ab") as out, self.stderr.open("ab") as err:
            return subprocess.Popen(
                self._command, env=self._environment, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    def answers(self) -> bool:
        """Tell whether it says that it is ready."""
        try:
            with urllib.request.urlopen(self._ready, timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False
