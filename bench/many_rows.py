"""What a row costs in a record of its own and in one with others: `python -m bench.many_rows`.

Takes the outputs of one batch of iris to encoded records, both ways in turn, and prints the processor time and the
bytes of a row.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np

from bench.environments import ROOT
from predictor.core.result import Origin
from predictor.inference.model import load
from predictor.recording.encoder import RecordEncoder, numbered
from predictor.recording.prediction_log import RECORD_BYTES
from predictor.recording.record_schema import schema_of
from predictor.recording.rows_encoder import RowsEncoder
from predictor.serving.job import Job, Ran, predictions_of

_TURNS = 20
_JOB = "0199c0de-0000-7000-8000-000000000001"


class _Waiting:
    """A caller who waits."""

    def done(self) -> bool:
        return False

    def set_result(self, result: None, /) -> None:
        """Hear that it is done."""

    def set_exception(self, error: BaseException, /) -> None:
        """Hear that it failed."""


class _Both:
    """The two ways over one batch."""

    def __init__(self, rows: int) -> None:
        model = load(ROOT / "models" / "iris")
        schema = schema_of(model.description)
        draw = np.random.default_rng(0)
        self._rows = draw.uniform([4, 2, 1, 0.1], [8, 4.5, 7, 2.5], (rows, 4)).round(1).tolist()
        self._outputs = model.run(self._rows)
        self._one = RecordEncoder(schema)
        self._many = RowsEncoder(schema, RECORD_BYTES, self._one)

    def per_row(self) -> list[bytes]:
        return self._one.encode(self._job(by_column=False).answered, time.time_ns())

    def per_request(self) -> list[bytes]:
        many = self._job(by_column=True).many
        return self._many.encode(many, time.time_ns()) if many else []

    def _job(self, *, by_column: bool) -> Job:
        origin = Origin("0" * 32, "0" * 16, "/predict/batch", time.time_ns(), time.monotonic())
        job = Job(origin, self._rows, _Waiting(), _JOB, len(self._rows))
        predictions_of(Ran([job], self._outputs, 1.0, 2.0), by_column=by_column)
        return job


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.many_rows", description=__doc__)
    parser.add_argument("--rows", type=int, default=256, help="of the request (%(default)s)")
    parser.add_argument("--rounds", type=int, default=30, help="of both ways (%(default)s)")
    options = parser.parse_args()
    both = _Both(options.rows)
    ways = {"per_row": both.per_row, "per_request": both.per_request}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            began = time.process_time()
            for _ in range(_TURNS):
                way()
            taken[name].append((time.process_time() - began) / _TURNS / options.rows * 1e6)
    for name, way in ways.items():
        size = sum(len(numbered(at, record)) for at, record in enumerate(way(), 1)) / options.rows
        print(f"{name:12}{statistics.median(taken[name]):6.2f} µs {size:6.0f} bytes a row")
    return 0


if __name__ == "__main__":
    sys.exit(main())
