"""`predictor log export FILE`: all predictions of a window as Parquet, CSV or JSON lines, in constant memory."""

from __future__ import annotations

import argparse
from collections import defaultdict
from importlib.util import find_spec
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

from predictor.core import extras
from predictor.inference import manifest
from predictor.reader.command import FINE, FOUND, Verb
from predictor.reader.export.append import append
from predictor.reader.export.learned import Learned
from predictor.reader.export.part import JSON, PartMaker, facts_of
from predictor.reader.export.rendering import Rendering
from predictor.reader.export.spool import Spool
from predictor.reader.export.writers import FORMS
from predictor.reader.record import Entry
from predictor.reader.sequence_sets import NumberSet
from predictor.reader.sources.errors import SourceError
from predictor.reader.time_range import TimeRange
from predictor.reader.workers import in_order
from predictor.recording.record_schema import FEEDBACK_EVENT, MODEL_EVENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from predictor.reader.command import Asked
    from predictor.reader.export.columns import Block, Rows
    from predictor.reader.export.part import Part

_ALONE = 4 << 20
"""Bytes of rows put aside that are written before other processes are started: 16,000."""


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=_file, nargs="?", metavar="FILE", help="ends in .parquet, .csv or .jsonl")
    parser.add_argument(
        "--append",
        type=_table,
        metavar="DIR",
        help="instead: add what has come to a table of Parquet files by model and day, a folder or s3://bucket/folder",
    )
    parser.add_argument("--only", choices=("success", "failure"), help="only predictions that were answered, or failed")
    parser.add_argument(
        "--feedback",
        choices=("any", "joined"),
        default="any",
        help="joined: only predictions with feedback (default: %(default)s)",
    )
    names = parser.add_mutually_exclusive_group()
    names.add_argument(
        "--labels", type=_labels, default=(), metavar="A,B,C", help="names of the probabilities, in order"
    )
    names.add_argument("--model", type=Path, metavar="FOLDER", help="the names that a model folder has")


def _file(text: str) -> Path:
    path = Path(text)
    if path.suffix not in FORMS:
        msg = f"{text!r} is not a file to export to; wanted a name that ends in {', '.join(FORMS)}"
        raise argparse.ArgumentTypeError(msg)
    if path.suffix == ".parquet":
        _need_pyarrow()
    return path


def _table(text: str) -> str:
    _need_pyarrow()
    return text


def _need_pyarrow() -> None:
    if find_spec("pyarrow") is None:
        msg = f"Parquet needs pyarrow: {extras.command('log')}, or export to .csv or .jsonl"
        raise argparse.ArgumentTypeError(msg)


def _labels(text: str) -> tuple[str, ...]:
    labels = tuple(label.strip() for label in text.split(","))
    if not all(labels) or len(set(labels)) < len(labels):
        msg = f"{text!r}, wanted different names with commas between them"
        raise argparse.ArgumentTypeError(msg)
    return labels


def _run(asked: Asked) -> int:
    if asked.options.append:
        if asked.options.file or asked.options.only or asked.options.feedback == "joined":
            msg = "--append takes all records, wanted neither a file nor --only nor --feedback with it"
            raise ValueError(msg)
        return append(asked, *_given(asked))
    if not asked.options.file:
        msg = "nowhere to write to, wanted a file or --append DIR"
        raise ValueError(msg)
    path: Path = asked.options.file
    if not path.parent.is_dir():
        raise SourceError(str(path), f"there is no folder {path.parent}; wanted a file in one that exists")
    learned = Learned(*_given(asked))
    with Spool(path) as spool:
        _read(asked, spool, learned)
        partial = path.with_name(f".{path.name}.partial")
        try:
            written = _write(asked, spool, learned, partial)
            partial.replace(path)  # whole, or not there
        finally:
            partial.unlink(missing_ok=True)
        if asked.output.as_json:
            asked.output.json({"file": str(path), "predictions": written, "feedback": spool.judged})
        else:
            asked.output.line(f"{path}: {written} predictions, {spool.judged} feedback records")
    return FOUND if asked.source.damaged else FINE  # it has left something out, which is said on stderr


def _given(asked: Asked) -> tuple[Sequence[str], Sequence[str]]:
    """Return the labels and the features that a person names."""
    if not asked.options.model:
        return asked.options.labels, ()
    model = manifest.read(asked.options.model)
    return model.labels, [feature.alias or feature.name for feature in model.features]


def _read(asked: Asked, spool: Spool, learned: Learned) -> None:
    """Put aside every prediction once, and all feedback; one bit for each number marks what was sent again."""
    seen: defaultdict[str, NumberSet] = defaultdict(NumberSet)
    with asked.output.progress("reading", asked.source) as tick:
        try:
            for made in asked.source.mapped(PartMaker(asked.options.only), asked.window):
                for some in made:
                    _keep(spool, learned, some, seen)
                    tick(1 if isinstance(some, Entry) else some.facts.rows)
        except ValueError as error:
            raise SourceError(asked.source.name, str(error)) from error
        if asked.window.end is not None:  # the truth comes later than the prediction
            for entry in asked.source.read(TimeRange(asked.window.end), {"event.name": FEEDBACK_EVENT}):
                tick()
                if entry.event == FEEDBACK_EVENT:
                    _keep(spool, learned, entry, seen)


def _keep(spool: Spool, learned: Learned, some: Part | Entry, seen: Mapping[str, NumberSet]) -> None:
    """Put rows, or feedback, aside whose records are new; raises ValueError for one that cannot be read."""
    if not isinstance(some, Entry):
        _keep_rows(spool, learned, some, seen)
    elif some.event == MODEL_EVENT:
        learned.tell(some)
    elif seen[some.stream].add(some.sequence):
        spool.keep_feedback(some)


def _keep_rows(spool: Spool, learned: Learned, part: Part, seen: Mapping[str, NumberSet]) -> None:
    fresh = {each: seen[each[0]].add_all(each[1], each[2]) for each in part.numbers}
    if all(fresh.values()) and JSON not in part.facts.kinds:
        spool.keep_encoded(part.data, learned.take_facts(part.facts))
        return
    block, facts = part.block(), part.facts
    if not all(fresh.values()):
        new = {
            (stream, number)
            for (stream, first, last), whole in fresh.items()
            for number in range(first, last + 1)
            if whole or seen[stream].add(number)
        }
        marks = [known in new for known in zip(block["stream"], block["sequence"], strict=True)]
        block = {name: [*compress(values, marks)] for name, values in block.items()}
        facts = facts_of(block)._replace(models=facts.models, classes=facts.classes)
    if facts.rows:
        spool.keep(learned.take(block, facts))


def _write(asked: Asked, spool: Spool, learned: Learned, path: Path) -> int:
    """Write the file and return how many rows it has."""
    joined, written = asked.options.feedback == "joined", 0
    told: set[str] = set()
    if joined:
        learned.recount()
    if spool.judged:  # which columns of feedback there are, and of which rows, is known only now
        for block in spool.read():
            said = spool.feedback(block)
            told |= {name for name, values in said.items() if any(value is not None for value in values)}
            if joined:
                learned.count(_picked(block, said)[0])
    form = FORMS[asked.options.file.suffix](learned.columns(told))
    writer = form.writer(path)
    try:
        with asked.output.progress("writing") as tick:
            for rendered, rows in _rendered(asked, spool, Rendering(form, learned)):
                writer.write(rendered)
                written += rows
                tick(rows)
    finally:
        writer.close()
    return written


def _rendered(asked: Asked, spool: Spool, rendering: Rendering) -> Iterator[tuple[bytes, int]]:
    """Yield the rows as they stand in the file, some at a time, and how many they are."""
    if not spool.judged and asked.options.feedback != "joined":
        for made in in_order(rendering, spool.pieces(), alone=_ALONE):
            yield from made
        return
    for block in spool.read():
        said = spool.feedback(block)
        some, said = _picked(block, said) if asked.options.feedback == "joined" else (block, said)
        if some["time"]:
            yield rendering.rendered(some, said)


def _picked(block: Block, said: Rows) -> tuple[Block, Rows]:
    """Return only the rows of which something was said."""
    marks = [value is not None for value in said.get("feedback_time", [None] * len(block["time"]))]
    return tuple({name: [*compress(values, marks)] for name, values in each.items()} for each in (block, said))  # type: ignore[return-value]


VERB = Verb("all predictions as Parquet, CSV or JSON lines, one row each", _options, _run)
