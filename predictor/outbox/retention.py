"""Retention where there is no endpoint: removes the oldest whole segments by size and age."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, NamedTuple

from predictor.core.operator_log import Throttle
from predictor.outbox.layout import Cursor, streams
from predictor.outbox.segment_age import ages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from predictor.outbox.layout import SignalFiles, StreamFiles
    from predictor.outbox.ownership import Owned
    from predictor.outbox.segment_age import Elapsed

log = logging.getLogger(__name__)
_throttle = Throttle(3600)


class _Segment(NamedTuple):
    stream_id: str
    number: int
    size: int
    written: float  # last, by the wall clock


def prune(owned: Iterable[Owned], root: Path, *, keep_bytes: int, keep_age: float, elapsed: Elapsed) -> int:
    """Remove this process's part of what the ring lets go, and return its bytes (blocking); raises OSError.

    All processes come to about the same list, oldest first, until `keep_bytes` remain in all and nothing is known to
    be older than `keep_age` seconds; each removes what is in its own streams. The newest segment of a stream that is
    still being written stays. An adopted stream of which nothing is left is removed.
    """
    owned = list(owned)
    writing = {stream.files.stream_id for stream in owned if not stream.adopted}
    doomed = _doomed(root, writing, keep_bytes, keep_age, elapsed)
    removed: list[_Segment] = []
    for stream in owned:
        mine = doomed.get(stream.files.stream_id, [])
        if not mine or stream.lock is None:
            continue
        removed += mine
        logs = stream.files.signal("logs")
        if stream.adopted and len(mine) == len(logs.numbers()):
            stream.remove()
        else:
            _remove(logs, [segment.number for segment in mine])
    _say(removed, keep_age, elapsed.now)
    return sum(segment.size for segment in removed)


def _doomed(
    root: Path, writing: set[str], keep_bytes: int, keep_age: float, elapsed: Elapsed
) -> dict[str, list[_Segment]]:
    """Return what must go, by stream; of each stream it is the first segments without a gap."""
    segments = sorted(
        (segment for files in streams(root) for segment in _segments(files, elapsed)),
        key=lambda segment: segment.written,
    )
    newest = {segment.stream_id: segment.number for segment in segments}
    age = ages((segment.written for segment in segments), elapsed, keep_age)
    total = sum(segment.size for segment in segments)
    doomed: dict[str, list[_Segment]] = {}
    kept = []
    # A stream that another process writes to has its reserve; one that is closed or adopted has none.
    living = writing | {files.stream_id for files in streams(root) if files.reserve.exists()}
    for segment in segments:
        if segment.stream_id in living and segment.number == newest[segment.stream_id]:
            continue
        if age[segment.written] > keep_age:
            total -= segment.size
            doomed.setdefault(segment.stream_id, []).append(segment)
        else:
            kept.append(segment)
    for segment in kept:
        if total <= keep_bytes:
            break
        total -= segment.size
        doomed.setdefault(segment.stream_id, []).append(segment)
    return doomed


def _say(removed: list[_Segment], keep_age: float, now: float) -> None:
    """Say what goes for its age, and what goes earlier for PREDICTOR_KEEP_BYTES, each once an hour."""
    early = [segment for segment in removed if now - segment.written < keep_age]
    aged = [segment for segment in removed if now - segment.written >= keep_age]
    for segments, level, why in (
        (early, logging.WARNING, "PREDICTOR_KEEP_BYTES, before they have PREDICTOR_KEEP_AGE"),
        (aged, logging.INFO, "PREDICTOR_KEEP_AGE"),
    ):
        if segments and _throttle.due(why):
            hours = max(now - max(segment.written for segment in segments), 0.0) / 3600
            size = sum(segment.size for segment in segments)
            log.log(level, "%d bytes of records, the newest %.1f h old, are removed by %s", size, hours, why)


def _segments(files: StreamFiles, elapsed: Elapsed) -> Iterator[_Segment]:
    logs = files.signal("logs")
    written = 0.0
    for number in logs.numbers():
        with contextlib.suppress(FileNotFoundError):
            stat = logs.segment(number).stat()
            # No earlier than the one before, whatever the clock was set to.
            written = max(written, elapsed.believed(stat.st_mtime))
            yield _Segment(files.stream_id, number, stat.st_size, written)


def _remove(logs: SignalFiles, numbers: list[int]) -> None:
    """Say in the cursor from which number the stream is kept, and remove what is before it."""
    before = logs.cursor()
    # A damaged segment has no last number that can be told.
    sequence = max(before.sequence, *(logs.number_before(Cursor(number + 1)) or 0 for number in numbers))
    # A cursor that a shipper has left further on stays where it is.
    segment, offset = max((before.segment, before.offset), (numbers[-1] + 1, 0))
    cursor = Cursor(segment, offset, sequence)
    try:
        logs.store_cursor(cursor)  # first, so that a crash leaves too much rather than an untold gap
        stored = True
    except OSError:  # a full disk must not keep the ring from making room
        stored = False
    for number in numbers:
        logs.segment(number).unlink(missing_ok=True)
    if not stored:
        logs.store_cursor(cursor)
