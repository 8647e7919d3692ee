"""Some predictions as columns, and the facts of them that decide on the table: made wherever the records are read.

Rows are handled in blocks of columns, where a value costs a fraction of what it costs in an object for each row.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from predictor.reader.class_names import LearnedClasses, probabilities
from predictor.reader.content import NOTHING
from predictor.reader.export.columns import JOIN_KEY, is_column
from predictor.reader.export.tensor_columns import with_lists
from predictor.reader.rows import rows_of
from predictor.recording.record_schema import EVENT_NAME, FEEDBACK_EVENT, MODEL_EVENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from predictor.reader.export.columns import Block
    from predictor.reader.record import Entry, ModelVersion

OUTPUT, CONFIDENCE, JSON = "prediction.output", "prediction.confidence", "prediction.input_json"
MODEL = "model"
"""In a block: which model, by its place among those of the facts, or of all that were learned."""
HASHED, TRUNCATED = "hashed", "truncated"
"""In a block with rows that are one JSON text: names of the features that are hashed in it, and whether it was cut."""
_KEYS = ("prediction.key", "prediction.hashed_key")
_NONE = type(None)
_ROWS = 512  # handled at once: what fits the processor's cache costs half as much
_T = TypeVar("_T")
_lists = msgspec.json.Decoder(list[list[float] | None]).decode
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, list[Any]]).decode


class Facts(NamedTuple):
    """What a block has."""

    rows: int
    kinds: dict[str, set[type]]
    """The types of the values, by column."""
    present: dict[str, int]
    """How many values there are, by column."""
    models: Sequence[ModelVersion | None]
    classes: dict[int, LearnedClasses]
    """What its rows tell of the classes, by the model's place."""


class Part(NamedTuple):
    """Some rows as they are put aside."""

    data: bytes
    """The block."""
    facts: Facts
    numbers: list[tuple[str, int, int]]
    """The records that it is of, each once: stream, first, last."""

    def block(self) -> Block:
        """Return the block."""
        return _decode(self.data)


def facts_of(block: Block) -> Facts:
    """Return which columns have values, and of which types."""
    kinds = {name: set(map(type, values)) for name, values in block.items()}
    present = {
        name: len(values) - (values.count(None) if _NONE in kinds[name] else 0) for name, values in block.items()
    }
    return Facts(len(block["time"]), kinds, present, [], {})


def block_of(entries: Sequence[Entry]) -> tuple[Block, Facts]:
    """Return predictions as columns; raises ValueError if one cannot be read."""
    said = [entry.attributes for entry in entries]
    names = dict.fromkeys(chain.from_iterable(said))
    models: dict[ModelVersion | None, int] = {}
    classes: dict[int, LearnedClasses] = {}
    block: Block = {name: [each.get(name) for each in said] for name in names if is_column(name)}
    block["time"] = [entry.time_ns for entry in entries]
    block["trace_id"] = [entry.trace_id or None for entry in entries]
    block["stream"] = [entry.stream for entry in entries]
    block["sequence"] = [entry.sequence for entry in entries]
    if not names.keys().isdisjoint(_KEYS):
        block[JOIN_KEY] = [entry.join_key for entry in entries]
    block[MODEL] = [models.setdefault(entry.model, len(models)) for entry in entries]
    if JSON in names:
        block[HASHED] = [[name for name, how in entry.redaction.items() if how == "hash"] for entry in entries]
        block[TRUNCATED] = [bool(each.get("prediction.input_truncated")) for each in said]
    if OUTPUT in names and CONFIDENCE in names:
        block[OUTPUT] = _outputs(entries, block[MODEL], classes)
    return block, facts_of(block)._replace(models=[*models], classes=classes)


def _outputs(
    entries: Sequence[Entry], models: Sequence[int], found: dict[int, LearnedClasses]
) -> list[list[float] | None]:
    """Return the probabilities of each row that has a confidence, and learn the names of the classes."""
    texts = [entry.attributes.get(OUTPUT, "null") if CONFIDENCE in entry.attributes else "null" for entry in entries]
    try:
        outputs = _lists(f"[{','.join(texts)}]")
    except msgspec.MsgspecError:
        outputs = []
    if len(outputs) != len(entries):  # one is no array: which
        outputs = [
            explained(entry.stream, entry.sequence, probabilities, entry.attributes) or None for entry in entries
        ]
    last, classes = -1, LearnedClasses()
    for entry, model, output in zip(entries, models, outputs, strict=True):
        if output is None:
            continue
        if model != last:
            last, classes = model, found.setdefault(model, LearnedClasses())
        if not classes.complete(len(output)):
            said = entry.attributes
            classes.learn(output, said.get("prediction.label"), said[CONFIDENCE])
    return outputs


def explained(stream: str, number: int, read: Callable[[dict[str, Any]], list[_T]], said: dict[str, Any]) -> list[_T]:
    """Return what an attribute holds; raises ValueError that says of which record it is."""
    try:
        return read(said)
    except ValueError as error:
        msg = f"{stream} number {number}: {error}"
        raise ValueError(msg) from error


@dataclass(frozen=True)
class PartMaker:
    """Makes parts of records, in whatever process."""

    only: str | None
    """`success` or `failure`, if only such predictions are wanted."""

    def __call__(self, entries: Iterable[Entry]) -> list[Part | Entry]:
        """Return predictions as parts, each record once, and other records of interest as they are.

        Raises ValueError for a record that cannot be read.
        """
        made: list[Part | Entry] = []
        rows: list[Entry] = []
        numbers: list[tuple[str, int, int]] = []
        seen: set[tuple[str, int]] = set()
        for entry in entries:
            if entry.event == EVENT_NAME:
                if (known := entry[:2]) in seen or self.only not in {None, _outcome(entry)}:
                    continue
                seen.add(known)
                _number(numbers, *known)
                rows += _rows(entry)
                if len(rows) >= _ROWS:
                    made.append(_part(rows, numbers))
                    rows, numbers = [], []
            elif entry.event in {FEEDBACK_EVENT, MODEL_EVENT}:
                if rows:
                    made.append(_part(rows, numbers))
                    rows, numbers = [], []
                made.append(entry._replace(content=NOTHING, resource={}))
        if rows:
            made.append(_part(rows, numbers))
        return made


def _part(rows: list[Entry], numbers: list[tuple[str, int, int]]) -> Part:
    block, facts = block_of(rows)
    return Part(_encode(block), facts, numbers)


def _number(numbers: list[tuple[str, int, int]], stream: str, number: int) -> None:
    if numbers and numbers[-1][0] == stream and numbers[-1][2] == number - 1:
        numbers[-1] = (stream, numbers[-1][1], number)
    else:
        numbers.append((stream, number, number))


def _rows(entry: Entry) -> Sequence[Entry]:
    said = entry.attributes
    if not ("prediction.inputs" in said or "prediction.outputs" in said or "prediction.rows" in said):
        return (entry,)  # as most are, which the rest would cost a tenth of their time
    return [with_lists(row) for row in rows_of(entry)]


def _outcome(entry: Entry) -> str:
    return "failure" if "error.type" in entry.attributes else "success"
