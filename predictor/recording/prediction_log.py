"""The prediction log of one model: encodes its records and appends them to the process's stream."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from predictor.core.ids import uuid7
from predictor.core.rate_limit import TokenBucket
from predictor.core.result import Feedback, ManyPredictions, Origin, Prediction
from predictor.outbox import OutboxError
from predictor.recording import record_schema
from predictor.recording.encoder import RecordEncoder, encode_event
from predictor.recording.rows_encoder import RowsEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from predictor.core.problems import Kind
    from predictor.core.result import Tensors, TensorTexts
    from predictor.outbox import Outbox
    from predictor.recording.record_schema import Schema
    from predictor.recording.stream import LogStream
    from predictor.recording.tensor_texts import TensorRecorder

_REFUSALS_A_SECOND = 10
"""Records of requests refused before their rows were known: enough to see them, too few to fill a disk with."""

RECORD_BYTES = 16 << 10
_LINE_BYTES = 8 << 20
"""As much as is sent at once; a batch of records with tensors may be much more."""
_SAY_AGAIN = 3600.0
"""Seconds after which the log says again what its model is: who reads an hour of it has it there."""

_WHY = {
    "bytes": "the outbox is full and the sink does not take its records (PREDICTOR_OUTBOX_BYTES)",
    "disk": "the disk of the outbox fails; the server's log says how",
    "sync": "the disk of the outbox is too slow; the server's log says more",
}


class RefusalCounter:
    """Counts what is refused without a record, and bounds what gets one; one for the process."""

    def __init__(self) -> None:
        """Start at zero."""
        self.unrecorded = 0
        self._rate = TokenBucket(_REFUSALS_A_SECOND, _REFUSALS_A_SECOND)

    def may_record(self) -> bool:
        """Tell whether one more refusal may have its record now; count it if not."""
        if not self._rate.take(1):
            return True
        self.unrecorded += 1
        return False


class PredictionLog:
    """Writes predictions of one model; see `contracts.PredictionWriter`."""

    def __init__(
        self,
        schema: Schema,
        scope: dict[str, str],
        stream: LogStream,
        outbox: Outbox,
        refusals: RefusalCounter,
        *,
        refuses: bool,
        waits: bool,
        about: Callable[[], bytes] | None = None,
        tensors: TensorRecorder | None = None,
        record_bytes: int = RECORD_BYTES,
    ) -> None:
        """Take the model's schema and scope attributes; `waits` is fsync mode `batch`.

        `about` makes the record of what the model is; `tensors` is there if it takes tensors.
        A record of many rows has at most `record_bytes` of them.
        """
        self._schema = schema
        self._encoder = RecordEncoder(schema)
        self._encode_many = (
            RowsEncoder(schema, record_bytes, self._encoder).encode if schema.many_rows else self._encoder.encode_rows
        )
        self._head = stream.head(scope)
        self._stream = stream
        self._outbox = outbox
        self._refusals = refusals
        self._refuses = refuses
        self._about = about
        self._tensors = tensors
        self._said = -_SAY_AGAIN
        self.waits = waits

    def refuse_if_full(self) -> str | None:
        """Return why a prediction would be refused now, counting it, or None."""
        reason = self._outbox.full if self._refuses else None
        if reason is None:
            return None
        self._refusals.unrecorded += 1
        return _WHY[reason]

    def write(self, predictions: Sequence[Prediction | ManyPredictions]) -> bool:
        """Write one record a prediction, or as few as hold many; False if declared lost.

        Raises OutboxError under the policy `refuse`.
        """
        now_ns = time.time_ns()
        rows = None
        if ManyPredictions in map(type, predictions):
            records = [record for each in predictions for record in self._records(each, now_ns)]
            rows = sum(map(_rows_of, predictions))
        else:
            records = self._encoder.encode(cast("Sequence[Prediction]", predictions), now_ns)
        logged = self._append(records, rows)
        for prediction in predictions:
            prediction.origin.recorded = logged
        return logged

    def _records(self, prediction: Prediction | ManyPredictions, now_ns: int) -> Sequence[bytes]:
        if isinstance(prediction, ManyPredictions):
            return self._encode_many(prediction, now_ns)
        return self._encoder.encode([prediction], now_ns)

    def describe(self, inputs: Tensors, outputs: Tensors | None, *, brief: bool = False) -> Sequence[TensorTexts]:
        """Return what the records of a request have of its tensors: if `brief`, of large ones their shapes only."""
        return self._tensors.texts(inputs, outputs, brief=brief) if self._tensors else ()

    def write_feedback(self, feedback: Feedback) -> bool:
        """Write the record of what a caller said; answers and raises as `write` does."""
        origin = feedback.origin
        whole = encode_event(
            attributes=record_schema.feedback_attributes(self._schema, feedback),
            body=record_schema.feedback_body(self._schema, feedback),
            severity=record_schema.INFO,
            event_name=record_schema.FEEDBACK_EVENT,
            time_ns=origin.received_ns,
            observed_ns=time.time_ns(),
            trace=(origin.trace_id, origin.span_id, bool(origin.kept)),
        )
        origin.recorded = self._append([whole])
        return origin.recorded

    def refused(self, origin: Origin, error: Kind) -> Prediction | None:
        """Record a request that was refused before its rows were known, and return that, unless there are too many."""
        if not self._refusals.may_record():
            return None
        total = time.monotonic() - origin.received
        refusal = Prediction(uuid7(origin.received_ns), origin, total=total, error=error)
        try:
            self.write([refusal])
        except OutboxError:
            return None  # counted
        return refusal

    def _append(self, records: Sequence[bytes], rows: int | None = None) -> bool:
        now = time.monotonic()
        # Of a log that takes nothing it would only be one more record that is lost.
        say = self._about and now - self._said >= _SAY_AGAIN and self._outbox.full is None
        whole = [self._about(), *records] if say and self._about else records
        taken, written = True, 0
        try:
            for line in _lines(whole) if self._tensors else (whole,):
                taken = self._stream.append(self._head, line) and taken
                written += len(line)
        except OutboxError:
            left = len(whole) - max(written, len(whole) - len(records))
            self._refusals.unrecorded += left if rows is None else rows
            raise
        if say and taken:
            self._said = now
        return taken

    async def synced(self) -> None:
        """Return when what was written is on disk; raises OutboxError."""
        await self._outbox.synced()


def _rows_of(prediction: Prediction | ManyPredictions) -> int:
    return len(prediction.features) if isinstance(prediction, ManyPredictions) else 1


def _lines(records: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Yield records in parts that make lines of no more than a few mebibytes: whoever reads one holds all of it.

    A part that is written stays, if the next one cannot be: its callers get the answer that nothing was done, and its
    records hold what would have been answered.
    """
    begin = size = 0
    for at, record in enumerate(records):
        size += len(record)
        if size > _LINE_BYTES and at > begin:
            yield records[begin:at]
            begin, size = at, len(record)
    yield records[begin:]


class NoPredictionLog:
    """In the place of a log where PREDICTOR_LOG is off: takes every prediction and writes none."""

    waits = False

    def refuse_if_full(self) -> str | None:
        """Refuse nothing."""

    def write(self, predictions: Sequence[Prediction | ManyPredictions]) -> bool:  # noqa: ARG002 - they go nowhere
        """Write nothing; no answer reports a loss, since no caller was promised a record."""
        return True

    def describe(self, inputs: Tensors, outputs: Tensors | None, *, brief: bool = False) -> Sequence[TensorTexts]:  # noqa: ARG002
        """Describe nothing."""
        return ()

    async def synced(self) -> None:
        """Have nothing to wait for."""
