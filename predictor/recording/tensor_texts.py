"""The tensors of a request as the record has them: JSON with all values, or with what is known of them.

All tensors of a record together are bounded. The largest are replaced first: by their size, their SHA-256 and a few
figures, so that a reader can tell whether a tensor that he has is the one, and notice what looks odd.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from predictor.core.result import TensorTexts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from predictor.core.result import Tensors
    from predictor.inference.signature import TensorSpec
    from predictor.recording.redaction import Redaction

MOST_ELEMENTS = 64
"""Of a tensor whose values are listed; a larger one is base64, which is shorter."""
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_encode = msgspec.json.Encoder().encode


class _Entry(NamedTuple):
    """A tensor in a record, and where it can be replaced."""

    text: bytes
    tensor: NDArray[Any] | None
    """None if the text is short already, or says nothing of the values."""


class TensorRecorder:
    """Makes what records have of the tensors of one model; used by many threads at once."""

    def __init__(
        self,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        bound: int,
        redaction: Redaction | None,
        *,
        by_row: bool = False,
    ) -> None:
        """Take what there is by name, the bytes of all tensors of one record, and what is kept out of the log.

        With `by_row` each row has a record of its own: axis 0 of all tensors is that of rows.
        """
        self._specs = (inputs, outputs)
        self._by_row = by_row
        self._bound = bound
        self._redaction = redaction

    def texts(self, inputs: Tensors, outputs: Tensors | None, *, brief: bool = False) -> list[TensorTexts]:
        """Return inputs and outputs as JSON for each record; if `brief`, of large tensors no more than their shapes."""
        if not self._by_row:
            return [self._texts(inputs, outputs or {}, brief=brief)]
        rows = len(next(iter(inputs.values())))
        return [
            self._texts(
                *({name: each[at : at + 1] for name, each in side.items()} for side in (inputs, outputs or {})),
                brief=brief,
            )
            for at in range(rows)
        ]

    def _texts(self, inputs: Tensors, outputs: Tensors, *, brief: bool) -> TensorTexts:
        sides = [
            {name: self._entry(side, name, found[name]) for name in self._specs[side] if name in found}
            for side, found in enumerate((inputs, outputs))
        ]
        size = sum(len(each.text) + 1 for side in sides for each in side.values())
        order = sorted(
            (
                (len(each.text), at, name)
                for at, side in enumerate(sides)
                for name, each in side.items()
                if each.tensor is not None
            ),
            reverse=True,
        )
        for length, at, name in order:
            if size <= self._bound:
                break
            tensor = sides[at][name].tensor
            head = self._head(at, name, tensor)
            text = _encode(head if brief or tensor is None else head | _figures(self._specs[at][name].datatype, tensor))
            sides[at][name] = _Entry(text, None)
            size += len(text) - length
        found = [None if not side else f"[{b','.join(each.text for each in side.values()).decode()}]" for side in sides]
        return TensorTexts(*found)

    def _entry(self, side: int, name: str, tensor: NDArray[Any]) -> _Entry:
        head = self._head(side, name, tensor)
        treated = self._redaction.tensors[side].get(name) if self._redaction else None
        datatype = self._specs[side][name].datatype
        if treated == "hash" and self._redaction:
            return _Entry(_encode(head | {"hash": self._redaction.hash_tensor(name, contents(datatype, tensor))}), None)
        if treated:
            return _Entry(_encode(head), None)
        if tensor.size <= MOST_ELEMENTS and (listed := _listed(tensor)) is not None:
            return _Entry(_encode(head | {"data": listed}), tensor)
        if datatype != "BYTES" and tensor.nbytes > self._bound:  # it is replaced in any case
            return _Entry(b" " * (tensor.nbytes * 4 // 3), tensor)
        return _Entry(_encode(head | {"base64": b64encode(contents(datatype, tensor)).decode()}), tensor)

    def _head(self, side: int, name: str, tensor: NDArray[Any] | None) -> dict[str, Any]:
        shape = [] if tensor is None else [*tensor.shape]
        return {"name": name, "datatype": self._specs[side][name].datatype, "shape": shape}


def contents(datatype: str, tensor: NDArray[Any]) -> bytes:
    """Return the bytes of a tensor as the binary tensor data extension has them: little-endian, texts with lengths."""
    if datatype != "BYTES":
        return tensor.astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes()
    texts = [str(each).encode("utf-8", "surrogatepass") for each in tensor.reshape(-1)]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def _listed(tensor: NDArray[Any]) -> list[Any] | None:
    """Return the values, row by row; None if JSON has no form for one."""
    if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
        return None
    flat = tensor.reshape(-1).tolist()
    return [_safe(str(each)) for each in flat] if tensor.dtype.kind == "O" else flat


def _safe(text: str) -> str | dict[str, str]:
    """Return a text that comes back from any sink as it was, or its hash."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return {"sha256": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()}
    return {"sha256": hashlib.sha256(text.encode()).hexdigest()} if _REPLACEMENT in text else text


def _stored(tensor: NDArray[Any]) -> memoryview | None:
    """Return a tensor's own memory if it has its bytes as `contents` has them: to hash them they need no copy."""
    little = tensor.dtype.kind != "O" and tensor.dtype.newbyteorder("<") == tensor.dtype
    return tensor.reshape(-1).view(np.uint8).data if little and tensor.flags.c_contiguous and tensor.size else None


def _figures(datatype: str, tensor: NDArray[Any]) -> dict[str, Any]:
    """Return what is known of a tensor instead of its values; least, largest and mean are those of finite values."""
    whole = _stored(tensor) or contents(datatype, tensor)
    found: dict[str, Any] = {"bytes": len(whole), "sha256": hashlib.sha256(whole).hexdigest()}
    if datatype == "BYTES" or not tensor.size:
        return found
    if tensor.dtype.kind != "f":
        return found | {"min": tensor.min().item(), "max": tensor.max().item(), "mean": float(tensor.mean()), "nan": 0}
    # The least and the largest are finite only if each is: ten times as fast as looking at each.
    with np.errstate(invalid="ignore"):
        least, largest = tensor.min(), tensor.max()
    if np.isfinite(least) and np.isfinite(largest):
        mean = float(tensor.reshape(-1).mean(dtype=np.float64))
        return found | {"min": least.item(), "max": largest.item(), "mean": mean, "nan": 0}
    finite = tensor[np.isfinite(tensor)]
    if finite.size:
        mean = float(finite.mean(dtype=np.float64))
        found |= {"min": finite.min().item(), "max": finite.max().item(), "mean": mean}
    infinite = int(np.isinf(tensor).sum())
    return found | {"nan": tensor.size - finite.size - infinite} | ({"inf": infinite} if infinite else {})
