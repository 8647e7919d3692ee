"""Which rows may run together: not believed of a file whose first axis is free, but tried when it is loaded.

A row must get the same numbers, bit for bit, whoever shares its batch. Two things work against that:

- Matrix products take another path for a single row than for several, and round differently (seen: 7 % of the scores of
  a one-class SVM, 60 % of the probabilities of a logistic regression). Such a model runs a lone row beside a copy.
- Some models compute something over the whole batch, for example the scale of a dynamic quantization, so that one row
  changes another's answer. Their rows run one by one.
"""

from __future__ import annotations

import time
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from predictor.inference.table_input import Feed

    Floats: TypeAlias = NDArray[np.float32]
    Parts: TypeAlias = tuple[NDArray[Any], ...]  # what a file gives for N rows: arrays of N entries
    Run: TypeAlias = Callable[[Any], Parts]  # of a Feed

_MOST_ROWS = 512  # a difference in 1 % of the rows is missed by one trial in 170
_FEWEST_ROWS = 32  # with fewer a lone row keeps its copy: that is slower at worst, never wrong
_MOST_NUMBERS = 1 << 22  # 16 MiB of float32: a very wide model is tried with fewer rows
_SECONDS = 0.5  # of processor time for each half of the trial of a slow model
_SIZES = (2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129)
"""Around the sizes at which kernels take another path."""
_NEEDED_ROWS, NEEDED_BATCHES = 7, 8
"""Of the slowest model too: the sample, zeros and the first far rows alone, then the sample beside itself and these."""
_FAR = (1e1, 1e2, 1e3, 1e4, 1e6)
_NEIGHBOURS = 2 + 3 * len(_FAR)  # the sample, zeros and the far rows stand first
_SPREADS = (0.1, 1.0)


class Mode(Enum):
    """How the rows of a batch run."""

    TOGETHER = "together"
    BESIDE_A_COPY = "together, a lone one beside a copy of itself"
    ONE_BY_ONE = "one by one"


class Trial(NamedTuple):
    """What came of a trial: how rows run, and the rows that were run alone with what they gave."""

    mode: Mode
    rows: Feed
    parts: Parts


def rows_to_try(sample: Sequence[float], ranges: Mapping[int, tuple[float, float]]) -> NDArray[np.float64]:
    """Return rows around the sample, in the ranges of training by column, and far off; the same in every process.

    The sample is the first, then comes one of zeros, then the far ones.
    """
    center = np.array(sample, np.float64)
    scale = np.maximum(np.abs(center), 1.0)
    count = max(16, min(_MOST_ROWS, _MOST_NUMBERS // len(center)))
    draw = np.random.default_rng(0)
    far = [sign * size * scale for size in _FAR for sign in (1, -1, draw.choice((-1.0, 1.0), len(center)))]
    left = max(count - _NEIGHBOURS, 0)
    near = center + scale * draw.normal(size=(left, len(center))) * np.resize(_SPREADS, left)[:, None]
    near[::4] = near[::4].round()  # some features are counts or codes
    inside = 3 * left // 4
    for column, (low, high) in ranges.items():
        near[:inside, column] = draw.uniform(low, high, inside)
    rows: NDArray[np.float64] = np.vstack([center, 0 * center, *far, near])[:count]
    return rows


def run_alone(run: Run, rows: Feed, seconds: float = _SECONDS) -> tuple[Feed, Parts]:
    """Return the rows that run and what each gives alone; the first one must run.

    Rows on which the model fails are left out; after `seconds` of processor time no more are run.
    """
    end = time.thread_time() + seconds
    kept, found = [], []
    for at in range(len(rows)):
        try:
            found.append(run(rows[at : at + 1]))
        except Exception:  # noqa: BLE001, S112 - the runtime's exceptions share no other base, and any row may be refused
            continue
        kept.append(at)
        if at >= _NEEDED_ROWS and time.thread_time() > end:
            break
    return rows[kept], _joined(found)


def try_together(run: Run, rows: Feed, most: int, seconds: float = _SECONDS) -> Trial:
    """Find how rows run; the first is the sample, `most` is how many may come together."""
    subjects, alone = run_alone(run, rows, seconds)
    end = time.thread_time() + seconds
    differs = False
    together: list[tuple[NDArray[np.intp], Parts]] = []
    for number, places in enumerate(batches(len(subjects), most)):
        if number >= NEEDED_BATCHES and time.thread_time() > end:
            break
        try:
            found = run(subjects[places])
        except Exception:  # noqa: BLE001 - the runtime's exceptions share no other base
            return Trial(Mode.ONE_BY_ONE, subjects, alone)  # alone they did not fail
        together.append((places, found))
        differs = differs or bool(differ(found, tuple(part[places] for part in alone)).any())
    if not differs and len(subjects) >= min(_FEWEST_ROWS, len(rows)):
        return Trial(Mode.TOGETHER, subjects, alone)
    doubled = _joined([tuple(part[:1] for part in run(subjects[[at, at]])) for at in range(len(subjects))])
    same = all(not differ(found, tuple(part[places] for part in doubled)).any() for places, found in together)
    return Trial(Mode.BESIDE_A_COPY if same else Mode.ONE_BY_ONE, subjects, alone)


def arranged(run: Run, mode: Mode) -> Run:
    """Return a function that runs any number of rows in that mode."""

    def beside_a_copy(rows: Feed) -> Parts:
        if len(rows) > 1:
            return run(rows)
        return tuple(part[:1] for part in run(rows.repeat(2, axis=0)))

    def one_by_one(rows: Feed) -> Parts:
        return _joined([run(rows[at : at + 1]) for at in range(len(rows))])

    return {Mode.TOGETHER: run, Mode.BESIDE_A_COPY: beside_a_copy, Mode.ONE_BY_ONE: one_by_one}[mode]


def batches(count: int, most: int) -> Iterator[NDArray[np.intp]]:
    """Yield the places of rows that run together: the sample beside itself and far rows, then all in many sizes."""
    order = np.random.default_rng(1).permutation(count)
    yield np.array([0, 0])
    yield np.resize(order, min(most, max(_SIZES)))
    for other in range(1, min(_NEIGHBOURS, count)):
        yield np.array([0, other] if other % 2 else [other, 0, 0])
    begin = 0
    sizes = [size for size in _SIZES if size < most] or [most]
    while begin < count:  # each row in batches of a few sizes, each time in other company
        for size in sizes:
            yield np.resize(order[begin % count :], size) if begin % count else np.resize(order, size)
            begin += size
    for turn in range(0, count, most):
        yield np.resize(np.roll(order, -turn), most)


def _joined(parts: Sequence[Parts]) -> Parts:
    return tuple(np.concatenate(each) for each in zip(*parts, strict=True))


def differ(found: Parts, wanted: Parts) -> NDArray[np.bool_]:
    """Return for each row whether any of its bits differ; one NaN is as good as another."""
    unlike = np.zeros(len(wanted[0]), bool)
    for ours, theirs in zip(found, wanted, strict=True):
        if ours.shape != theirs.shape:
            return ~unlike
        unequal = ours != theirs
        if ours.dtype.kind == "f":
            unequal |= np.signbit(ours) != np.signbit(theirs)  # of zeros
            unequal &= ~(np.isnan(ours) & np.isnan(theirs))
        unlike |= unequal.reshape(len(unlike), -1).any(axis=1)
    return unlike
