"""Digests on a real Loki: what it gives back of a log is proved, and an edit of it is found."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Any

import pytest

from predictor.reader.time_range import TimeRange
from tests.reader.test_digests import EDITS
from tests.stack.test_log_loki import look, push
from tests.support.log_files import BASE, SECOND
from tests.support.sealed_log import SealedStream, edited, sealed, written

if TYPE_CHECKING:
    from predictor.reader.verify.report import VerifyReport
    from tests.stack.stack import Stack

_SEEN = 20.0  # s, until Loki shows all of what it took


async def _judged(stack: Stack, texts: list[bytes], end: int, wanted: int) -> VerifyReport:
    """Store lines in Loki under a service of their own, and return the report on them."""
    service = f"digests-{secrets.token_hex(4)}"
    await asyncio.to_thread(push, stack, service, texts)
    window = TimeRange(end - 3600 * SECOND, end + SECOND)
    for _ in range(int(_SEEN)):
        report = await asyncio.to_thread(look, stack, service, window)
        if report.records == wanted:
            break
        await asyncio.sleep(1.0)
    return report


def _now() -> int:
    return time.time_ns() - 600 * SECOND


async def test_a_whole_log_is_proved(stack: Stack) -> None:
    """Records of all kinds, with odd texts and doubles, come back from Loki as they were written."""
    stream = sealed(SealedStream(_now()))
    report = await _judged(stack, stream.lines, stream.now, stream.log.sequence - 4)
    (verdict,) = report.verdicts
    assert not verdict.proof.faults
    assert (verdict.proof.proved, verdict.proof.unproved) == ([(1, stream.log.sequence)], [])
    assert not report.damaged


@pytest.mark.parametrize("name", EDITS)
async def test_an_edit_is_found(stack: Stack, name: str) -> None:
    """Whatever is changed in the only copy in Loki is found."""
    stream = sealed(SealedStream(_now()))
    every: Any = edited(stream.lines, EDITS[name])
    for each in every:
        if each.record["timeUnixNano"] == str(BASE + 1):  # too old for Loki
            each.record["timeUnixNano"] = str(stream.now)
    report = await _judged(stack, written(every), stream.now, len(every))
    assert any(verdict.proof.faults for verdict in report.verdicts)
