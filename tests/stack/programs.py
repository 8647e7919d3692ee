"""Other people's programs as processes on loopback: started, asked whether they are ready, killed, started again."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

_PATIENCE = 120.0  # s; Loki is not ready before 15 s, and the machine may be busy
_POLITE = 60.0  # s, for the end after SIGTERM


class Program:
    """One program that is ready when its URL answers 200; what it prints is in `stdout` and `stderr`."""

    def __init__(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str], folder: Path, ready: str
    ) -> None:
        """Start nothing yet."""
        self.stdout, self.stderr = (folder / f"{name}.{stream}" for stream in ("stdout", "stderr"))
        self._name = name
        self._command: Sequence[str | Path] = command
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder)} | dict(environment)
        self._folder = folder
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it is ready."""
        self.start()
        self.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        """End it in its own way."""
        self.stop()

    def start(self) -> None:
        """Start it and wait for nothing."""
        assert self._process is None, f"{self._name} runs already"
        self._folder.mkdir(parents=True, exist_ok=True)
        with self.stdout.open("ab") as out, self.stderr.open("ab") as err:
            self._process = subprocess.Popen(
                self._command, env=self._environment, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    @property
    def running(self) -> bool:
        """Whether it was started and not ended."""
        return self._process is not None

    def wait_ready(self) -> None:
        """Wait until it answers that it is ready; fails with its last words if it ends instead."""
        assert self._process
        end = time.monotonic() + _PATIENCE
        while not _answers(self._ready):
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                words = self.stderr.read_text(errors="replace")[-3000:]
                pytest.fail(f"{self._name} is not ready at {self._ready}:\n{words}")
            time.sleep(0.05)  # another program's start can only be polled

    def stop(self) -> None:
        """End it by SIGTERM; fails if it does not end."""
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(_POLITE)
            finally:
                self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
