"""`predictor log replay --model FOLDER`: runs logged inputs through a model, compares with the logged outputs."""

from __future__ import annotations

import argparse
import itertools
import math
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from predictor.config.parsers import count
from predictor.reader.command import FINE, FOUND, Verb
from predictor.reader.record import ModelVersion
from predictor.reader.replay import report_html, report_text
from predictor.reader.replay.rows import BATCH, WHY, Reader
from predictor.reader.replay.statistics import ReplayStatistics
from predictor.reader.rows import rows_of
from predictor.reader.sequence_sets import NumberSet
from predictor.recording.record_schema import EVENT_NAME, schema_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

    from predictor.reader.command import Asked
    from predictor.reader.replay.rows import Logged
    from predictor.reader.replay.tensors import TensorReader


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", type=Path, required=True, metavar="PATH", help="the model to replay through: its folder or ONNX file"
    )
    parser.add_argument("--logged-by", metavar="NAME[@VERSION]", help="only predictions of this model")
    parser.add_argument(
        "--tolerance",
        type=_tolerance,
        default=0.0,
        metavar="X",
        help="how much a number of the same model may differ: 0 on the machine that logged (default)",
    )
    parser.add_argument(
        "--largest", type=_count, default=10, metavar="N", help="so many of the largest changes (default: %(default)s)"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one page with plots, too")


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        msg = f"{text!r}, wanted a number from 0 to below 1"
        raise argparse.ArgumentTypeError(msg)
    return value


def _count(text: str) -> int:
    return count(1)(text)


def _run(asked: Asked) -> int:
    from predictor.inference.model import load  # noqa: PLC0415 - the runtime, which --help can do without
    from predictor.inference.repository import one  # noqa: PLC0415 - as above
    from predictor.reader.replay.run import ReplayRunner  # noqa: PLC0415 - numpy
    from predictor.reader.replay.tensors import TensorReader, TensorRunner  # noqa: PLC0415

    options = asked.options
    source = one(options.model)
    loaded = load(source.path, name=source.name, version=source.version)
    about = loaded.description
    model = ModelVersion(about.name, about.version, loaded.digest)
    reader = TensorReader(loaded) if loaded.tensors else Reader(about.features, schema_of(about).values)
    runner = TensorRunner(loaded) if loaded.tensors else ReplayRunner(loaded)
    threshold = about.outlier.threshold if about.outlier else None
    tally = ReplayStatistics(loaded.digest, about.labels, options.tolerance, options.largest, threshold)
    with _page(options.html) as page:
        with asked.output.progress("replaying", asked.source) as tick:
            for batch in _batches(asked, reader, tally, tick):
                for logged, now in zip(batch, runner.run(batch), strict=True):
                    tally.add(logged, now)
        tally.seconds = runner.seconds
        _refuse(reader, model, tally)
        if page:
            page.write(report_html.page(model, asked.source.name, tally))
    if asked.output.as_json:
        asked.output.json(report_text.as_json(model, tally))
    elif tally.predictions:
        report_text.tell(asked.output, model, tally)
    else:
        asked.output.line("no predictions there: nothing to replay")
    return FOUND if tally.same.unequal else FINE


def _batches(
    asked: Asked, reader: Reader | TensorReader, tally: ReplayStatistics, tick: Callable[[], None]
) -> Iterator[list[Logged]]:
    """Yield each prediction that can be replayed once; the others are only counted."""
    rows = _rows(asked, reader, tally, tick)
    while batch := list(itertools.islice(rows, BATCH)):
        yield batch


def _rows(
    asked: Asked, reader: Reader | TensorReader, tally: ReplayStatistics, tick: Callable[[], None]
) -> Iterator[Logged]:
    seen: defaultdict[str, NumberSet] = defaultdict(NumberSet)  # a bit a record
    wanted: str | None = asked.options.logged_by
    for entry in asked.source.read(asked.window):
        tick()
        if entry.event != EVENT_NAME or (wanted and not _is(entry.model, wanted)):
            continue
        if seen[entry.stream].add(entry.sequence):
            for row in rows_of(entry):
                found = reader.read(row)
                if isinstance(found, str):
                    tally.skip(found)
                else:
                    yield found


def _is(model: ModelVersion | None, wanted: str) -> bool:
    return model is not None and wanted in {model.name, str(model)}


def _refuse(reader: Reader | TensorReader, model: ModelVersion, tally: ReplayStatistics) -> None:
    """Raise ValueError if there are predictions and none could be replayed: then nothing was checked."""
    if not tally.not_replayed or tally.models:
        return
    reasons = ", ".join(f"{number} {WHY[reason]}" for reason, number in tally.not_replayed.most_common())
    missing = f"; the log lacks {', '.join(sorted(reader.missing))}" if reader.missing else ""
    msg = f"none of {tally.predictions} predictions can be replayed through {model}: {reasons}{missing}"
    raise ValueError(msg)


@contextmanager
def _page(path: Path | None) -> Iterator[IO[str] | None]:
    """Yield a file that gets its name when it is whole; opened first, so that a bad name costs no waiting."""
    if path is None:
        yield None
        return
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


VERB = Verb("the logged inputs through a model, compared with what was logged", _options, _run)
