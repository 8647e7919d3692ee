from __future__ import annotations

import multiprocessing
import re
import time
import uuid
from typing import TYPE_CHECKING

from predictor.core import ids

if TYPE_CHECKING:
    import pytest


def test_job_id_is_a_uuid_of_version_7() -> None:
    """A job id is a UUIDv7 (RFC 9562) of the given time, in the usual form."""
    now_ns = 1_760_000_000_123_999_999
    for _ in range(200):
        text = ids.uuid7(now_ns)
        read = uuid.UUID(text)
        assert str(read) == text
        assert (read.version, read.variant) == (7, uuid.RFC_4122)
        assert read.int >> 80 == now_ns // 1_000_000


def test_job_ids_sort_by_time_and_differ() -> None:
    """Later ids sort after earlier ones, and ids of one millisecond differ."""
    begin = time.time_ns() // 1_000_000
    assert begin <= uuid.UUID(ids.uuid7()).int >> 80 <= time.time_ns() // 1_000_000
    drawn = [ids.uuid7(10**18 + step * 1_000_000) for step in range(100)]
    assert drawn == sorted(drawn)
    assert len({ids.uuid7(10**18) for _ in range(10_000)}) == 10_000


def test_trace_and_span_ids_fill_their_width() -> None:
    """Ids are random over all their bits and never 0, which means no id."""
    traces, spans = [ids.trace_id() for _ in range(500)], [ids.span_id() for _ in range(500)]
    assert len(set(traces)) == len(set(spans)) == 500
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in traces)
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in spans)
    assert all({each[place] for each in traces} == set("0123456789abcdef") for place in range(32))
    assert all({each[place] for each in spans} == set("0123456789abcdef") for place in range(16))


def test_zero_is_not_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where chance gives 0, another id is taken."""
    draws = iter([bytes(1024), bytes(8) + b"\1" * 8 + b"\2" * 16, bytes(512), bytes(8) + b"\3" * 8])
    monkeypatch.setattr(ids._random, "randbytes", lambda _: next(draws))
    monkeypatch.setattr(ids, "_wide", [])
    monkeypatch.setattr(ids, "_narrow", [])
    assert ids.trace_id() == "02" * 16
    assert ids.span_id() == "03" * 8


def test_a_forked_process_draws_others() -> None:
    """Workers that were forked from one process draw ids of their own, not each the same."""
    context = multiprocessing.get_context("fork")
    ids.trace_id()  # some are drawn ahead
    with context.Pool(2) as pool:
        drawn = [pool.apply_async(_several) for _ in range(8)]
        found = [_several(), *(each.get(20) for each in drawn)]
    assert len({each for some in found for each in some}) == 9 * 200


def _several() -> list[str]:
    return [ids.trace_id() for _ in range(200)]
