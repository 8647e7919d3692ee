"""Streams of records under a clock of their own, written by the server's own code; and what is in them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from predictor import otlp
from predictor.outbox import OutboxError
from predictor.recording import record_schema, stream_events
from predictor.recording.encoder import RecordEncoder, encode_event
from predictor.recording.record_schema import Schema
from predictor.recording.stream import LogStream
from predictor.recording.stream_events import Status

if TYPE_CHECKING:
    from predictor.core.result import Feedback, Prediction
    from predictor.outbox.outbox import OutboxReason

MINUTES = 20
SECOND = 10**9
MINUTE = 60 * SECOND
END = time.time_ns() // (2 * MINUTE) * 2 * MINUTE
BEGIN = END - MINUTES * MINUTE
SERVICE, NAMESPACE, ELSEWHERE = "predictor", "planted", "elsewhere"


class Fact(NamedTuple):
    """A record as it was planted."""

    time: int
    line: str
    values: dict[str, Any]
    """By the names that Loki gives them."""


class Model(NamedTuple):
    """A model that predicts here."""

    name: str
    version: str
    schema: Schema

    @property
    def scope(self) -> dict[str, str]:
        """The scope attributes of its records."""
        return {
            "prediction.model.name": self.name,
            "prediction.model.version": self.version,
            "prediction.model.digest": f"sha256:{self.name}-{self.version}",
        }


IRIS = Model(
    "iris",
    "1",
    Schema(
        "iris@1", ("sepal_length", "sepal_width", "petal_length", "petal_width"), ("setosa", "versicolor", "virginica")
    ),
)
IRIS_2 = IRIS._replace(version="2", schema=IRIS.schema._replace(model="iris@2"))
PRICE = Model("price", "3", Schema("price@3", ("area",), (), values=("prediction.value",), gives="values"))
CHURN = Model("churn", "7", Schema("churn@7", ("age",), ("stays", "leaves")))


@dataclass
class Stream:
    """One server's log, under a clock that the planting moves."""

    number: int
    pod: str
    namespace: str = NAMESPACE
    now: int = BEGIN
    sent: list[bytes] = field(default_factory=list)
    """Lines that Loki gets."""
    full: bool = False
    dropping: bool = False
    """Whether lines are lost on the way."""

    def __post_init__(self) -> None:
        """Open the stream."""
        resource = {
            "service.name": SERVICE,
            "service.instance.id": f"instance-{self.number}",
            "k8s.namespace.name": self.namespace,
            "k8s.pod.name": self.pod,
        }
        self.id = f"0199c0de-0000-7000-8000-{self.number:012d}"
        self.log = LogStream(
            self.id,
            {"resource": {"attributes": otlp.attributes(resource)}},
            "0",
            refuses=False,
            now_ns=lambda: self.now,
        )
        self.log.open(self)

    def append(self, line: bytes, *, urgent: bool = False) -> None:
        """Take a line as the outbox would."""
        if self.full and not urgent:
            reason: OutboxReason = "bytes"
            raise OutboxError(reason, "full")
        if not self.dropping:
            self.sent.append(line)

    def predict(self, prediction: Prediction, model: Model = IRIS) -> None:
        """Write one record, at the time at which the request arrived."""
        at = prediction.origin.received_ns
        encoded = RecordEncoder(model.schema).encode([prediction], at + int(prediction.total * SECOND))
        self.log.append(self.log.head(model.scope), encoded)

    def feedback(self, feedback: Feedback, model: Model = IRIS) -> None:
        """Write what a caller said, at the time at which it came; `model` is the one that this server has then."""
        origin = feedback.origin
        encoded = encode_event(
            attributes=record_schema.feedback_attributes(model.schema, feedback),
            body=record_schema.feedback_body(model.schema, feedback),
            severity=record_schema.INFO,
            event_name=record_schema.FEEDBACK_EVENT,
            time_ns=origin.received_ns,
            observed_ns=origin.received_ns + SECOND // 1000,
            trace=(origin.trace_id, origin.span_id, bool(origin.kept)),
        )
        self.log.append(self.log.head(model.scope), [encoded])

    def status(self, minute: int, **says: float) -> None:
        """Write a status event in the last second of a minute."""
        self.now = BEGIN + (minute + 1) * MINUTE - SECOND
        self.log.status(Status(**says))  # type: ignore[arg-type]

    def crash(self, minute: int) -> None:
        """Close it as the next process does."""
        self.now = BEGIN + (minute + 1) * MINUTE - SECOND
        pairs: dict[str, object] = {"prediction.stream.reason": "crash", "event.name": stream_events.CLOSED}
        closing = encode_event(
            attributes=pairs,
            body="stream closed: crash",
            severity=record_schema.WARN,
            event_name=stream_events.CLOSED,
            time_ns=self.now,
            observed_ns=self.now,
        )
        self.log.append(self.log.event_head, [closing])


def facts(lines: list[bytes]) -> list[Fact]:
    """Return the records of lines: their attributes, resource and scope among them, with their names in Loki."""
    found = []
    for line in lines:
        for resource in json.loads(line)["resourceLogs"]:
            (scope,) = resource["scopeLogs"]
            shared = [*resource["resource"]["attributes"], *scope["scope"]["attributes"]]
            for each in scope["logRecords"]:
                values = {pair["key"].replace(".", "_"): _value(pair["value"]) for pair in shared + each["attributes"]}
                more = {"trace_id": each.get("traceId"), "flags": each.get("flags")}
                values |= {name: value for name, value in more.items() if value is not None}
                found.append(Fact(int(each["timeUnixNano"]), each["body"]["stringValue"], values))
    return found


def _value(typed: dict[str, Any]) -> Any:  # noqa: ANN401 - any attribute
    ((kind, value),) = typed.items()
    return int(value) if kind == "intValue" else value
