"""The columns of tensors in an export: a list of the values, row by row, and a list of the shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from predictor.reader.export.columns import TENSOR, ExportColumn
from predictor.reader.tensors import has_tensors, tensors_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from predictor.reader.record import Entry

ListType = Literal["strings", "ints", "uints", "doubles", "bools"]
_SIDES = {"inputs": "input", "outputs": "output"}


def with_lists(entry: Entry) -> Entry:
    """Return a prediction whose tensors stand as lists, each under a name that has the type of its column.

    Those values that its record has not are absent, their shape is there. Raises ValueError for what are no tensors.
    """
    if not has_tensors(entry):
        return entry
    lists: dict[str, Any] = {}
    try:
        for side, prefix in _SIDES.items():
            for tensor in tensors_of(entry.attributes, side):
                name = f"{prefix}_{tensor.name}"
                lists[f"{TENSOR}ints.{name}_shape"] = [*tensor.shape]
                if tensor.values is not None:
                    lists[f"{TENSOR}{_list_type(tensor.datatype)}.{name}"] = tensor.values
    except ValueError as error:
        msg = f"{entry.stream} number {entry.sequence}: {error}"
        raise ValueError(msg) from error
    return entry._replace(attributes=entry.attributes | lists)


def tensor_columns(names: Iterable[str]) -> list[tuple[str, ExportColumn]]:
    """Return the columns of such names, inputs first; of two of one name and of different types the type is said."""
    found: list[tuple[str, ExportColumn]] = []
    taken: set[str] = set()
    for name in sorted(names, key=lambda each: each.removeprefix(TENSOR).partition(".")[2]):
        kind, _, column = name.removeprefix(TENSOR).partition(".")
        if column in taken:
            column = f"{column}_{kind}"
        taken.add(column)
        if kind in get_args(ListType):
            found.append((name, ExportColumn(column, cast("ListType", kind))))
    return found


def _list_type(datatype: str) -> ListType:
    if datatype == "BYTES":
        return "strings"
    if datatype == "BOOL":
        return "bools"
    if datatype == "UINT64":
        return "uints"
    return "doubles" if datatype.startswith("FP") else "ints"
