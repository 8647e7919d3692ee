"""Has `predictor log verify` try the digests of what arrived: no fault of a machine may look like an editor's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.reader.time_range import TimeRange
from predictor.reader.verify.completeness import verify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from predictor.reader.sources.source import Source


def wrong(source: Source) -> Iterator[str]:
    """Yield what the digests accuse, and that none was proved."""
    report = verify(source, TimeRange())
    for verdict in report.verdicts:
        for fault in verdict.proof.faults:
            yield f"{verdict.stream.id}: {fault}"
    yield from report.gone
    if not any(verdict.proof.proved for verdict in report.verdicts):
        yield f"no record of {len(report.verdicts)} streams is proved to be unaltered"
