"""What the records of an export turn out to have, and their rows by that.

Rows are handled in blocks of columns, where a value costs a fraction of what it costs in an object for each row.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from predictor.reader.class_names import LearnedClasses, probabilities, wide_row
from predictor.reader.export.columns import (
    AFTER,
    ALWAYS,
    BEFORE,
    FEEDBACK,
    HASH,
    HASHED,
    INPUT,
    JOIN_KEY,
    LAST,
    MODEL_COLUMNS,
    SOME,
    TENSOR,
    VALUE,
    Block,
    ExportColumn,
    Rows,
    is_column,
    of_feature,
)
from predictor.reader.export.tensor_columns import tensor_columns
from predictor.reader.model_event import labels_of, types_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from predictor.reader.record import Entry, ModelVersion

_OUTPUT, _CONFIDENCE, _JSON = "prediction.output", "prediction.confidence", "prediction.input_json"
_MODEL = "model"
_KEYS = ("prediction.key", "prediction.hashed_key")
_NONE = type(None)
_T = TypeVar("_T")
_lists = msgspec.json.Decoder(list[list[float] | None]).decode


class Learned:
    """What a first pass finds out about the records, and with it their rows."""

    def __init__(self, labels: Sequence[str] = (), features: Sequence[str] = ()) -> None:
        """Take names for the classes, and for the features of a wide row, where the log does not have them."""
        self._labels = labels
        self._features = features
        self._alike = False
        self._rows = 0
        self._kinds: dict[str, set[type]] = {}
        self._present: Counter[str] = Counter()
        self._models: dict[ModelVersion | None, int] = {}
        self._classes: dict[ModelVersion | None, LearnedClasses] = {}
        self._told: dict[ModelVersion | None, list[str]] = {}
        self._aliases: dict[ModelVersion | None, list[str]] = {}
        self._columns: dict[str, ExportColumn] = {}
        self._names: dict[int, list[str]] = {}

    def tell(self, entry: Entry) -> None:
        """Take in what a stream says of a model."""
        self.name(entry.model, labels_of(entry), [*types_of(entry)])

    def name(self, model: ModelVersion | None, labels: list[str], features: list[str]) -> None:
        """Take in the names of a model's labels, and of its features in their order."""
        self._told[model] = labels
        self._aliases[model] = features

    def learn(self, entries: Sequence[Entry]) -> Block:
        """Take predictions in and return their values; raises ValueError if one cannot be read."""
        said = [entry.attributes for entry in entries]
        names = dict.fromkeys(chain.from_iterable(said))
        if _JSON in names:
            said = [each | self._wide(entry) for each, entry in zip(said, entries, strict=True)]
            names = dict.fromkeys(chain.from_iterable(said))
        block: Block = {name: [each.get(name) for each in said] for name in names if is_column(name)}
        block["time"] = [entry.time_ns for entry in entries]
        block["trace_id"] = [entry.trace_id or None for entry in entries]
        block["stream"] = [entry.stream for entry in entries]
        block["sequence"] = [entry.sequence for entry in entries]
        if not names.keys().isdisjoint(_KEYS):
            block[JOIN_KEY] = [entry.join_key for entry in entries]
        block[_MODEL] = [self._models.setdefault(entry.model, len(self._models)) for entry in entries]
        if _OUTPUT in names and _CONFIDENCE in names:
            block[_OUTPUT] = self._outputs(entries)
        self.count(block)
        return block

    def count(self, block: Block) -> None:
        """Take in which columns have values, and of which types."""
        self._rows += len(block["time"])
        for name, values in block.items():
            kinds = set(map(type, values))
            self._kinds.setdefault(name, set()).update(kinds)
            self._present[name] += len(values) - (values.count(None) if _NONE in kinds else 0)

    def recount(self) -> None:
        """Forget what was counted, since only some of the rows are to be written."""
        self._rows = 0
        self._kinds.clear()
        self._present.clear()

    def columns(self, feedback: Collection[str] = (), *, alike: bool = False) -> list[ExportColumn]:
        """Return the columns with values in their order, those of feedback by their names; learning ends here.

        With `alike` those that every model has are there without a value too, and no type depends on gaps: files of a
        table are to be of one form. Raises ValueError if no model has as many labels as are given.
        """
        self._alike = alike
        sizes = {len(classes) for classes in self._classes.values()} - {0}
        if self._labels and sizes and len(self._labels) not in sizes:
            msg = f"{len(self._labels)} labels are given, wanted {' or '.join(map(str, sorted(sizes)))} as the log has"
            raise ValueError(msg)
        for model, classes in self._classes.items():
            self._names[self._models[model]] = classes.columns(self._labels or self._told.get(model, ()))
        labels = dict.fromkeys(name for names in self._names.values() for name in names)
        tensors = tensor_columns(name for name in self._kinds if name.startswith(TENSOR))
        ordered: list[tuple[str | None, ExportColumn]] = [*BEFORE.items(), *self._inputs(), *tensors]
        ordered += [(None, ExportColumn(name, "double")) for name in labels]
        ordered += [*self._values(), *AFTER.items()]
        ordered += [(None, column) for column in MODEL_COLUMNS if any(self._models)]
        ordered += LAST.items()
        always = {*BEFORE, *AFTER, *LAST} if alike else ALWAYS
        self._columns = {name: each for name, each in ordered if name and (self._present[name] or name in always)}
        found = [column for name, column in ordered if name is None or name in self._columns]
        return [*found, *(column for column in FEEDBACK if column.name in feedback)]

    def rows(self, block: Block) -> Rows:
        """Return the values of a block by column; `columns` must have been called."""
        rows = {column.name: self._cast(name, block[name]) for name, column in self._columns.items() if name in block}
        models = [*self._models]
        for place, column in enumerate(MODEL_COLUMNS):
            said = [model and model[place] for model in models]
            rows[column.name] = [said[number] for number in block[_MODEL]]
        if _OUTPUT in block:
            rows |= self._probabilities(block[_OUTPUT], block[_MODEL])
        return rows

    def _probabilities(self, outputs: list[list[float] | None], models: list[int]) -> Rows:
        """Return a column a class; those of several models may share a name."""
        rows: Rows = {}
        for number, names in self._names.items():
            mine = [output or () if model == number else () for output, model in zip(outputs, models, strict=True)]
            for place, name in enumerate(names):
                values = [output[place] if place < len(output) else None for output in mine]
                known = rows.get(name)
                rows[name] = [k if v is None else v for k, v in zip(known, values, strict=True)] if known else values
        return rows

    def _inputs(self) -> list[tuple[str, ExportColumn]]:
        """Return the columns of features; by name, since Loki keeps no order and every source must give the same."""
        order = {f"input_{name}": at for at, name in enumerate(self._features)}
        found = [(name, HASHED[name]) for name in HASHED if name in self._kinds]
        for name, kinds in self._kinds.items():
            if name.startswith((INPUT, HASH)):
                found.append(
                    (name, of_feature(name, kinds - {_NONE}, gaps=self._present[name] < self._rows and not self._alike))
                )
        return sorted(found, key=lambda each: (order.get(each[1].name, len(order)), each[1].name))

    def _values(self) -> list[tuple[str, ExportColumn]]:
        names = [name for name in self._kinds if name.startswith(VALUE)]
        found = [(name, ExportColumn(f"value_{name.removeprefix(VALUE)}", "double")) for name in names]
        return sorted([*SOME.items(), *found], key=lambda each: each[1])

    def _cast(self, name: str, values: list[Any]) -> list[Any]:
        kind, kinds = self._columns[name].type, self._kinds.get(name, set()) - {_NONE}
        if kind == "double" and kinds != {float}:
            return [None if value is None else float(value) for value in values]
        if kind == "string" and kinds != {str}:
            return [None if value is None else str(value) for value in values]
        return values

    def _outputs(self, entries: Sequence[Entry]) -> list[list[float] | None]:
        """Return the probabilities of each row that has a confidence, and learn the names of the classes."""
        texts = [
            entry.attributes.get(_OUTPUT, "null") if _CONFIDENCE in entry.attributes else "null" for entry in entries
        ]
        try:
            outputs = _lists(f"[{','.join(texts)}]")
        except msgspec.MsgspecError:
            outputs = []
        if len(outputs) != len(entries):  # one is no array: which
            outputs = [_explained(entry, probabilities) or None for entry in entries]
        model: ModelVersion | None = None
        classes = None
        for entry, output in zip(entries, outputs, strict=True):
            if output is None:
                continue
            if classes is None or entry.model is not model:
                model = entry.model
                classes = self._classes.setdefault(model, LearnedClasses())
            if not classes.complete(len(output)):
                said = entry.attributes
                classes.learn(output, said.get("prediction.label"), said[_CONFIDENCE])
        return outputs

    def _wide(self, entry: Entry) -> dict[str, Any]:
        """Return the values of a row that is one JSON text by attribute, as far as the features' names are known."""
        said = entry.attributes
        features = self._features or self._aliases.get(entry.model, ())
        if not features or _JSON not in said or said.get("prediction.input_truncated"):
            return {}
        values = zip(features, _explained(entry, wide_row), strict=False)
        hashed = {name for name, how in entry.redaction.items() if how == "hash"}
        return {(HASH if name in hashed else INPUT) + name: value for name, value in values if value is not None}


def _explained(entry: Entry, read: Callable[[dict[str, Any]], list[_T]]) -> list[_T]:
    """Return what an attribute holds; raises ValueError that says of which record it is."""
    try:
        return read(entry.attributes)
    except ValueError as error:
        msg = f"{entry.stream} number {entry.sequence}: {error}"
        raise ValueError(msg) from error
