"""Rows that have more than one number: 64 bits of each are remembered, and who they are is read once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.recording.record_schema import EVENT_NAME

if TYPE_CHECKING:
    from predictor.reader.sources.source import Source
    from predictor.reader.time_range import TimeRange
    from predictor.reader.verify.run import RunMaker


def rows_again(
    source: Source, window: TimeRange, maker: RunMaker, fingerprints: set[int]
) -> list[tuple[str, int | None]]:
    """Return which rows have these fingerprints, by reading once more; nothing is read if there are none."""
    if not fingerprints:
        return []
    entries = (entry for entry in source.read(window.wider()) if entry.event == EVENT_NAME)
    rows = (row for entry in entries for row in zip(entry.identities, maker.rows(entry), strict=True))
    found = {(job_id or "", row) for (job_id, row), fingerprint in rows if fingerprint in fingerprints}
    return sorted(found, key=lambda row: (row[0], row[1] or 0))
