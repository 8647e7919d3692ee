"""The way of one prediction with a log and traces that the test scripts: what is recorded, what the caller learns."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from predictor.api.dataplane import InferRequest
from predictor.core.problems import Kind, Problem
from predictor.core.result import ManyPredictions, Origin, Prediction
from predictor.inference.model import Model, Outputs
from predictor.outbox import OutboxError
from predictor.recording.prediction_log import NoPredictionLog
from predictor.serving.pipeline import Pipeline
from tests.support.server import ROW, model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from predictor.core.result import Rows, Tensors, TensorTexts
    from predictor.recording.record_schema import Schema

_PATIENCE = 20.0  # s; reached only by a test that fails
_FAULT = 99.0  # as a row's first feature: the model gives NaN for it
_ODD = 50.0  # the same: it is an outlier
_RAISES = 77.0  # the same: the model raises


class Scripted(Model):
    """The iris model's description with a run that the test holds back or lets fail."""

    def __init__(self) -> None:
        """Answer at once."""
        real = model()
        self.description, self.digest = real.description, real.digest
        self.rows: list[list[float]] = []
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Semaphore(0)

    def run(self, rows: Any) -> Outputs:  # noqa: ANN401 - what a model takes
        """Return (0.25, 0.25, 0.5) for every row, NaN for one that begins with `_FAULT`."""
        self.rows += rows
        self.began.release()
        assert self.gate.wait(_PATIENCE)
        if self.error:
            raise self.error
        first = np.array(rows, np.float32)[:, 0]
        if (first == _RAISES).any():
            msg = "bad row"
            raise RuntimeError(msg)
        probabilities = np.tile(np.array([0.25, 0.25, 0.5], np.float32), (len(rows), 1))
        probabilities[first == _FAULT] = np.nan
        return Outputs(probabilities, np.full(len(rows), 2), first == _ODD, first)


class Log:
    """Keeps what is written, refuses or loses it as told; with `sync` callers wait until that is done."""

    def __init__(self) -> None:
        """Take everything."""
        self.written: list[Prediction] = []
        self.reason: str | None = None
        self.error: OutboxError | None = None
        self.loses = False
        self.sync: asyncio.Future[None] | None = None
        self.wrote = asyncio.Event()

    @property
    def waits(self) -> bool:
        """Whether answers wait for the sync."""
        return self.sync is not None

    def refuse_if_full(self) -> str | None:
        """Return what the test has set."""
        return self.reason

    def describe(self, inputs: Tensors, outputs: Tensors | None, *, brief: bool = False) -> Sequence[TensorTexts]:  # noqa: ARG002
        """Describe nothing: there are rows only."""
        return ()

    def write(self, predictions: Sequence[Prediction | ManyPredictions]) -> bool:
        """Keep the predictions, or do as told."""
        if self.error:
            raise self.error
        self.wrote.set()
        if not self.loses:
            for each in predictions:
                self.written += [each] if isinstance(each, Prediction) else each.all_rows()
        return not self.loses

    async def synced(self) -> None:
        """Wait for the test."""
        if self.sync:
            await asyncio.shield(self.sync)

    @property
    def errors(self) -> list[tuple[int | None, Kind | None]]:
        """Index and error of what was written, in order."""
        return [(prediction.index, prediction.error) for prediction in self.written]


class Traces:
    """Keeps every trace of what matters, and remembers what was written of it."""

    def __init__(self) -> None:
        """Begin with none."""
        self.spans: list[Prediction] = []

    def keep(self, origin: Origin, *, outlier: bool = False, slow: bool = False, error: bool = False) -> None:
        """Keep it."""
        if outlier or slow or error:
            origin.kept = "error" if error else "outlier" if outlier else "slow"

    def write_spans(self, schema: Schema, predictions: Sequence[Prediction]) -> None:
        """Remember."""
        assert schema.features
        self.spans += predictions


class World:
    """A pipeline with its fakes."""

    def __init__(self) -> None:
        """Build it."""
        self.model, self.log, self.traces = Scripted(), Log(), Traces()
        self.displayed: list[Prediction | ManyPredictions] = []
        self.pipeline = self.build(self.log)

    def build(self, log: Log | NoPredictionLog, *, queue_rows: int = 8) -> Pipeline:
        """Return a pipeline over the fakes."""
        return Pipeline(
            self.model,
            log,
            self.traces,
            batch_rows=8,
            threads=1,
            queue_rows=queue_rows,
            slow=_PATIENCE,
            observe=self.displayed.extend,
        )

    def predict(self, *rows: Sequence[float], seconds: float = _PATIENCE) -> asyncio.Task[Outcome]:
        """Start a request for these rows (the sample if none)."""
        return asyncio.create_task(self._predict([list(row) for row in rows] or [ROW], seconds))

    async def _predict(self, rows: Rows, seconds: float) -> Outcome:
        origin = Origin("1" * 32, "2" * 16, "/predict", time.time_ns(), time.monotonic())
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        try:
            job = self.pipeline.start(origin, InferRequest(rows), future, loop.time() + seconds)
            try:
                await asyncio.shield(future)
            except asyncio.CancelledError:
                future.cancel()
                self.pipeline.abandon(job)
                raise
            finally:
                self.pipeline.deadlines.discard(job)
        except Problem as problem:
            return Outcome(problem=problem)
        return Outcome(predictions=job.predictions, logged=job.logged)

    async def runs(self) -> None:
        """Return when a batch has reached the model."""
        assert await asyncio.to_thread(self.model.began.acquire, timeout=_PATIENCE)


class Outcome:
    """What a caller learnt."""

    def __init__(
        self, *, predictions: Sequence[Prediction] = (), logged: bool = True, problem: Problem | None = None
    ) -> None:
        """Take either."""
        self.predictions, self.logged, self.problem = predictions, logged, problem

    @property
    def kind(self) -> Kind | None:
        """The problem's kind."""
        return self.problem.kind if self.problem else None


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Build a pipeline; close it with the model let go."""
    made = World()
    yield made
    made.model.gate.set()
    await asyncio.wait_for(made.pipeline.close(), _PATIENCE)


@pytest.mark.parametrize("rows", [3, 40])
async def test_every_row_is_recorded_before_its_caller_is_answered(world: World, rows: int) -> None:
    """A request of many rows has as many records, with its job id and 0, 1, 2 …, when its caller is answered."""
    outcome = await world.predict(*[ROW] * rows)
    assert list(outcome.predictions) == world.log.written
    assert world.log.errors == [(at, None) for at in range(rows)]
    assert len({prediction.job_id for prediction in world.log.written}) == 1
    first = world.log.written[0]
    assert (first.probabilities, first.label, first.features) == ([0.25, 0.25, 0.5], 2, ROW)
    assert first.queue is not None
    assert first.inference is not None
    assert 0 <= first.queue + first.inference <= first.total


async def test_requests_of_a_batch_are_written_as_one_and_answered_apart(world: World) -> None:
    """Requests that ran together get their own rows' results, and each record says how many rows ran with it."""
    outcomes = await asyncio.gather(world.predict([1, 0, 0, 0]), world.predict([2, 0, 0, 0], [3, 0, 0, 0]))
    assert [[p.score for p in outcome.predictions] for outcome in outcomes] == [[1.0], [2.0, 3.0]]
    assert {p.batch_size for p in world.log.written} == {3}


async def test_many_rows_of_a_request_are_written_together(world: World) -> None:
    """No row is looked at by itself where a request has many, and an outlier among them keeps its trace."""
    outcome = await world.predict(*[ROW] * 39, [_ODD, 0, 0, 0])
    (written,) = world.displayed
    assert isinstance(written, ManyPredictions)
    assert [*written.all_rows()] == list(outcome.predictions) == world.traces.spans
    assert written.origin.kept == "outlier"


@pytest.mark.parametrize("rows", [3, 40])
async def test_a_row_without_an_answer_fails_its_request(world: World, rows: int) -> None:
    """Each row of a request has the record of its failure if the model gives no finite number for one of them."""
    outcome = await world.predict(*[ROW] * (rows - 1), [_FAULT, 0, 0, 0])
    assert outcome.kind is Kind.MODEL_FAILED
    assert world.log.errors == [(at, Kind.MODEL_FAILED) for at in range(rows)]


async def test_a_deadline_records_the_failure_at_once_and_the_batch_skips_the_rows(world: World) -> None:
    """A request that times out while it waits is recorded as failed when its 504 leaves, and never run."""
    world.model.gate.clear()
    running = world.predict([1, 0, 0, 0])
    await world.runs()
    late = await world.predict([2, 0, 0, 0], [3, 0, 0, 0], seconds=0)
    assert late.kind is Kind.DEADLINE_EXCEEDED
    assert world.log.errors == [(0, Kind.DEADLINE_EXCEEDED), (1, Kind.DEADLINE_EXCEEDED)]
    world.model.gate.set()
    assert not (await running).kind
    assert not (await world.predict([4, 0, 0, 0])).kind
    assert [row[0] for row in world.model.rows] == [1.0, 4.0]


async def test_a_deadline_while_the_model_runs_leaves_one_record(world: World) -> None:
    """A request that times out inside the model has its failure as its only record: the result comes too late."""
    world.model.gate.clear()
    late = world.predict([1, 0, 0, 0], seconds=0.01)
    mate = world.predict([2, 0, 0, 0])
    assert (await late).kind is Kind.DEADLINE_EXCEEDED
    world.model.gate.set()
    assert [p.score for p in (await mate).predictions] == [2.0]
    assert world.log.errors == [(0, Kind.DEADLINE_EXCEEDED), (0, None)]


async def test_a_deadline_during_a_slow_sync_writes_no_second_record(world: World) -> None:
    """A request whose record is written when its deadline comes is told 504, and its rows keep that one record."""
    world.log.sync = asyncio.get_running_loop().create_future()
    outcome = await world.predict(seconds=0.05)
    assert outcome.kind is Kind.DEADLINE_EXCEEDED
    assert world.log.errors == [(0, None)]
    world.log.sync.set_result(None)


async def test_an_answer_waits_for_the_sync(world: World) -> None:
    """With fsync mode `batch` nobody is answered before the disk has the record."""
    world.log.sync = asyncio.get_running_loop().create_future()
    asked = world.predict()
    await asyncio.wait_for(world.log.wrote.wait(), _PATIENCE)
    await asyncio.sleep(0)
    assert not asked.done()
    world.log.sync.set_result(None)
    assert not (await asked).kind


async def test_a_failed_sync_is_an_outbox_full(world: World) -> None:
    """A record that could not be brought to the disk is not acknowledged: the caller is told to come again."""
    world.log.sync = asyncio.get_running_loop().create_future()
    world.log.sync.set_exception(OutboxError("disk", "EIO"))
    problem = (await world.predict()).problem
    assert problem
    assert (problem.kind, problem.retry_after, problem.recorded) == (Kind.OUTBOX_FULL, 1, True)


async def test_a_failing_model_fails_and_records_its_batch(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Every row of a batch on which the model raises is recorded as failed and answered so; the next one succeeds."""
    signature = "[ONNXRuntimeError] : 1 : FAIL : /src/a.cc:7 void onnxruntime::f(const T&) "
    world.model.error = RuntimeError(f"{signature}bad node\nthe second line of a long story")
    outcomes = await asyncio.gather(world.predict(ROW, ROW), world.predict())
    assert [outcome.kind for outcome in outcomes] == [Kind.MODEL_FAILED] * 2
    assert world.log.errors == [(0, Kind.MODEL_FAILED), (1, Kind.MODEL_FAILED), (0, Kind.MODEL_FAILED)]
    assert all(p.features == ROW for p in world.log.written)
    assert (await world.predict()).kind is Kind.MODEL_FAILED
    (line,) = caplog.messages  # at most one a minute
    assert line == "model iris failed on a batch of 3 rows: bad node the second line of a long story"
    world.model.error = None
    assert not (await world.predict()).kind


async def test_a_row_that_the_model_refuses_fails_its_own_request_only(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A row on which the model raises fails its request, all its rows, and none of its batch-mates; it is logged."""
    good, bad, mate, other = await asyncio.gather(
        world.predict([_ODD, 0, 0, 0]), world.predict(ROW, [_RAISES, 0, 0, 0]), world.predict(), world.predict(ROW, ROW)
    )
    assert bad.kind is Kind.MODEL_FAILED
    assert not good.kind
    assert not mate.kind
    assert not other.kind
    assert world.log.errors == [(0, None), *[(at, Kind.MODEL_FAILED) for at in (0, 1)], (0, None), (0, None), (1, None)]
    assert [p.outlier for p in world.log.written if not p.error] == [True, False, False, False]
    assert caplog.messages == ["model iris failed on some requests of a batch: bad row"]


async def test_an_output_that_is_no_number_fails_its_own_request_only(world: World) -> None:
    """A row for which the model gives NaN fails its request, all its rows, and none of its batch-mates."""
    good, bad = await asyncio.gather(world.predict(), world.predict(ROW, [_FAULT, 0, 0, 0]))
    assert not good.kind
    assert bad.kind is Kind.MODEL_FAILED
    assert world.log.errors == [(0, None), (0, Kind.MODEL_FAILED), (1, Kind.MODEL_FAILED)]


async def test_a_full_outbox_refuses_before_inference(world: World) -> None:
    """What could not be logged is not run and not recorded, and its caller is told when to come again."""
    world.log.reason = "the outbox is full"
    problem = (await world.predict()).problem
    assert problem
    assert (problem.kind, problem.detail, problem.retry_after) == (Kind.OUTBOX_FULL, "the outbox is full", 1)
    assert problem.recorded
    assert (world.model.rows, world.log.written) == ([], [])
    with pytest.raises(Problem, match="the outbox is full"):
        world.pipeline.check_room()  # before the body is read


async def test_an_outbox_that_fills_meanwhile_acknowledges_nothing(world: World) -> None:
    """Room that was there before inference and is gone at the writing: 503 to all of the batch, none answered."""
    world.log.error = OutboxError("bytes", "the outbox holds 9 of 9 bytes")
    outcomes = await asyncio.gather(world.predict(), world.predict())
    assert [outcome.kind for outcome in outcomes] == [Kind.OUTBOX_FULL] * 2
    assert all(outcome.problem and outcome.problem.recorded for outcome in outcomes)
    assert world.log.written == []
    assert (world.traces.spans, world.displayed) == ([], [])
    world.log.error = None
    assert not (await world.predict()).kind


async def test_under_lose_the_answer_says_that_it_is_not_logged(world: World) -> None:
    """A prediction that was declared lost is answered, and its caller learns that it is not logged."""
    world.log.loses = True
    outcome = await world.predict()
    assert not outcome.kind
    assert not outcome.logged


async def test_what_is_lost_does_not_wait_for_the_disk(world: World) -> None:
    """A prediction that was declared lost is answered although the disk that failed does not sync."""
    world.log.loses = True
    world.log.sync = asyncio.get_running_loop().create_future()
    world.log.sync.set_exception(OutboxError("disk", "EIO"))
    world.log.sync.exception()  # it may stay unseen
    assert not (await world.predict()).kind


async def test_a_failure_that_cannot_be_recorded_is_still_answered(world: World) -> None:
    """A 500 or 504 whose record finds no room leaves with its own reason, and nothing hangs."""
    world.model.error = RuntimeError("no")
    world.log.error = OutboxError("disk", "EIO")
    assert (await world.predict()).kind is Kind.MODEL_FAILED
    world.model.gate.clear()
    assert (await world.predict(seconds=0.01)).kind is Kind.DEADLINE_EXCEEDED


async def test_a_full_queue_refuses_and_records(world: World) -> None:
    """Validated rows that find too many waiting are refused with 503 and recorded as failed, not run."""
    world.pipeline = world.build(world.log, queue_rows=1)
    world.model.gate.clear()
    running = world.predict()
    await world.runs()
    waiting = world.predict()
    await asyncio.sleep(0)
    problem = (await world.predict(ROW, ROW)).problem
    assert problem
    assert (problem.kind, problem.retry_after, problem.recorded) == (Kind.QUEUE_FULL, 1, True)
    assert world.log.errors == [(0, Kind.QUEUE_FULL), (1, Kind.QUEUE_FULL)]
    world.model.gate.set()
    assert not (await running).kind
    assert not (await waiting).kind


async def test_a_caller_that_is_cut_off_keeps_its_record(world: World) -> None:
    """A request that is cancelled when the time to drain is over has its rows recorded as failed."""
    world.model.gate.clear()
    asked = world.predict()
    await world.runs()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    world.model.gate.set()
    await world.pipeline.close()
    assert world.log.errors == [(0, Kind.DRAINING)]


async def test_what_matters_keeps_its_trace(world: World) -> None:
    """An outlier and an error are kept and their spans written with the record's own reason, the rest is not."""
    await world.predict()
    assert world.traces.spans == []
    await world.predict([_ODD, 0, 0, 0])
    world.model.error = RuntimeError("no")
    await world.predict()
    assert [prediction.origin.kept for prediction in world.traces.spans] == ["outlier", "error"]
    assert [prediction.origin.kept for prediction in world.log.written] == [None, "outlier", "error"]


async def test_every_recorded_row_is_displayed_once(world: World) -> None:
    """A person at the terminal sees what the log has, failures included, in the same order."""
    await world.predict(ROW, ROW)
    await world.predict(seconds=0)
    world.model.error = RuntimeError("no")
    await world.predict()
    assert world.displayed == world.log.written


async def test_without_a_log_predictions_are_answered(world: World) -> None:
    """PREDICTOR_LOG=off answers, also failures and deadlines, and writes nothing."""
    world.pipeline = world.build(NoPredictionLog())
    assert not (await world.predict()).kind
    assert (await world.predict(seconds=0)).kind is Kind.DEADLINE_EXCEEDED
    world.model.error = RuntimeError("no")
    assert (await world.predict()).kind is Kind.MODEL_FAILED
    assert world.log.written == []
