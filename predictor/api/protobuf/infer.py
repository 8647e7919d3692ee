"""`ModelInfer`: requests and answers as messages, with the data of tensors raw (bytes) or typed (repeated fields)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from predictor.api.json_body import check_size
from predictor.api.protobuf.contents import FIELDS, from_contents, to_contents
from predictor.api.protobuf.messages import ModelInferRequest, ModelInferResponse
from predictor.api.slices import at_once
from predictor.api.tensor_requests import TensorRequests
from predictor.api.v2.messages import MOST_AXES, MOST_ID, given_twice, refuse_unserved, unfit_data, unknown_output
from predictor.api.v2.tensor_data import binary_size, from_binary, to_binary
from predictor.core.problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from predictor.api.dataplane import InferRequest
    from predictor.api.slices import Slices
    from predictor.inference.model import Model
    from predictor.serving.job import Job

_BODY_BYTES = "PREDICTOR_BODY_BYTES"


class MessageForm(NamedTuple):
    """What a request says of its answer."""

    outputs: tuple[str, ...]
    raw: bool
    """Whether the data of all outputs are bytes: the protocol lets no message have both forms."""


def parse(body: bytes) -> Any:  # noqa: ANN401 - protobuf ships no types
    """Return a `ModelInferRequest`; raises Problem for bytes that are none."""
    return parsed(ModelInferRequest, body)


def parsed(kind: Any, body: bytes) -> Any:  # noqa: ANN401 - protobuf's
    """Return a message of one kind; raises Problem for bytes that are none."""
    try:
        return kind.FromString(body)
    except Exception:  # noqa: BLE001 - DecodeError, RuntimeError or ValueError, by the library's version and backend
        detail = f"the message cannot be parsed; wanted {kind.DESCRIPTOR.full_name}"
        raise Problem(Kind.BAD_REQUEST, detail) from None


def id_of(message: Any) -> str | None:  # noqa: ANN401 - protobuf's
    """Return what the caller calls a request, if it is what a record can have."""
    found: str = message.id
    return found if 0 < len(found) <= MOST_ID else None


class InferMessages:
    """Reads requests to infer, and makes their answers, for one model version."""

    def __init__(self, model: Model, *, batch_rows: int, body_bytes: int) -> None:
        """Take the model, how many rows a request may have, and the largest message."""
        self.body_bytes = body_bytes
        self._requests = TensorRequests(model, batch_rows)
        self._name = model.description.name
        self._version = model.description.version
        self._datatypes = {spec.name: spec.datatype for spec in model.own_outputs}

    def check(self, size: int) -> None:
        """Refuse a message of so many bytes if it is too large; raises Problem."""
        check_size(size, self.body_bytes, _BODY_BYTES)

    def decode(self, message: Any) -> InferRequest | Problem:  # noqa: ANN401 - protobuf's
        """Return what a message asks for."""
        return at_once(self.decode_in_slices(message))

    def decode_in_slices(self, message: Any) -> Slices[InferRequest | Problem]:  # noqa: ANN401 - protobuf's
        """Return the same, slice by slice."""
        try:
            refuse_unserved(message.parameters)
            form = self._form(message)
            tensors = yield from self._tensors(message)
            return self._requests.request(tensors, request_id=id_of(message), form=form, checked=True)
        except Problem as problem:
            problem.infer_id = id_of(message)
            return problem

    def answer_bytes(self, job: Job) -> int:
        """Return about how many bytes `encode` makes."""
        form: MessageForm = job.form
        parts = job.outputs or {}
        return sum(binary_size(parts[name]) for name in form.outputs)

    def encode(self, job: Job) -> bytes:
        """Return the answer, with the outputs that are wanted."""
        form: MessageForm = job.form
        parts = job.outputs or {}
        message = ModelInferResponse(model_name=self._name, model_version=self._version, id=job.origin.infer_id or "")
        message.parameters["job_id"].string_param = job.job_id
        for name in form.outputs:
            part, datatype = parts[name], self._datatypes[name]
            contents = None if form.raw else to_contents(part, datatype)
            message.outputs.add(name=name, datatype=datatype, shape=part.shape, contents=contents)
            if form.raw:
                message.raw_output_contents.append(bytes(to_binary(part)))
        found: bytes = message.SerializeToString()
        return found

    def _tensors(self, message: Any) -> Slices[dict[str, NDArray[Any]]]:  # noqa: ANN401 - protobuf's
        raw = message.raw_input_contents
        if raw and len(raw) != len(message.inputs):
            detail = f"there are {len(raw)} raw_input_contents for {len(message.inputs)} inputs; wanted one for each"
            raise Problem(Kind.INVALID_DATA, detail)
        found: dict[str, NDArray[Any]] = {}
        for place, tensor in enumerate(message.inputs):
            name, datatype, shape = tensor.name, tensor.datatype, [*tensor.shape]
            refuse_unserved(tensor.parameters)
            if name in found:
                raise given_twice(name)
            if len(shape) > MOST_AXES or any(size < 0 for size in shape):
                detail = (
                    f"the input {name!r} has the shape {shape[:MOST_AXES]}; wanted at most {MOST_AXES} sizes from 0"
                )
                raise Problem(Kind.INVALID_DATA, detail)
            self._requests.check(name, datatype, shape)
            try:
                if not raw:
                    found[name] = yield from from_contents(tensor.contents, datatype, shape)
                elif tensor.HasField("contents"):
                    raise unfit_data(name, datatype, shape, "has both contents and raw_input_contents")
                else:
                    found[name] = yield from from_binary(memoryview(raw[place]), datatype, shape)
            except ValueError as error:
                raise unfit_data(name, datatype, shape, str(error)) from None
        return found

    def _form(self, message: Any) -> MessageForm:  # noqa: ANN401 - protobuf's
        if len(message.id) > MOST_ID:
            raise Problem(Kind.INVALID_DATA, f"the id has more than {MOST_ID} characters")
        names = tuple(self._wanted(message)) or (*self._datatypes,)
        raw = bool(message.raw_input_contents) or any(self._datatypes[name] not in FIELDS for name in names)
        return MessageForm(names, raw)

    def _wanted(self, message: Any) -> Iterator[str]:  # noqa: ANN401 - protobuf's
        found: set[str] = set()
        for output in message.outputs:
            refuse_unserved(output.parameters)
            if output.name not in self._datatypes:
                raise unknown_output(output.name, self._datatypes)
            if output.name in found:  # each time would cost its bytes again
                raise given_twice(output.name, "output")
            found.add(output.name)
            yield output.name
