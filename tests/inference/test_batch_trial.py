"""How the rows of a batch run: what is tried when a model is loaded, and what follows from it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pytest

from predictor.inference import batch_trial
from predictor.inference.batch_trial import Mode, arranged, rows_to_try, run_alone, try_together

if TYPE_CHECKING:
    from predictor.inference.batch_trial import Parts, Run
    from predictor.inference.onnx_session import Floats

ROWS = rows_to_try([0.5, 1.5], {}).astype(np.float32)
MOST = 256


def double(rows: Floats) -> Parts:
    """Give each row twice its numbers, whoever is beside it."""
    return (rows * 2,)


def rounds_alone(rows: Floats) -> Parts:
    """Give a lone row other last bits than a row in company."""
    return (rows * 2 if len(rows) > 1 else np.nextafter(rows * 2, np.float32(0)),)


def scaled(rows: Floats) -> Parts:
    """Round to steps of the largest number of the batch."""
    step = np.float32(max(np.abs(rows).max(), 1e-30) / 127)
    return (np.round(rows / step) * step,)


def after_a_first(rows: Floats) -> Parts:
    """Mix the first row of the batch into all others, as a mistaken broadcast does."""
    return (rows - rows[:1] * np.float32(1e-3),)


def in_large_batches(rows: Floats) -> Parts:
    """Give other last bits in batches of more than 200 rows only."""
    return (rows * 2 if len(rows) <= 200 else np.nextafter(rows * 2, np.float32(0)),)


def alone_only(rows: Floats) -> Parts:
    """Fail on more than one row, as a fixed shape within the graph makes it."""
    if len(rows) > 1:
        msg = "cannot be reshaped"
        raise ValueError(msg)
    return double(rows)


@pytest.mark.parametrize(
    ("run", "mode"),
    [
        (double, Mode.TOGETHER),
        (rounds_alone, Mode.BESIDE_A_COPY),
        (scaled, Mode.ONE_BY_ONE),
        (after_a_first, Mode.ONE_BY_ONE),
        (in_large_batches, Mode.ONE_BY_ONE),
        (alone_only, Mode.ONE_BY_ONE),
    ],
)
def test_the_trial_finds_how_rows_run(run: Run, mode: Mode) -> None:
    """Rows run together only where that changes no bit, and a lone one beside a copy only where it needs that."""
    assert try_together(run, ROWS, MOST).mode is mode


@pytest.mark.parametrize("run", [double, rounds_alone, scaled, after_a_first, in_large_batches, alone_only])
def test_no_row_depends_on_its_batch(run: Run) -> None:
    """In the way that was found a row gives the same bits alone and in a batch of any size, at any place."""
    way = arranged(run, try_together(run, ROWS, MOST).mode)
    (alone,) = (np.concatenate(each) for each in zip(*(way(ROWS[at : at + 1]) for at in range(len(ROWS))), strict=True))
    for size in (2, 3, 10, MOST):
        for begin in range(0, len(ROWS), size):
            (found,) = way(ROWS[begin : begin + size])
            assert found.tobytes() == alone[begin : begin + size].tobytes()


def test_rows_that_run_together_pay_for_no_copy() -> None:
    """A lone row of a model that gives it the same bits anyway runs alone."""
    sizes: list[int] = []

    def counted(rows: Floats) -> Parts:
        sizes.append(len(rows))
        return double(rows)

    arranged(counted, Mode.TOGETHER)(ROWS[:1])
    arranged(counted, Mode.BESIDE_A_COPY)(ROWS[:1])
    assert sizes == [1, 2]


def test_a_slow_model_is_tried_with_little_and_keeps_the_copy() -> None:
    """When the time is over at once, company that changes a row is still found; few equal rows spare no copy."""
    assert try_together(scaled, ROWS, MOST, seconds=0).mode is Mode.ONE_BY_ONE
    assert try_together(double, ROWS, MOST, seconds=0).mode is Mode.BESIDE_A_COPY


def test_rows_that_fail_alone_are_left_out() -> None:
    """A row that the model refuses is no witness, and stops no trial."""

    def picky(rows: Floats) -> Parts:
        if (rows > 1000).any():
            msg = "out of bounds"
            raise IndexError(msg)
        return double(rows)

    found = try_together(picky, ROWS, MOST)
    assert found.mode is Mode.TOGETHER
    assert 0 < len(found.rows) < len(ROWS)
    assert len(found.rows) == len(found.parts[0])


def test_nan_is_nan() -> None:
    """Rows that give NaN differ in nothing, also where the processor gives another NaN alone; a sign of zero counts."""

    def gives_nan(rows: Floats) -> Parts:
        return (np.where(rows < 0, np.float32(np.nan) * (1 if len(rows) > 1 else -1), rows),)

    def gives_zero(rows: Floats) -> Parts:
        return (rows * np.float32(0 if len(rows) > 1 else -0.0),)

    assert try_together(gives_nan, ROWS, MOST).mode is Mode.TOGETHER
    assert try_together(gives_zero, ROWS, MOST).mode is Mode.BESIDE_A_COPY


def test_texts_are_held_too() -> None:
    """A label that is a text is compared like a number."""

    def majority(rows: Floats) -> Parts:
        return rows, np.array(["high" if rows.sum() > 0 else "low"] * len(rows), object)

    assert try_together(majority, ROWS, MOST).mode is Mode.ONE_BY_ONE


@pytest.mark.parametrize("most", [2, 3, 100, 4096])
def test_as_many_rows_are_tried_as_may_come_together(most: int) -> None:
    """No batch of the trial is larger than one that may come, and the largest is among them."""
    sizes: set[int] = set()

    def counted(rows: Floats) -> Parts:
        sizes.add(len(rows))
        return double(rows)

    try_together(counted, ROWS, most)
    assert max(sizes) == max(most, 3)
    assert 1 in sizes


def test_rows_to_try_are_near_and_far_and_the_same_each_time() -> None:
    """The sample is the first; others are around it, in the ranges of training, at zero and far off; all are finite."""
    rows = rows_to_try([0.5, 1.5], {1: (100.0, 101.0)})
    assert rows.tobytes() == rows_to_try([0.5, 1.5], {1: (100.0, 101.0)}).tobytes()
    assert rows[0].tolist() == [0.5, 1.5]
    assert rows[1].tolist() == [0, 0]
    assert np.abs(rows).max() >= 1e6
    in_range = (rows[:, 1] >= 100) & (rows[:, 1] <= 101)
    assert len(rows) / 2 < in_range.sum() < len(rows)
    largest = float(np.finfo(np.float32).max)
    assert np.isfinite(rows_to_try([largest, -largest], {})).all()


def test_a_wide_row_is_tried_in_bounded_memory() -> None:
    """A row of a million numbers is tried with few others."""
    assert rows_to_try([1.0] * 1_000_000, {}).nbytes <= 16 * 8_000_000


def test_what_runs_alone_gives_its_numbers() -> None:
    """Each row that was run alone comes back with what it gave."""
    rows, (found,) = run_alone(double, ROWS)
    assert np.array_equal(rows, ROWS)  # type: ignore[arg-type]  # one input: an array
    assert found.tobytes() == (ROWS * 2).tobytes()


def test_the_trial_needs_no_more_batches_than_there_are() -> None:
    """The batches that even the slowest model runs hold the sample beside itself and beside far rows, at both ends."""
    needed = [places.tolist() for places in islice(batch_trial.batches(len(ROWS), MOST), batch_trial.NEEDED_BATCHES)]
    assert [0, 0] in needed
    assert any(places[0] == 0 and places[-1] != 0 for places in needed)
    assert any(places[0] != 0 and places[-1] == 0 for places in needed)
