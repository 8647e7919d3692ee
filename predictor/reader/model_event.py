"""What a stream has said of its models: the types of the features, the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from predictor.reader.record import Entry


class _Feature(msgspec.Struct):
    alias: str
    type: str


class _Value(msgspec.Struct):
    alias: str


class _Signature(msgspec.Struct):
    features: list[_Feature] = []
    labels: list[str] = []
    values: list[_Value] = []


_decode = msgspec.json.Decoder(_Signature).decode


class Described(NamedTuple):
    """What a source that keeps texts in no order must know of a model."""

    types: Mapping[str, str]
    """Of the features by alias, in the order of the row: `double`, `int`, `bool`, `string`."""
    values: Sequence[str] = ()
    """The aliases of the numbers of an answer, in their order."""


NOT_DESCRIBED = Described({})
"""Of a model of which the source has no record."""


def described(entry: Entry) -> Described:
    """Return what a model's record says of it; nothing if it cannot be read."""
    return Described(types_of(entry), [each.alias for each in _signature(entry).values])


def types_of(entry: Entry) -> Mapping[str, str]:
    """Return the types of the features by alias (`double`, `int`, `bool`, `string`); none if they cannot be read."""
    return {each.alias: each.type for each in _signature(entry).features}


def labels_of(entry: Entry) -> list[str]:
    """Return the labels in the order of the probabilities; none if there are none or they cannot be read."""
    return _signature(entry).labels


def _signature(entry: Entry) -> _Signature:
    try:
        return _decode(entry.attributes.get("prediction.model.signature", "{}"))
    except (msgspec.MsgspecError, TypeError):
        return _Signature()
