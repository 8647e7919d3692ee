"""`POST /v2/models/{model}/infer`: requests and answers in JSON, with the data of tensors in it or behind it.

Behind the JSON (the binary tensor data extension) `Inference-Header-Content-Length` is the length of the JSON, and the
tensors whose parameters have a `binary_data_size` follow in their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from predictor.api.answers import NO_STORE, Answer, Headers
from predictor.api.json_body import JSON, JSON_LENGTH, check_size, encode
from predictor.api.tensor_requests import TensorRequests
from predictor.api.v2.codec import BODY_BYTES, ProtocolCodec
from predictor.api.v2.messages import given_twice, read, unfit_data, unknown_output
from predictor.api.v2.tensor_data import from_binary, from_json, to_binary, to_json
from predictor.core.problems import Kind, Problem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from predictor.api.dataplane import InferRequest
    from predictor.api.json_body import BodyHead
    from predictor.api.slices import Slices
    from predictor.api.v2.messages import InferMessage, InputTensor
    from predictor.inference.model import Model
    from predictor.serving.job import Job

CALLS = (("POST", "/v2/models/{model}/infer"), ("POST", "/v2/models/{model}/versions/{version}/infer"))
_BINARY = "application/octet-stream"
_ABSENT = {b"", b"null"}
_DIGITS = 20
"""More than a length has; so much of a wrong one is repeated."""


class Wanted(NamedTuple):
    """An output that the answer has, and whether behind the JSON."""

    name: str
    binary: bool


class AnswerForm(NamedTuple):
    """What a request says of its answer."""

    outputs: tuple[Wanted, ...]


class InferCodec(ProtocolCodec):
    """The call that infers, of one model version."""

    def __init__(self, model: Model, *, batch_rows: int, body_bytes: int) -> None:
        """Take the model, how many rows a request may have, and the largest body."""
        super().__init__(body_bytes)
        self._requests = TensorRequests(model, batch_rows)
        self._name = model.description.name
        self._version = model.description.version
        self._datatypes = {spec.name: spec.datatype for spec in model.own_outputs}
        self._all = tuple(
            AnswerForm(tuple(Wanted(name, behind) for name in self._datatypes)) for behind in (False, True)
        )

    def decode_in_slices(self, head: BodyHead, body: bytes) -> Slices[InferRequest | Problem]:
        """Return what a body asks for, slice by slice."""
        message = None
        try:
            check_size(len(body), self.body_bytes, BODY_BYTES)
            length = _json_length(head, body)
            message = read(memoryview(body)[:length] if length < len(body) else body)
            tensors = yield from self._tensors(message.inputs, memoryview(body)[length:])
            return self._requests.request(tensors, request_id=message.id, form=self._form(message), checked=True)
        except Problem as problem:
            if message:
                problem.infer_id = message.id
            return problem

    def answer(self, job: Job) -> Answer:
        """Return the outputs that are wanted."""
        outputs, binary = self._outputs(job)
        message: dict[str, Any] = {"model_name": self._name, "model_version": self._version}
        if job.origin.infer_id is not None:
            message["id"] = job.origin.infer_id
        text = encode(message | {"parameters": {"job_id": job.job_id}, "outputs": outputs})
        headers: Headers = [("Content-Type", _BINARY if binary else JSON), NO_STORE]
        if binary:
            headers.append((JSON_LENGTH, str(len(text))))
        return Answer(200, headers, (text, *binary))

    def _tensors(self, inputs: list[InputTensor], binary: memoryview) -> Slices[dict[str, NDArray[Any]]]:
        found: dict[str, NDArray[Any]] = {}
        at = 0
        for tensor in inputs:
            if tensor.name in found:
                raise given_twice(tensor.name)
            self._requests.check(tensor.name, tensor.datatype, tensor.shape)
            size = (tensor.parameters or {}).get("binary_data_size")
            try:
                if size is None:
                    found[tensor.name] = yield from _of_json(tensor)
                else:
                    found[tensor.name] = yield from _of_binary(tensor, size, binary[at:])
                    at += size
            except (ValueError, msgspec.ValidationError) as error:
                raise unfit_data(tensor.name, tensor.datatype, tensor.shape, _said(error)) from None
        if at != len(binary):
            detail = f"{len(binary)} bytes follow the JSON, but the inputs' binary_data_size are {at} together"
            raise Problem(Kind.INVALID_DATA, detail)
        return found

    def _form(self, message: InferMessage) -> AnswerForm:
        default = (message.parameters or {}).get("binary_data_output") is True
        if not message.outputs:
            return self._all[default]
        found: dict[str, Wanted] = {}
        for output in message.outputs:
            if output.name not in self._datatypes:
                raise unknown_output(output.name, self._datatypes)
            if output.name in found:  # each time would cost its bytes again
                raise given_twice(output.name, "output")
            behind = (output.parameters or {}).get("binary_data", default) is True
            found[output.name] = Wanted(output.name, behind)
        return AnswerForm(tuple(found.values()))

    def _outputs(self, job: Job) -> tuple[list[dict[str, Any]], list[bytes | memoryview]]:
        """Return the outputs as JSON has them, and the data behind it."""
        parts = job.outputs or {}
        outputs, binary = [], []
        for name, behind in job.form.outputs:
            part = parts[name]
            output = {"name": name, "datatype": self._datatypes[name], "shape": list(part.shape)}
            if behind:
                data = to_binary(part)
                binary.append(data)
                output["parameters"] = {"binary_data_size": len(data)}
            else:
                output["data"] = to_json(part)
            outputs.append(output)
        return outputs, binary


def _json_length(head: BodyHead, body: bytes) -> int:
    """Return how many bytes of a body are JSON; raises Problem."""
    declared = head.json_length
    if declared is None:
        return len(body)
    length = int(declared) if declared.isascii() and declared.isdigit() and len(declared) < _DIGITS else len(body) + 1
    if length > len(body):
        detail = f"{JSON_LENGTH} is {declared[:_DIGITS]!r}, wanted a number up to the {len(body)} bytes of the body"
        raise Problem(Kind.INVALID_DATA, detail)
    return length


def _of_json(tensor: InputTensor) -> Slices[NDArray[Any]]:
    data = bytes(tensor.data)
    if data in _ABSENT:
        msg = "has neither data nor binary_data_size"
        raise ValueError(msg)
    return from_json(data, tensor.datatype, tensor.shape)


def _of_binary(tensor: InputTensor, size: object, rest: memoryview) -> Slices[NDArray[Any]]:
    if bytes(tensor.data) not in _ABSENT:
        msg = "has both data and binary_data_size"
        raise ValueError(msg)
    if not isinstance(size, int) or not 0 <= size <= len(rest):
        msg = f"has binary_data_size {str(size)[:_DIGITS]}, but {len(rest)} bytes are left after the JSON"
        raise ValueError(msg)
    return from_binary(rest[:size], tensor.datatype, tensor.shape)


def _said(error: Exception) -> str:
    return f"has other data: {error}" if isinstance(error, msgspec.MsgspecError) else str(error)
