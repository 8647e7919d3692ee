"""`POST /feedback/{job_id}`: records what a prediction truly was, with the same promise as the prediction's record."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from predictor.api.answers import Answer, json_answer
from predictor.api.json_body import BodyHead, check_head, undecodable
from predictor.core.problems import Kind, Problem
from predictor.core.result import Feedback

if TYPE_CHECKING:
    from predictor.api.catalog import Catalog
    from predictor.core.result import Origin


_ID_LENGTH = 36
_LARGEST = 2**31 - 1
_WORDS = 40
"""Characters of a caller's number that an answer repeats."""


class _Said(msgspec.Struct, forbid_unknown_fields=True):
    index: int | float = 0
    """JSON has no integers: 341.0 is 341."""
    label: str | None = None
    value: float | None = None
    comment: str | None = None


class _Taken(msgspec.Struct):
    job_id: str
    index: int


_decode = msgspec.json.Decoder(_Said).decode
_WANTED = '{"index": 0, "label": "…"}, or a number as "value", or a "comment"'


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
        said = self._said(body)
        index = _index(said.index)
        write = self._catalog.meant().feedback
        assert write is not None  # noqa: S101 - tells mypy: the call is there only with a log
        logged = await write(Feedback(job_id, index, origin, said.label, said.value, said.comment))
        answer = json_answer(_Taken(job_id, index))
        if not logged:
            answer.headers.append(("X-Prediction-Logged", "false"))
        return answer

    def _said(self, body: bytes) -> _Said:
        try:
            said = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise undecodable(body, error, _WANTED) from None
        if said.label is None and said.value is None and not said.comment:
            raise Problem(Kind.INVALID_DATA, f"the feedback says nothing; wanted {_WANTED}")
        if said.label is not None:
            self._check_label(said.label)
        return said

    def _check_label(self, label: str) -> None:
        labels = [version.facts.description.labels for version in self._catalog.versions()]
        # A model without labels has any, or is told numbers.
        if all(labels) and not any(label in of_one for of_one in labels):
            wanted = ", ".join(dict.fromkeys(name for of_one in labels for name in of_one))
            raise Problem(Kind.INVALID_DATA, f"label is {label!r}, wanted one of {wanted}")


def _index(given: float) -> int:
    if not (0 <= given <= _LARGEST and given == int(given)):
        raise Problem(
            Kind.INVALID_DATA, f"`$.index` is {str(given)[:_WORDS]}, wanted a whole number from 0 to {_LARGEST}"
        )
    return int(given)


def _job_id(given: str) -> str:
    try:
        job_id = str(UUID(given)) if len(given) == _ID_LENGTH else ""
    except ValueError:
        job_id = ""
    if job_id != given.lower():
        raise Problem(Kind.INVALID_DATA, f"{given!r} is no job id; wanted the job_id of a prediction's answer, a UUID")
    return job_id
