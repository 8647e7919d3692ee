"""Other people's programs as processes: started, asked whether they are ready, killed, started again."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path
    from typing import Self


class Program(ABC):
    """One program; a context manager that runs it."""

    patience = 30.0
    """Seconds until it answers, or ends after SIGTERM."""

    def __init__(self, name: str, log: Path) -> None:
        """Start nothing yet; `log` has its last words."""
        self.name = name
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process."""

    @abstractmethod
    def answers(self) -> bool:
        """Tell whether it is ready."""

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
        assert self.process is None, f"{self.name} runs already"
        self.process = self.launch()

    def wait_ready(self) -> None:
        """Wait until it answers that it is ready; fails with its last words if it ends instead."""
        assert self.process
        end = time.monotonic() + self.patience
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                pytest.fail(f"{self.name} is not ready:\n{self.log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.02)  # another program's start can only be polled

    def stop(self) -> None:
        """End it by SIGTERM; fails if it does not end."""
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(self.patience)
            finally:
                self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
