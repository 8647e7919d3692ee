"""`POST /v1/models/{model}:predict`: instances, a row each, and a prediction for each of them.

An instance of a table is a list in the order of the features, or an object by their names; of a model of tensors it is
the input's own value, or an object by the names of the inputs. A prediction is the output's value for that row, or an
object by the names of the outputs if there are several.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from predictor.api.answers import NO_STORE, Answer
from predictor.api.dataplane import InferRequest
from predictor.api.json_body import JSON, check_size, encode, undecodable
from predictor.api.pattern.rows import RowDecoder
from predictor.api.tensor_requests import TensorRequests
from predictor.api.v2.codec import BODY_BYTES, ProtocolCodec
from predictor.api.v2.tensor_data import from_nested
from predictor.core.problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from predictor.api.json_body import BodyHead
    from predictor.api.slices import Slices
    from predictor.inference.model import Model
    from predictor.inference.signature import TensorSpec
    from predictor.serving.job import Job

CALLS = (("POST", "/v1/models/{model}:predict"),)
_WANTED = '{"instances": […]}'
_FIELD_OF_PATTERN = re.compile(r'^data(?= has|\[)|(?<=\{")data(?=": )|(?<=`\$\.)data')


class PredictCodec(ProtocolCodec):
    """The call that predicts, of one model version."""

    def __init__(self, model: Model, *, batch_rows: int, body_bytes: int) -> None:
        """Take the model, how many rows a request may have, and the largest body."""
        super().__init__(body_bytes)
        self._outputs = tuple(spec.name for spec in model.own_outputs)
        table = model.tensors is None
        self._requests = _Rows(model, batch_rows).requests if table else _Tensors(model, batch_rows).requests

    def decode_in_slices(self, head: BodyHead, body: bytes) -> Slices[InferRequest | Problem]:  # noqa: ARG002 - JSON is UTF-8 always
        """Return what a body asks for, slice by slice."""
        try:
            check_size(len(body), self.body_bytes, BODY_BYTES)
            try:
                instances = bytes(_read(body).instances)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise undecodable(body, error, _WANTED) from None
            return (yield from self._requests(instances))
        except Problem as problem:
            return problem

    def answer(self, job: Job) -> Answer:
        """Return the predictions."""
        return Answer(200, [("Content-Type", JSON), NO_STORE], (encode({"predictions": self._predictions(job)}),))

    def _predictions(self, job: Job) -> list[Any]:
        parts = job.outputs or {}
        columns = [parts[name].tolist() for name in self._outputs]
        if len(columns) == 1:
            only: list[Any] = columns[0]
            return only
        return [dict(zip(self._outputs, values, strict=True)) for values in zip(*columns, strict=True)]


class _Body(msgspec.Struct):
    instances: msgspec.Raw


_read = msgspec.json.Decoder(_Body).decode


class _Rows:
    """Makes requests of a model of rows: as those of the pattern, whose bodies have another field."""

    def __init__(self, model: Model, most: int) -> None:
        about = model.description
        self._decoder = RowDecoder(about.columns, most, about.key.place if about.key else None)

    def requests(self, instances: bytes) -> Slices[InferRequest]:
        """Return what the instances are; raises Problem."""
        try:
            rows = yield from self._decoder.in_slices(b'{"data":%b}' % instances)
        except Problem as problem:
            raise Problem(problem.kind, _FIELD_OF_PATTERN.sub("instances", problem.detail)) from None
        return InferRequest(rows, own_outputs=True)


class _Tensors:
    """Makes requests of a model of tensors."""

    def __init__(self, model: Model, most: int) -> None:
        self._requests = TensorRequests(model, most)
        self._specs = tuple(model.signature.inputs)
        self._row_axis = model.tensors is not None and model.tensors.row_axis
        self._read_many = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode

    def requests(self, instances: bytes) -> Slices[InferRequest]:
        """Return what the instances are; raises Problem."""
        if not self._row_axis:
            detail = "this model has no rows that instances could be; wanted POST /v2/models/{model}/infer"
            raise Problem(Kind.INVALID_DATA, detail)
        found = {}
        try:
            for spec, values in self._lists(instances):
                found[spec.name] = yield from from_nested(values, spec.datatype, len(spec.shape))
        except (ValueError, msgspec.ValidationError) as error:
            raise Problem(Kind.INVALID_DATA, f"instances {_said(error)}; wanted {self._requests.wanted()}") from None
        return self._requests.request(found)

    def _lists(self, instances: bytes) -> Iterator[tuple[TensorSpec, bytes]]:
        """Yield the values of each input, for all instances."""
        if len(self._specs) == 1:
            yield self._specs[0], instances
            return
        objects = self._read_many(instances)
        for spec in self._specs:
            if any(spec.name not in each for each in objects):
                raise Problem(Kind.INVALID_DATA, f"an instance lacks {spec.name!r}; wanted {self._requests.wanted()}")
            yield spec, b"[%b]" % b",".join([bytes(each[spec.name]) for each in objects])


def _said(error: Exception) -> str:
    return f"have other data: {error}" if isinstance(error, msgspec.MsgspecError) else str(error)
