"""The closed list of problems that a caller may get instead of a prediction (RFC 9457)."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Kind(NamedTuple):
    status: int
    word: str
    title: str


class Kind(Enum):
    """A kind of problem: HTTP status, last word of its `type` (the record's `error.type`), title."""

    BAD_REQUEST = _Kind(400, "bad-request", "The HTTP request is malformed")
    INVALID_JSON = _Kind(400, "invalid-json", "The body is not JSON")
    UNAUTHORIZED = _Kind(401, "unauthorized", "This call requires a token")
    FORBIDDEN = _Kind(403, "forbidden", "A page of another site may not make this call")
    NOT_FOUND = _Kind(404, "not-found", "There is nothing at this path")
    METHOD_NOT_ALLOWED = _Kind(405, "method-not-allowed", "This path does not support the method")
    SHARED_PORT = _Kind(409, "shared-port", "Several processes serve this port")
    CONTENT_TOO_LARGE = _Kind(413, "content-too-large", "The request is larger than this server allows")
    URI_TOO_LONG = _Kind(414, "uri-too-long", "The path is longer than this server allows")
    UNSUPPORTED_MEDIA_TYPE = _Kind(415, "unsupported-media-type", "The body is not declared as JSON")
    UNSUPPORTED_CODING = _Kind(415, "unsupported-coding", "The body's compression is not supported")
    MISDIRECTED_REQUEST = _Kind(421, "misdirected-request", "This server is not known by that name")
    INVALID_DATA = _Kind(422, "invalid-data", "The data does not have the model's shape")
    RATE_LIMITED = _Kind(429, "rate-limited", "More rows a second than this server allows")
    HEADERS_TOO_LARGE = _Kind(431, "headers-too-large", "The headers are larger than this server allows")
    INTERNAL_ERROR = _Kind(500, "internal-error", "The server failed")
    MODEL_FAILED = _Kind(500, "model-failed", "The model failed on these rows")
    NO_MODEL = _Kind(503, "no-model", "No model is served at the moment")
    QUEUE_FULL = _Kind(503, "queue-full", "Too many rows are waiting")
    BODIES_FULL = _Kind(503, "bodies-full", "Too many bytes of request bodies are in flight")
    DRAINING = _Kind(503, "draining", "The server is shutting down")
    OUTBOX_FULL = _Kind(503, "outbox-full", "The prediction could not be logged, so it was not made")
    PAGE_BUSY = _Kind(503, "page-busy", "Too many pages are open")
    DEADLINE_EXCEEDED = _Kind(504, "deadline-exceeded", "The request took longer than its deadline")

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value.status

    @property
    def word(self) -> str:
        """The last word of `type`, and the record's `error.type`."""
        return self.value.word

    @property
    def title(self) -> str:
        """What kind of thing went wrong, the same for every occurrence."""
        return self.value.title

    @property
    def type(self) -> str:
        """The problem's `type`, a URI."""
        return f"urn:predictor:problem:{self.word}"


class Problem(Exception):
    """Ends a request with a problem: `detail` says what was wrong, where, and what was wanted."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
        recorded: bool = False,
    ) -> None:
        """Take the kind, the sentence, and for a 429 or 503 the seconds after which a retry makes sense.

        `recorded` says that the log has, or has counted, what became of the rows; or that it shall hold nothing of the
        request, whose caller may not write into it.
        """
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.retry_after = retry_after
        self.headers = headers or {}
        self.recorded = recorded
        self.infer_id: str | None = None
        """What the caller calls the request that could not be decoded, where that much could be read."""
