"""Codecs of the calls that predict: decode a body to an inference request, encode a reply to an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from predictor.api.answers import NO_STORE, Answer, Headers, identify
from predictor.api.dataplane import InferRequest, Reply
from predictor.api.json_body import JSON, BodyHead, check_head, check_size, encode
from predictor.api.pattern import tensors
from predictor.api.pattern.rows import RowDecoder
from predictor.api.problem_details import encode_problem, own_fault
from predictor.core.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from predictor.api.dataplane import Codec
    from predictor.api.slices import Slices
    from predictor.core.result import Prediction, Rows, Tensors
    from predictor.inference.model import Model
    from predictor.inference.signature import TensorSpec
    from predictor.serving.job import Job

    Payload = Callable[[Job], msgspec.Struct]
    Decode = Callable[[bytes], Rows]
    DecodeInSlices = Callable[[bytes], Slices[Rows]]

_BODY_BYTES = "PREDICTOR_BODY_BYTES"
_MATRIX = 2
"""Axes: rows and columns."""
CALLS = (
    ("POST", "/predict"),
    ("POST", "/predict/batch"),
    ("GET", "/predict/test"),
    ("POST", "/predict/label"),
    ("GET", "/predict/test/label"),
)
"""Method and path of each call of the pattern; a model that gives no label has no codec for the last two."""


class OneRow(msgspec.Struct, gc=False):
    """The answer to one row: probabilities in the order of the labels, other numbers in their order, or the label."""

    job_id: str
    prediction: list[float] | str
    is_outlier: bool | None
    outlier_score: float | None
    label: str | msgspec.UnsetType = msgspec.UNSET
    """Of a model that gives a label without probabilities."""


class BatchRow(msgspec.Struct, gc=False):
    """One row of a batch."""

    prediction: list[float] | str
    is_outlier: bool | None
    outlier_score: float | None
    label: str | msgspec.UnsetType = msgspec.UNSET


class ManyRows(msgspec.Struct):
    """The answer to a batch, in the order of its rows."""

    job_id: str
    predictions: list[BatchRow]


class PatternCodec:
    """A call of the prediction log pattern."""

    takes_body = True

    def __init__(self, decode: Decode, payload: Payload, body_bytes: int, in_slices: DecodeInSlices) -> None:
        """Take what makes rows of a body (raises Problem), what makes an answer of a job, and the largest body.

        `in_slices` makes the same rows, slice by slice.
        """
        self._decode = decode
        self._in_slices = in_slices
        self._payload = payload
        self.body_bytes = body_bytes

    def check(self, head: BodyHead) -> None:
        """Refuse what is not declared as JSON, or too large; raises Problem."""
        check_head(head, self.body_bytes, _BODY_BYTES)

    def decode(self, head: BodyHead, body: bytes) -> InferRequest | Problem:  # noqa: ARG002 - JSON is UTF-8 always
        """Return the rows of a body."""
        try:
            check_size(len(body), self.body_bytes, _BODY_BYTES)
            return InferRequest(self._decode(body))
        except Problem as problem:
            return problem

    def decode_in_slices(self, head: BodyHead, body: bytes) -> Slices[InferRequest | Problem]:  # noqa: ARG002 - as above
        """Return the rows of a large body, slice by slice."""
        try:
            check_size(len(body), self.body_bytes, _BODY_BYTES)
            return InferRequest((yield from self._in_slices(body)))
        except Problem as problem:
            return problem

    def encode(self, reply: Reply) -> Answer:
        """Return the predictions, or the problem."""
        origin = reply.context.origin
        job = reply.job
        if job is None:
            answer = encode_problem(reply.problem or own_fault(), reply.context.path)
            identify(answer.headers, origin)
            return answer
        headers: Headers = [("Content-Type", JSON), NO_STORE]
        if not job.logged:
            headers.append(("X-Prediction-Logged", "false"))
        headers.append(("X-Trace-Id", origin.trace_id))
        if origin.request_id:
            headers.append(("X-Request-Id", origin.request_id))
        return Answer(200, headers, (encode(self._payload(job)),))


class BatchCodec(PatternCodec):
    """The call for many rows: the matrix that their numbers were checked as is given to the model, if it takes one."""

    def __init__(self, decoder: RowDecoder, payload: Payload, body_bytes: int, takes: TensorSpec | None) -> None:
        """Take what makes rows of a body, and the model's input if that is one matrix of float32."""
        super().__init__(decoder.rows, payload, body_bytes, decoder.in_slices)
        self._table = decoder.table
        self._takes = takes.name if takes else None

    def decode(self, head: BodyHead, body: bytes) -> InferRequest | Problem:  # noqa: ARG002 - JSON is UTF-8 always
        """Return the rows of a body."""
        try:
            check_size(len(body), self.body_bytes, _BODY_BYTES)
            rows, numbers = self._table(body)
        except Problem as problem:
            return problem
        if numbers is None or self._takes is None:
            return InferRequest(rows)
        return InferRequest(rows, {self._takes: numbers.astype(np.float32)})


class SampleCodec(PatternCodec):
    """A call that predicts the model's sample, whatever body it has."""

    takes_body = False

    def __init__(self, sample: InferRequest, payload: Payload) -> None:
        """Take the sample."""
        super().__init__(lambda _: sample.rows, payload, 0, _nothing)
        self._sample = sample

    def check(self, head: BodyHead) -> None:
        """Take any body: it is not read."""

    def decode(self, head: BodyHead, body: bytes) -> InferRequest | Problem:  # noqa: ARG002 - see the class
        """Return the sample."""
        return self._sample


def _nothing(_: bytes) -> Slices[Rows]:
    """Return no rows: what takes no body is never asked."""
    yield
    return []


class TensorCodec(PatternCodec):
    """The call of a model that takes tensors, small ones: what is large has better forms than JSON."""

    def __init__(self, decoder: tensors.TensorDecoder, body_bytes: int) -> None:
        """Take what makes a request of a body (raises Problem), and the largest body."""
        super().__init__(lambda body: decoder.request(body).rows, tensors.payload, body_bytes, _nothing)
        self._decoder = decoder

    def decode(self, head: BodyHead, body: bytes) -> InferRequest | Problem:  # noqa: ARG002 - JSON is UTF-8 always
        """Return the tensors of a body."""
        try:
            check_size(len(body), self.body_bytes, _BODY_BYTES)
            return self._decoder.request(body)
        except Problem as problem:
            return problem

    def decode_in_slices(self, head: BodyHead, body: bytes) -> Slices[InferRequest | Problem]:  # noqa: ARG002 - as above
        """Return the tensors of a large body, slice by slice."""
        try:
            check_size(len(body), self.body_bytes, _BODY_BYTES)
            return (yield from self._decoder.in_slices(body))
        except Problem as problem:
            return problem


def codecs(model: Model, *, batch_rows: int, body_bytes: int) -> dict[tuple[str, str], Codec]:
    """Return the codec of each call, by method and path; a model without labels has no calls for them."""
    if model.tensors:
        return _of_tensors(model, model.tensors.sample, batch_rows, body_bytes)
    about = model.description
    decoder = RowDecoder(about.columns, batch_rows, about.key.place if about.key else None)
    sample = InferRequest([[each.sample for each in (*about.features, *([about.key] if about.key else ()))]])
    labels = about.labels
    one, many = (_labelled, _labelled_batch) if about.gives == "label" else (_numbers, _batch)

    def label(job: Job) -> OneRow:
        p = job.predictions[0]
        return OneRow(job.job_id, labels[p.label] if isinstance(p.label, int) else p.label or "", p.outlier, p.score)

    found: dict[tuple[str, str], Codec] = {
        ("POST", "/predict"): PatternCodec(decoder.row, one, body_bytes, decoder.row_in_slices),
        ("POST", "/predict/batch"): BatchCodec(decoder, many, body_bytes, _matrix(model)),
        ("GET", "/predict/test"): SampleCodec(sample, one),
    }
    if about.gives != "values":
        found["POST", "/predict/label"] = PatternCodec(decoder.row, label, body_bytes, decoder.row_in_slices)
        found["GET", "/predict/test/label"] = SampleCodec(sample, label)
    return found


def _matrix(model: Model) -> TensorSpec | None:
    """Return the model's input if it is one matrix of float32."""
    first, *others = model.signature.inputs
    return first if not others and first.datatype == "FP32" and len(first.shape) == _MATRIX else None


def _of_tensors(model: Model, sample: Tensors | None, rows: int, body_bytes: int) -> dict[tuple[str, str], Codec]:
    """Return the calls of a model that takes tensors; its sample has one if a request is known that it takes."""
    decoder = tensors.TensorDecoder(model, rows)
    found: dict[tuple[str, str], Codec] = {("POST", "/predict"): TensorCodec(decoder, body_bytes)}
    if sample is not None:
        found["GET", "/predict/test"] = SampleCodec(InferRequest([], sample, 1, own_outputs=True), tensors.payload)
    return found


def _numbers(job: Job) -> OneRow:
    p = job.predictions[0]
    return OneRow(job.job_id, p.probabilities or p.values or [], p.outlier, p.score)


def _batch(job: Job) -> ManyRows:
    many = job.many
    if many is None:
        return ManyRows(job.job_id, [_item(p) for p in job.predictions])
    numbers = many.probabilities or many.values or []
    if many.outliers is None or many.scores is None:
        return ManyRows(job.job_id, [BatchRow(each, None, None) for each in numbers])
    return ManyRows(job.job_id, list(map(BatchRow, numbers, many.outliers, many.scores)))


def _item(p: Prediction) -> BatchRow:
    return BatchRow(p.probabilities or p.values or [], p.outlier, p.score)


def _labelled(job: Job) -> OneRow:
    p = job.predictions[0]
    text = str(p.label)
    return OneRow(job.job_id, p.values or text, p.outlier, p.score, text)


def _labelled_batch(job: Job) -> ManyRows:
    items = [BatchRow(p.values or str(p.label), p.outlier, p.score, str(p.label)) for p in job.predictions]
    return ManyRows(job.job_id, items)
