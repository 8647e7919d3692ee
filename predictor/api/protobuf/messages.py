"""Messages and methods of `inference.GRPCInferenceService`, with the names and numbers that its clients have.

Sources: `open_inference_grpc.proto` of https://github.com/kserve/open-inference-protocol, `grpc_predict_v2.proto` of
KServe, and `grpc_service.proto` of Triton for what those two lack. In one thing KServe and Triton differ: the messages
of the calls that load and unload; below they are what both can read and write.

Classes are made of the table when this is imported, in a pool of their own: no generated file that would fit some
versions of protobuf only, and no clash with another package's messages of the same names.
docs/schema/open_inference.proto is the same table, for those who generate a client (`python -m scripts.grpc_schema`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
FILE = "open_inference.proto"
METHODS = (
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
    "RepositoryIndex",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
)
"""Each takes the message of its name with `Request` behind it, and gives that with `Response`."""
_TENSOR = ("string name = 1", "string datatype = 2", "repeated int64 shape = 3")
_PARAMETERS = "map<string, InferParameter> parameters = 4"
MESSAGES: dict[str, tuple[str, ...]] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("bool live = 1",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("bool ready = 1",),
    "ModelReadyRequest": ("string name = 1", "string version = 2"),
    "ModelReadyResponse": ("bool ready = 1",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": ("string name = 1", "string version = 2", "repeated string extensions = 3"),
    "ModelMetadataRequest": ("string name = 1", "string version = 2"),
    "ModelMetadataResponse": (
        "string name = 1",
        "repeated string versions = 2",
        "string platform = 3",
        "repeated ModelMetadataResponse.TensorMetadata inputs = 4",
        "repeated ModelMetadataResponse.TensorMetadata outputs = 5",
    ),
    "ModelMetadataResponse.TensorMetadata": _TENSOR,
    "InferParameter": (
        "bool bool_param = 1",
        "int64 int64_param = 2",
        "string string_param = 3",
        "double double_param = 4",
        "uint64 uint64_param = 5",
    ),
    "InferTensorContents": (
        "repeated bool bool_contents = 1",
        "repeated int32 int_contents = 2",
        "repeated int64 int64_contents = 3",
        "repeated uint32 uint_contents = 4",
        "repeated uint64 uint64_contents = 5",
        "repeated float fp32_contents = 6",
        "repeated double fp64_contents = 7",
        "repeated bytes bytes_contents = 8",
    ),
    "ModelInferRequest": (
        "string model_name = 1",
        "string model_version = 2",
        "string id = 3",
        _PARAMETERS,
        "repeated ModelInferRequest.InferInputTensor inputs = 5",
        "repeated ModelInferRequest.InferRequestedOutputTensor outputs = 6",
        "repeated bytes raw_input_contents = 7",
    ),
    "ModelInferRequest.InferInputTensor": (*_TENSOR, _PARAMETERS, "InferTensorContents contents = 5"),
    "ModelInferRequest.InferRequestedOutputTensor": (
        "string name = 1",
        "map<string, InferParameter> parameters = 2",
    ),
    "ModelInferResponse": (
        "string model_name = 1",
        "string model_version = 2",
        "string id = 3",
        _PARAMETERS,
        "repeated ModelInferResponse.InferOutputTensor outputs = 5",
        "repeated bytes raw_output_contents = 6",
    ),
    "ModelInferResponse.InferOutputTensor": (*_TENSOR, _PARAMETERS, "InferTensorContents contents = 5"),
    "ModelRepositoryParameter": (
        "bool bool_param = 1",
        "int64 int64_param = 2",
        "string string_param = 3",
        "bytes bytes_param = 4",
    ),
    "RepositoryIndexRequest": ("string repository_name = 1", "bool ready = 2"),
    "RepositoryIndexResponse": ("repeated RepositoryIndexResponse.ModelIndex models = 1",),
    "RepositoryIndexResponse.ModelIndex": (
        "string name = 1",
        "string version = 2",
        "string state = 3",
        "string reason = 4",
    ),
    # Triton's has the model's name at 2, KServe's at 1, and nothing else.
    "RepositoryModelLoadRequest": (
        "string repository_name = 1",
        "string model_name = 2",
        "map<string, ModelRepositoryParameter> parameters = 3",
    ),
    # Triton's is empty.
    "RepositoryModelLoadResponse": ("string model_name = 1", "bool isLoaded = 2"),
    "RepositoryModelUnloadRequest": (
        "string repository_name = 1",
        "string model_name = 2",
        "map<string, ModelRepositoryParameter> parameters = 3",
    ),
    "RepositoryModelUnloadResponse": ("string model_name = 1", "bool isUnloaded = 2"),
}
"""The fields of each message as a `.proto` file has them; a name with a dot is that of a message in a message."""
ONE_OF = {"InferParameter": "parameter_choice", "ModelRepositoryParameter": "parameter_choice"}
"""Messages of which one field is set, and what the choice is called."""

_FIELD = re.compile(r"(repeated )?(map<string, )?([\w.]+)>? (\w+) = (\d+)")
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    word: getattr(_Field, f"TYPE_{word.upper()}")
    for word in ("bool", "int32", "int64", "uint32", "uint64", "float", "double", "string", "bytes")
}


def _described() -> Any:  # noqa: ANN401 - protobuf ships no types
    file = descriptor_pb2.FileDescriptorProto(name=FILE, package=PACKAGE, syntax="proto3")
    made: dict[str, Any] = {}
    for name, fields in MESSAGES.items():
        outer, _, inner = name.rpartition(".")
        message = made[name] = made[outer].nested_type.add() if outer else file.message_type.add()
        message.name = inner
        if choice := ONE_OF.get(name):
            message.oneof_decl.add(name=choice)
        for field in _fields(name, fields, message):
            if choice:
                field.oneof_index = 0
            message.field.append(field)
    service = file.service.add(name=SERVICE.rpartition(".")[2])
    for method in METHODS:
        begin = f".{PACKAGE}.{method}"
        service.method.add(name=method, input_type=f"{begin}Request", output_type=f"{begin}Response")
    return file


def _fields(name: str, texts: tuple[str, ...], message: Any) -> Iterator[Any]:  # noqa: ANN401 - protobuf's
    for text in texts:
        match = _FIELD.fullmatch(text)
        assert match, text  # noqa: S101 - the table above
        repeated, of_map, kind, called, number = match.groups()
        field = _typed(called, int(number), kind)
        if of_map:
            entry = message.nested_type.add(name=f"{called.title().replace('_', '')}Entry")
            entry.options.map_entry = True
            entry.field.extend([_typed("key", 1, "string"), _typed("value", 2, kind)])
            field = _typed(called, int(number), f"{name}.{entry.name}")
        field.label = _Field.LABEL_REPEATED if repeated or of_map else _Field.LABEL_OPTIONAL
        yield field


def _typed(name: str, number: int, kind: str) -> Any:  # noqa: ANN401 - protobuf's
    field = _Field(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    return field


def _class(name: str) -> Any:  # noqa: ANN401 - protobuf's
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


POOL = descriptor_pool.DescriptorPool()
"""Where the messages are described, for reflection."""
POOL.AddSerializedFile(_described().SerializeToString())

ServerLiveResponse = _class("ServerLiveResponse")
ServerReadyResponse = _class("ServerReadyResponse")
ModelReadyRequest, ModelReadyResponse = _class("ModelReadyRequest"), _class("ModelReadyResponse")
ServerMetadataResponse = _class("ServerMetadataResponse")
ModelMetadataRequest, ModelMetadataResponse = _class("ModelMetadataRequest"), _class("ModelMetadataResponse")
ModelInferRequest, ModelInferResponse = _class("ModelInferRequest"), _class("ModelInferResponse")
RepositoryIndexRequest, RepositoryIndexResponse = _class("RepositoryIndexRequest"), _class("RepositoryIndexResponse")
RepositoryModelLoadRequest = _class("RepositoryModelLoadRequest")
RepositoryModelLoadResponse = _class("RepositoryModelLoadResponse")
RepositoryModelUnloadRequest = _class("RepositoryModelUnloadRequest")
RepositoryModelUnloadResponse = _class("RepositoryModelUnloadResponse")
