"""The outbox as the log itself, when there is no endpoint: a ring from which the oldest whole segments go."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

from predictor import otlp
from predictor.outbox.segments import Cursor, streams

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from predictor.outbox.ownership import Owned
    from predictor.outbox.segments import SignalFiles, StreamFiles

_READ_BYTES = 1 << 20


class _Segment(NamedTuple):
    stream_id: str
    number: int
    size: int
    modified: float


def prune(owned: Iterable[Owned], root: Path, *, keep_bytes: int, keep_age: float, now: float) -> int:
    """Remove this process's part of what the ring lets go, and return its bytes (blocking); raises OSError.

    All processes come to the same list, oldest first, until `keep_bytes` remain in all and nothing is older than
    `keep_age` seconds before `now` (as `time.time`); each removes what is in its own streams. The newest segment of
    a stream that is still being written stays. An adopted stream of which nothing is left is removed.
    """
    owned = list(owned)
    writing = {stream.files.stream_id for stream in owned if not stream.adopted}
    doomed = _doomed(root, writing, keep_bytes, now - keep_age)
    removed = 0
    for stream in owned:
        mine = doomed.get(stream.files.stream_id, [])
        if not mine or stream.lock is None:
            continue
        removed += sum(segment.size for segment in mine)
        logs = stream.files.signal("logs")
        if stream.adopted and len(mine) == len(logs.numbers()):
            stream.remove()
        else:
            _remove(logs, [segment.number for segment in mine])
    return removed


def _doomed(root: Path, writing: set[str], keep_bytes: int, oldest: float) -> dict[str, list[_Segment]]:
    """Return what must go, by stream; of each stream it is the first segments without a gap."""
    segments = [segment for files in streams(root) for segment in _segments(files)]
    newest = {segment.stream_id: segment.number for segment in segments}
    total = sum(segment.size for segment in segments)
    doomed: dict[str, list[_Segment]] = {}
    kept = []
    # A stream that another process writes to has its reserve; one that is closed or adopted has none.
    living = writing | {files.stream_id for files in streams(root) if files.reserve.exists()}
    for segment in segments:
        if segment.stream_id in living and segment.number == newest[segment.stream_id]:
            continue
        if segment.modified < oldest:
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


def _segments(files: StreamFiles) -> Iterator[_Segment]:
    logs = files.signal("logs")
    for number in logs.numbers():
        with contextlib.suppress(FileNotFoundError):
            stat = logs.segment(number).stat()
            yield _Segment(files.stream_id, number, stat.st_size, stat.st_mtime)


def _remove(logs: SignalFiles, numbers: list[int]) -> None:
    """Say in the cursor from which number the stream is kept, and remove what is before it."""
    before = logs.cursor()
    sequence = max(before.sequence, *(_last_sequence(logs.segment(number)) for number in numbers))
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


def _last_sequence(path: Path) -> int:
    """Return the last whole line's number, 0 if it cannot be told."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _READ_BYTES))
        data = file.read()
    try:
        return otlp.last_sequence(data[: data.rfind(b"\n") + 1])
    except ValueError:  # damaged by a power cut
        return 0
