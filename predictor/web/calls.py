"""The predict calls: a request's body to rows, a job to an answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from predictor.errors import Kind, Problem
from predictor.web.payload import Answer, BatchAnswer, Item, check_size, decode_row, decode_rows, encode

if TYPE_CHECKING:
    from predictor.job import Job
    from predictor.pipeline import Pipeline
    from predictor.web.middleware import Context
    from predictor.web.payload import Rows

_JSON = "application/json"
_WORDS = 100  # characters of a caller's header that an answer repeats


class Predictions:
    """The predict calls of one pipeline."""

    def __init__(self, pipeline: Pipeline, *, batch_rows: int, body_bytes: int) -> None:
        """Take the pipeline and the limits of a request."""
        self._pipeline = pipeline
        self._batch_rows = batch_rows
        self._body_bytes = body_bytes
        self._width = len(pipeline.schema.features)
        self._sample = [feature.sample for feature in pipeline.model.description.features]

    async def predict(self, context: Context) -> web.Response:
        """`POST /predict`: probabilities of one row."""
        return self._probabilities(await self._one(context))

    async def label(self, context: Context) -> web.Response:
        """`POST /predict/label`: the label of one row."""
        return self._label(await self._one(context))

    async def test(self, context: Context) -> web.Response:
        """`GET /predict/test`: probabilities of the sample."""
        self._pipeline.admit()
        return self._probabilities(await self._run(context, [self._sample]))

    async def test_label(self, context: Context) -> web.Response:
        """`GET /predict/test/label`: the label of the sample."""
        self._pipeline.admit()
        return self._label(await self._run(context, [self._sample]))

    async def batch(self, context: Context) -> web.Response:
        """`POST /predict/batch`: every row's prediction, in order."""
        job = await self._run(context, await self._rows(context))
        items = [Item(p.probabilities or [], p.outlier, p.score) for p in job.predictions]
        return _answered(job, BatchAnswer(job.job_id, items))

    async def _one(self, context: Context) -> Job:
        self._pipeline.admit()
        return await self._run(context, decode_row(await self._body(context), self._width, self._batch_rows))

    async def _rows(self, context: Context) -> Rows:
        self._pipeline.admit()
        return decode_rows(await self._body(context), self._width, self._batch_rows)

    async def _body(self, context: Context) -> bytes:
        return await read_body(context, self._body_bytes)

    async def _run(self, context: Context, rows: Rows) -> Job:
        return await self._pipeline.predict(context.origin, rows, context.deadline)

    def _probabilities(self, job: Job) -> web.Response:
        p = job.predictions[0]
        return _answered(job, Answer(job.job_id, p.probabilities or [], p.outlier, p.score))

    def _label(self, job: Job) -> web.Response:
        p = job.predictions[0]
        label = self._pipeline.schema.labels[p.label or 0]
        return _answered(job, Answer(job.job_id, label, p.outlier, p.score))


async def read_body(context: Context, limit: int, setting: str = "PREDICTOR_BODY_BYTES") -> bytes:
    """Return a JSON request's body of at most `limit` bytes (by `setting`), before the deadline; raises Problem."""
    request = context.request
    declared = request.headers.get("Content-Type")
    if declared and declared != _JSON:
        # Not by aiohttp: it parses the parameters too, in quadratic time, and fails on some.
        media_type = declared.partition(";")[0].strip().lower()
        if not media_type.endswith(("/json", "+json")):
            raise Problem(Kind.UNSUPPORTED_MEDIA_TYPE, f"Content-Type is {media_type[:_WORDS]}, wanted {_JSON}")
    check_size(request.content_length or 0, limit, setting)
    try:
        if request.content.is_eof():  # it came with the headers: no timer, no copy
            body = request.content.read_nowait()
        else:
            async with asyncio.timeout_at(context.deadline):
                body = await request.read()
    except TimeoutError:
        raise Problem(Kind.DEADLINE_EXCEEDED, "the body did not arrive in time (PREDICTOR_DEADLINE)") from None
    except (web.RequestPayloadError, ConnectionError) as error:
        # The request holds the error, whose traceback would hold this frame, and so the request with its whole body.
        error.__traceback__ = None
        detail = "the body is not what Content-Encoding and Transfer-Encoding say, or it was cut off"
        raise Problem(Kind.BAD_REQUEST, detail) from None
    check_size(len(body), limit, setting)
    return body


def _answered(job: Job, answer: Answer | BatchAnswer) -> web.Response:
    response = web.Response(body=encode(answer), content_type=_JSON)
    if not job.logged:
        response.headers["X-Prediction-Logged"] = "false"
    return response
