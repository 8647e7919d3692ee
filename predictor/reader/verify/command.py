"""`predictor log verify`: the command, and its findings as a table, as sentences, as JSON."""

from __future__ import annotations

from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Any

from predictor.reader.command import FAILED, FINE, FOUND, Verb
from predictor.reader.output import TextColumn
from predictor.reader.sources.outbox import OutboxSource
from predictor.reader.time_range import TimeRange
from predictor.reader.time_range import shown as time
from predictor.reader.verify import state
from predictor.reader.verify.completeness import verify
from predictor.reader.verify.keys import PublicKeys
from predictor.reader.verify.proof_sentences import MOST, proofs, strict_faults
from predictor.reader.verify.stream_state import shown, size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from predictor.reader.command import Asked
    from predictor.reader.verify.outbox_contents import Lack
    from predictor.reader.verify.report import Verdict, VerifyReport

_COLUMNS = (
    TextColumn("stream"),
    TextColumn("state"),
    TextColumn("last spoke"),
    *(TextColumn(title, right=True) for title in ("from", "to", "records", "copies", "lost", "refused", "missing")),
    TextColumn("unaltered"),
)
_FIRST_SUM, _AFTER_SUMS = 5, 10  # columns
_FORGET_NS = 7 * 86_400 * 10**9


def sentences(report: VerifyReport) -> Iterator[str]:
    """Yield what is wrong, one sentence each."""
    for verdict in report.verdicts:
        yield from _about(verdict)
    yield from report.gone
    for lack in report.lacks:
        yield from _lacks(lack, of_outbox=report.of_outbox)
    for job_id, row in report.twice[:MOST]:
        yield f"job {job_id} row {row} has more than one number"
    yield from report.damaged[:MOST]
    for count in (len(report.twice), len(report.damaged)):
        if count > MOST:
            yield f"and {count - MOST} more"


def _about(verdict: Verdict) -> Iterator[str]:
    """Yield what is wrong with one stream."""
    stream = verdict.stream
    about = f"stream {stream.id}"
    if verdict.unexplained:
        more = f" ({verdict.refused} of them refused by the sink)" if verdict.refused else ""
        yield f"{about}: missing {shown(verdict.missing)}{more}"
    if stream.altered:
        numbers = [(number, number) for number in sorted(set(stream.altered))]
        yield f"{about}: altered, one number with two contents: {shown(numbers)}"
    if verdict.beyond:
        yield f"{about}: closed by record {stream.closed_at}, and yet it has numbers up to {stream.last}"
    if verdict.state == "silent":
        told = f", which reported {stream.pending} bytes that the sink had not accepted" if stream.pending else ""
        known = f"ended without a word after record {stream.last_word}{told}"
        yield f"{about}: {known}; what it held then is unknown"
    for fault in verdict.proof.faults[:MOST]:
        yield f"{about}: {fault}"


def _lacks(lack: Lack, *, of_outbox: bool) -> Iterator[str]:
    about = f"stream {lack.stream}"
    if of_outbox:
        if lack.rejected:
            yield f"{about}: the sink has refused {shown(lack.rejected)}, kept in rejected/ (`predictor log resend`)"
    else:
        if lack.absent:
            yield f"{about}: the sink has no record of it"
        if lack.rejected:
            yield f"{about}: the sink lacks {shown(lack.rejected)}, which it refused: rejected/ of the outbox has them"
        if lack.segments:
            yield f"{about}: the sink lacks {shown(lack.segments)}, which the outbox has"
    if lack.unreadable:
        names = ", ".join(lack.unreadable[:5]) + (" …" if len(lack.unreadable) > 5 else "")  # noqa: PLR2004 - as `shown`
        yield f"{about}: rejected/ has {len(lack.unreadable)} that cannot be read as records: {names}"


def as_json(report: VerifyReport) -> dict[str, Any]:
    """Return what `--json` prints; docs/reading.md describes it."""
    return {
        "sound": report.sound,
        "streams": [_stream(verdict) for verdict in report.verdicts],
        "twice": [{"job_id": job_id, "index": row} for job_id, row in report.twice],
        "damaged": report.damaged,
        "gone": report.gone,
        "lacking": [
            {
                "stream": lack.stream,
                "rejected": lack.rejected,
                "outbox": lack.segments,
                "unreadable": lack.unreadable,
                "absent": lack.absent,
            }
            for lack in report.lacks
        ],
        "rejected_spans": report.rejected_spans,
        "passed_over": report.passed_over,
    }


def _stream(verdict: Verdict) -> dict[str, Any]:
    stream = verdict.stream
    return {
        "stream": stream.id,
        "sound": verdict.sound,
        "state": verdict.state,
        "closed": stream.closed,
        "from": verdict.first,
        "to": stream.last,
        "spoke": time(stream.newest_ns, 9),
        "records": stream.records,
        "copies": stream.copies,
        "missing": verdict.missing,
        "lost": stream.lost,
        "refused": verdict.refused,
        "altered": sorted(set(stream.altered)),
        "beyond_closed": verdict.beyond,
        "unrecorded": stream.unrecorded,
        "pending_bytes": stream.pending,
        "unaltered": verdict.proof.proved,
        "unproved": [{"from": first, "to": last, "reason": why} for first, last, why in verdict.proof.unproved],
        "faults": verdict.proof.faults,
        "signed_by": verdict.proof.signed_by,
    }


def _row(verdict: Verdict) -> list[str]:
    stream = verdict.stream
    state = f"{verdict.state} ({stream.closed})" if stream.closed else verdict.state
    numbers = (
        min(verdict.first, stream.last + 1),
        stream.last,
        stream.records,
        stream.copies,
        size(stream.lost),
        verdict.refused,
        verdict.unexplained,
    )
    return [stream.id, state, time(stream.newest_ns), *map(str, numbers), shown(verdict.proof.proved, 2) or "-"]


def _total(rows: Sequence[Sequence[str]]) -> list[str]:
    sums = [str(sum(int(row[at]) for row in rows)) for at in range(_FIRST_SUM, _AFTER_SUMS)]
    return [f"{len(rows)} in all", "", "", "", "", *sums, ""]


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-empty", action="store_true", help="a check of no records is a success and not exit status 2"
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="go on where the run that left this file ended, and leave it for the next; --since is for the first one",
    )
    parser.add_argument(
        "--outbox", type=Path, metavar="DIR", help="the sink must have what this outbox holds and what was refused"
    )
    parser.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        action="append",
        help="a public key in PEM: all checkpoints must be signed by it, or by one of several",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit status 1 also if anything is declared lost, refused by the sink or not proved; needs --key",
    )


def _run(asked: Asked) -> int:
    output, outbox = asked.output, asked.options.outbox
    if outbox and isinstance(asked.source, OutboxSource):
        msg = f"--outbox compares a sink with an outbox, and {asked.source.name} is one; wanted --from with the sink"
        raise ValueError(msg)
    if asked.options.strict and not asked.options.key:
        msg = "--strict proves each record by its signature; wanted --key with the public key"
        raise ValueError(msg)
    began = time_ns()
    keys = PublicKeys(asked.options.key) if asked.options.key else None
    then = _then(asked, began)
    window = TimeRange(then.until) if then else asked.window
    with output.progress("reading", asked.source) as tick:
        report = verify(
            asked.source, window, tick, began, outbox=outbox, then=then.streams if then else None, keys=keys
        )
    status = _show(asked, report)
    if asked.options.state:
        streams = _following(then, report, began)
        left = state.VerifyState(asked.source.name, asked.options.selector, began, streams)
        state.store(asked.options.state, left)
    return status


def _then(asked: Asked, now_ns: int) -> state.VerifyState | None:
    if not asked.options.state:
        return None
    if asked.window.end is not None:
        msg = "--state goes on from the last run to now; wanted no --until"
        raise ValueError(msg)
    return state.load(asked.options.state, asked.source.name, asked.options.selector, now_ns)


def _following(then: state.VerifyState | None, report: VerifyReport, until: int) -> dict[str, state.StreamThen]:
    """Return where a run leaves the streams that have not ended; who was silent for a week is let go."""
    streams = dict(then.streams) if then else {}
    for verdict in report.verdicts:
        stream = verdict.stream
        streams.pop(stream.id, None)
        if not stream.closed:
            silent = verdict.state == "silent"
            sealed = max(stream.digests.checkpoints.values(), key=lambda each: each.number, default=None)
            streams[stream.id] = state.StreamThen(
                stream.last,
                stream.newest_ns,
                stream.settled,
                stream.rejected,
                silent,
                sealed.number if sealed else 0,
                sealed.written_ns if sealed else 0,
            )
    return {name: each for name, each in streams.items() if not each.told or each.spoke > until - _FORGET_NS}


def _show(asked: Asked, report: VerifyReport) -> int:
    output = asked.output
    strict = strict_faults(report) if asked.options.strict else []
    if output.as_json:
        output.json(as_json(report) | {"strict_faults": strict})
        return _status(report, strict, allow_empty=asked.options.allow_empty)
    rows = [_row(verdict) for verdict in report.verdicts]
    output.listing(_COLUMNS, rows, _total(rows) if rows else None)
    for sentence in _remarks(report, strict, checked=bool(asked.options.key)):
        output.remark(sentence)
    return _status(report, strict, allow_empty=asked.options.allow_empty)


def _remarks(report: VerifyReport, strict: Sequence[str], *, checked: bool) -> Iterator[str]:
    """Yield what stands below the table, one sentence each."""
    yield from proofs(report, checked=checked)
    yield from sentences(report)
    if unrecorded := sum(verdict.stream.unrecorded for verdict in report.verdicts):
        yield f"{unrecorded} refused requests or rows have no record, as the servers say themselves"
    if report.rejected_spans:
        yield f"{report.rejected_spans} refused spans are in rejected/: traces are a sample"
    yield from report.passed_over[:MOST]
    if len(report.passed_over) > MOST:
        yield f"and {len(report.passed_over) - MOST} more were not read"
    yield from strict[:MOST]
    if len(strict) > MOST:
        yield f"and {len(strict) - MOST} more that are faults with --strict"
    if report.sound and not strict:
        yield _conclusion(report)


def _status(report: VerifyReport, strict: Sequence[str], *, allow_empty: bool) -> int:
    if strict or not report.sound:
        return FOUND
    return FINE if report.records or allow_empty else FAILED


def _conclusion(report: VerifyReport) -> str:
    """Return what is true of a log without a fault."""
    if not report.records:
        return "no records there: nothing to prove"
    lost = sum(size(verdict.stream.lost) for verdict in report.verdicts)
    refused = sum(verdict.refused for verdict in report.verdicts)
    known = [f"{count} {what}" for count, what in ((lost, "declared lost"), (refused, "refused by the sink")) if count]
    return ", ".join([*known, "nothing else is missing" if known else "nothing is missing"])


VERB = Verb(
    "is anything missing? exit status 1 on anything that the log does not explain, 2 if there are no records",
    _options,
    _run,
    place=True,
    lists=True,
)
