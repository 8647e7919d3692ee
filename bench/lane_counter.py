"""`predictor serve` that counts: on SIGUSR1 it writes how many requests its fast lane has answered.

`python -m bench.lane_counter`; BENCH_LANE_COUNT names the file. Nothing of the way of a request is another one: the
count is the server's own, `HttpServer.answered_by_lane`, and is read off the runner that `predictor.app.runner` makes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from predictor.__main__ import main as predictor
from predictor.server import app

if TYPE_CHECKING:
    from predictor.config.settings import Settings
    from predictor.http.runner import ServerRunner


def main() -> int:
    """Serve until a signal ends it; return the exit status."""
    make, target = app.runner, Path(os.environ["BENCH_LANE_COUNT"])

    async def counted(settings: Settings | None = None) -> ServerRunner:
        runner = await make(settings)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _write, runner, target)
        return runner

    app.runner = counted
    return predictor([])


def _write(runner: ServerRunner, target: Path) -> None:
    count = runner.server.answered_by_lane if runner.server else 0
    new = target.with_suffix(".new")
    new.write_text(str(count), encoding="ascii")
    new.replace(target)  # whoever sees it sees it whole


if __name__ == "__main__":
    sys.exit(main())
