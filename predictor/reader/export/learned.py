"""What the records of an export turn out to have, and their rows by that."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from predictor.reader.class_names import LearnedClasses, wide_row
from predictor.reader.export.columns import (
    AFTER,
    ALWAYS,
    BEFORE,
    FEEDBACK,
    HASH,
    HASHED,
    INPUT,
    LAST,
    MODEL_COLUMNS,
    SOME,
    TENSOR,
    VALUE,
    Block,
    ExportColumn,
    Rows,
    of_feature,
)
from predictor.reader.export.part import HASHED as HASHED_NAMES
from predictor.reader.export.part import JSON, MODEL, OUTPUT, TRUNCATED, block_of, explained, facts_of
from predictor.reader.export.tensor_columns import tensor_columns
from predictor.reader.model_event import labels_of, types_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from predictor.reader.export.part import Facts
    from predictor.reader.record import Entry, ModelVersion

_NONE = type(None)


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
        return self.take(*block_of(entries))

    def take(self, block: Block, facts: Facts) -> Block:
        """Take rows in and return their values, those of a row that is one JSON text by feature too.

        Raises ValueError if such a text cannot be read.
        """
        if JSON in block and self._widen(block, facts):
            facts = facts_of(block)._replace(models=facts.models, classes=facts.classes)
        places = self.take_facts(facts)
        block[MODEL] = [places[place] for place in block[MODEL]]
        return block

    def take_facts(self, facts: Facts) -> list[int]:
        """Take in what rows have, and return the places of their models among all."""
        places = [self._models.setdefault(model, len(self._models)) for model in facts.models]
        for place, classes in facts.classes.items():
            self._classes.setdefault(facts.models[place], LearnedClasses()).merge(classes)
        self._count(facts)
        return places

    def count(self, block: Block) -> None:
        """Take in which columns have values, and of which types."""
        self._count(facts_of(block))

    def _count(self, facts: Facts) -> None:
        self._rows += facts.rows
        for name, kinds in facts.kinds.items():
            self._kinds.setdefault(name, set()).update(kinds)
            self._present[name] += facts.present[name]

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
            rows[column.name] = [said[number] for number in block[MODEL]]
        if OUTPUT in block:
            rows |= self._probabilities(block[OUTPUT], block[MODEL])
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

    def _widen(self, block: Block, facts: Facts) -> bool:
        """Add the values of rows that are one JSON text by attribute, as far as the features' names are known."""
        known = len(block)
        for at, text in enumerate(block[JSON]):
            features = self._features or self._aliases.get(facts.models[block[MODEL][at]], ())
            if text is None or not features or block[TRUNCATED][at]:
                continue
            values = explained(block["stream"][at], block["sequence"][at], wide_row, {JSON: text})
            for name, value in zip(features, values, strict=False):
                if value is not None:
                    column = (HASH if name in block[HASHED_NAMES][at] else INPUT) + name
                    block.setdefault(column, [None] * facts.rows)[at] = value
        return len(block) > known
