"""Replays requests of tensors: each as it was logged, its outputs compared bit for bit."""

from __future__ import annotations

import hashlib
import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from predictor.inference.row_answers import RowAnswer
from predictor.inference.signature import DTYPES
from predictor.reader.replay.rows import Logged
from predictor.reader.tensors import has_tensors, tensors_of
from predictor.recording.tensor_texts import contents

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from predictor.inference.model import Model
    from predictor.reader.record import Entry
    from predictor.reader.replay.rows import SkipReason
    from predictor.reader.tensors import Tensor


class LoggedTensors(NamedTuple):
    """A request of tensors as it was logged."""

    inputs: Mapping[str, NDArray[Any]]
    outputs: Sequence[Tensor]


class TensorReader:
    """Turns records into requests for one model; see `rows.Reader`."""

    def __init__(self, model: Model) -> None:
        """Take the model to replay through."""
        self._inputs = {spec.name: spec.datatype for spec in model.signature.inputs}
        self._outputs = {spec.name for spec in model.own_outputs}
        self.missing: set[str] = set()
        """Names that the model wants and a record did not have."""

    def read(self, entry: Entry) -> Logged | SkipReason:
        """Return the request of a prediction's record, or why it cannot be replayed."""
        said = entry.attributes
        if "error.type" in said or entry.job_id is None:
            return "failed"
        try:
            inputs, outputs = (tensors_of(said, side) for side in ("inputs", "outputs"))
            # What does not have its shape is found here, of outputs too.
            arrays, _ = (
                {each.name: _array(each) for each in some if each.values is not None} for some in (inputs, outputs)
            )
        except (ValueError, TypeError, OverflowError, KeyError):
            return "unreadable"
        known = [each for each in outputs if each.name in self._outputs and (each.values is not None or each.sha256)]
        if reason := self._why_not(entry, inputs, known):
            return reason
        numbers = [value for each in known for value in _numbers(each.values)]
        size = max(said.get("prediction.batch.size", 1), 1)
        return Logged(
            entry.job_id,
            entry.row or 0,
            entry.time_ns,
            entry.model,
            LoggedTensors({each.name: arrays[each.name] for each in inputs}, known),
            numbers,
            None,
            None,
            None,
            None,
            said.get("prediction.duration.inference", 0.0) * said.get("prediction.rows", 1) / size,
            size,
        )

    def _why_not(self, entry: Entry, inputs: Sequence[Tensor], known: Sequence[Tensor]) -> SkipReason | None:
        names = {each.name for each in inputs}
        if not has_tensors(entry) or {each.name: each.datatype for each in inputs} != self._inputs:
            self.missing |= self._inputs.keys() - names
            return "features"
        if not names.isdisjoint(entry.redacted):
            return "redacted"
        if any(each.values is None for each in inputs):
            return "truncated"
        return None if known else "outputs"


class TensorRunner:
    """Runs requests one after the other; see `run.ReplayRunner`."""

    def __init__(self, model: Model) -> None:
        """Take a loaded model."""
        self._model = model
        self.seconds = 0.0
        """Spent in the model so far, by requests that it answered."""

    def run(self, requests: Sequence[Logged]) -> list[RowAnswer | None]:
        """Return what comes of each request: None where the model fails."""
        return [self._one(each.features) for each in requests]

    def _one(self, logged: object) -> RowAnswer | None:
        if not isinstance(logged, LoggedTensors):
            return None
        began = time.perf_counter()
        try:
            found = self._model.run_feed(logged.inputs).own or {}
        except Exception:  # noqa: BLE001 - the runtime's exceptions share no other base
            return None
        self.seconds += time.perf_counter() - began
        numbers = [value for each in logged.outputs for value in _compared(each, found[each.name])]
        return RowAnswer(numbers, None, None, None)


def _compared(logged: Tensor, now: NDArray[Any]) -> list[float]:
    """Return the values of now, equal ones as those that were logged: so NaN is itself, and a text one or none.

    What is not as it was and has no distance is infinite.
    """
    if logged.values is None:
        same = hashlib.sha256(contents(logged.datatype, now)).hexdigest() == logged.sha256
        return [0.0] if same else [math.inf]
    before = _numbers(logged.values)
    if logged.shape == now.shape and _contents(logged) == contents(logged.datatype, now):
        return before
    if logged.shape != now.shape:
        return [*before, math.inf]
    after = _numbers(now.reshape(-1).tolist())
    pairs = zip(before, after, logged.values, now.reshape(-1).tolist(), strict=True)
    return [
        one if was == now_is else math.inf if isinstance(was, str) or math.isnan(one - other) else other
        for one, other, was, now_is in pairs
    ]


def _numbers(values: Sequence[Any] | None) -> list[float]:
    """Return values as numbers: a text is 0, and the comparison treats it as a text."""
    return [0.0] if values is None else [0.0 if isinstance(each, str) else float(each) for each in values]


def _contents(tensor: Tensor) -> bytes:
    return contents(tensor.datatype, _array(tensor))


def _array(tensor: Tensor) -> NDArray[Any]:
    return np.array(tensor.values, DTYPES[tensor.datatype]).reshape(tensor.shape)
