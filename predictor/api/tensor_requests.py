"""Named tensors as a request: held to what the model takes, whatever form they came in."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from predictor.api.dataplane import InferRequest
from predictor.core.features import LONGEST_KEY
from predictor.core.problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from predictor.core.result import Rows
    from predictor.inference.model import Model
    from predictor.inference.signature import TensorSpec

FREE = -1
_CHARACTERS = 100
"""Of a caller's name that an answer repeats."""
_LISTED = 8
"""Names in a refusal."""


class TensorRequests:
    """Makes inference requests of arrays by the names of a model's inputs."""

    def __init__(self, model: Model, most: int) -> None:
        """Take the model, and how many rows a request may have."""
        self._most = most
        self._any_shape = model.shapeless
        self._features = model.description.features
        self._rows = model.tensors is None
        self.inputs: Mapping[str, TensorSpec] = {spec.name: self._taken(spec) for spec in model.signature.inputs}
        """With the shapes that requests may have."""
        self._row_axis = model.tensors is None or model.tensors.row_axis
        key = model.description.key
        self._key = key.column if key else None

    def request(
        self,
        tensors: Mapping[str, NDArray[Any]],
        *,
        request_id: str | None = None,
        own_outputs: bool = True,
        form: object = None,
        checked: bool = False,
    ) -> InferRequest:
        """Return a request of arrays that have the inputs' own types; raises Problem that names what does not fit.

        Texts are Python strings in arrays of objects. A model of rows has its rows made of them, for the record; there
        may be one more, the caller's key of each row.
        `form` is the codec's own, see InferRequest; with `checked` each array has gone through `check`.
        """
        found = self._found(tensors, checked=checked)
        size = len(next(iter(found.values()))) if self._row_axis else 1
        if self._row_axis:
            self._check_rows(found, size)
        rows = self._as_rows(found, size) if self._rows else []
        if self._key and self._key.name in tensors:
            for row, key in zip(rows, self._keys(tensors[self._key.name], size), strict=True):
                row.append(key)  # the key comes last
        return InferRequest(rows, found, size, request_id, own_outputs, form)

    def check(self, name: str, datatype: str, shape: Sequence[int]) -> None:
        """Refuse an input that does not fit by what is declared of it, before its data is read; raises Problem."""
        if self._key and name == self._key.name:
            self._check_key(datatype, shape)
            return
        spec = self.inputs.get(name)
        if spec is None:
            raise Problem(Kind.INVALID_DATA, f"there is no input {name[:_CHARACTERS]!r}; wanted {self.wanted()}")
        if datatype != spec.datatype:
            came = f"the input {name!r} is {datatype[:_CHARACTERS]}"
            raise Problem(Kind.INVALID_DATA, f"{came}, wanted {spec.datatype}")
        if name in self._any_shape:
            return
        scalar = not spec.shape and [*shape] == [1]  # many clients have no form for a scalar
        fits = len(shape) == len(spec.shape) and all(
            want in {FREE, have} for want, have in zip(spec.shape, shape, strict=True)
        )
        if not fits and not scalar:
            came = f"the input {name!r} has the shape {_shown(shape)}"
            raise Problem(Kind.INVALID_DATA, f"{came}, wanted {_shown(spec.shape)}")
        if self._row_axis and shape[0] > self._most:
            raise self._too_many(shape[0])

    def _taken(self, spec: TensorSpec) -> TensorSpec:
        if not self._rows:
            return spec
        # A file for one row at a time is given them one by one. The runtime has the same empty list for a scalar and
        # for a shape that is not declared: a model of rows has no scalars.
        width = len(self._features)
        if not spec.shape:
            return spec._replace(shape=(FREE, width))
        return spec._replace(shape=(FREE, *(width if size == FREE else size for size in spec.shape[1:])))

    def _found(self, tensors: Mapping[str, NDArray[Any]], *, checked: bool) -> dict[str, NDArray[Any]]:
        """Return the arrays in the order of the inputs; raises Problem."""
        if not checked:
            for name, tensor in tensors.items():
                self.check(name, _datatype(tensor), tensor.shape)
        found = {}
        for name, spec in self.inputs.items():
            if name not in tensors:
                raise Problem(Kind.INVALID_DATA, f"the input {name!r} is missing; wanted {self.wanted()}")
            tensor = tensors[name]
            found[name] = tensor if spec.shape or name in self._any_shape else tensor.reshape(())
        return found

    def _check_key(self, datatype: str, shape: Sequence[int]) -> None:
        wanted = self._key.datatype if self._key else ""
        if datatype != wanted or [*shape[1:]] not in ([], [1]) or not shape:
            detail = (
                f"the key is {datatype[:_CHARACTERS]} of the shape {_shown(shape)}, wanted {wanted} [-1] or [-1, 1]"
            )
            raise Problem(Kind.INVALID_DATA, detail)

    def _keys(self, tensor: NDArray[Any], size: int) -> list[str | int]:
        """Return the caller's key of each row; raises Problem."""
        self._check_key(_datatype(tensor), tensor.shape)
        keys: list[str | int] = tensor.reshape(-1).tolist()
        if len(keys) != size:
            raise Problem(Kind.INVALID_DATA, f"there are {len(keys)} keys for {size} rows")
        if any(isinstance(key, str) and not 0 < len(key) <= LONGEST_KEY for key in keys):
            raise Problem(Kind.INVALID_DATA, f"a key has no character, or more than {LONGEST_KEY}")
        return keys

    def _check_rows(self, found: Mapping[str, NDArray[Any]], size: int) -> None:
        if unequal := [name for name, tensor in found.items() if len(tensor) != size]:
            first = next(iter(found))
            detail = f"the input {unequal[0]!r} has {len(found[unequal[0]])} rows, but {first!r} has {size}"
            raise Problem(Kind.INVALID_DATA, f"{detail}; wanted the same number")
        if not size:
            raise Problem(Kind.INVALID_DATA, "the inputs have no rows; wanted one at least")
        if size > self._most:
            raise self._too_many(size)

    def _too_many(self, rows: int) -> Problem:
        detail = f"the inputs have {rows} rows, this server takes at most {self._most} a request"
        return Problem(Kind.CONTENT_TOO_LARGE, f"{detail} (PREDICTOR_BATCH_ROWS)")

    def _as_rows(self, found: Mapping[str, NDArray[Any]], size: int) -> Rows:
        """Return the rows of a table; raises Problem for a number that is not finite where none may be missing."""
        columns = [tensor.reshape(size, -1) for tensor in found.values()]
        missing = False
        at = 0
        for name, column in zip(found, columns, strict=True):
            if column.dtype.kind == "f" and not np.isfinite(column).all():
                missing = True
                self._check_finite(name, column, at)
            at += column.shape[1]
        lists = [column.tolist() for column in columns]
        rows: Rows = lists[0] if len(lists) == 1 else [[*chain(*parts)] for parts in zip(*lists, strict=True)]
        if not missing:
            return rows
        return [[None if value != value else value for value in row] for row in rows]  # noqa: PLR0124 - NaN

    def _check_finite(self, name: str, column: NDArray[Any], first: int) -> None:
        for row, place in np.argwhere(~np.isfinite(column)):
            if not (np.isnan(column[row, place]) and self._features[first + int(place)].missing):
                detail = f"the input {name!r} has {column[row, place]} at {[int(row), int(place)]}"
                raise Problem(Kind.INVALID_DATA, f"{detail}, which is not finite as {self.inputs[name].datatype}")

    def wanted(self) -> str:
        """Return the inputs for a sentence."""
        listed = ", ".join(
            f"{spec.name} ({spec.datatype} {_shown(spec.shape)})" for spec in [*self.inputs.values()][:_LISTED]
        )
        more = len(self.inputs) - _LISTED
        return f"{listed} and {more} more" if more > 0 else listed


def _datatype(tensor: NDArray[Any]) -> str:
    """Return the datatype of an array; of a strange one, numpy's own word."""
    kind, bits = tensor.dtype.kind, tensor.dtype.itemsize * 8
    word = {"f": f"FP{bits}", "i": f"INT{bits}", "u": f"UINT{bits}", "b": "BOOL", "O": "BYTES"}.get(kind)
    return word or str(tensor.dtype)


def _shown(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"
