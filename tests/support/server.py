"""The server for tests: as a real process, or as an application in the test's own loop; and its outbox read plainly.

- `with Server(tmp_path / "outbox", PREDICTOR_DEADLINE="1s") as server:` has `url` and `stderr_lines`
- `async with serve(tmp_path / "outbox", PREDICTOR_DEADLINE="1s") as here:` has `url`, `app` and a client
- `predictions(tmp_path / "outbox")` is what was logged
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from predictor.config.settings import load as load_settings
from predictor.http.runner import ServerRunner
from predictor.inference.model import Model, load
from predictor.inference.repository import Source
from predictor.server import app
from predictor.server.model_loading import LoadedModels, load_models, prepared
from predictor.server.otel_resource import resource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from typing import Self

    from predictor.config.settings import Settings
    from predictor.http.server import HttpServer

ROOT = Path(__file__).parents[2]
IRIS = ROOT / "models" / "iris"
ROW = [6.7, 3.0, 5.2, 2.3]
_PATIENCE = 120.0  # s; the machine may be busy
DEFAULTS: dict[str, str] = {"PREDICTOR_ALLOWED_HOSTS": "*"}
"""Settings of every server that a test starts, unless it says otherwise; see the fixture `door`.

Requests in bytes name any host; what a server refuses of these is test_callers.py's.
"""


def environment(outbox: Path, **settings: str) -> dict[str, str]:
    """Return this process's environment (coverage needs it) with no settings but these, and a free port."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREDICTOR_", "OTEL_"))}
    return (
        kept
        | {"PREDICTOR_PORT": "0", "PREDICTOR_OUTBOX": str(outbox), "PREDICTOR_MODEL": str(IRIS)}
        | DEFAULTS
        | settings
    )


def interruptible(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without coverage, for a process that KeyboardInterrupt is to end.

    On Python 3.11 coverage's tracer holds a lock that is not released when the exception arises inside it, and waits
    for it for ever when the process ends (about one in two hundred interrupts).
    """
    return {name: value for name, value in environ.items() if not name.startswith("COVERAGE_")}


class Server:
    """`python -m predictor` as a process; a context manager that ends it by SIGTERM if it still runs."""

    def __init__(
        self,
        outbox: Path,
        *,
        command: Sequence[str] = ("-m", "predictor"),
        ready: str = r"listens on (http://[^\s\"]+)",
        **settings: str,
    ) -> None:
        """Take the outbox, environment variables, and for other servers Python's arguments and what they say."""
        self.outbox = outbox
        self.url = ""
        self.stderr_lines: list[str] = []
        self._command = [sys.executable, *command]
        self._environment = environment(outbox, **settings)
        self._ready = re.compile(ready)
        self._news = threading.Condition()
        self._ended = False

    def __enter__(self) -> Self:
        """Start it and wait until it listens."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """End it in its own way if it still runs."""
        self.terminate()

    def start(self) -> Self:
        """Start the process and return when it says where it listens; raises RuntimeError if it ends instead."""
        self.process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            said = self.wait_for(lambda line: self._ready.search(line) is not None)
        except BaseException:
            self.kill()
            raise
        match = self._ready.search(said)
        assert match
        self.url = match[1]
        return self

    @property
    def pid(self) -> int:
        """The process's id."""
        return self.process.pid

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rsplit(":", 1)[1])

    def wait_for(self, says: Callable[[str], bool], seconds: float = _PATIENCE) -> str:
        """Return the first stderr line that `says` accepts, as soon as it is there; RuntimeError if it never comes."""
        with self._news:
            self._news.wait_for(lambda: self._ended or any(map(says, self.stderr_lines)), seconds)
            for line in self.stderr_lines:
                if says(line):
                    return line
        what = "ended" if self._ended else f"said nothing of the kind in {seconds:g} s"
        raise RuntimeError("\n".join([f"the server {what}:", *self.stderr_lines]))

    def terminate(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it (SIGTERM) and return its exit status; fails if it does not end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def kill(self) -> int:
        """End it at once (SIGKILL)."""
        self.process.kill()
        return self.wait()

    def wait(self, seconds: float = 2 * _PATIENCE) -> int:
        """Wait for its end and return its exit status."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._reader.join(_PATIENCE)
            assert self.process.stderr
            self.process.stderr.close()
        return status

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            with self._news:
                self.stderr_lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


def run(*arguments: str, outbox: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m predictor ARGUMENTS` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "predictor", *arguments],
        cwd=ROOT,
        env=environment(outbox, **settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )


@dataclass(frozen=True)
class Here:
    """A server in the test's own loop, and a client of it."""

    app: web.Application
    port: int
    client: aiohttp.ClientSession
    outbox: Path
    server: HttpServer
    """What makes the connections, and knows them."""

    @property
    def url(self) -> str:
        """The base of its URLs."""
        return f"http://127.0.0.1:{self.port}"

    async def get(self, path: str, **more: Any) -> Answer:  # noqa: ANN401 - aiohttp's own arguments
        """Send a GET."""
        return await self.send("GET", path, **more)

    async def post(self, path: str, **more: Any) -> Answer:  # noqa: ANN401 - aiohttp's own arguments
        """Send a POST, `json=` or `data=`."""
        return await self.send("POST", path, **more)

    async def send(self, method: str, path: str, **more: Any) -> Answer:  # noqa: ANN401 - aiohttp's own arguments
        """Send any request and read the whole answer."""
        async with self.client.request(method, path, **more) as response:
            return Answer(response.status, response.headers, await response.read())


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - parsed JSON
        """The body parsed by the standard library, which refuses here what JSON has not."""
        return json.loads(self.body, parse_constant=_refuse)


def problem(answer: Answer, status: int, word: str) -> str:
    """Return the detail of an answer that must be this RFC 9457 problem."""
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    fields = answer.json
    assert set(fields) - {"instance"} == {"type", "title", "status", "detail"}
    assert fields["status"] == status
    assert fields["type"].rsplit(":", 1)[1] == word, answer
    assert fields["title"]
    assert fields["detail"]
    return str(fields["detail"])


async def until(fact: Callable[[], bool]) -> None:
    """Let the loop work until `fact` holds."""
    async with asyncio.timeout(_PATIENCE):
        while not fact():  # noqa: ASYNC110 - a fact of the server's inside, which tells nobody
            await asyncio.sleep(0.001)


async def raw(port: int, *parts: bytes) -> bytes:
    """Send bytes as they are and return all that comes until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(_PATIENCE):
            for part in parts:
                writer.write(part)
                await writer.drain()
            return await reader.read()
    finally:
        writer.close()


async def first(port: int, sent: bytes) -> Answer:
    """Send bytes as they are and return the first answer, whatever then becomes of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(_PATIENCE):
            writer.write(sent)
            (answer,) = answers(await reader.readuntil(b"\r\n\r\n"))
            return Answer(
                answer.status, answer.headers, await reader.readexactly(int(answer.headers.get("Content-Length", 0)))
            )
    finally:
        writer.close()


def message(method: str, path: str, body: bytes = b"", **headers: str | None) -> bytes:
    """Return a request as bytes; `Content_Length="…"` and the like replace or add headers, None takes one away."""
    fields: dict[str, str | None] = {"Host": "test", "Content-Length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def answers(received: bytes) -> list[Answer]:
    """Return the answers that came over one connection."""
    found = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        length = int(headers.get("Content-Length", 0))
        found.append(Answer(int(first.split()[1]), headers, received[:length]))
        received = received[length:]
    return found


@lru_cache
def model(folder: Path = IRIS) -> Model:
    """Return a loaded model, loaded once."""
    return load(folder)


@asynccontextmanager
async def serve(outbox: Path, folder: Path = IRIS, /, **settings: str) -> AsyncIterator[Here]:
    """Run the application on a free port of loopback, closed at the end as the server closes it."""
    read = _settings(outbox, folder, settings)
    source = Source(folder)
    loaded = prepared(source, model(folder), read, source.fingerprint())
    async with _served(read, LoadedModels((loaded,)), outbox) as here:
        yield here


@asynccontextmanager
async def serve_models(outbox: Path, path: Path, /, **settings: str) -> AsyncIterator[Here]:
    """Run the application with whatever models lie at a path, loaded now."""
    read = _settings(outbox, path, settings)
    async with _served(read, load_models(read), outbox) as here:
        yield here


def _settings(outbox: Path, path: Path, settings: dict[str, str]) -> Settings:
    return load_settings({"PREDICTOR_OUTBOX": str(outbox), "PREDICTOR_MODEL": str(path)} | DEFAULTS | settings)


@asynccontextmanager
async def _served(read: Settings, models: LoadedModels, outbox: Path) -> AsyncIterator[Here]:
    runner = ServerRunner(
        app.application(read, models, resource()),
        idle=read.idle,
        drain=read.drain,
        connections=read.connections,
    )
    del models  # a version that is replaced must not live on here
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            assert runner.server
            yield Here(runner.app, port, client, outbox, runner.server)
    finally:
        await runner.cleanup()


def records(outbox: Path) -> list[dict[str, Any]]:
    """Return the log records of all streams under an outbox in their order, read without the server's code.

    Each has all its OTLP fields, with `attributes` as a dict of Python values, `resource` (the same), `scope` (name,
    version, and such attributes) and `stream` (the name of its directory). An incomplete last line is left out.
    """
    return [
        record | {"stream": path.parent.parent.name}
        for path in sorted((outbox / "v1").glob("*/logs/*.jsonl"))
        for line in path.read_bytes().splitlines(keepends=True)
        if line.endswith(b"\n")
        for record in flatten(json.loads(line, parse_constant=_refuse))
    ]


def predictions(outbox: Path) -> list[dict[str, Any]]:
    """Return the attributes of all records that are predictions, failed ones included, in their order."""
    return [record["attributes"] for record in records(outbox) if record["eventName"] == "prediction"]


def flatten(data: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - parsed JSON
    """Return the records of a parsed LogsData object."""
    return [
        record
        | {
            "attributes": attributes(record["attributes"]),
            "resource": attributes(resource["resource"]["attributes"]),
            "scope": scope["scope"] | {"attributes": attributes(scope["scope"].get("attributes", []))},
        }
        for resource in data["resourceLogs"]
        for scope in resource["scopeLogs"]
        for record in scope["logRecords"]
    ]


def attributes(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return OTLP JSON attributes as a dict; a key that is there twice is an error."""
    values = {pair["key"]: _value(pair["value"]) for pair in pairs}
    assert len(values) == len(pairs), f"a key twice: {pairs}"
    return values


def _value(value: dict[str, Any]) -> Any:  # noqa: ANN401 - any attribute
    ((kind, content),) = value.items()
    if kind == "intValue":
        assert isinstance(content, str), "64-bit integers are strings in OTLP JSON"
        return int(content)
    if kind == "doubleValue":
        return float(content)
    if kind == "arrayValue":
        return [_value(each) for each in content.get("values", [])]
    assert kind in {"stringValue", "boolValue"}, kind
    return content


def _refuse(word: str) -> None:
    msg = f"{word} is not JSON"
    raise ValueError(msg)
