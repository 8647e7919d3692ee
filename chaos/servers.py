"""The servers under attack: one process, and two gunicorn workers, each started anew by whoever watches over it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.ledger import Load
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PATIENCE = 90.0  # s, for a start that is tried again while the disk is full, or the port is not free yet
_ENDS = 60.0  # s, more than drain and flush together
_PAUSE = 0.3  # s between two tries
_PREDICTION = b'"eventName":"prediction"'
_END = 1 << 16  # B, enough for some records
NO_WORKER = 3
"""gunicorn's exit status when a worker could not start, on a disk that fails for example."""
_BOOTED = re.compile(r"Booting worker with pid: (\d+)")


class Post:
    """A place where a server is to listen, whatever becomes of the process there; and the load on it."""

    def __init__(self, name: str, port: int, module: Sequence[str], ready: str, outbox: Path, switch: Path) -> None:
        """Start nothing yet; `module` with its arguments is what listens at `port` and says that it is `ready`."""
        self.name = name
        self.url = f"http://127.0.0.1:{port}"
        self.said: list[str] = []
        """What the processes that have ended here said on stderr."""
        self.failed_starts = 0
        self._command = ("-m", "chaos.inside", str(switch), str(outbox), *module)
        self._ready = ready
        self._outbox = outbox
        self._settings: dict[str, str] = {"PREDICTOR_PORT": str(port)}
        self._server: Server | None = None

    def configure(self, **settings: str) -> None:
        """Take environment variables."""
        self._settings |= settings

    def load(self, seed: int, rest: float) -> Load:
        """Return the clients of this place."""
        return Load(self.url, clients=3, seed=seed, rest=rest)

    @property
    def pid(self) -> int:
        """The process that listens, or has made those that do."""
        assert self._server
        return self._server.pid

    @property
    def ended(self) -> int | None:
        """The exit status of a server that ended by itself."""
        return self._server.process.poll() if self._server else None

    @property
    def running(self) -> bool:
        """Whether there is a process that has not ended."""
        return self._server is not None and self.ended is None

    def make(self, **settings: str) -> Server:
        """Return a server for this place, not started."""
        return Server(self._outbox, command=self._command, ready=self._ready, **self._settings | settings)

    async def start(self) -> None:
        """Start a server and return when it listens; one that cannot start is started again, as an init system does."""
        end = time.monotonic() + _PATIENCE
        while True:
            server = self.make()
            try:
                await asyncio.to_thread(server.start)
            except RuntimeError:
                self.said += server.stderr_lines
                self.failed_starts += 1
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(_PAUSE)
            else:
                self._server = server
                return

    async def die_starting(self, seconds: float) -> None:
        """Start a process and kill it so many seconds later, most likely before it listens."""
        server = self.make()
        task = asyncio.create_task(asyncio.to_thread(server.start))
        await asyncio.sleep(seconds)  # the random moment; nothing waits for it
        while not hasattr(server, "process"):  # noqa: ASYNC110 - the thread has not come so far, and tells nobody
            await asyncio.sleep(0.01)
        server.process.kill()
        with contextlib.suppress(RuntimeError):
            await task
        await asyncio.to_thread(server.kill)
        self.said += server.stderr_lines

    async def kill(self) -> None:
        """Kill the process at once."""
        if self._server:
            await self._over(self._server.kill)

    async def terminate(self, seconds: float = _ENDS) -> int:
        """End the process by SIGTERM and return its exit status: -9 if it has not ended after so many seconds."""
        assert self._server
        server = self._server
        send(server.pid, signal.SIGTERM)
        try:
            return await self._over(lambda: server.wait(seconds))
        except subprocess.TimeoutExpired:  # and it was killed for it
            return -signal.SIGKILL

    async def end(self) -> None:
        """Leave no process behind."""
        await self.kill()

    async def _over(self, end: Callable[[], int]) -> int:
        assert self._server
        server, self._server = self._server, None
        try:
            return await asyncio.to_thread(end)
        finally:
            self.said += server.stderr_lines


class Gunicorn(Post):
    """Two workers under one master."""

    def load(self, seed: int, rest: float) -> Load:
        """Return clients that connect anew each time, so that both workers are asked."""
        return Load(self.url, clients=3, seed=seed, rest=rest, keep_alive=False)

    def workers(self) -> list[int]:
        """Return the workers that ever started under this master, oldest first."""
        assert self._server
        return [int(match[1]) for line in self._server.stderr_lines if (match := _BOOTED.search(line))]

    def living(self) -> list[int]:
        """Return the workers that are there."""
        return [pid for pid in self.workers() if self._alive(pid)]

    async def replaced(self, before: int) -> None:
        """Wait until the master has started another worker than these so many."""
        assert self._server
        server = self._server
        await asyncio.to_thread(server.wait_for, lambda _: len(self.workers()) > before)

    def all_answer(self) -> bool:
        """Tell whether each worker has logged a prediction: before that it may still be starting."""
        living = self.living()
        return len(living) > 1 and all(self._has_logged(pid) for pid in living)

    def _has_logged(self, pid: int) -> bool:
        try:
            opened = {link.resolve() for link in Path(f"/proc/{pid}/fd").iterdir()}
        except FileNotFoundError:
            return False
        own = (path.parent for path in self._outbox.glob("v1/*/reserve") if path.with_name("lock") in opened)
        return any(_PREDICTION in _end_of(path) for stream in own for path in stream.glob("logs/*.jsonl"))

    async def end(self) -> None:
        """Leave no process behind, workers whose master was killed included."""
        await self.kill()
        for line in self.said:
            if (match := _BOOTED.search(line)) and self._alive(int(match[1])):
                send(int(match[1]), signal.SIGKILL)

    def _alive(self, pid: int) -> bool:
        """Tell whether a process is there, and is one of ours: a number may be given again."""
        try:
            return str(self._outbox).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()  # empty for a zombie
        except FileNotFoundError:
            return False


def _end_of(path: Path) -> bytes:
    """Return the last bytes of a file, none if it is gone."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _END))
            return file.read()
    except FileNotFoundError:
        return b""


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
