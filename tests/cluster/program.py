"""The load as it runs inside the cluster: `python -m tests.cluster.program URL CLIENTS PACE`.

- stdout: one short JSON line of counts every half second, so that no log rotates away
- `/ledger/answers.jsonl`: one line for each acknowledged row
- SIGUSR1: asks nothing more; the last line on stdout says `"settled": true`, and the file's length and digest
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import aiohttp

from tests.support.ledger import Answer, Key, Load

if TYPE_CHECKING:
    from collections.abc import Iterable

ANSWERS = Path("/ledger/answers.jsonl")
_NEWS = 0.5  # s


class _Written(dict[Key, Answer]):
    """A ledger's answers, of which each is written down."""

    def __init__(self, file: TextIO) -> None:
        super().__init__()
        self._file = file

    def __setitem__(self, key: Key, answer: Answer) -> None:
        self._file.write(json.dumps([*key, answer]) + "\n")
        super().__setitem__(key, answer)


class _Paced(Load):
    """Clients that pause between an answer and the next request, and remember how each request failed."""

    def __init__(self, url: str, file: TextIO, *, clients: int, pace: float, keep_alive: bool) -> None:
        super().__init__(url, clients=clients, keep_alive=keep_alive, seed=int(keep_alive))
        self._pace = pace
        self.ledger.answers = _Written(file)
        self.errors: Counter[str] = Counter()

    async def _ask(self, rows: list[list[float]]) -> bool:
        try:
            return await super()._ask(rows)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.errors[repr(error)[:200]] += 1
            raise
        finally:
            await asyncio.sleep(self._pace)


def _status(loads: Iterable[_Paced], **more: object) -> str:
    ledgers = [load.ledger for load in loads]
    counts = {
        "rows": sum(len(ledger.answers) for ledger in ledgers),
        "cut": sum(ledger.cut for ledger in ledgers),
        "refusals": sum((ledger.refusals for ledger in ledgers), Counter()),
        "errors": dict(sum((load.errors for load in loads), Counter[str]()).most_common(10)),
    }
    return json.dumps(counts | more)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a program: its output is read by `kubectl logs`


async def _run(url: str, clients: int, pace: float, file: TextIO) -> list[_Paced]:
    """Ask until SIGUSR1."""
    settle = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, settle.set)
    # Kept connections stay with one pod as long as it lives; new ones find all of them.
    loads = [_Paced(url, file, clients=clients, pace=pace, keep_alive=kept) for kept in (True, False)]
    async with loads[0], loads[1]:
        while not settle.is_set():
            _say(_status(loads))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(settle.wait(), _NEWS)
    return loads


if __name__ == "__main__":
    with ANSWERS.open("x") as answers:
        done = asyncio.run(_run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), answers))
    digest = hashlib.sha256(ANSWERS.read_bytes()).hexdigest()
    _say(_status(done, settled=True, sha256=digest))
    while True:  # the file can be read until the pod is deleted
        signal.pause()
