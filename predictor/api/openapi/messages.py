"""The documents that calls answer which do not predict, as message types, with every field."""

from __future__ import annotations

from typing import Literal

import msgspec


class Health(msgspec.Struct, forbid_unknown_fields=True):
    """That something answers."""

    health: Literal["ok"]


class Live(msgspec.Struct, forbid_unknown_fields=True):
    """That the process can answer."""

    live: bool


class Readiness(msgspec.Struct, forbid_unknown_fields=True):
    """Whether traffic should come, and the state of the log and of its shipping."""

    ready: bool
    reason: str | None
    models: list[str]
    stream: str
    records: int
    lost: int
    outbox_bytes: int
    backlog_bytes: int
    shipped: int
    rejected: int
    outbox_problem: str | None
    shipping_problem: str | None


class ReadinessWithoutLog(msgspec.Struct, forbid_unknown_fields=True):
    """Whether traffic should come, to a server that logs nothing."""

    ready: bool
    reason: str | None
    models: list[str]
    log: Literal["off"]


class ServedModel(msgspec.Struct, forbid_unknown_fields=True):
    """A version that is served."""

    name: str
    version: str
    digest: str
    task: str
    default: bool


class FeatureMetadata(msgspec.Struct, forbid_unknown_fields=True):
    """A column of the rows; `role` is `key` for one that the model is not given."""

    name: str
    alias: str
    datatype: str
    unit: str
    missing: bool
    role: Literal["key"] | msgspec.UnsetType = msgspec.UNSET


class TensorMetadata(msgspec.Struct, forbid_unknown_fields=True):
    """A tensor; in its shape -1 is an axis of any length."""

    name: str
    datatype: str
    shape: list[int]


class RowMetadata(msgspec.Struct, forbid_unknown_fields=True):
    """What a model of rows takes and gives."""

    data_type: str
    data_structure: str
    data_sample: list[list[str | bool | int | float | None]]
    prediction_type: str
    prediction_structure: str
    prediction_sample: list[int | float | None] | str | None
    outlier_type: str | None
    outlier_structure: str | None
    outlier_sample: list[bool | int | float] | None
    batch: bool
    task: str
    prediction_names: list[str]
    features: list[FeatureMetadata]
    models: list[ServedModel]
    threshold: float | msgspec.UnsetType = msgspec.UNSET


class TensorsMetadata(msgspec.Struct, forbid_unknown_fields=True):
    """What a model of tensors takes and gives."""

    batch: bool
    task: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    models: list[ServedModel]


class ServerMetadata(msgspec.Struct, forbid_unknown_fields=True):
    """What the server is and can."""

    name: str
    version: str
    extensions: list[str]


class ModelNames(msgspec.Struct, forbid_unknown_fields=True):
    """The names of all models."""

    models: list[str]


class ModelMetadata(msgspec.Struct, forbid_unknown_fields=True):
    """A model's versions, inputs and outputs."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Ready(msgspec.Struct, forbid_unknown_fields=True):
    """Whether traffic should come; `error` says why not."""

    ready: bool
    error: str | msgspec.UnsetType = msgspec.UNSET


class ModelReady(msgspec.Struct, forbid_unknown_fields=True):
    """Whether traffic for a model should come; `error` says why not."""

    name: str
    ready: bool
    error: str | msgspec.UnsetType = msgspec.UNSET


class IndexedVersion(msgspec.Struct, forbid_unknown_fields=True):
    """A version that lies in the files."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


class ModelLoaded(msgspec.Struct, forbid_unknown_fields=True):
    """That a model is loaded."""

    name: str
    load: bool


class ModelUnloaded(msgspec.Struct, forbid_unknown_fields=True):
    """That a model is unloaded."""

    name: str
    unload: bool


class ProblemDetails(msgspec.Struct, forbid_unknown_fields=True):
    """A problem as in RFC 9457; `detail` says what was wrong, where, and what was wanted."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | msgspec.UnsetType = msgspec.UNSET


class ProtocolError(msgspec.Struct, forbid_unknown_fields=True):
    """A problem as the inference protocols have it."""

    error: str
