"""What every model file is held to when it is loaded: the shape of its input, and how its rows run together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from predictor.inference.batch_trial import Mode, Trial, arranged, run_alone, try_together
from predictor.inference.signature import FREE, TensorSpec, datatype_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from predictor.inference.batch_trial import Parts, Run
    from predictor.inference.onnx_session import Session
    from predictor.inference.table_input import Feed

TRIED_ROWS = 3  # more than one, and not a number that a shape is likely to have by chance


class Reading(NamedTuple):
    """Outputs of a file, and what makes of them the parts that a task wants."""

    names: Sequence[str]
    read: Callable[[Sequence[Any]], Parts]

    def of(self, session: Session) -> Run:
        """Return the function from rows to the parts."""
        raw, read = session.asked_for(self.names), self.read
        return lambda rows: read(raw(rows))


class Checked(NamedTuple):
    """A file that was held to the description, and how its rows run."""

    run: Run
    mode: Mode
    notes: tuple[str, ...]
    """What a person should know of it, one sentence each."""
    whole: Run
    """Gives what `run` gives, and then the file's own outputs."""
    own: tuple[TensorSpec, ...]
    """These outputs: those with an entry for each row; maps stand as their numbers, in the order of the labels."""
    own_label: bool = False
    """Whether its label is one of its outputs."""


def checked(session: Session, reading: Reading, mode: Mode, rows: Feed, notes: Sequence[str] = ()) -> Checked:
    """Return a file's function, arranged for how its rows run, with what there is to say of it; `rows` were tried."""
    if mode is Mode.ONE_BY_ONE:
        why = "it takes one row at a time" if session.one_row_only else "a row's numbers change with its neighbours"
        notes = [f"{session.file}: {why}, so rows run one by one", *notes]
    names = [*session.outputs]
    raw, places = session.asked_for(names), [names.index(name) for name in reading.names]

    def whole(rows: Feed) -> Parts:
        found = raw(rows)
        parts = reading.read([found[place] for place in places])
        own = (_own(each, parts[0] if name in reading.names else None) for name, each in zip(names, found, strict=True))
        return (*parts, *own)

    sample = arranged(whole, mode)(rows[[0] * TRIED_ROWS])
    count = len(sample) - len(names)
    taken = [at for at, part in enumerate(sample) if at < count or part.shape[:1] == (TRIED_ROWS,)]
    own = tuple(
        TensorSpec(names[at - count], datatype_of(sample[at]), (FREE, *sample[at].shape[1:])) for at in taken[count:]
    )

    def by_row(rows: Feed) -> Parts:
        found = whole(rows)
        return tuple(found[at] for at in taken)

    return Checked(arranged(reading.of(session), mode), mode, tuple(notes), arranged(by_row, mode), own)


def _own(part: Any, numbers: NDArray[Any] | None) -> NDArray[Any]:  # noqa: ANN401 - a tensor or a list of maps
    if isinstance(part, list):
        return np.empty(0) if numbers is None else numbers
    return np.atleast_1d(part)


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
