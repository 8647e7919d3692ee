"""Rows that have more than one number: 64 bits of each are remembered, and who they are is read once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.recording.record_schema import EVENT_NAME

if TYPE_CHECKING:
    from predictor.reader.sources.source import Source
    from predictor.reader.time_range import TimeRange


def fingerprint(row: tuple[str | None, int | None]) -> int:
    """Return 64 bits of job id and row, by SipHash with a key that only this process knows."""
    return hash(row) & 0xFFFF_FFFF_FFFF_FFFF


def rows_again(source: Source, window: TimeRange, fingerprints: set[int]) -> list[tuple[str, int | None]]:
    """Return which rows these are, by reading once more; nothing is read if there are none."""
    if not fingerprints:
        return []
    entries = (entry for entry in source.read(window.wider()) if entry.event == EVENT_NAME)
    rows = (row for entry in entries for row in entry.identities)
    found = {(job_id or "", row) for job_id, row in rows if fingerprint((job_id, row)) in fingerprints}
    return sorted(found, key=lambda row: (row[0], row[1] or 0))
