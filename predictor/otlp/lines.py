"""Lines of OTLP JSON: makes them, merges them into a request, splits and searches them.

A line is one `LogsData` or `TracesData` object with one resource, one scope and one or more items, as the
Collector's file exporter writes them (https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from predictor.otlp.values import JSON, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from predictor.otlp.values import Signal


class _Names(NamedTuple):
    resources: str
    scopes: str
    items: str


_NAMES: dict[Signal, _Names] = {
    "logs": _Names("resourceLogs", "scopeLogs", "logRecords"),
    "traces": _Names("resourceSpans", "scopeSpans", "spans"),
}
TAIL = b"]}]}]}\n"
# A quote inside a JSON string is escaped, so these bytes can only be the attribute itself.
_SEQUENCE = b'{"key":"prediction.stream.sequence","value":{"intValue":"'
_LOST_FIRST, _LOST_LAST = (
    b'{"key":"prediction.stream.lost.%b","value":{"intValue":"' % end for end in (b"first", b"last")
)
_EVENT = b'"eventName":"'
_OBSERVED = b'"observedTimeUnixNano":"'
_START_TIME = b'"startTimeUnixNano":"'  # every span has exactly one


def head(signal: Signal, resource: JSON, scope: JSON, schema_url: str | None = None) -> bytes:
    """Return a line's constant beginning; `resource` is from `resource_json`, `scope` from `scope_json`."""
    names = _NAMES[signal]
    scopes: JSON = {"scope": scope} | ({"schemaUrl": schema_url} if schema_url else {}) | {names.items: []}
    whole = encode({names.resources: [resource | {names.scopes: [scopes]}]}) + b"\n"
    return whole[: -len(TAIL)]


def line(head_bytes: bytes, items: Iterable[bytes]) -> bytes:
    """Return a line of encoded items under `head_bytes`."""
    return b"".join((head_bytes, b",".join(items), TAIL))


def merge(signal: Signal, lines: Sequence[bytes]) -> bytes:
    """Return one request body of whole lines, whose bytes stay as they are."""
    start = _start(signal)
    parts: list[bytes | memoryview] = [start]
    for text in lines:  # joined once over views: a megabyte copied in pieces first costs 40 times as much
        parts += (memoryview(text)[len(start) : -3], b",")
    parts[-1] = b"]}"
    return b"".join(parts)


def framed(signal: Signal, text: bytes) -> bool:
    """Tell whether `text` begins and ends like a line of ours, so that it may be merged."""
    return text.startswith(_start(signal)) and text.endswith(TAIL)


def well_formed(signal: Signal, text: bytes) -> bool:
    """Tell whether `text` is a line of ours and valid JSON (a power cut can leave anything)."""
    if not framed(signal, text):
        return False
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def split(signal: Signal, text: bytes) -> tuple[bytes, bytes] | None:
    """Return two lines with a half of the items each, their bytes as they were; None for a single item.

    Raises ValueError if `text` is not a line of ours.
    """
    begin, items = _items(signal, text)
    if len(items) < 2:  # noqa: PLR2004 - nothing to halve
        return None
    middle = len(items) // 2
    return line(begin, items[:middle]), line(begin, items[middle:])


def singles(signal: Signal, text: bytes) -> list[bytes]:
    """Return each item as a line of its own, their bytes as they were; raises ValueError as `split` does."""
    begin, items = _items(signal, text)
    return [line(begin, [item]) for item in items]


def count(signal: Signal, text: bytes) -> int:
    """Return how many records or spans a line holds; raises ValueError if it is not a line of ours."""
    return len(_items(signal, text)[1])


def tally(signal: Signal, text: bytes) -> int:
    """Return how many records or spans a line seems to hold, 1 if it is damaged: for figures, cheaper than `count`."""
    if signal == "traces":
        return text.count(_START_TIME)
    try:
        return last_sequence(text) - first_sequence(text) + 1  # the numbers of a line have no gap
    except ValueError:
        return 1


def last_sequence(text: bytes) -> int:
    """Return the stream number of the last record in a line of logs, 0 if there is none."""
    return _sequence(text, text.rfind(_SEQUENCE))


def first_sequence(text: bytes) -> int:
    """Return the stream number of the first record in a line of logs, 0 if there is none."""
    return _sequence(text, text.find(_SEQUENCE))


def declared(text: bytes) -> Iterator[tuple[int, int]]:
    """Yield the ranges of numbers, first and last, that a line of logs declares as lost; raises ValueError."""
    firsts, lasts = (_integers(text, mark) for mark in (_LOST_FIRST, _LOST_LAST))
    return zip(firsts, lasts, strict=True)


def last_event(text: bytes) -> str:
    """Return the event name of the last record in a line of logs, empty if there is none."""
    at = text.rfind(_EVENT)
    if at < 0:
        return ""
    at += len(_EVENT)
    return text[at : text.index(b'"', at)].decode()


def event_mark(signal: Signal, event: str) -> bytes:
    """Return the bytes that a line or a body has if it holds a record with that event; empty for spans and for ""."""
    return b"" if signal == "traces" or not event else _EVENT + event.encode() + b'"'


def first_observed(text: bytes) -> int:
    """Return when the first record in a line of logs was written, Unix nanoseconds, 0 if there is none."""
    at = text.find(_OBSERVED)
    if at < 0:
        return 0
    at += len(_OBSERVED)
    return int(text[at : text.index(b'"', at)])


def _sequence(text: bytes, at: int) -> int:
    if at < 0:
        return 0
    at += len(_SEQUENCE)
    return int(text[at : text.index(b'"', at)])


def _integers(text: bytes, mark: bytes) -> Iterator[int]:
    at = text.find(mark)
    while at >= 0:
        at += len(mark)
        yield int(text[at : text.index(b'"', at)])
        at = text.find(mark, at)


def _start(signal: Signal) -> bytes:
    return b'{"%b":[' % _NAMES[signal].resources.encode()


def _items(signal: Signal, text: bytes) -> tuple[bytes, list[msgspec.Raw]]:
    mark = b'"%b":[' % _NAMES[signal].items.encode()
    at = text.find(mark) + len(mark)
    if at < len(mark):
        msg = f"not a line of {signal}"
        raise ValueError(msg)
    try:
        items = msgspec.json.decode(text[at - 1 : -len(TAIL) + 1], type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        msg = f"not a line of {signal}: {error}"
        raise ValueError(msg) from error
    return text[:at], items
