"""A log as servers and Collectors leave it, made with plain json: what the readers are tested on.

- `Stream(BASE)` gives records their numbers: `opened()`, `prediction()`, `lost(3, 4)`, `status(rejected=1)`, `closed()`
- `line(stream.id, records)` is one line of OTLP JSON
- `lay_out(kind, tmp_path, lines)` puts lines where a source of that kind finds them
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from predictor.core.ids import uuid7

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

BASE = 1_760_000_000 * 10**9
"""Unix nanoseconds at which these logs begin: 2025-10-09T08:53:20Z."""
SECOND = 10**9
LABELS = ("setosa", "versicolor", "virginica")
FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
IRIS = {
    "prediction.model.name": "iris",
    "prediction.model.version": "1",
    "prediction.model.digest": "sha256:" + "ab" * 32,
}
Record = dict[str, Any]


class Stream:
    """One server's stream: numbers its records, a millisecond after another."""

    def __init__(self, began: int = BASE, seed: int = 1) -> None:
        """Begin at a time."""
        self.id = uuid7(began)
        self.sequence = 0
        self.now = began
        self._random = random.Random(seed)

    def prediction(self, most: int = 0, *, job: str | None = None, index: int = 0, **more: Any) -> Record:  # noqa: ANN401 - any attribute
        """Return the next record, a prediction, most probably that class.

        `more` are attributes with `__` for dots; None takes one away.
        """
        self.now += 1_000_000
        output = [0.1, 0.1, 0.1]
        output[most] = 0.8
        inputs = {f"prediction.input.{name}": round(self._random.uniform(0, 8), 1) for name in FEATURES}
        attributes = {
            "prediction.job_id": job or uuid7(self.now),
            "prediction.index": index,
            **inputs,
            "prediction.output": json.dumps(output, separators=(",", ":")),
            "prediction.label": LABELS[most],
            "prediction.confidence": 0.8,
            "prediction.outlier": False,
            "prediction.outlier_score": 0.25,
            "prediction.duration.queue": 0.0001,
            "prediction.duration.inference": 0.0002,
            "prediction.duration.total": 0.001,
            "prediction.batch.size": 1,
            "http.route": "/predict",
        } | {f"prediction.{key.replace('__', '.')}": value for key, value in more.items()}
        made = self._record(
            "prediction", {k: v for k, v in attributes.items() if v is not None}, f"{LABELS[most]} 0.800"
        )
        return made | {
            "traceId": f"{self.sequence:032x}",
            "spanId": f"{self.sequence:016x}",
            "flags": self.sequence % 2,
        }

    def failure(self, kind: str = "invalid-data") -> Record:
        """Return the next record, a request that was refused."""
        self.now += 1_000_000
        attributes = {"prediction.job_id": uuid7(self.now), "http.route": "/predict", "error.type": kind}
        made = self._record("prediction", attributes, f"{kind} iris@1", "WARN")
        return made | {"traceId": "f" * 32, "spanId": "e" * 16}

    def feedback(self, job: str, index: int = 0, **said: str | float) -> Record:
        """Return the next record, feedback: label, value or comment."""
        self.now += 1_000_000
        attributes = {f"prediction.feedback.{key}": value for key, value in said.items()}
        head = {"prediction.job_id": job, "prediction.index": index}
        return self._record("prediction.feedback", head | attributes, "feedback")

    def opened(self) -> Record:
        """Return the next record, which begins the stream."""
        return self._record("prediction.stream.opened", {}, "opened")

    def status(self, *, backlog: int = 0, lost: int = 0, rejected: int = 0, unrecorded: int = 0) -> Record:
        """Return the next record, a status."""
        counts = {
            "backlog.size": backlog,
            "backlog.age": 0.0,
            "lost.count": lost,
            "rejected.count": rejected,
            "unrecorded.count": unrecorded,
        }
        return self._event("status", counts)

    def lost(self, first: int, last: int) -> Record:
        """Return the next record, which declares numbers lost."""
        return self._event("lost", {"lost.first": first, "lost.last": last, "reason": "bytes"})

    def closed(self, reason: str = "shutdown") -> Record:
        """Return the next record, which ends the stream."""
        return self._event("closed", {"reason": reason})

    def predictions(self, count: int) -> list[Record]:
        """Return the next records, that many predictions."""
        return [self.prediction(number % 3) for number in range(count)]

    def _event(self, name: str, pairs: Mapping[str, Any]) -> Record:
        self.now += 1_000_000
        return self._record(f"prediction.stream.{name}", {f"prediction.stream.{k}": v for k, v in pairs.items()}, name)

    def _record(self, event: str, attributes: Mapping[str, Any], body: str, severity: str = "INFO") -> Record:
        self.sequence += 1
        whole = {"prediction.stream.sequence": self.sequence, **attributes, "event.name": event}
        return {
            "attributes": pairs(whole),
            "severityText": severity,
            "severityNumber": {"INFO": 9, "WARN": 13}[severity],
            "timeUnixNano": str(self.now),
            "observedTimeUnixNano": str(self.now + 500_000),
            "body": {"stringValue": body},
            "eventName": event,
        }


def pairs(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return OTLP JSON attributes."""
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def said(record: Record) -> dict[str, Any]:
    """Return a record's attributes, integers as the text that they are in OTLP JSON."""
    return {pair["key"]: next(iter(pair["value"].values())) for pair in record["attributes"]}


def changed(record: Record, **values: Any) -> Record:  # noqa: ANN401 - any attribute
    """Return a record with other values of its attributes, `__` for dots."""
    new = {f"prediction.{key.replace('__', '.')}": _value(value) for key, value in values.items()}
    return record | {
        "attributes": [pair | {"value": new.get(pair["key"], pair["value"])} for pair in record["attributes"]]
    }


def line(stream: str, records: Sequence[Record], *, schema: int = 1, scope: Mapping[str, str] | None = None) -> bytes:
    """Return one line of OTLP JSON."""
    attributes = IRIS | {"prediction.schema_version": schema, "prediction.stream.id": stream} | dict(scope or {})
    scoped = {"scope": {"name": "predictor", "attributes": pairs(attributes)}, "logRecords": list(records)}
    resource = {"attributes": pairs({"service.name": "predictor"})}
    return json.dumps({"resourceLogs": [{"resource": resource, "scopeLogs": [scoped]}]}).encode() + b"\n"


def lines(stream: Stream | str, records: Iterable[Record]) -> list[bytes]:
    """Return one line for each record."""
    name = stream.id if isinstance(stream, Stream) else stream
    return [line(name, [record]) for record in records]


def lay_out(kind: str, folder: Path, written: Sequence[bytes]) -> str:
    """Put lines where a source finds them, `outbox` or `files`, and return what `--from` takes."""
    where = folder / kind
    if kind == "files":
        where.mkdir(parents=True)
        (where / "logs.jsonl").write_bytes(b"".join(written))
        return str(where)
    for text in written:
        scope = json.loads(text)["resourceLogs"][0]["scopeLogs"][0]["scope"]
        stream = {pair["key"]: pair["value"] for pair in scope["attributes"]}["prediction.stream.id"]["stringValue"]
        path = where / "v1" / stream / "logs" / "00000001.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(text)
    return str(where)


def _value(value: Any) -> dict[str, Any]:  # noqa: ANN401 - any attribute
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
    return {"stringValue": value}
