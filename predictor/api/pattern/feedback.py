"""`POST /feedback/{job_id}`: records what a prediction truly was, with the same promise as the prediction's record.

`POST /feedback` speaks of predictions by the caller's own key, for a model that has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import UUID

import msgspec

from predictor.api.answers import Answer, json_answer
from predictor.api.json_body import BodyHead, check_head, undecodable
from predictor.core.features import LONGEST_KEY
from predictor.core.problems import Kind, Problem
from predictor.core.result import Feedback

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from predictor.api.catalog import Catalog, ServedVersion
    from predictor.core.result import Origin


_ID_LENGTH = 36
LARGEST_INDEX = 2**31 - 1
_WORDS = 40
"""Characters of a caller's number that an answer repeats."""


class JobFeedback(msgspec.Struct, forbid_unknown_fields=True):
    """What one row of a job truly was."""

    index: int | float = 0
    """JSON has no integers: 341.0 is 341."""
    label: str | None = None
    value: float | None = None
    comment: str | None = None


class KeyFeedback(msgspec.Struct, forbid_unknown_fields=True):
    """What the predictions with a key truly were."""

    key: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_KEY)] | int
    model: str | None = None
    """None: the default one."""
    label: str | None = None
    value: float | None = None
    comment: str | None = None


class FeedbackTaken(msgspec.Struct):
    """The row that a feedback was logged for."""

    job_id: str
    index: int


class KeyFeedbackTaken(msgspec.Struct):
    """The key that a feedback was logged for."""

    key: str


S = TypeVar("S", JobFeedback, KeyFeedback)

_decode = msgspec.json.Decoder(JobFeedback).decode
_decode_by_key = msgspec.json.Decoder(KeyFeedback).decode
_WANTED = '{"index": 0, "label": "…"}, or a number as "value", or a "comment"'
_WANTED_BY_KEY = '{"key": "…", "label": "…"}, or a number as "value", or a "comment"'


class FeedbackCall:
    """The call, for the labels of every model: by the job's id alone nobody knows which one answered it."""

    path = "/feedback/{job_id}"

    def __init__(self, catalog: Catalog, *, limit: int) -> None:
        """Take the models, of which the default one's log takes the records, and the largest body."""
        self._catalog = catalog
        self.limit = limit
        self.setting = "PREDICTOR_FEEDBACK_BYTES"

    def check(self, job_id: str, head: BodyHead) -> str:
        """Return the job id in one form; refuse by the head, before the body is read; raises Problem."""
        job_id = _job_id(job_id)
        check_head(head, self.limit, self.setting)
        return job_id

    async def answer(self, origin: Origin, job_id: str, body: bytes) -> Answer:
        """Log one feedback; the job may be unknown here, since another replica may have answered it."""
        said = _said(body, _decode, _WANTED)
        _check(said, _WANTED, self._catalog.versions())
        index = _index(said.index)
        feedback = Feedback(job_id, index, origin, said.label, said.value, said.comment)
        return await _logged(self._catalog.meant(), feedback, FeedbackTaken(job_id, index))


class KeyFeedbackCall(FeedbackCall):
    """The call that speaks of every prediction of a model with a key."""

    path = "/feedback"

    def check(self, job_id: str, head: BodyHead) -> str:
        """Refuse by the head, before the body is read; raises Problem."""
        check_head(head, self.limit, self.setting)
        return job_id

    async def answer(self, origin: Origin, job_id: str, body: bytes) -> Answer:  # noqa: ARG002 - there is none
        """Log one feedback; whether there is a prediction with the key is not known here."""
        said = _said(body, _decode_by_key, _WANTED_BY_KEY)
        version = self._catalog.find(said.model) if said.model else self._catalog.meant()
        if version is None:
            raise self._catalog.unknown(said.model, None)
        if version.facts.description.key is None:
            detail = f'{version} has no key; wanted role = "key" for a column in its model.toml'
            raise Problem(Kind.INVALID_DATA, detail)
        _check(said, _WANTED_BY_KEY, [version])
        key = str(said.key)
        feedback = Feedback(None, None, origin, said.label, said.value, said.comment, key)
        return await _logged(version, feedback, KeyFeedbackTaken(key))


def feedback_calls(catalog: Catalog, *, limit: int) -> tuple[FeedbackCall, ...]:
    """Return all calls that take feedback; `limit` is the largest body."""
    return FeedbackCall(catalog, limit=limit), KeyFeedbackCall(catalog, limit=limit)


async def _logged(version: ServedVersion, feedback: Feedback, taken: msgspec.Struct) -> Answer:
    assert version.feedback is not None  # noqa: S101 - tells mypy: the calls are there only with a log
    logged = await version.feedback(feedback)
    answer = json_answer(taken)
    if not logged:
        answer.headers.append(("X-Prediction-Logged", "false"))
    return answer


def _check(said: JobFeedback | KeyFeedback, wanted: str, versions: Sequence[ServedVersion]) -> None:
    """Refuse what says nothing, or a label that none of the versions has; raises Problem."""
    if said.label is None and said.value is None and not said.comment:
        raise Problem(Kind.INVALID_DATA, f"the feedback says nothing; wanted {wanted}")
    labels = [version.facts.description.labels for version in versions]
    # A model without labels has any, or is told numbers.
    if said.label is not None and all(labels) and not any(said.label in of_one for of_one in labels):
        words = ", ".join(dict.fromkeys(name for of_one in labels for name in of_one))
        raise Problem(Kind.INVALID_DATA, f"label is {said.label!r}, wanted one of {words}")


def _said(body: bytes, decode: Callable[[bytes], S], wanted: str) -> S:
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise undecodable(body, error, wanted) from None


def _index(given: float) -> int:
    if not (0 <= given <= LARGEST_INDEX and given == int(given)):
        raise Problem(
            Kind.INVALID_DATA, f"`$.index` is {str(given)[:_WORDS]}, wanted a whole number from 0 to {LARGEST_INDEX}"
        )
    return int(given)


def _job_id(given: str) -> str:
    try:
        job_id = str(UUID(given)) if len(given) == _ID_LENGTH else ""
    except ValueError:
        job_id = ""
    if job_id != given.lower():
        raise Problem(
            Kind.INVALID_DATA, f"{given!r} is not a job id; wanted the job_id of a prediction's answer, a UUID"
        )
    return job_id
