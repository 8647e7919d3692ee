"""gunicorn as a process: a master on a free port, and its workers."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.support import collector
from tests.support.server import Server

AIOHTTPS = "aiohttp.GunicornUVLoopWebWorker"
OURS = "predictor.worker.Worker"


class Gunicorn(Server):
    """Two workers under one master on a free port."""

    def __init__(self, outbox: Path, *more: str, worker: str = AIOHTTPS, **settings: str) -> None:
        """Take the outbox, more arguments of gunicorn, the class of workers, and environment variables."""
        bind = f"127.0.0.1:{collector.free_port()}"
        command = ("-m", "gunicorn", "-b", bind, *more, "-k", worker, "-w", "2", "predictor.app:runner")
        super().__init__(outbox, command=command, ready=r"Listening at: (http://\S+)", **settings)

    def workers(self) -> list[int]:
        """Return the processes of all workers that ever started, oldest first."""
        return [int(match[1]) for line in self.stderr_lines if (match := re.search(r"Booting worker .*: (\d+)", line))]

    def wait_for_workers(self, number: int) -> None:
        """Return when so many workers have been started."""
        self.wait_for(lambda _: len(self.workers()) >= number)


def folder_of(worker: int, outbox: Path) -> Path | None:
    """Return the folder of a worker's stream, None as long as it has none: then it is still starting."""
    opened = {link.resolve() for link in Path(f"/proc/{worker}/fd").iterdir()}
    return next((folder for folder in (outbox / "v1").glob("*") if folder / "lock" in opened), None)


def wait_until_begun(worker: int, outbox: Path) -> None:
    """Return when a worker has opened its stream: its loop runs then."""
    give_up = time.monotonic() + 60
    while folder_of(worker, outbox) is None:
        assert time.monotonic() < give_up
        time.sleep(0.05)
