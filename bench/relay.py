"""A TCP relay that counts what goes to the target and may hold its answers back: `relay.py PORT TARGET DELAY FILE`.

A program of its own, so that it runs on the load's core while wrk is waited for; FILE holds the bytes sent so far.
"""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from pathlib import Path

_CHUNK = 1 << 18


class _Counter:
    """The number of bytes, kept in a file as text of fixed length."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        self._total = 0
        self.add(0)

    def add(self, number: int) -> None:
        self._total += number
        os.pwrite(self._file, b"%20d" % self._total, 0)


async def _there(source: asyncio.StreamReader, target: asyncio.StreamWriter, counter: _Counter) -> None:
    while data := await source.read(_CHUNK):
        counter.add(len(data))
        target.write(data)
        await target.drain()
    target.write_eof()


async def _back(source: asyncio.StreamReader, target: asyncio.StreamWriter, delay: float) -> None:
    while data := await source.read(_CHUNK):
        await asyncio.sleep(delay)
        target.write(data)
        await target.drain()


async def _serve(
    client: asyncio.StreamReader, answers: asyncio.StreamWriter, port: int, delay: float, counter: _Counter
) -> None:
    source, target = await asyncio.open_connection("127.0.0.1", port)
    try:
        await asyncio.gather(_there(client, target, counter), _back(source, answers, delay))
    except ConnectionError:
        pass  # one side is gone: so is the other
    finally:
        target.close()
        answers.close()


async def _main(port: int, target: int, delay: float, file: Path) -> None:
    relayed = partial(_serve, port=target, delay=delay, counter=_Counter(file))
    server = await asyncio.start_server(relayed, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])))
