"""What the calls that predict by the inference protocols, version 1 and 2, have in common over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.api.answers import Answer, identify
from predictor.api.json_body import check_size
from predictor.api.problem_details import own_fault
from predictor.api.slices import at_once
from predictor.api.v2.errors import encode_error

if TYPE_CHECKING:
    from predictor.api.dataplane import InferRequest, Reply
    from predictor.api.json_body import BodyHead
    from predictor.api.slices import Slices
    from predictor.core.problems import Problem
    from predictor.serving.job import Job

BODY_BYTES = "PREDICTOR_BODY_BYTES"


class ProtocolCodec:
    """A call of one model version."""

    takes_body = True

    def __init__(self, body_bytes: int) -> None:
        """Take the largest body."""
        self.body_bytes = body_bytes

    def check(self, head: BodyHead) -> None:
        """Refuse what is too large; clients declare all kinds of Content-Type; raises Problem."""
        check_size(head.length or 0, self.body_bytes, BODY_BYTES)

    def decode(self, head: BodyHead, body: bytes) -> InferRequest | Problem:
        """Return what a body asks for."""
        return at_once(self.decode_in_slices(head, body))

    def decode_in_slices(self, head: BodyHead, body: bytes) -> Slices[InferRequest | Problem]:
        """Return the same, slice by slice."""
        raise NotImplementedError

    def encode(self, reply: Reply) -> Answer:
        """Return the answer to a request: what the model gave, or the error."""
        job, origin = reply.job, reply.context.origin
        if job is None:
            answer = encode_error(reply.problem or own_fault())
        else:
            answer = self.answer(job)
            answer.headers.append(("X-Job-Id", job.job_id))
            if not job.logged:
                answer.headers.append(("X-Prediction-Logged", "false"))
        identify(answer.headers, origin)
        return answer

    def answer(self, job: Job) -> Answer:
        """Return what the model gave, in the protocol's form."""
        raise NotImplementedError
