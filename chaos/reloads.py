"""Reload models again and again under load, and hold every answer and record to the version that made it.

`make chaos ARGS='reloads --reloads 100'` runs `predictor serve`, which is told by SIGHUP; with `--gunicorn` two workers
of gunicorn, told by SIGUSR1 to their master. Each reload changes two models of three versions; every fifth one also
brings a version that cannot be loaded. No request may fail, no record may name a version that would have answered
otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from tests.support.gunicorn_server import OURS, Gunicorn, wait_until_begun
from tests.support.model_repository import version
from tests.support.server import Server, records

if TYPE_CHECKING:
    from collections.abc import Sequence

_WITHOUT_TERMINAL = "import os, runpy; os.setsid(); runpy.run_module('predictor', run_name='__main__')"
"""`predictor serve`, for which SIGHUP is a reload whoever starts this."""
_CLIENTS = 4
_REST = 0.005
"""Seconds between two requests of a client: a run of minutes needs no million records."""
_BROKEN_EACH = 5
_PATIENCE = 120.0
_FIRST, _LAST = 10, 100
"""Reloads between which the memory must not grow by more than a twentieth."""


@dataclass
class Run:
    """What came of a run."""

    answers: dict[str, float] = field(default_factory=dict)
    """What the model added to the row, by job."""
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Records that name another version than the one that answered, or are not there."""
    versions: int = 0
    """Versions that answered."""
    memory: list[int] = field(default_factory=list)
    """Resident bytes of all serving processes after each reload."""

    @property
    def growth(self) -> float:
        """How much the memory has grown from the tenth reload to the last."""
        return self.memory[-1] / self.memory[min(_FIRST, len(self.memory)) - 1] - 1


class Repository:
    """Models `price` (versions 1, 2 and sometimes a broken 3) and `area`; knows what each version adds to a row."""

    def __init__(self, root: Path) -> None:
        """Write the first state."""
        self._root = root
        self.added: dict[str, float] = {}
        """By digest."""
        self._put("price", 1, 1.0)
        self.change(0)

    def change(self, number: int) -> str:
        """Replace two versions by others; return the digest of the one that then is the default."""
        self._put("area", 1, 100_000.0 + number)
        if number and number % _BROKEN_EACH == 0:
            version(self._root, "price", 3, None)
        else:
            shutil.rmtree(self._root / "price" / "3", ignore_errors=True)
        return self._put("price", 2, 1_000.0 + number)

    def _put(self, model: str, number: int, added: float) -> str:
        content = (version(self._root, model, number, added) / "model.onnx").read_bytes()
        line = f"{hashlib.sha256(content).hexdigest()}  model.onnx\n"
        digest = f"sha256:{hashlib.sha256(line.encode()).hexdigest()}"
        self.added[digest] = added
        return digest


async def run(folder: Path, reloads: int, *, gunicorn: bool = False) -> Run:
    """Serve, ask, reload so often, end, and read what was logged."""
    repository = Repository(folder / "models")
    outbox = folder / "outbox"
    settings = {"PREDICTOR_MODEL": str(folder / "models"), "PREDICTOR_DEFAULT_MODEL": "price"}
    server: Server = (
        Gunicorn(outbox, worker=OURS, **settings)
        if gunicorn
        else Server(outbox, command=("-c", _WITHOUT_TERMINAL), **settings)
    )
    found = Run()
    await asyncio.to_thread(server.start)
    try:
        pids = [server.pid]
        if isinstance(server, Gunicorn):
            await asyncio.to_thread(server.wait_for_workers, 2)
            pids = server.workers()
            for pid in pids:
                await asyncio.to_thread(wait_until_begun, pid, outbox)
        await _reload_under_load(server, pids, repository, found, reloads)
    finally:
        await asyncio.to_thread(server.terminate)
    check(found, repository, outbox)
    return found


async def _reload_under_load(
    server: Server, pids: Sequence[int], repository: Repository, found: Run, reloads: int
) -> None:
    done = asyncio.Event()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_PATIENCE)) as session:
        clients = [asyncio.create_task(_ask(session, server.url, found, done)) for _ in range(_CLIENTS)]
        for number in range(1, reloads + 1):
            digest = repository.change(number)
            os.kill(server.pid, signal.SIGUSR1 if isinstance(server, Gunicorn) else signal.SIGHUP)
            await asyncio.to_thread(_wait_until_said, server, digest, len(pids))
            before = len(found.answers)
            while len(found.answers) < before + 3 * _CLIENTS and not found.failed:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(_REST)
            found.memory.append(sum(map(_resident, pids)))
        done.set()
        await asyncio.gather(*clients)


def _wait_until_said(server: Server, digest: str, processes: int) -> None:
    words = f"({digest}) is served"
    server.wait_for(lambda _: sum(words in line for line in server.stderr_lines) >= processes, _PATIENCE)


async def _ask(session: aiohttp.ClientSession, url: str, found: Run, done: asyncio.Event) -> None:
    """Ask for the default model, a version by its number, and another model, in turn."""
    number = 0.0
    while not done.is_set():
        number = (number + 1.0) % 97
        for ask in (_pattern, _infer):
            for path in _PATHS[ask]:
                try:
                    await ask(session, f"{url}{path}", number, found)
                except aiohttp.ClientError as error:
                    found.failed.append(repr(error))
                await asyncio.sleep(_REST)


async def _pattern(session: aiohttp.ClientSession, url: str, number: float, found: Run) -> None:
    async with session.post(url, json={"data": [[number, 0.0, 0.0]]}) as response:
        body = await response.json(content_type=None)
        if response.ok:
            found.answers[body["job_id"]] = round(body["prediction"][0] - number, 3)
        else:
            found.failed.append(f"{response.status} {body}")


async def _infer(session: aiohttp.ClientSession, url: str, number: float, found: Run) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [number, 0.0, 0.0]}
    async with session.post(url, json={"inputs": [tensor]}) as response:
        body = await response.json(content_type=None)
        if response.ok:
            (output,) = body["outputs"]
            found.answers[response.headers["X-Job-Id"]] = round(output["data"][0] - number, 3)
        else:
            found.failed.append(f"{response.status} {body}")


_PATHS = {
    _pattern: ("/predict",),
    _infer: ("/v2/models/price/versions/1/infer", "/v2/models/area/infer"),
}


def _resident(pid: int) -> int:
    fields = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    (line,) = [field for field in fields if field.startswith("VmRSS:")]
    return int(line.split()[1]) << 10


def check(found: Run, repository: Repository, outbox: Path) -> None:
    """Hold each record to what its version adds to a row, and each answer to its record."""
    logged: dict[str, float] = {}
    known: set[tuple[str, str]] = set()
    for record in records(outbox):
        scope, attributes = record["scope"]["attributes"], record["attributes"]
        digest = scope.get("prediction.model.digest", "")
        if record["eventName"] == "prediction.model":
            known.add((record["stream"], digest))
        if record["eventName"] != "prediction":
            continue
        added = round(attributes["prediction.value"] - attributes["prediction.input.x_0"], 3)
        job = attributes["prediction.job_id"]
        logged[job] = added
        if repository.added.get(digest) != added:
            found.wrong.append(f"{job} names {digest}, which does not add {added}")
        if (record["stream"], digest) not in known:
            found.wrong.append(f"{job} comes before its stream says what {digest} is")
    for job, added in found.answers.items():
        if logged.get(job) != added:
            found.wrong.append(f"{job} was answered {added}, its record has {logged.get(job)}")
    found.versions = len({*found.answers.values()})


def main(arguments: Sequence[str]) -> int:
    """Run once and print what came of it; 1 if anything failed, or memory has grown by more than 5 %."""
    parser = argparse.ArgumentParser(prog="make chaos ARGS='reloads …'", description=__doc__)
    parser.add_argument("--reloads", type=int, default=_LAST, help="(%(default)s)")
    parser.add_argument("--gunicorn", action="store_true", help="two workers of gunicorn instead of one process")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="reloads-") as folder:
        found = asyncio.run(run(Path(folder), options.reloads, gunicorn=options.gunicorn))
    for line in (*found.failed[:5], *found.wrong[:5]):
        print(line, file=sys.stderr)
    first = found.memory[min(_FIRST, len(found.memory)) - 1]
    print(
        f"{options.reloads} reloads: {len(found.answers)} answers of {found.versions} versions, "
        f"{len(found.failed)} failed, {len(found.wrong)} records wrong; "
        f"resident {first >> 20} MiB after reload {_FIRST}, {found.memory[-1] >> 20} MiB after the last, "
        f"{found.growth:+.1%}"
    )
    return int(bool(found.failed or found.wrong or found.growth > 0.05))
