"""What tensors a model takes, found by running it: whether axis 0 is that of rows, and whether rows run together.

A file whose first axis is free claims to take any number of rows. The claim is tried: rows alone must give, bit for
bit, what they give beside others. Else each request runs alone, as it came, and gets the runtime's own numbers.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from predictor.inference.batch_trial import NEEDED_BATCHES, batches, differ, run_alone
from predictor.inference.signature import DTYPES, FLOATS, FREE, TensorSpec
from predictor.inference.table_input import Columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from predictor.inference.batch_trial import Parts, Run

_LENGTHS = (8, 16, 32, 64, 128, 224, 1)
"""Tried for the free axes behind the first, until one runs: tokens, a window of a series, the edge of an image."""
_MOST_NUMBERS = 1 << 21
"""Elements of all rows of a trial, and of those that run together: a network holds many times that in between."""
_MOST_ROWS, _FEWEST_ROWS = 256, 4
_TWO = 2
_TRIED = 3  # rows: more than one, and not a number that a shape is likely to have by chance
_SECONDS = 0.5  # of processor time for each half of the trial of a slow model
_LONGEST = 0.25
"""Seconds that rows of a slow model run together at most: so many are tried, and no more run together."""
_IN_TURN = 0.002
"""Seconds that requests which run one after the other are held together at most, to spare the way to a thread."""
_SCALES = (1.0, 1e1, 1e2, 1e3, 1e4, 1e6, 0.1, 1.0)
_LARGEST = (1, 1, 3, 30, 1, 300)
"""Integers are drawn from 0 to these: they may be places in a table of any length, and those beyond it fail."""
_WORDS = ("", "a", "b", "no", "yes", "a longer text", "?")


class Found(NamedTuple):
    """What a trial found out."""

    row_axis: bool
    """Whether axis 0 of each input and output is that of the rows."""
    together: int
    """So many rows may run together; 0: each request runs alone."""
    batch_rows: int
    """So many rows are given to a thread at once: those that run together, or a few requests one after the other."""
    sample: Mapping[str, NDArray[Any]] | None
    """A request that runs; None if none was found."""
    why: str | None = None
    """Why rows do not run together, for a sentence; None if they do."""


_UNTRIED = "no request was found that it takes, so it could not be tried"
_NO_ROWS = "its first axis is not that of rows"
_INFLUENCE = "a row's numbers change with its neighbours"
_HEAVY = "two rows take more than a quarter of a second, or have more than two million values"


def try_tensors(run: Run, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], most: int) -> Found:
    """Find out how a model takes its rows; `most` is how many may come together."""
    if not _claims_rows(inputs, outputs):
        return _try_whole(run, inputs, most)
    for length in _lengths(spec.shape[1:] for spec in inputs):
        rows = _rows(inputs, length)
        try:
            one, seconds = _timed(run, rows[:1])
        except Exception:  # noqa: BLE001, S112 - the runtime's exceptions share no other base
            continue
        sample = rows[:1].arrays
        in_turn = _at_once(_IN_TURN, seconds, most)
        if not _has_rows(run, rows, one):
            return Found(row_axis=False, together=0, batch_rows=in_turn, sample=sample, why=_NO_ROWS)
        elements = max(sum(array.size for array in sample.values()), 1)
        several = min(_at_once(_LONGEST, seconds, most), _MOST_NUMBERS // elements)
        if several < _TWO:  # a trial would take long, or much memory, and nothing is to be gained
            return Found(row_axis=True, together=0, batch_rows=1, sample=sample, why=_HEAVY)
        if not _independent(run, rows, several):
            return Found(row_axis=True, together=0, batch_rows=in_turn, sample=sample, why=_INFLUENCE)
        return Found(row_axis=True, together=several, batch_rows=several, sample=sample)
    return Found(row_axis=False, together=0, batch_rows=1, sample=None, why=_UNTRIED)


def _try_whole(run: Run, inputs: Sequence[TensorSpec], most: int) -> Found:
    """Find zeros that a model without rows takes, and how long it takes."""
    for length in reversed(_lengths(spec.shape for spec in inputs)):
        sample = {
            spec.name: _zeros(spec.datatype, tuple(length if size == FREE else size for size in spec.shape))
            for spec in inputs
        }
        try:
            _, seconds = _timed(run, Columns(sample))
        except Exception:  # noqa: BLE001, S112 - as above
            continue
        in_turn = _at_once(_IN_TURN, seconds, most)
        return Found(row_axis=False, together=0, batch_rows=in_turn, sample=sample, why=_NO_ROWS)
    return Found(row_axis=False, together=0, batch_rows=1, sample=None, why=_UNTRIED)


def _timed(run: Run, feed: Columns) -> tuple[Parts, float]:
    """Return what a run gives and the processor time it takes, once what happens at the first run only has happened."""
    run(feed)
    began = time.thread_time()  # what else the machine does must not count
    found = run(feed)
    return found, time.thread_time() - began


def _at_once(longest: float, seconds: float, most: int) -> int:
    return max(1, min(most, int(longest / max(seconds, 1e-6))))


def _lengths(shapes: Iterable[Sequence[int]]) -> tuple[int, ...]:
    return _LENGTHS if any(FREE in shape for shape in shapes) else _LENGTHS[:1]


def _claims_rows(inputs: Iterable[TensorSpec], outputs: Iterable[TensorSpec]) -> bool:
    return all(spec.shape[:1] == (FREE,) for spec in inputs) and all(
        spec.shape[:1] in {(FREE,), ()} for spec in outputs
    )


def _has_rows(run: Run, rows: Columns, one: Parts) -> bool:
    """Tell whether each output has an entry for each row."""
    try:
        several = run(rows[[0] * _TRIED])
    except Exception:  # noqa: BLE001 - as above
        return False
    return all(
        part.shape[:1] == (1,) and others.shape == (_TRIED, *part.shape[1:])
        for part, others in zip(one, several, strict=True)
    )


def _independent(run: Run, rows: Columns, most: int) -> bool:
    """Tell whether rows give beside others what they give alone, bit for bit."""
    try:
        subjects, alone = run_alone(run, rows, _SECONDS)
        if len(subjects) < min(_FEWEST_ROWS, len(rows)):
            return False
        end = time.thread_time() + _SECONDS
        for number, places in enumerate(batches(len(subjects), most)):
            if number >= NEEDED_BATCHES and time.thread_time() > end:
                break
            if differ(run(subjects[places]), tuple(part[places] for part in alone)).any():
                return False
    except Exception:  # noqa: BLE001 - rows that run alone and not together, or whose outputs have different shapes
        return False
    return True


def _rows(inputs: Sequence[TensorSpec], length: int) -> Columns:
    """Return rows to try, the first of zeros; the same in every process."""
    draw = np.random.default_rng(0)
    shapes = [tuple(length if size == FREE else size for size in spec.shape[1:]) for spec in inputs]
    elements = sum(math.prod(shape) for shape in shapes)
    count = max(_FEWEST_ROWS, min(_MOST_ROWS, _MOST_NUMBERS // max(elements, 1)))
    return Columns(
        {spec.name: _entries(spec.datatype, (count, *shape), draw) for spec, shape in zip(inputs, shapes, strict=True)}
    )


def _zeros(datatype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    return np.full(shape, "", object) if datatype == "BYTES" else np.zeros(shape, DTYPES[datatype])


def _entries(datatype: str, shape: tuple[int, ...], draw: np.random.Generator) -> NDArray[Any]:
    """Return an array of rows of a datatype: zeros first, then values near and far."""
    by_row = (-1, *(1 for _ in shape[1:]))
    found: NDArray[Any]
    if datatype == "BYTES":
        found = np.array(_WORDS, object)[draw.integers(0, len(_WORDS), shape)]
        found[0] = ""
    elif datatype == "BOOL":
        found = draw.integers(0, 2, shape).astype(bool)
        found[0] = False
    elif datatype in FLOATS:
        scales = np.resize(np.array(_SCALES, np.float32), shape[0]).reshape(by_row)
        numbers = draw.standard_normal(shape, dtype=np.float32) * scales
        largest = np.finfo(DTYPES[datatype]).max
        found = np.clip(numbers, -largest, largest).astype(DTYPES[datatype])
        found[0] = 0
    else:
        bounds = np.iinfo(DTYPES[datatype])
        if bounds.bits == 8:  # noqa: PLR2004 - those of images and quantized numbers
            found = draw.integers(bounds.min, bounds.max, shape, dtype=DTYPES[datatype], endpoint=True)
        else:
            largest_of = np.resize(np.array(_LARGEST), shape[0]).reshape(by_row)
            found = draw.integers(0, largest_of, shape, endpoint=True).astype(DTYPES[datatype])
        found[0] = 0
    return found
