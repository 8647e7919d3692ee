"""The Loki that a person has, on loopback: a program, or else a container of the image that is deployed."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING
from uuid import uuid4

from tests.stack.programs import Program
from tests.support import external_programs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Loki(Program):
    """One Loki, which keeps its data in `folder` or below; the test is skipped when it is started and there is none."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, url: str, *reads: Path
    ) -> None:
        """Start nothing yet; `reads` are folders that it needs besides its own."""
        super().__init__("loki", (), environment, folder, f"{url}/ready")
        self._arguments = arguments
        self._said = environment
        self._folders = (folder, *reads)
        self._container: str | None = None

    def start(self) -> None:
        """Start it and wait for nothing."""
        name = f"loki-{uuid4().hex[:12]}"  # another one each time: an engine gives a name free in its own time
        beginning = external_programs.loki(*self._folders, environment=self._said, name=name)
        self._command = [*beginning, *self._arguments]
        if external_programs.loki_program() is None:
            self._container = name
            self._environment = (
                dict(os.environ) | self._environment | {"HOME": os.environ.get("HOME", "/")}
            )  # the engine's
        super().start()

    def kill(self) -> None:
        """End it at once (SIGKILL); what runs an image is not what runs in it."""
        if self.process and self._container:
            subprocess.run([self._command[0], "kill", self._container], capture_output=True, check=False)
        super().kill()
