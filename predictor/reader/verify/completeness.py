"""Checks that nothing is missing, by the rules of docs/record.md and from the log alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from predictor.reader.record import Entry
from predictor.reader.sources.outbox import OutboxSource
from predictor.reader.verify.check import Check
from predictor.reader.verify.outbox_contents import Held, held, lacking, rejected
from predictor.reader.verify.repeated_rows import rows_again
from predictor.reader.verify.report import Verdict, VerifyReport
from predictor.reader.verify.stream_state import size
from predictor.reader.verify.surroundings import around

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from predictor.reader.sources.source import Source
    from predictor.reader.time_range import TimeRange
    from predictor.reader.verify.keys import PublicKeys
    from predictor.reader.verify.state import StreamThen

_SHIPS = 2.0
"""Seconds: a server that can ships a record within half a one."""


def verify(
    source: Source,
    window: TimeRange,
    progress: Callable[[int], object] = lambda _: None,
    now_ns: int | None = None,
    *,
    outbox: Path | None = None,
    wait: Callable[[], object] = lambda: time.sleep(_SHIPS),
    then: Mapping[str, StreamThen] | None = None,
    keys: PublicKeys | None = None,
) -> VerifyReport:
    """Read a source once and judge each of its streams; `progress` is called with the number of records read since.

    With `outbox` the source is a sink, which must have what that folder holds. `wait` lets a server ship what is on
    its way. `then` is where an earlier run, which ended where the window starts, has left the streams. `keys` must
    have signed all checkpoints.
    Where numbers are missing all is read once more, since records may have arrived behind the reader's back, and then
    what lies outside the window, since clocks are set.
    Memory is about 16 bytes a record, and 32 more until its checkpoint has come. Raises SourceError.
    """
    # The outbox first: what is shipped while the sink is read is seen there.
    kept, broken = _held(source, window, progress, outbox)
    if window.start is None:
        window = window._replace(start=source.oldest)
    check = Check(source, window, progress, time.time_ns() if now_ns is None else now_ns, outbox, then or {})
    for made in source.mapped(check.maker, check.reading()):
        for some in made:
            check.take(some) if isinstance(some, Entry) else check.take_run(some)
    check.look_before()
    again = {verdict.stream.id for verdict in check.verdicts() if verdict.missing}
    lacks = lacking(kept, check.seen) if outbox else []
    if any(lack.segments for lack in lacks):
        wait()
    again |= {lack.stream for lack in lacks}
    if again:
        check.take_missed(again)
    check.look_around()
    judged = [verdict for verdict in check.verdicts() if check.judges(verdict)]
    _explain(judged)
    for verdict in judged:
        check.prove(verdict, keys)
    gone = check.predecessors.gone(check.highest(), around(source, window.start))
    twice = rows_again(source, window, check.maker, check.jobs.twice())
    damaged = list(dict.fromkeys([*source.damaged, *broken]))  # some were read twice
    spans = sum(each.spans for each in kept.values())
    # What the sink refused may lie in the outbox's own segments still.
    lacks = lacking(kept, check.seen if outbox else lambda _: None)
    passed_over = list(source.passed_over)
    of_outbox = isinstance(source, OutboxSource)
    return VerifyReport(judged, twice, damaged, lacks, spans, passed_over, gone, of_outbox=of_outbox)


def _held(
    source: Source, window: TimeRange, progress: Callable[[int], object], outbox: Path | None
) -> tuple[dict[str, Held], list[str]]:
    """Return what the sink should have, or was refused of the outbox that is judged, and what cannot be read there."""
    if outbox:
        return held(outbox, window, source.oldest if window.start is None else None, progress)
    return rejected(source.path, window) if isinstance(source, OutboxSource) else {}, []


def _explain(verdicts: list[Verdict]) -> None:
    """Set what of the missing was refused: a server counts its own records first, then those that it adopted."""
    spare = 0
    for verdict in verdicts:
        declared = verdict.stream.rejected - verdict.stream.rejected_before
        verdict.refused = min(declared, size(verdict.missing))
        spare += declared - verdict.refused
    for verdict in verdicts:
        if not verdict.stream.closed:
            continue  # not ended: nobody has adopted it
        more = min(spare, verdict.unexplained)
        verdict.refused += more
        spare -= more
