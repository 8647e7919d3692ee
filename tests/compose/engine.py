"""What runs containers here: docker or podman, and the command that reads a compose file for it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from tests.support import external_programs

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMMANDS = (
    ("docker", ("docker", "compose")),
    ("podman", ("podman-compose",)),
    ("podman", ("podman", "compose")),
)
_SHORT, _PULL, _LONG = 60.0, 300.0, 900.0  # s
_USER = "10001:10001"
"""Whom the images of Collector, Loki and Tempo run as, and so those that are made here."""


class Engine(NamedTuple):
    """A program that runs containers, and one that reads compose files for it."""

    program: str
    compose: tuple[str, ...]

    def run(self, *arguments: str | Path, seconds: float = _SHORT) -> str:
        """Return what the engine prints; raises RuntimeError with its words if it fails."""
        return run(self.program, *arguments, seconds=seconds)

    def does(self, *arguments: str | Path, seconds: float = _SHORT) -> bool:
        """Tell whether the engine does something."""
        return _does(self.program, *arguments, seconds=seconds)

    def has(self, image: str) -> bool:
        """Tell whether an image is here, or comes from its registry."""
        return self.does("image", "inspect", image) or self.does("pull", "--quiet", image, seconds=_PULL)

    def build(self, image: str, folder: Path, *arguments: str) -> None:
        """Build a folder's Dockerfile; raises RuntimeError."""
        form = () if self.program == "docker" else ("--format=docker",)  # only this one has a HEALTHCHECK
        self.run("build", *form, *arguments, "--tag", image, folder, seconds=_LONG)

    def wrap(self, image: str, program: Path, place: str, data: str | None = None) -> None:
        """Make an image of one program that needs nothing else, with a folder of its user's for data."""
        with TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "empty").mkdir()
            copied = folder / "program"
            shutil.copyfile(program, copied)
            copied.chmod(0o755)
            lines = ["FROM scratch", f"COPY program {place}"]
            lines += [f"COPY --chown={_USER} empty {data}"] if data else []
            lines += [f"USER {_USER}", f"ENTRYPOINT {json.dumps([place])}"]
            (folder / "Dockerfile").write_text("\n".join([*lines, ""]), encoding="utf-8")
            self.build(image, folder)

    @property
    def asks_by_shell(self) -> bool:
        """Whether health checks are run by a shell, which images of one program lack: podman-compose before 1.5."""
        if self.compose != ("podman-compose",):
            return False
        (version,) = re.findall(
            r"^podman-compose\w* version:? *(\d+)\.(\d+)", run(*self.compose, "version", seconds=_SHORT), re.MULTILINE
        )
        return tuple(map(int, version)) < (1, 5)

    def healthy(self, container: str) -> bool:
        """Tell what a container's health check says: podman is asked for it, docker asks at times of its own."""
        if self.program == "podman":
            return self.does("healthcheck", "run", container)
        return self.run("inspect", "--format={{.State.Health.Status}}", container).strip() == "healthy"


def find() -> Engine:
    """Return the first engine that works here together with its compose; skips the test without one."""
    for program, compose in _COMMANDS:
        # A client may be there without a daemon or rights behind it: `info` tells.
        if _does(program, "info") and _does(*compose, "version"):
            return Engine(program, compose)
    return external_programs.absent("compose", "docker with its compose, or podman with podman-compose, must work here")


def run(*command: str | Path, seconds: float, environment: Mapping[str, str] | None = None) -> str:
    """Return what a command prints; raises RuntimeError with its words if it fails or takes longer."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=seconds, check=False, env=environment
        )
    except subprocess.TimeoutExpired as error:
        msg = f"{command} took more than {seconds} s: {error.stdout!r} {error.stderr!r}"
        raise RuntimeError(msg) from None
    if done.returncode:
        msg = f"{command} ended with {done.returncode}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
        raise RuntimeError(msg)
    return done.stdout


def _does(*command: str | Path, seconds: float = _SHORT) -> bool:
    try:
        run(*command, seconds=seconds)
    except (OSError, RuntimeError):  # the former where there is no such program
        return False
    return True
