"""The operational log on stderr: one line each, JSON unless stderr is a terminal, never a header's value."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

_EXTRA = ("trace_id", "span_id", "job_id")


def setup(stream: TextIO | None = None) -> None:
    """Send the `predictor` loggers to `stream` (stderr), and warnings of the libraries with them."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Plain("%(levelname)s %(message)s") if stream.isatty() else _Json())
    handler.addFilter(_Sparingly())
    logging.captureWarnings(capture=True)  # numpy's, say, would be plain text
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("predictor").setLevel(logging.INFO)
    for name in ("opentelemetry.baggage", "opentelemetry.trace"):  # warn of each header that they cannot read, in full
        logging.getLogger(name).setLevel(logging.ERROR)


def occupy() -> None:
    """Open what is closed of stdin, stdout and stderr on the null device.

    Else the next file that is opened, perhaps one of the outbox, gets number 2, and libraries write their errors to it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False, encoding="utf-8")  # noqa: SIM115 - it stays


_MOST_KEYS = 1000
"""Of one throttle: the text of a warning is one, and may have a number in it that never comes again."""


class Throttle:
    """Lets a message through once in `seconds` for each key, so that a lasting fault does not flood stderr.

    Of many keys only the last ones are remembered.
    """

    def __init__(self, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with every key due."""
        self._seconds = seconds
        self._clock = clock
        self._last: dict[Hashable, float] = {}

    def due(self, key: Hashable = None) -> bool:
        """Tell whether `key` may speak now, and count it as spoken."""
        now = self._clock()
        if key in self._last and now - self._last[key] < self._seconds:
            return False
        self._last.pop(key, None)  # so that the oldest stands first
        self._last[key] = now
        if len(self._last) > _MOST_KEYS:
            del self._last[next(iter(self._last))]
        return True


class _Sparingly(logging.Filter):
    """Lets a line of a library through once a minute for each place in its code; what is left out is counted."""

    def __init__(self) -> None:
        super().__init__()
        self._throttle = Throttle()
        self._left_out: dict[Hashable, int] = {}

    def filter(self, record: logging.LogRecord) -> bool | logging.LogRecord:
        if record.name == "predictor" or record.name.startswith("predictor."):
            return True  # throttled where they are made
        # All warnings come from one place in the code: they are told apart by what they say, without the source line.
        place: Hashable = (record.pathname, record.lineno)
        if record.name == "py.warnings":
            record.msg, record.args = record.getMessage().partition("\n")[0], ()
            place = record.msg
        if not self._throttle.due(place):
            self._left_out[place] = self._left_out.get(place, 0) + 1
            if len(self._left_out) > _MOST_KEYS:
                del self._left_out[next(iter(self._left_out))]
            return False
        if left_out := self._left_out.pop(place, 0):
            record.msg, record.args = f"{record.getMessage()} ({left_out} more of these since)", ()
        return True


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": printable(record.getMessage(), but="\n"),
        }
        fields |= {name: value for name in _EXTRA if (value := getattr(record, name, None))}
        if record.exc_info:
            fields["exception"] = printable(self.formatException(record.exc_info), but="\n")
        return msgspec.json.encode(fields).decode()


def printable(text: str, but: str = "") -> str:
    """Escape control characters and lone surrogates: what callers send must not draw on a terminal, nor break JSON."""
    return "".join(c if c.isprintable() or c in but else c.encode("unicode_escape").decode() for c in text)


def show(line: str) -> None:
    """Print a line on stderr; one that nobody can read any more (a pipe or a terminal that is gone) is dropped."""
    with contextlib.suppress(OSError):
        print(printable(line), file=sys.stderr, flush=True)  # noqa: T201 - its purpose


def say(line: str) -> None:
    """Print a line for the person who started the server: as it is on a terminal, else like any operational line."""
    if sys.stderr.isatty():
        show(line)
    else:
        logging.getLogger("predictor").info("%s", line)
