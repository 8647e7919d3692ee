"""Runs the jobs of a batch through a model, in a pool thread: together what may be, and apart on a failure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from predictor.inference.table_input import Columns
from predictor.serving.job import Ran

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from predictor.core.result import Tensors, TensorTexts
    from predictor.inference.model import Model
    from predictor.inference.outputs import Outputs
    from predictor.inference.table_input import Feed
    from predictor.serving.job import Job

    Describe = Callable[[Tensors, Tensors | None], Sequence[TensorTexts]]


def run_jobs(model: Model, jobs: Sequence[Job], describe: Describe) -> tuple[list[Ran], Exception | None]:
    """Return what came of the jobs of a batch, and an error if the model failed on some of them.

    Raises the error if it failed on each. One caller's rows must not cost the others their answers.
    """
    found: list[Ran] = []
    error = None
    for group in (jobs,) if jobs[0].rows else _groups(model, jobs):
        for ran, raised in _apart(model, group):
            error = raised or error
            found.append(_described(ran, describe))
    if error and not any(ran.outputs for ran in found):
        raise error
    return found, error


def _apart(model: Model, jobs: Sequence[Job]) -> Iterator[tuple[Ran, Exception | None]]:
    """Yield what jobs give together, or apart: halves find one bad request among many in a few runs."""
    started = time.monotonic()
    try:
        outputs = _tables(model, jobs) if jobs[0].rows else _tensors(model, jobs)
    except Exception as error:  # noqa: BLE001 - the runtime's exceptions share no other base
        if len(jobs) == 1:
            yield Ran(jobs, None, started, time.monotonic()), error.with_traceback(None)
            return
    else:
        yield Ran(jobs, outputs, started, time.monotonic()), None
        return
    middle = len(jobs) // 2
    yield from _apart(model, jobs[:middle])
    yield from _apart(model, jobs[middle:])


def _tables(model: Model, jobs: Sequence[Job]) -> Outputs:
    rows = [row for job in jobs for row in job.rows]
    if not [job for job in jobs if job.tensors or job.own_outputs]:
        return model.run(rows)
    feeds = [model.feed(job.rows) if job.tensors is None else _as_feed(model, job.tensors) for job in jobs]
    return model.run_feed(_one_after_the_other(feeds), rows, own=any(job.own_outputs for job in jobs))


def _as_feed(model: Model, tensors: Mapping[str, NDArray[Any]]) -> Feed:
    """Return tensors as a table's rows are given to the runtime: one array if there is one input."""
    inputs = model.signature.inputs
    return tensors[inputs[0].name] if len(inputs) == 1 and len(inputs[0].shape) != 1 else Columns(tensors)


def _one_after_the_other(feeds: Sequence[Feed]) -> Feed:
    if len(feeds) == 1:
        return feeds[0]
    columns = [feed.arrays for feed in feeds if isinstance(feed, Columns)]
    if not columns:
        return np.concatenate([feed for feed in feeds if not isinstance(feed, Columns)])
    return Columns({name: np.concatenate([each[name] for each in columns]) for name in columns[0]})


def _tensors(model: Model, jobs: Sequence[Job]) -> Outputs:
    feeds = [Columns(job.tensors or {}) for job in jobs]
    outputs = model.run_feed(_one_after_the_other(feeds))
    own = outputs.own or {}
    row = 0
    for job in jobs:  # a lone one may have no row axis
        job.outputs = own if len(jobs) == 1 else {name: part[row : row + job.size] for name, part in own.items()}
        row += job.size
    return outputs


def _groups(model: Model, jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Yield the jobs that run together: those whose rows have equal shapes, if rows run together at all."""
    names = [spec.name for spec in model.signature.inputs]
    together = model.tensors.together if model.tensors else 0
    groups: dict[Hashable, list[Job]] = {}
    for number, job in enumerate(jobs):
        tensors = job.tensors or {}
        key: Hashable = tuple(tensors[name].shape[1:] for name in names) if together else number
        groups.setdefault(key, []).append(job)
    for group in groups.values():
        rows = 0
        taken: list[Job] = []
        for job in group:
            if taken and rows + job.size > together:
                yield taken
                rows, taken = 0, []
            taken.append(job)
            rows += job.size
        yield taken


def _described(ran: Ran, describe: Describe) -> Ran:
    """Make what the records have of tensors here, where it holds up nobody."""
    for job in ran.jobs if not ran.jobs[0].rows else ():
        if job.tensors is not None:
            job.texts = describe(job.tensors, job.outputs)
    return ran
