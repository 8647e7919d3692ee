"""Loki as a source: log queries by its HTTP API, in pages that overlap by a timestamp.

Counts over time are never asked for: a record that was sent again may be counted twice there, while a log query
returns equal entries once (docs/record.md). https://grafana.com/docs/loki/latest/reference/loki-http-api/
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from predictor.reader.model_event import NOT_DESCRIBED, Described, described
from predictor.reader.record import STREAM, UnknownSchemaError
from predictor.reader.sources.background import Background
from predictor.reader.sources.backwards import Part
from predictor.reader.sources.errors import SourceError
from predictor.reader.sources.later import add_later
from predictor.reader.sources.loki_record import UnreadableError, entry_of
from predictor.reader.time_range import TimeRange
from predictor.recording.record_schema import MODEL_EVENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from predictor.reader.record import Entry, LaterSchema, ModelVersion

_T = TypeVar("_T")
_PAGE = 5000  # Loki's own bound for one answer
_SPAN_NS = 24 * 3600 * 1_000_000_000  # asked for at once: far below the longest query that Loki takes (30 days)
_BACK_NS = 7 * _SPAN_NS  # where the window has no start: what Loki keeps by default here
_RECENT_NS = (600 * 10**9, _SPAN_NS // 12, _SPAN_NS)  # how far back the newest are looked for, before all is
_SAID_NS = 7200 * 10**9  # around a record: what its model is was said within the hour before it
_PATIENCE = 60.0  # s
_BEHIND_NS = 120 * 1_000_000_000  # how late a record may arrive and still be seen by one who follows


class _Page(NamedTuple):
    entries: list[Entry]
    size: int
    first: int
    last: int
    """The least and the greatest timestamp."""


class _Result(msgspec.Struct):
    stream: dict[str, str]
    values: list[tuple[str, str, dict[str, Any]]]


class _Data(msgspec.Struct):
    result: list[_Result]


class _Answer(msgspec.Struct):
    data: _Data


_decode = msgspec.json.Decoder(_Answer).decode


class Loki:
    """One Loki, by its base URL; raises SourceError for what it answers but 200."""

    def __init__(
        self,
        url: str,
        *,
        tenant: str | None = None,
        token: str | None = None,
        selector: str = '{service_name="predictor"}',
    ) -> None:
        """Take the URL without `/loki/api/…`, and what lets one in."""
        self.name = url.rstrip("/")
        self.damaged: list[str] = []
        self.passed_over: list[str] = []
        self.later: dict[str, LaterSchema] = {}
        self.fraction = 0.0
        self.oldest = time.time_ns() - _BACK_NS
        self._selector = selector
        self._described: dict[tuple[str, ModelVersion], Described] = {}
        # With this flag the record's own attributes are told apart from the labels.
        self._headers = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
        if tenant:
            self._headers["X-Scope-OrgID"] = tenant
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def kept_from(self, stream: str) -> int:
        """Return 1: what retention took away looks like what was never there, hence `oldest`."""
        del stream
        return 1

    def writes(self, stream: str) -> None:
        """Return None: of a process only its records are here."""
        del stream

    def read(self, window: TimeRange, exactly: Mapping[str, str] | None = None) -> Iterator[Entry]:
        """Yield the records of a window in the order of time, each once; see `Source.read`."""
        start, end = self._bounds(window)
        begin, whole = start, max(end - start, 1)
        query = self._selector + "".join(f" | {_name(key)}={_quoted(value)}" for key, value in (exactly or {}).items())
        while start < end:
            upto = min(end, start + _SPAN_NS)
            for entry in self._span(query, start, upto):
                self.fraction = (entry.time_ns - begin) / whole
                yield entry
            start = upto

    def mapped(self, function: Callable[[Iterable[Entry]], _T], window: TimeRange) -> Iterator[_T]:
        """Yield what a function makes of the records of a window, some at a time; raises SourceError."""
        entries = self.read(window)
        while some := list(islice(entries, _PAGE)):
            yield function(some)

    def of(self, streams: AbstractSet[str], window: TimeRange) -> Iterator[Entry]:
        """Yield the records of these streams in a window, stream by stream; raises SourceError."""
        for stream in sorted(streams):
            yield from self.read(window, {STREAM: stream})

    def recent(self, window: TimeRange) -> Iterator[TimeRange]:
        """Yield the last ten minutes of a window, then what lies before them in longer and longer parts."""
        start, end = self._bounds(window)
        newest = min(end, time.time_ns())
        for back in (*_RECENT_NS, max(newest - start, 0)):
            begin = max(start, newest - back)
            if begin < end:
                yield TimeRange(begin, end)
                end = begin

    def backwards(self, window: TimeRange) -> Iterator[Iterator[Part]]:
        """Yield the pages of a window from its end."""
        yield self._backwards(window)

    def _backwards(self, window: TimeRange) -> Iterator[Part]:
        for part in self.recent(window):
            start, end = self._bounds(part)
            while start < end:
                page = self._page(self._selector, start, end, "backward")
                if page.size < _PAGE:
                    yield Part(page.entries, start)
                    break
                yield Part(page.entries, page.first + 1)
                if page.first + 1 >= end:
                    raise self._unpaged(page.first)
                end = page.first + 1

    def follow(self, window: TimeRange) -> Iterator[Entry | None]:
        """Yield what is there and what comes; a record that arrives later than two minutes is not seen."""
        seen: dict[tuple[str, int], int] = {}
        start = window.start
        while True:
            for entry in self.read(TimeRange(start, window.end)):
                if entry[:2] not in seen:
                    seen[entry[:2]] = entry.time_ns
                    yield entry
            yield None
            if seen:
                start = min(max(seen.values()), time.time_ns()) - _BEHIND_NS  # a clock may be ahead
                seen = {key: when for key, when in seen.items() if when >= start}

    def _bounds(self, window: TimeRange) -> tuple[int, int]:
        start = self.oldest if window.start is None else window.start
        end = time.time_ns() + _SPAN_NS if window.end is None else window.end  # a clock may be ahead
        return start, end

    def _span(self, query: str, start: int, end: int) -> Iterator[Entry]:
        # What the page before had at its last timestamp, with the content: an altered record is no copy.
        edge: set[tuple[str, int, int]] = set()
        answer = self._answer(query, start, end)
        following: Background[_Answer] | None = None
        while True:
            last = _last(answer)
            if last is not None and last > start and edge:  # one page may be all that is wanted
                following = Background(partial(self._answer, query, last, end))
            page = self._read_page(answer, start, end)
            yield from (entry for entry in page.entries if entry.time_ns != start or _key(entry) not in edge)
            if page.size < _PAGE:
                return
            if page.last == start:
                raise self._unpaged(start)
            edge = {_key(entry) for entry in page.entries if entry.time_ns == page.last}
            start = page.last
            answer = following.result() if following else self._answer(query, start, end)
            following = None

    def _unpaged(self, when: int) -> SourceError:
        return SourceError(self.name, f"{_PAGE} records or more at one nanosecond ({when}): they cannot be paged")

    def _page(self, query: str, start: int, end: int, direction: str = "forward") -> _Page:
        return self._read_page(self._answer(query, start, end, direction), start, end)

    def _answer(self, query: str, start: int, end: int, direction: str = "forward") -> _Answer:
        asked = {"query": query, "start": start, "end": end, "limit": _PAGE, "direction": direction}
        return self._get("/loki/api/v1/query_range?" + urllib.parse.urlencode(asked))

    def _read_page(self, answer: _Answer, start: int, end: int) -> _Page:
        found, size, first, last = [], 0, end, start
        for result in answer.data.result:
            for when, line, categories in result.values:
                size += 1
                first, last = min(first, int(when)), max(last, int(when))
                try:
                    entry = entry_of(
                        int(when), line, result.stream | categories.get("structuredMetadata", {}), self._signature
                    )
                except UnknownSchemaError as error:
                    add_later(self, error.record)
                    continue
                except UnreadableError as error:
                    self.damaged.append(f"{self.name}: {error}")
                    continue
                if entry:
                    found.append(entry)
        found.sort(key=lambda entry: (entry.time_ns, entry.stream, entry.sequence))
        return _Page(found, size, first, last)

    def _signature(self, stream: str, model: ModelVersion, time_ns: int) -> Described:
        """Return what a stream has said of a model, an hour before at most."""
        key = (stream, model)
        if key not in self._described:
            query = (
                f"{self._selector} | event_name={json.dumps(MODEL_EVENT)} | prediction_stream_id={json.dumps(stream)}"
                f" | prediction_model_digest={json.dumps(model.digest)}"
            )
            page = self._page(query, time_ns - _SAID_NS, time_ns + _SAID_NS)
            self._described[key] = described(page.entries[-1]) if page.entries else NOT_DESCRIBED
        return self._described[key]

    def _get(self, path: str) -> _Answer:
        request = urllib.request.Request(self.name + path, headers=self._headers)  # noqa: S310 - http(s) by `source`
        try:
            with _open(request, timeout=_PATIENCE) as response:
                return _decode(response.read())
        except urllib.error.HTTPError as error:
            words = error.read(500).decode(errors="replace").strip()
            raise SourceError(self.name, f"{error.code} {words}{_hint(error.code)}") from error
        except (OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
            reason = getattr(error, "reason", error)
            raise SourceError(self.name, f"{reason}; wanted Loki's HTTP API") from error


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer: followed, it would take the token and the tenant to another place."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""


_open = urllib.request.build_opener(_Stay).open


def _last(answer: _Answer) -> int | None:
    """Return the greatest timestamp of a full page, None if there is no other page."""
    times = [int(when) for result in answer.data.result for when, _, _ in result.values]
    return max(times) if len(times) >= _PAGE else None


def _key(entry: Entry) -> tuple[str, int, int]:
    return entry.stream, entry.sequence, entry.fingerprint()


def _name(attribute: str) -> str:
    return attribute.replace(".", "_")


def _hint(status: int) -> str:
    hints = {401: "; wanted a tenant (--tenant) or a token (--token-file)", 403: "; wanted another token or tenant"}
    return hints.get(status, "; wanted Loki's base URL, such as http://loki:3100" if status == 404 else "")  # noqa: PLR2004


def _quoted(text: str) -> str:
    """Return a string of LogQL, which has Go's escapes: JSON's surrogates are none there."""
    return json.dumps(text, ensure_ascii=False)
