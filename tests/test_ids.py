from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING

from predictor import ids

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
    assert max(traces).bit_length() == 128
    assert max(spans).bit_length() == 64
    assert re.fullmatch("[0-9a-f]{32}", f"{traces[0]:032x}")


def test_zero_is_not_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where chance gives 0, another id is taken."""
    monkeypatch.setattr(ids, "getrandbits", lambda _: 0)
    assert ids.trace_id() != 0
    assert ids.span_id() != 0
