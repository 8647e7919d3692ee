"""Streams on disk as the outbox leaves them, for tests of the readers and the shipper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor import otlp
from predictor.outbox.layout import LAYOUT, StreamFiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from predictor.outbox.layout import Signal

_RESOURCE = {"resource": {"attributes": otlp.attributes({"service.name": "predictor"})}}
_HEAD: dict[Signal, bytes] = {
    signal: otlp.head(signal, _RESOURCE, otlp.scope_json("predictor", "0")) for signal in ("logs", "traces")
}


def record(sequence: int, body: str = "setosa 0.971", event: str = "") -> bytes:
    """Return one encoded log record of that stream number, without an event name unless it has one."""
    return otlp.encode(
        {
            "timeUnixNano": str(10**18 + sequence),
            "observedTimeUnixNano": str(10**18 + sequence),
            "severityNumber": 9,
            "body": {"stringValue": body},
            "attributes": otlp.attributes({"prediction.stream.sequence": sequence}),
            **({"eventName": event} if event else {}),
        }
    )


def span(number: int) -> bytes:
    """Return one encoded span."""
    return otlp.encode(
        {
            "traceId": f"{number:032x}",
            "spanId": f"{number:016x}",
            "name": "predict",
            "kind": 1,
            "startTimeUnixNano": str(10**18),
            "endTimeUnixNano": str(10**18 + 1),
        }
    )


def line(sequences: Sequence[int], body: str = "setosa 0.971", event: str = "") -> bytes:
    """Return one line of logs with these stream numbers, all of one event."""
    return otlp.line(_HEAD["logs"], [record(sequence, body, event) for sequence in sequences])


def line_of_spans(numbers: Sequence[int]) -> bytes:
    """Return one line of spans."""
    return otlp.line(_HEAD["traces"], [span(number) for number in numbers])


def make(root: Path, *segments: bytes, signal: Signal = "logs", stream: str = "0192-a") -> StreamFiles:
    """Write a stream whose segments have these contents."""
    files = StreamFiles(root / LAYOUT / stream)
    folder = files.signal(signal).folder
    folder.mkdir(parents=True)
    for number, content in enumerate(segments, start=1):
        files.signal(signal).segment(number).write_bytes(content)
    return files
