"""What half-open connections cost good clients: `python -m bench.attack --half-open 2000 --seconds 8`.

In each round wrk loads the server twice, in turns first: alone, and beside thousands of connections on which no request
is ever complete: silent ones, and others that send a byte now and then of a request line, a header, a body, a chunk.
Those that the server closes are opened again. Prints a table, and what the server held before, meanwhile and after.
Only loopback is spoken to.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from bench import dialects, wrk
from bench.__main__ import choose_cores
from bench.pinned import BenchError, Pinned, free_port
from bench.programs import start
from bench.setting import Setting
from bench.tables import spread
from bench.variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.running import Cores

_SAMPLE = b'{"data":[[6.7,3.0,5.2,2.3]]}'
_PAUSE = 4.0  # s between two bytes of a connection
_STEP = 0.05  # s; so many of them at once
_SETTLED = 0.5  # s for the server to see that the first client has left
_PATIENCE = 30.0  # s to open and to close all of them
_SPARE = 500  # descriptors for everything else
_HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
_KINDS = (
    (b"", b""),
    (b"POST /pre", b"x"),
    (_HEAD + b"X-Slow: ", b"y"),
    (_HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
    (_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
)
"""What a connection begins with, and what it sends then, again and again."""


class Held(NamedTuple):
    """What the server holds."""

    resident: int
    """Bytes."""
    descriptors: int


class Measured(NamedTuple):
    """One load."""

    load: wrk.Load
    held: Held
    """At its end."""


class HalfOpen:
    """Connections that never finish a request, kept up by a thread; a context manager."""

    def __init__(self, port: int, count: int) -> None:
        """Take where to and how many."""
        self._port = port
        self._connections: list[socket.socket] = []
        self._count = count
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._dribble, daemon=True)
        self.again = 0
        """How many were closed by the server and opened again."""

    def __enter__(self) -> Self:
        """Open all of them and begin to dribble."""
        self._connections = [self._open(number) for number in range(self._count)]
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave."""
        self._over.set()
        self._thread.join()
        for connection in self._connections:
            connection.close()

    def _open(self, number: int) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), _PATIENCE)
        connection.sendall(_KINDS[number % len(_KINDS)][0])
        connection.settimeout(0)
        return connection

    def _dribble(self) -> None:
        number, share = 0, 0.0
        while not self._over.wait(_STEP):
            share += self._count * _STEP / _PAUSE
            for _ in range(int(share)):
                number = (number + 1) % self._count
                if not self._alive(number):
                    self._connections[number].close()
                    with contextlib.suppress(OSError):
                        self._connections[number] = self._open(number)
                        self.again += 1
            share %= 1

    def _alive(self, number: int) -> bool:
        connection = self._connections[number]
        try:
            connection.send(_KINDS[number % len(_KINDS)][1])
            while connection.recv(4096):
                pass  # a 504; the end comes behind it
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False


class Bench:
    """A server, and what is done to it."""

    def __init__(self, folder: Path, cores: Cores, *, half_open: int, connections: int, seconds: int) -> None:
        """Start the server and wait for its first answer."""
        (variant,) = (variant for variant in VARIANTS if variant.name == "on")
        self._port, self._cores = free_port(), cores
        self._half_open, self._connections, self._seconds = half_open, connections, seconds
        self._requests = dialects.questions(variant.dialect, Setting(connections, 1), folder).file
        command, environ = start(variant, self._port, folder, None)
        self._server = Pinned("server", command, cores.server, environ, folder / "said.txt", folder)
        self._descriptors = Path(f"/proc/{self._server.pid}/fd")
        self._url = f"http://127.0.0.1:{self._port}/predict"
        self.again = 0
        try:
            self._server.wait_for(self._url, _SAMPLE)
            time.sleep(_SETTLED)
            self._own = self._sockets()
        except BaseException:
            self.end()
            raise

    def alone(self) -> Measured:
        """Load it with good clients only; raises BenchError unless each of them is answered with 200."""
        load = wrk.run(self._url, self._requests, self._connections, self._seconds, self._cores.load)
        return Measured(load, self.held())

    def beside(self) -> Measured:
        """Do the same while half-open connections hang, and see them gone."""
        self._wait_for_connections(0)
        with HalfOpen(self._port, self._half_open) as attack:
            self._wait_for_connections(self._half_open)
            measured = self.alone()
        self.again += attack.again
        self._wait_for_connections(0)
        return measured

    def held(self) -> Held:
        """Return what the server holds now."""
        return Held(self._server.resident(), len(list(self._descriptors.iterdir())))

    def end(self) -> None:
        """End the server."""
        self._server.end()

    def _wait_for_connections(self, wanted: int) -> None:
        until = time.monotonic() + _PATIENCE
        while (there := self._sockets() - self._own) != wanted:
            if time.monotonic() > until:
                msg = f"the server has {there} connections and should have {wanted}"
                raise BenchError(msg)
            time.sleep(_STEP)

    def _sockets(self) -> int:
        """Return how many sockets the server has; its other descriptors come and go with the outbox."""
        found = 0
        for descriptor in self._descriptors.iterdir():
            with contextlib.suppress(FileNotFoundError):
                found += str(descriptor.readlink()).startswith("socket:")
        return found


def main() -> int:
    """Measure and print; status 1 if a good client was refused or a connection is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half-open", type=int, default=2000, help="connections (%(default)s)")
    parser.add_argument("--seconds", type=int, default=8, help="of load a measurement (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--connections", type=int, default=32, help="of good clients (%(default)s)")
    arguments = parser.parse_args()
    try:
        _make_room(arguments.half_open)
        with tempfile.TemporaryDirectory(prefix="attack-") as folder:
            print("\n".join(_run(Path(folder), arguments)))
    except BenchError as error:
        print(f"attack: {error}", file=sys.stderr)
        return 1
    return 0


def _make_room(connections: int) -> None:
    """Allow this process, and with it the server, as many descriptors; raises BenchError if the system does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _SPARE
    if hard != resource.RLIM_INFINITY and hard < wanted:
        msg = f"{wanted} descriptors are needed and {hard} allowed (ulimit -Hn)"
        raise BenchError(msg)
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _run(folder: Path, arguments: argparse.Namespace) -> list[str]:
    options = {"connections": arguments.connections, "seconds": arguments.seconds}
    bench = Bench(folder, choose_cores(), half_open=arguments.half_open, **options)
    alone: list[Measured] = []
    beside: list[Measured] = []
    try:
        bench.alone()  # warm
        before = bench.held()
        turns = [(alone, bench.alone), (beside, bench.beside)]
        for number in range(1, arguments.rounds + 1):
            for series, measure in turns:
                series.append(measure())
            turns.reverse()
            print(_progress(f"{number}/{arguments.rounds}", alone[-1], beside[-1]), file=sys.stderr, flush=True)
        after = bench.held()
    finally:
        bench.end()
    many = f"{arguments.half_open:,} half-open connections"
    rounds = f"{arguments.rounds} rounds of {arguments.seconds} s each way"
    return [
        f"{arguments.connections} connections of wrk, {rounds}: medians with quartiles, ratios within the same round.",
        "",
        "| | requests/s | p50 ms | p99 ms | MiB resident | descriptors |",
        "|---|---:|---:|---:|---:|---:|",
        f"| good clients alone | {_cells(alone)} |",
        f"| beside {many} | {_cells(beside)} |",
        f"| beside ÷ alone | {_ratios(alone, beside)} |",
        "",
        f"Before the first of them came: {_said(before)}; after the last have left: {_said(after)}.",
        f"The server closed {bench.again:,} of them, which were opened again.",
    ]


def _columns(measured: Measured) -> tuple[float, ...]:
    load, held = measured
    return load.rate, load.p50 / 1000, load.p99 / 1000, held.resident / (1 << 20), held.descriptors


def _cells(series: Sequence[Measured]) -> str:
    forms = (",.0f", ".2f", ".2f", ".0f", ",.0f")
    columns = zip(*map(_columns, series), strict=True)
    return " | ".join(spread(list(column), form) for column, form in zip(columns, forms, strict=True))


def _ratios(alone: Sequence[Measured], beside: Sequence[Measured]) -> str:
    rounds = [
        [theirs / own for theirs, own in zip(_columns(b), _columns(a), strict=True)]
        for a, b in zip(alone, beside, strict=True)
    ]
    *columns, _ = zip(*rounds, strict=True)  # how many times the descriptors says nothing
    return " | ".join([*(spread(list(column)) for column in columns), ""])


def _said(held: Held) -> str:
    return f"{held.resident >> 20} MiB and {held.descriptors} descriptors"


def _progress(number: str, alone: Measured, beside: Measured) -> str:
    def told(measured: Measured) -> str:
        return f"{measured.load.rate:6.0f}/s p50 {measured.load.p50 / 1000:.2f} p99 {measured.load.p99 / 1000:.2f} ms"

    return f"{number:>5}  alone {told(alone)}  beside {told(beside)}, {_said(beside.held)}"


if __name__ == "__main__":
    sys.exit(main())
