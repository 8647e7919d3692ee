"""What every model file is held to when it is loaded: the shape of its input, and how its rows run together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from predictor.inference.batch_trial import Mode, Trial, arranged, run_alone, try_together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from predictor.inference.batch_trial import Parts, Run
    from predictor.inference.onnx_session import Session
    from predictor.inference.table_input import Feed

TRIED_ROWS = 3  # more than one, and not a number that a shape is likely to have by chance


class Checked(NamedTuple):
    """A file that was held to the description, and how its rows run."""

    run: Run
    mode: Mode
    notes: tuple[str, ...]
    """What a person should know of it, one sentence each."""
    own_label: bool = False
    """Whether its label is one of its outputs."""


def checked(session: Session, run: Run, mode: Mode, notes: Sequence[str] = ()) -> Checked:
    """Return a file's function, arranged for how its rows run, with what there is to say of it."""
    if mode is Mode.ONE_BY_ONE:
        why = "it takes one row at a time" if session.one_row_only else "a row's numbers change with its neighbours"
        notes = [f"{session.file}: {why}, so rows run one by one", *notes]
    return Checked(arranged(run, mode), mode, tuple(notes))


def three_rows(session: Session, run: Run, rows: Feed) -> Parts:
    """Return what the sample gives three times; raises ModelError if it fails."""
    sample = rows[[0] * TRIED_ROWS]
    one_by_one = arranged(run, Mode.ONE_BY_ONE)
    if session.one_row_only:
        return session.try_out(one_by_one, sample)  # type: ignore[no-any-return]
    return _together(session, run, one_by_one, sample)


def tried(session: Session, run: Run, rows: Feed, most: int, what: str, shape: tuple[int, ...]) -> Trial:
    """Find how rows run; raises ModelError if the first part of what they give has not `shape` for each row."""
    found = three_rows(session, run, rows)
    if found[0].shape != (TRIED_ROWS, *shape):
        given = f"its {what} for {TRIED_ROWS} rows have the shape {found[0].shape}"
        session.refuse(f"{given}; wanted {(TRIED_ROWS, *shape)}, as the description has it")
    if session.one_row_only:
        return Trial(Mode.ONE_BY_ONE, *run_alone(run, rows))
    return try_together(run, rows, most)


def _together(session: Session, run: Run, one_by_one: Run, sample: Feed) -> Parts:
    try:
        return run(sample)
    except Exception:  # noqa: BLE001 - the runtime's exceptions share no other base
        return session.try_out(one_by_one, sample)  # type: ignore[no-any-return]
