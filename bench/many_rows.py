"""What a row of a request of many costs, step by step: `python -m bench.many_rows`.

Takes rows of iris from the JSON of the request to the answer and to the line in the file, in one thread and without a
socket: with a record for each row, and with as few records as hold them. Prints the processor time and the bytes of a
row, medians over rounds in which each step has its turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from bench.environments import ROOT
from predictor import otlp
from predictor.api.dataplane import InferRequest, Reply, RequestContext
from predictor.api.json_body import BodyHead
from predictor.api.pattern.predict import codecs
from predictor.core import heap
from predictor.core.result import Origin
from predictor.inference.model import load
from predictor.recording.canonical import record_digests
from predictor.recording.encoder import RecordEncoder, numbered
from predictor.recording.prediction_log import RECORD_BYTES
from predictor.recording.record_schema import schema_of
from predictor.recording.rows_encoder import RowsEncoder
from predictor.serving.batch_run import run_jobs
from predictor.serving.job import Job, Ran, predictions_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from predictor.api.answers import Answer

_TURNS = 20
_JOB = "0199c0de-0000-7000-8000-000000000001"
_SCOPE = bytes(32)
_HEAD = b"x" * 600


class _Waiting:
    """A caller who waits."""

    def done(self) -> bool:
        return False

    def set_result(self, result: None, /) -> None:
        """Hear that it is done."""

    def set_exception(self, error: BaseException, /) -> None:
        """Hear that it failed."""


class _Steps:
    """The steps of one request, each with what the one before has made."""

    def __init__(self, rows: int, file: int) -> None:
        self._model = load(ROOT / "models" / "iris")
        self._codec = codecs(self._model, batch_rows=rows, body_bytes=1 << 30)["POST", "/predict/batch"]
        draw = np.random.default_rng(0)
        self._rows = draw.uniform([4, 2, 1, 0.1], [8, 4.5, 7, 2.5], (rows, 4)).round(1).tolist()
        self._body = msgspec.json.encode({"data": self._rows})
        self._head = BodyHead("application/json", len(self._body))
        self._outputs = self._model.run(self._rows)
        wanted = self._codec.decode(self._head, self._body)
        assert isinstance(wanted, InferRequest)
        self._decoded = Job(self._origin(), wanted.rows, _Waiting(), _JOB, rows, wanted.tensors)
        schema = schema_of(self._model.description)
        one = RecordEncoder(schema)
        self._job = self.predictions()
        assert self._job.many
        self._many = self._job.many
        self._ways = {"per_row": one.encode_rows, "per_request": RowsEncoder(schema, RECORD_BYTES, one).encode}
        self.records = {way: self._encoded(way) for way in self._ways}
        self._whole = {way: self.numbered(way) for way in self._ways}
        self._lines = {way: self.line(way) for way in self._ways}
        self._file = file

    def named(self) -> dict[str, Callable[[], object]]:
        """Return all of them by their names."""
        found: dict[str, Callable[[], object]] = {
            "decode and check": lambda: self._codec.decode(self._head, self._body),
            "model": self.run,
            "predictions": self.predictions,
            "answer": self.answer,
        }
        for way in self._ways:
            found |= {
                f"{way}: records": partial(self._encoded, way),
                f"{way}: numbers": partial(self.numbered, way),
                f"{way}: line": partial(self.line, way),
                f"{way}: digests": partial(record_digests, _SCOPE, self._whole[way]),
                f"{way}: write": partial(self._write, way),
            }
        return found

    @staticmethod
    def _origin() -> Origin:
        return Origin("0" * 32, "0" * 16, "/predict/batch", time.time_ns(), time.monotonic())

    def predictions(self) -> Job:
        """Make predictions of the outputs."""
        job = Job(self._origin(), self._rows, _Waiting(), _JOB, len(self._rows))
        predictions_of(Ran([job], self._outputs, 1.0, 2.0), by_column=True)
        return job

    def run(self) -> object:
        """Run the rows as they were decoded."""
        return run_jobs(self._model, [self._decoded], lambda *_: ())

    def answer(self) -> Answer:
        """Encode the answer."""
        return self._codec.encode(Reply(RequestContext(self._job.origin, "/predict/batch", 0.0), self._job))

    def _encoded(self, way: str) -> list[bytes]:
        """Encode the records."""
        return self._ways[way](self._many, time.time_ns())

    def numbered(self, way: str) -> list[bytes]:
        """Give the records their numbers."""
        return [numbered(1_000_000 + at, rest) for at, rest in enumerate(self.records[way])]

    def line(self, way: str) -> bytes:
        """Make one line of them."""
        return otlp.line(_HEAD, self._whole[way])

    def _write(self, way: str) -> None:
        """Append it."""
        os.write(self._file, self._lines[way])


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.many_rows", description=__doc__)
    parser.add_argument("--rows", type=int, default=256, help="of the request (%(default)s)")
    parser.add_argument("--rounds", type=int, default=30, help="of all steps (%(default)s)")
    options = parser.parse_args()
    heap.keep()  # as the server does
    with tempfile.TemporaryFile() as file:
        steps = _Steps(options.rows, file.fileno())
        taken: dict[str, list[float]] = {name: [] for name in steps.named()}
        for _ in range(options.rounds):
            for name, step in steps.named().items():
                began = time.process_time()
                for _ in range(_TURNS):
                    step()
                taken[name].append((time.process_time() - began) / _TURNS / options.rows * 1e6)
                file.truncate(0)
    for name, times in taken.items():
        print(f"{name:24}{statistics.median(times):7.3f} µs a row")
    for way, records in steps.records.items():
        size = sum(len(numbered(at, record)) for at, record in enumerate(records, 1)) / options.rows
        print(f"{way:24}{size:7.0f} bytes a row in {len(records)} records")
    return 0


if __name__ == "__main__":
    sys.exit(main())
