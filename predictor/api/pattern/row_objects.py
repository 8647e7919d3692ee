"""Rows that are objects by the features' names, of models with many features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.api.slices import Slices

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NULL = msgspec.Raw(b"null")


class _Named(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def missing(self) -> bool: ...


class ByName:
    """Finds the values of an object by the features' names, each at once.

    msgspec's own objects look for each name among all of them: 20,000 names in the wrong order take a second.
    """

    def __init__(self, features: Sequence[_Named]) -> None:
        """Take the features in their order."""
        self._features = [(each.name, each.missing) for each in features]
        self._names = {each.name for each in features}

    def in_order(self, text: bytes, index: int) -> Slices[bytes]:
        """Return the values as a JSON array in the features' order, null for what may be missing and is.

        `index` is the row's; raises what msgspec would, in its words.
        """
        found = _decode(text)
        yield
        if unknown := found.keys() - self._names:
            msg = f"Object contains unknown field `{min(unknown)}` - at `$.data[{index}]`"
            raise msgspec.ValidationError(msg)
        yield
        values: list[msgspec.Raw] = []
        for name, missing in self._features:
            value = found.get(name, _NULL if missing else None)
            if value is None:
                msg = f"Object missing required field `{name}` - at `$.data[{index}]`"
                raise msgspec.ValidationError(msg)
            values.append(value)
        yield
        return b"[%b]" % b",".join(values)
