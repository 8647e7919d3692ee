"""The sentences of `verify` on what the digests prove, and on what the log explains and does not prove."""

from __future__ import annotations

from typing import TYPE_CHECKING

from predictor.reader.verify.stream_state import shown, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from predictor.reader.verify.report import VerifyReport

MOST = 20
"""Sentences of one kind: a damaged disk has thousands."""
_PLACES = 3  # of one reason


def proofs(report: VerifyReport, *, checked: bool) -> Iterator[str]:
    """Yield what the digests prove and do not prove: no faults. `checked` is whether there were keys."""
    signed = sorted({key for verdict in report.verdicts for key in verdict.proof.signed_by})
    unsigned = any(verdict.proof.proved and not verdict.proof.signed_by for verdict in report.verdicts)
    proved = sum(size(verdict.proof.proved) for verdict in report.verdicts)
    if proved:
        keys = [*(f"signed by {key}" for key in signed), *(["not signed"] if unsigned else [])]
        doubt = "" if checked or not signed else "; the signatures were not checked, which takes --key"
        yield f"{proved} numbers are proved to be unaltered, {', '.join(keys)}{doubt}"
    reasons: dict[str, list[str]] = {}
    for verdict in report.verdicts:
        for first, last, why in verdict.proof.unproved:
            reasons.setdefault(why, []).append(f"{verdict.stream.id} {shown([(first, last)])}")
    for why, places in list(reasons.items())[:MOST]:
        more = f" and {len(places) - _PLACES} more" if len(places) > _PLACES else ""
        yield f"not proved to be unaltered, {why}: {', '.join(places[:_PLACES])}{more}"
    if len(reasons) > MOST:
        yield f"and {len(reasons) - MOST} more that are not proved"


def strict_faults(report: VerifyReport) -> list[str]:
    """Return what only `--strict` takes for a fault, one sentence each: an editor without a key could have made it."""
    found = []
    for verdict in report.verdicts:
        about = f"stream {verdict.stream.id}"
        if verdict.stream.lost:
            found.append(f"{about}: declared lost {shown(verdict.stream.lost)}, a fault with --strict")
        if verdict.refused:
            found.append(f"{about}: {verdict.refused} refused by the sink, a fault with --strict")
        if unproved := [(first, last) for first, last, _ in verdict.proof.unproved]:
            found.append(f"{about}: not proved {shown(unproved)}, a fault with --strict")
    return found
