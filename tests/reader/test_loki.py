"""The Loki source against answers that the real one seldom gives: full pages, refusals, late records."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import takewhile
from typing import TYPE_CHECKING

import pytest

from predictor.reader.list import newest
from predictor.reader.record import LaterSchema
from predictor.reader.sources import loki as reader
from predictor.reader.sources.errors import SourceError
from predictor.reader.sources.source import Access, source
from predictor.reader.time_range import TimeRange
from predictor.reader.verify.completeness import verify
from tests.support.fake_loki import Loki
from tests.support.log_files import BASE, SECOND, Stream, line, lines

if TYPE_CHECKING:
    from collections.abc import Iterator

WINDOW = TimeRange(BASE - 1, BASE + 3600 * SECOND)


@pytest.fixture
def loki() -> Iterator[Loki]:
    """Run an empty Loki."""
    with Loki() as running:
        yield running


def log(*, rows: int = 9, job: str | None = None) -> tuple[Stream, list[bytes]]:
    """Return a whole stream of single rows, and of one request with so many rows at one time."""
    stream = Stream()
    records = [stream.opened(), *stream.predictions(5)]
    stream.now += SECOND
    for index in range(rows):
        records.append(stream.prediction(job=job or "0199c0de-0000-7000-8000-0000000000aa", index=index))
        stream.now -= 1_000_000
    stream.now += SECOND
    return stream, lines(stream, [*records, *stream.predictions(5), stream.closed()])


@pytest.mark.parametrize("page", [10, 11, 13, 20, 21, 22, 5000])
def test_pages(loki: Loki, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    """However pages fall, also between the rows of one request, every record is read once."""
    monkeypatch.setattr(reader, "_PAGE", page)
    _, written = log()
    loki.add(*written)
    assert [entry.sequence for entry in source(loki.url).read(WINDOW)] == list(range(1, 22))
    report = verify(source(loki.url), WINDOW)
    assert (report.sound, report.verdicts[0].stream.copies) == (True, 0)


@pytest.mark.parametrize("page", range(10, 16))
def test_altered_at_the_edge_of_a_page(loki: Loki, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    """Two contents of one number are both read, also where a page ends between them."""
    monkeypatch.setattr(reader, "_PAGE", page)
    stream, written = log(rows=4)
    loki.add(*written, written[7].replace(b'"WARN"', b"").replace(b"0.25", b"0.5"))
    report = verify(source(loki.url), WINDOW)
    assert report.verdicts[0].stream.altered == [8]
    assert report.verdicts[0].stream.id == stream.id


def test_a_page_ahead(loki: Loki, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a page is read the next one is asked for, once a reader has wanted more than one; a refusal is raised."""
    monkeypatch.setattr(reader, "_PAGE", 5)
    stream = Stream()
    loki.add(*lines(stream, stream.predictions(30)))
    entries = source(loki.url).read(WINDOW)
    assert [next(entries).sequence for _ in range(5)] == [1, 2, 3, 4, 5]
    assert len(loki.queries) == 2, "the first, and what its records say of the model"
    assert next(entries).sequence == 6
    end = time.monotonic() + 30
    while len(loki.queries) < 4:
        assert time.monotonic() < end
        time.sleep(0.01)
    loki.status, loki.body = 500, b"no more"
    found: list[int] = []
    with pytest.raises(SourceError, match="500 no more"):
        found.extend(entry.sequence for entry in entries)
    assert found == list(range(7, 14)), "with the page that was there already"
    assert len(loki.queries) == 5


def test_more_than_a_page_at_once(loki: Loki, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of one time that no page holds are a sentence and not an endless loop, nor a gap."""
    monkeypatch.setattr(reader, "_PAGE", 9)
    loki.add(*log(rows=9)[1])
    with pytest.raises(SourceError, match=r"9 records or more at one nanosecond .*cannot be paged"):
        [*source(loki.url).read(WINDOW)]


def test_days(loki: Loki) -> None:
    """A long window is asked for day by day, each record once."""
    stream = Stream()
    written = []
    for _ in range(4):
        written += lines(stream, [stream.prediction()])
        stream.now += 24 * 3600 * SECOND - 1_000_000
    loki.add(*written)
    found = source(loki.url).read(TimeRange(BASE, BASE + 5 * 24 * 3600 * SECOND))
    assert [entry.sequence for entry in found] == [1, 2, 3, 4]
    spans = [int(query["end"]) - int(query["start"]) for query in loki.queries]
    assert max(spans) <= 24 * 3600 * SECOND


def test_without_a_window(loki: Loki) -> None:
    """Without a start a week is read, and a stream that began before it is judged from the first record there."""
    stream = Stream(time.time_ns() - 8 * 24 * 3600 * SECOND)
    old = lines(stream, [stream.opened(), stream.prediction()])
    stream.now = time.time_ns() - 3600 * SECOND
    loki.add(*lines(stream, [*stream.predictions(3), stream.closed()]))
    assert old
    report = verify(source(loki.url), TimeRange())
    assert (report.sound, report.verdicts[0].first) == (True, 3)


def test_what_retention_has_left(loki: Loki) -> None:
    """Without a start nothing before the week counts: retention may have taken what lies between two old records."""
    stream = Stream(time.time_ns() - 8 * 24 * 3600 * SECOND)
    stream_records = [stream.opened(), *stream.predictions(5)]
    stream.now = time.time_ns() - 3600 * SECOND
    loki.add(*lines(stream, [*stream_records[:2], *stream.predictions(3), stream.closed()]))
    report = verify(source(loki.url), TimeRange())
    assert (report.sound, report.verdicts[0].first) == (True, 7)


def test_access(loki: Loki) -> None:
    """Tenant, token and selector are sent; a token never shows in what is printed."""
    access = Access("team", "s3cret", '{service_name="mine"}')
    assert not [*source(loki.url + "/", access).read(WINDOW, {"prediction.job_id": 'a"b'})]
    assert loki.headers[0]["x-scope-orgid"] == "team"
    assert loki.headers[0]["authorization"] == "Bearer s3cret"
    assert loki.queries[0]["query"] == '{service_name="mine"} | prediction_job_id="a\\"b"'
    assert "s3cret" not in repr(access)


def test_texts_are_quoted_as_loki_reads_them(loki: Loki) -> None:
    """What is asked for stands in the query as Go has strings: beyond ASCII as it is, since surrogates are none."""
    assert not [*source(loki.url).read(WINDOW, {"prediction.key": "Zürich 😀\n"})]
    assert loki.queries[0]["query"].endswith('| prediction_key="Zürich 😀\\n"')


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "401 no org id; wanted a tenant (--tenant) or a token (--token-file)"),
        (403, "403 no org id; wanted another token or tenant"),
        (404, "404 no org id; wanted Loki's base URL, such as http://loki:3100"),
        (500, "500 no org id"),
    ],
)
def test_refusals(loki: Loki, status: int, words: str) -> None:
    """What Loki refuses is a sentence with its address, status and words, and what to do about it."""
    loki.status, loki.body = status, b"no org id\n"
    with pytest.raises(SourceError) as caught:
        [*source(loki.url).read(WINDOW)]
    assert str(caught.value) == f"{loki.url}: {words}"


@pytest.mark.parametrize("body", [b"<html>", b'{"data":{}}', b""])
def test_something_else(loki: Loki, body: bytes) -> None:
    """A server that is no Loki is a sentence."""
    loki.body = body
    with pytest.raises(SourceError, match="wanted Loki's HTTP API"):
        [*source(loki.url).read(WINDOW)]


def test_nobody_there() -> None:
    """An address where nobody listens is a sentence."""
    with pytest.raises(SourceError, match=r"http://127\.0\.0\.1:1: .*refused"):
        [*source("http://127.0.0.1:1").read(WINDOW)]


def test_damaged_and_others(loki: Loki) -> None:
    """A record that cannot be read is named and the rest is read; entries of others are passed over."""
    _, written = log()
    loki.add(*written)
    spoilt = loki.entries[3]
    loki.entries[3] = spoilt._replace(metadata=spoilt.metadata | {"prediction_confidence": "x"})
    loki.entries.append(spoilt._replace(metadata={"level": "info"}))
    where = source(loki.url)
    assert len([*where.read(WINDOW)]) == 20
    (damage,) = where.damaged
    assert f"at {spoilt.time_ns}" in damage


def test_later_schema(loki: Loki) -> None:
    """A record of a later version is named, with its number, and the others are read."""
    stream, other = Stream(), Stream(BASE + SECOND)
    loki.add(line(stream.id, [stream.opened()], schema=2), *lines(other, [other.opened()]))
    where = source(loki.url)
    assert [entry.stream for entry in where.read(WINDOW)] == [other.id]
    assert where.later == {stream.id: LaterSchema(stream.id, 2, 1)}
    assert where.damaged == [f"{loki.url}: {where.later[stream.id]}"]


def test_follow_sees_late_records(loki: Loki) -> None:
    """A record that arrives after newer ones is seen too, and none twice."""
    one, other = Stream(), Stream(BASE + SECOND)
    first, *rest = lines(one, [one.opened(), *one.predictions(3)])
    newer = lines(other, [other.opened()])
    followed = source(loki.url).follow(TimeRange(BASE))

    def come() -> list[tuple[str, int]]:
        return [entry[:2] for entry in takewhile(lambda entry: entry is not None, followed) if entry]

    assert come() == []
    loki.add(first, *newer)
    assert come() == [(one.id, 1), (other.id, 1)]
    loki.add(*rest)
    assert come() == [(one.id, 2), (one.id, 3), (one.id, 4)]
    assert come() == []


def test_newest_are_looked_for_first(loki: Loki) -> None:
    """Whoever wants the newest few of a busy week does not read the week."""
    stream = Stream(time.time_ns() - 5 * 24 * 3600 * SECOND)
    old = lines(stream, stream.predictions(3))
    stream.now = time.time_ns() - 60 * SECOND
    loki.add(*old, *lines(stream, stream.predictions(4)))
    where = source(loki.url)
    for limit, queries in ((4, 2), (5, 12)):
        loki.queries.clear()
        found = newest(where, TimeRange(), limit, lambda _: True, lambda _: None)
        assert [entry.sequence for entry in found] == [3, 4, 5, 6, 7][-limit:]
        records = [each for each in loki.queries if "event_name" not in each["query"]]  # what the model is: asked once
        assert len(records) <= queries
        assert len(loki.queries) <= len(records) + 1


def test_a_redirect_is_not_followed() -> None:
    """A redirect would take the token to another place: it is told as an answer, and the other place hears nothing."""
    heard: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers.get("Authorization", ""))
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as elsewhere:

        class Redirects(Elsewhere):
            def do_GET(self) -> None:
                self.send_response(302)
                self.send_header("Location", f"http://127.0.0.1:{elsewhere.server_port}/")
                self.end_headers()

        with ThreadingHTTPServer(("127.0.0.1", 0), Redirects) as first:
            for each in (elsewhere, first):
                threading.Thread(target=each.serve_forever, daemon=True).start()
            where = source(f"http://127.0.0.1:{first.server_port}", Access(token="t"))
            with pytest.raises(SourceError, match="302"):
                list(where.read(WINDOW))
            for each in (elsewhere, first):
                each.shutdown()
    assert heard == []


def test_following_beside_a_clock_that_is_ahead(loki: Loki) -> None:
    """A server whose clock is ahead does not hide the records of the others from one who follows."""
    now = time.time_ns()
    ahead, right = Stream(now + 600 * SECOND), Stream(now)
    loki.add(line(ahead.id, [ahead.opened()]))
    following = source(loki.url).follow(TimeRange(now - 60 * SECOND))
    assert [each and each.stream for each in (next(following), next(following))] == [ahead.id, None]
    loki.add(line(right.id, [right.opened()]))
    assert next(entry for entry in following if entry).stream == right.id
