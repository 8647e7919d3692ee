"""The part `scale`: one worker and two of gunicorn on two cores, which the load shares with them."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from typing import TYPE_CHECKING

from bench import dialects, evidence, wrk
from bench.model_repository import repository
from bench.open_inference import OpenInference
from bench.pinned import BenchError, Pinned, free_port
from bench.programs import foreign_free
from bench.rounds import Results
from bench.running import Measured
from bench.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.running import Cores

SETTINGS = (Setting(32, 1), Setting(32, 256), Setting(8, 1, "image-5ms", "binary"))
_WORKERS = (1, 2)
_DIALECT = OpenInference()


class _Served:
    """gunicorn with so many workers, its log kept on disk."""

    def __init__(self, workers: int, folder: Path, cores: Cores) -> None:
        self.name = f"workers-{workers}"
        self._folder = folder / self.name
        self._folder.mkdir()
        self._both = f"{cores.load},{cores.server}"
        self._port = free_port()
        environ = foreign_free() | {
            "PREDICTOR_MODEL": str(repository(folder)),
            "PREDICTOR_OUTBOX": str(self._folder / "outbox"),
            "PREDICTOR_QUEUE_ROWS": "16384",
        }
        bind = f"127.0.0.1:{self._port}"
        # Not on one core, as `Pinned` would have it: taskset widens it again.
        command = ["taskset", "-c", self._both, sys.executable, "-m", "gunicorn", "-b", bind]
        command += ["-k", "predictor.worker.Worker", "-w", str(workers), "predictor.app:runner"]
        self.server = Pinned(self.name, command, cores.load, environ, folder / f"{self.name}.txt", self._folder)

    def measure(self, setting: Setting, seconds: int) -> Measured:
        """Return one measurement; raises BenchError if an answer or a record is missing."""
        self.server.go_on()
        questions = dialects.questions(_DIALECT, setting, self._folder)
        url = f"http://127.0.0.1:{self._port}{questions.path}"
        answer = self.server.wait_for(url, *questions.bodies[0])
        dialects.check(self.name, _DIALECT.numbers(answer), _DIALECT.expected(setting), answer)
        before, cpu = evidence.sizes(self._files()), self.server.cpu()
        load = wrk.load_with(("taskset", "-c", self._both), url, questions.file, setting.connections, seconds)
        if load.errors or not load.requests:
            msg = f"{self.name}: {load.errors} of {load.requests} requests failed"
            raise BenchError(msg)
        used = self.server.cpu() - cpu
        found = evidence.since(before, self._files()).recorded
        self.server.pause()
        if found < load.predictions * setting.rows:
            msg = f"{self.name}: {found} records for {load.predictions * setting.rows} acknowledged predictions"
            raise BenchError(msg)
        return Measured(
            rate=load.rate,
            cpu=used / load.requests * 1e6,
            p50=load.p50,
            p99=load.p99,
            others=0.0,
            load_core=1.0,
            shipped=1.0,
            collector_cpu=0.0,
            acknowledged=load.predictions * setting.rows,
            recorded=found,
        )

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("outbox/v1/*/*/*.jsonl"))


def run(folder: Path, cores: Cores, *, rounds: int, seconds: int, say: Callable[[str], None]) -> Results:
    """Measure each number of workers in each setting; raises BenchError if one fails."""
    results = Results(defaultdict(list), {})
    before = os.sched_getaffinity(0)
    servers: list[_Served] = []
    try:
        for workers in _WORKERS:
            servers.append(_Served(workers, folder, cores))
            for setting in SETTINGS:
                servers[-1].measure(setting, 1)  # warm
        for number in range(1, rounds + 1):
            for setting in SETTINGS:
                for server in servers:
                    measured = server.measure(setting, seconds)
                    results.measured[server.name, setting].append(measured)
                    about = f"{measured.rate:7.0f}/s  {measured.cpu:7.0f} µs"
                    say(f"{number:3d}/{rounds}  {setting.title}  {server.name}  {about}")
    finally:
        os.sched_setaffinity(0, before)
        for server in servers:
            server.server.end()
    return results
