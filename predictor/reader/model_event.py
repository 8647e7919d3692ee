"""What a stream has said of its models: the types of the features, the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from predictor.reader.record import Entry


class _Feature(msgspec.Struct):
    alias: str
    type: str


class _Signature(msgspec.Struct):
    features: list[_Feature] = []
    labels: list[str] = []


_decode = msgspec.json.Decoder(_Signature).decode


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
