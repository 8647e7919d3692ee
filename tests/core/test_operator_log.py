from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from predictor.core import operator_log
from tests.support.server import ROW, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _Stream(io.StringIO):
    """Stderr, a terminal or not, that takes only what has a UTF-8 form, as a pipe does."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        """Tell whether a person reads it."""
        return self._terminal

    def write(self, text: str) -> int:
        """Write strictly."""
        text.encode()
        return super().write(text)

    @property
    def lines(self) -> list[str]:
        """What was written, by lines."""
        assert not self.getvalue() or self.getvalue().endswith("\n")
        return self.getvalue().split("\n")[:-1]

    @property
    def fields(self) -> list[dict[str, Any]]:
        """What was written, each line as JSON."""
        return [json.loads(line) for line in self.lines]


@pytest.fixture(autouse=True)
def _loggers() -> Iterator[None]:
    """Put the process's loggers back as they were."""
    root, ours = logging.getLogger(), logging.getLogger("predictor")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def _setup(*, terminal: bool) -> _Stream:
    stream = _Stream(terminal=terminal)
    operator_log.setup(stream)
    return stream


_log = logging.getLogger("predictor.part")
_NASTY = "a\x1b[31mred\nnext\r\x07\x9b2J\u202e\x7f\ud800 é😀"


def test_line_is_json_where_nobody_reads_along() -> None:
    """Into a pipe goes one JSON object a line: when, how bad, who, what, and the request's ids."""
    stream = _setup(terminal=False)
    _log.warning("lost %d of %s", 3, "é", extra={"trace_id": "0af7", "span_id": "00f0", "job_id": "0199"})
    _log.info("next")
    first, second = stream.fields
    assert datetime.fromisoformat(first.pop("time")).utcoffset() is not None
    assert first == {
        "level": "warning",
        "logger": "predictor.part",
        "message": "lost 3 of é",
        "trace_id": "0af7",
        "span_id": "00f0",
        "job_id": "0199",
    }
    assert set(second) == {"time", "level", "logger", "message"}


def test_line_is_plain_on_a_terminal() -> None:
    """A person reads level and message."""
    stream = _setup(terminal=True)
    _log.warning("lost %d", 3)
    assert stream.lines == ["WARNING lost 3"]


@pytest.mark.parametrize("terminal", [True, False])
def test_control_characters_do_not_reach_the_terminal(*, terminal: bool) -> None:
    """Whatever a caller sent, it is one line, draws nothing, and a lone surrogate does not break it."""
    stream = _setup(terminal=terminal)
    _log.error("%s", _NASTY)
    (line,) = stream.lines
    assert line.isprintable()
    message = line if terminal else stream.fields[0]["message"]
    assert "\\x1b[31mred" in message
    assert "\\x9b2J\\u202e\\x7f\\ud800 é😀" in message


@pytest.mark.parametrize("terminal", [True, False])
def test_exception_is_one_line(*, terminal: bool) -> None:
    """A traceback does not tear the log: one line, with where it happened."""
    stream = _setup(terminal=terminal)
    try:
        int(_NASTY)
    except ValueError:
        _log.exception("failed")
    (line,) = stream.lines
    assert "test_operator_log.py" in line
    assert line.isprintable()
    if not terminal:
        assert "\\ud800" in stream.fields[0]["exception"]


def test_libraries_are_heard_from_warnings_on() -> None:
    """Our own information is shown, a library's only from warnings on."""
    stream = _setup(terminal=True)
    logging.getLogger("aiohttp.access").info("chatter")
    logging.getLogger("aiohttp.server").warning("trouble")
    _log.debug("detail")
    _log.info("news")
    assert stream.lines == ["WARNING trouble", "INFO news"]


def test_libraries_repeat_themselves_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a library says again and again is let through once a minute, with how often it was left out; ours is not."""
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr(operator_log.Throttle.__init__, "__defaults__", (60.0, lambda: now))
    stream = _setup(terminal=False)
    for now in (1.0, 2.0, 30.0, 62.0):
        logging.getLogger("opentelemetry.exporter").warning("attempt at %g s failed", now)
        logging.getLogger("predictor.shipper").warning("ours")
    said = [each["message"] for each in stream.fields]
    assert said.count("ours") == 4
    assert [each for each in said if each != "ours"] == [
        "attempt at 1 s failed",
        "attempt at 62 s failed (2 more of these since)",
    ]


def test_setup_twice_says_things_once() -> None:
    """A second set-up takes the place of the first."""
    _setup(terminal=True)
    stream = _setup(terminal=True)
    _log.info("once")
    assert stream.lines == ["INFO once"]


@pytest.mark.parametrize("terminal", [True, False])
def test_greeting_is_as_the_other_lines(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> None:
    """What is said to a person is bare on a terminal, and JSON like everything else where nobody reads along."""
    stream = _setup(terminal=terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    operator_log.say("listens\x1b")
    said = stream.lines if terminal else [fields["message"] for fields in stream.fields]
    assert said == ["listens\\x1b"]


def test_throttle_speaks_once_in_its_time_for_each_key() -> None:
    """A lasting fault is said once a minute, each fault for itself."""
    now = 0.0
    throttle = operator_log.Throttle(60.0, lambda: now)
    assert throttle.due("a")
    assert throttle.due("b")
    assert not throttle.due("a")
    now = 59.9
    assert not throttle.due("a")
    now = 60.0
    assert throttle.due("a")
    assert not throttle.due("a")


def test_throttle_remembers_no_more_than_so_many_keys() -> None:
    """Messages that never come again do not add up in memory: the oldest key is forgotten, the last ones are not."""
    throttle = operator_log.Throttle(60.0, lambda: 0.0)
    assert all(throttle.due(f"message {number}") for number in range(2000))
    assert not throttle.due("message 1999")
    assert throttle.due("message 0")


async def test_stderr_of_a_server_has_no_header_and_only_json(tmp_path: Path) -> None:
    """Of a server whose callers misbehave and whose Collector is gone, stderr is JSON and holds no header's value."""
    secret = "s3cret-value"
    dead = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={secret}"}
    headers = {
        "Authorization": f"Bearer {secret}",
        "Cookie": secret,
        "X-Request-Id": f"{secret} !",
        "traceparent": secret,
    }
    with Server(tmp_path / "outbox", PREDICTOR_FLUSH="0.1s", **dead) as server:
        async with aiohttp.ClientSession(server.url, headers=headers) as client:
            for path, body in (
                ("/predict", {"data": [ROW]}),
                ("/predict", {"data": "?"}),
                ("/predict/batch", None),
                ("/nowhere", None),
            ):
                async with client.post(path, json=body) as response:
                    await response.read()
            async with client.post("/predict", data=b"\xff", headers={"Content-Type": secret}) as response:
                assert response.status == 415
        server.wait_for(lambda line: "127.0.0.1:9" in line)  # the shipper has said what is wrong
        for malformed in (
            b"GET / HTTP/1.1\r\nAuthorization: s3cret-value\r\nBad Header: s3cret-value\r\n\r\n",
            b"POST /predict HTTP/1.1\r\nHost: [s3cret-value\r\nContent-Length: 2\r\n\r\n{}",
            b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: s3cret-value\r\n\r\n",
        ):
            await _raw(server.port, malformed)
    assert server.process.returncode == 0
    assert len(server.stderr_lines) >= 4
    for line in server.stderr_lines:
        assert secret not in line
        assert {"time", "level", "logger", "message"} <= set(json.loads(line))


async def _raw(port: int, request: bytes) -> bytes:
    """Send bytes that no client would, and return the whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer
