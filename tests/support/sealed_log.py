"""A log with checkpoints as a server writes it, and editors who change one copy of it."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from predictor import otlp
from predictor.core.ids import uuid7
from predictor.core.result import Feedback
from predictor.outbox import OutboxError
from predictor.outbox.ended import EndedStream, encoded
from predictor.recording import record_schema
from predictor.recording.checkpoints import beginning
from predictor.recording.encoder import RecordEncoder, encode_event
from predictor.recording.stream import LogStream
from predictor.recording.stream_events import Status, closing_line
from tests.support.digest_by_hand import checkpoint_digest
from tests.support.log_files import BASE, SECOND
from tests.support.sample_predictions import IRIS, QUANTILES, TYPED, answered, failure, origin, success

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from predictor.core.problems import Kind
    from predictor.core.result import Prediction
    from predictor.recording.checkpoints import Signer
    from predictor.recording.record_schema import Schema

JSON = dict[str, Any]
_TYPES = {"city": "string", "age": "int", "member": "bool", "income": "double"}


class Written(NamedTuple):
    """One record and what stands around it."""

    scope: JSON
    record: JSON

    @property
    def number(self) -> int:
        """Its number."""
        return int(self.said("prediction.stream.sequence"))

    def said(self, name: str) -> Any:  # noqa: ANN401 - any attribute
        """Return an attribute, None if it is absent."""
        pairs = {pair["key"]: next(iter(pair["value"].values())) for pair in self.record["attributes"]}
        return pairs.get(name)

    def put(self, name: str, value: JSON) -> None:
        """Set an attribute."""
        (pair,) = (pair for pair in self.record["attributes"] if pair["key"] == name)
        pair["value"] = value


class SealedStream:
    """One server's log, under a clock of its own; lines that it writes are in `lines`."""

    def __init__(self, began: int = BASE, signer: Signer | None = None, previous: Sequence[EndedStream] = ()) -> None:
        """Open the stream."""
        self.now = began
        self.id = uuid7(began)
        self.lines: list[bytes] = []
        self.full = False
        resource = {"resource": {"attributes": otlp.attributes({"service.name": "predictor"})}}
        self.log = LogStream(
            self.id, resource, "1", refuses=False, signer=signer, now_ns=lambda: self.now, clock=lambda: self.now / 1e9
        )
        self.log.open(self, encoded(previous))

    def append(self, line: bytes, *, urgent: bool = False) -> None:
        """Take a line as an outbox would."""
        if self.full and not urgent:
            reason: Any = "bytes"
            raise OutboxError(reason, "full")
        self.lines.append(line)

    def predict(self, schema: Schema = IRIS, prediction: Prediction | None = None, count: int = 1) -> None:
        """Write predictions as one line."""
        self.now += SECOND // 10
        source = origin(received_ns=self.now)
        made = [
            msgspec.structs.replace(prediction or success(), job_id=uuid7(self.now), index=index, origin=source)
            for index in range(count)
        ]
        self._write(schema, RecordEncoder(schema).encode(made, self.now + 1_000_000))

    def fail(self, kind: Kind) -> None:
        """Write a request that was refused."""
        self.predict(prediction=failure(kind))

    def describe(self, schema: Schema, types: dict[str, str]) -> None:
        """Say what a model is."""
        self.now += SECOND // 10
        about: JSON = {
            "features": [{"alias": alias, "name": alias, "type": types[alias]} for alias in schema.features],
            "labels": list(schema.labels),
            "values": [{"alias": name.removeprefix("prediction.value."), "name": name} for name in schema.values],
        }
        pairs: dict[str, object] = {
            "prediction.model.task": "classification",
            "prediction.model.runtime": "ONNX Runtime 1",
            "prediction.model.provider": "CPU",
            "prediction.model.signature": json.dumps(about),
            "event.name": record_schema.MODEL_EVENT,
        }
        self._event(schema, pairs, record_schema.MODEL_EVENT, "model")

    def feedback(self, comment: str) -> None:
        """Write what a caller says."""
        self.now += SECOND // 10
        said = Feedback("job", 0, origin(received_ns=self.now), comment=comment)
        self._event(IRIS, record_schema.feedback_attributes(IRIS, said), record_schema.FEEDBACK_EVENT, "feedback")

    def lose(self, count: int) -> None:
        """Let the outbox be full for some predictions, which the stream then declares lost."""
        self.full = True
        self.predict(count=count)
        self.full = False

    def status(self, **says: float) -> None:
        """Write a status."""
        self.now += SECOND
        self.log.status(Status(**says))  # type: ignore[arg-type]

    def close(self) -> None:
        """End in order."""
        self.now += SECOND
        self.log.close()

    def crash(self) -> None:
        """End as the next process writes it."""
        self.log.sequence += 1
        (end,) = records([closing_line(self.log.event_head, self.log.sequence)])
        end.record.update(timeUnixNano=str(self.now), observedTimeUnixNano=str(self.now))
        self.lines += written([end])

    def ended(self, *, kept: bool = False) -> EndedStream:
        """Return what a later stream says of this one."""
        last = records(self.lines)[-1]
        return EndedStream(self.id, last.number, last.said("prediction.stream.digest") or "", self.now, kept)

    def _write(self, schema: Schema, rests: Sequence[bytes]) -> None:
        name, _, version = schema.model.partition("@")
        scope = {
            "prediction.model.name": name,
            "prediction.model.version": version,
            "prediction.model.digest": f"sha256:{name}{version}",
        }
        self.log.append(self.log.head(scope), rests)

    def _event(self, schema: Schema, pairs: dict[str, Any], name: str, body: str) -> None:
        rest = encode_event(
            attributes=pairs, body=body, severity=(9, "INFO"), event_name=name, time_ns=self.now, observed_ns=self.now
        )
        self._write(schema, [rest])


def sealed(stream: SealedStream) -> SealedStream:
    """Return a stream with records of many kinds, five checkpoints, a loss, and its end."""
    stream.describe(IRIS, dict.fromkeys(IRIS.features, "double"))
    stream.predict(count=3)
    stream.status()
    stream.describe(TYPED, _TYPES)
    stream.predict(TYPED, success(features=("", 2**63, False, None), probabilities=[0.25, 0.75], label=1), 2)
    stream.predict(TYPED, success(features=("b\ufffdn \x01", -3, True, 1e-7), probabilities=[0.5, 0.5], label=0))
    stream.feedback("fine\ufffd")
    stream.status(backlog_bytes=7, backlog_age=0.5)
    stream.describe(QUANTILES, {"area": "double", "rooms": "double"})
    stream.predict(QUANTILES, answered(features=(80.0, 1e21), values=[1.0, -0.0, 5e-324, 4.5, 1e16]))
    stream.lose(4)
    stream.predict(count=5)
    stream.status()
    stream.predict(count=6)
    stream.status()
    stream.predict(count=2)
    stream.close()
    return stream


def records(lines: Sequence[bytes]) -> list[Written]:
    """Return the records of lines, each with its scope."""
    found = []
    for text in lines:
        for group in json.loads(text)["resourceLogs"]:
            for scoped in group["scopeLogs"]:
                found += [Written(scoped["scope"], record) for record in scoped["logRecords"]]
    return found


def written(every: Sequence[Written]) -> list[bytes]:
    """Return one line for each record."""
    resource = {"attributes": otlp.attributes({"service.name": "predictor"})}
    return [
        json.dumps(
            {"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": [record]}]}]},
            separators=(",", ":"),
            ensure_ascii=False,
        ).encode()
        + b"\n"
        for scope, record in every
    ]


def edited(lines: Sequence[bytes], edit: Callable[[list[Written]], list[Written]]) -> list[Written]:
    """Return what an editor makes of a log, who leaves the digests as they are."""
    return edit(copy.deepcopy(records(lines)))


def recomputed(every: Sequence[Written]) -> list[Written]:
    """Return the same with digests that fit: what an editor does who has read the documentation, but has no key."""
    held: list[Written] = copy.deepcopy(list(every))
    stream = next(pair for pair in held[0].scope["attributes"] if pair["key"] == "prediction.stream.id")
    previous, first = beginning(stream["value"]["stringValue"]), 1
    before: list[Written] = []
    for each in held:
        if each.said("prediction.stream.digest"):
            each.put("prediction.stream.digest.first", {"intValue": str(first)})
            each.put("prediction.stream.digest.last", {"intValue": str(each.number - 1)})
            each.put("prediction.stream.digest.count", {"intValue": str(len(before))})
            each.put("prediction.stream.digest.previous", {"stringValue": previous.hex()})
            previous = checkpoint_digest(previous, before, *each)
            each.put("prediction.stream.digest", {"stringValue": previous.hex()})
            first, before = each.number, []
        before.append(each)
    return held


def collectors(lines: Sequence[bytes]) -> list[bytes]:
    """Return lines as the Collector's file exporter writes them: fields in its order, doubles as Go prints them."""
    return [_go(text) for text in lines]


def _go(text: bytes) -> bytes:
    data = json.loads(text)
    for group in data["resourceLogs"]:
        group["resource"]["attributes"].append({"key": "k8s.pod.name", "value": {"stringValue": "p"}})
        for scoped in group["scopeLogs"]:
            scoped["logRecords"] = [dict(sorted(record.items(), reverse=True)) for record in scoped["logRecords"]]
            for record in scoped["logRecords"]:
                for pair in record["attributes"]:
                    value = pair["value"].get("doubleValue")
                    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 and value:
                        pair["value"]["doubleValue"] = int(value)
    return json.dumps(data).encode() + b"\n"
