"""Reports a replay as tables and sentences for a person, and as one object for a machine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from predictor.reader import time_range
from predictor.reader.output import TextColumn
from predictor.reader.replay.rows import BATCH, WHY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from predictor.reader.output import Output
    from predictor.reader.record import ModelVersion
    from predictor.reader.replay.difference import Change
    from predictor.reader.replay.statistics import ReplayStatistics

_RIGHT = ("replayed", "any difference", "labels changed", "outliers changed", "fail now")
MODELS = (TextColumn("logged by"), TextColumn("digest"), *(TextColumn(title, right=True) for title in _RIGHT))
LABELS = (TextColumn("from"), TextColumn("to"), TextColumn("predictions", right=True))
CHANGES = (
    *(TextColumn("time"), TextColumn("job id"), TextColumn("row", right=True), TextColumn("logged"), TextColumn("now")),
    *(TextColumn(title, right=True) for title in ("probability", "now", "change")),
)
SKIPPED = (TextColumn("not replayed", right=True), TextColumn("because it"))
FAILS = "(fails)"
_SHOWN = 3  # numbers of an answer in a table
_SHORT = 12  # of a digest's 64 digits: what one compares by eye
_NOISE = 1e-4  # two processors or versions of the runtime differ in the last bits of float32, which add up to this


def tell(output: Output, model: ModelVersion, tally: ReplayStatistics) -> None:
    """Print what a person wants to know, the verdict last."""
    output.table(MODELS, models(tally))
    for title, columns, rows in (
        ("Labels that changed:", LABELS, labels(tally)),
        ("Outlier verdicts that changed:", LABELS, outliers(tally)),
        ("Unequal, although this very model has logged them:", CHANGES, list(map(row, tally.unequal.sorted()))),
        ("Largest changes:", CHANGES, list(map(row, tally.changed.sorted()))),
        ("", SKIPPED, skipped(tally)),
    ):
        if rows:
            output.line(f"\n{title}".rstrip(), escape=False)
            output.table(columns, rows)
    output.line("")
    for sentence in sentences(model, tally):
        output.line(sentence)


def sentences(model: ModelVersion, tally: ReplayStatistics) -> Iterator[str]:
    """Yield timings and verdict."""
    replayed = tally.total("replayed")
    if replayed:
        logged, now = micros(tally)
        mean = replayed / tally.logged_batches
        yield f"inference: {logged} a row when logged, {mean:.1f} rows together on average; {now} now, {BATCH} together"
    yield f"{replayed} of {tally.predictions} predictions replayed through {model}"
    yield verdict(tally)


def verdict(tally: ReplayStatistics) -> str:
    """Return in one sentence whether what must be equal is."""
    same = tally.same
    if not same.replayed:
        changed, replayed = tally.total("labels") + tally.total("failed"), tally.total("replayed")
        return f"all were logged by other models: {changed} of {replayed} labels are not the same now"
    within = f"within {tally.tolerance:g}" if tally.tolerance else "in every number"
    if not same.unequal:
        return f"all {same.replayed} that this very model has logged come out equal {within}"
    differ = f"{same.unequal} of {same.replayed} that this very model has logged are not equal {within}"
    if same.labels or same.outliers or same.failed or not 0 < same.distance <= _NOISE:
        return differ
    accepted = 10.0 ** math.ceil(math.log10(same.distance))
    return (
        f"{differ}; the largest difference is {same.distance:.1g}, as between processors or versions of ONNX Runtime: "
        f"on another machine than the one that logged, --tolerance {accepted:g} accepts it"
    )


def micros(tally: ReplayStatistics) -> tuple[str, str]:
    """Return microseconds a row, as logged and now."""
    answered = tally.total("replayed") - tally.total("failed")
    logged = tally.logged_seconds / max(tally.total("replayed"), 1)
    now = tally.seconds / max(answered, 1)
    return f"{logged * 1e6:.1f} µs", f"{now * 1e6:.1f} µs"


def models(tally: ReplayStatistics) -> list[list[str]]:
    """Return the rows of MODELS."""
    ordered = sorted(tally.models.items(), key=lambda item: -item[1].replayed)
    return [
        [str(model or ""), digest(model), *map(str, (of.replayed, of.unequal, of.labels, of.outliers, of.failed))]
        for model, of in ordered
    ]


def digest(model: ModelVersion | None) -> str:
    """Return the beginning of a model's digest."""
    return model.digest.removeprefix("sha256:")[:_SHORT] if model else ""


def labels(tally: ReplayStatistics) -> list[list[str]]:
    """Return the rows of LABELS for labels that changed, the most frequent first."""
    changed = [(pair, count) for pair, count in tally.label_changes.most_common() if pair[0] != pair[1]]
    return [[before or "", FAILS if after is None else after, str(count)] for (before, after), count in changed]


def outliers(tally: ReplayStatistics) -> list[list[str]]:
    """Return the rows of LABELS for verdicts that changed."""
    names = {True: "outlier", False: "no outlier", None: "(no detector)"}
    changed = [(pair, count) for pair, count in tally.outlier_changes.most_common() if pair[0] is not pair[1]]
    return [[names[before], names[after], str(count)] for (before, after), count in changed]


def skipped(tally: ReplayStatistics) -> list[list[str]]:
    """Return the rows of SKIPPED."""
    return [[str(count), WHY[reason]] for reason, count in tally.not_replayed.most_common()]


def row(change: Change) -> list[str]:
    """Return a row of CHANGES."""
    logged = change.logged
    return [
        time_range.shown(logged.time_ns),
        logged.job_id,
        str(logged.row),
        _shown(logged.label, logged.numbers),
        _shown(change.now.label, change.now.numbers) if change.now else FAILS,
        "" if logged.confidence is None else f"{logged.confidence:.4f}",
        "" if change.probability is None or not change.now else f"{change.probability:.4f}",
        f"{change.change:+.2g}",
    ]


def _shown(label: str | None, numbers: Sequence[float]) -> str:
    """Return an answer in a word: the label, or the first numbers."""
    return label if label is not None else " ".join(f"{number:.6g}" for number in numbers[:_SHOWN])


def as_json(model: ModelVersion, tally: ReplayStatistics) -> dict[str, Any]:
    """Return what `--json` prints; docs/replay.md describes it."""
    same = tally.same
    replayed = tally.total("replayed")
    return {
        "model": model._asdict(),
        "tolerance": tally.tolerance,
        "equal": not same.unequal if same.replayed else None,
        "verdict": verdict(tally),
        "predictions": tally.predictions,
        "replayed": replayed,
        "not_replayed": dict(tally.not_replayed),
        "logged_by": [(by._asdict() if by else {}) | vars(of) for by, of in tally.models.items()],
        "labels": [{"from": one, "to": to, "predictions": count} for (one, to), count in tally.label_changes.items()],
        "outliers": [
            {"from": one, "to": to, "predictions": count} for (one, to), count in tally.outlier_changes.items()
        ],
        "largest_changes": [_change(change) for change in tally.changed.sorted()],
        "unequal": [_change(change) for change in tally.unequal.sorted()],
        "seconds": {
            "logged": tally.logged_seconds,
            "replayed": tally.seconds,
            "rows_together_logged": replayed / tally.logged_batches if replayed else None,
            "rows_together_replayed": BATCH,
        },
    }


def _change(change: Change) -> dict[str, Any]:
    logged, now = change.logged, change.now
    return {
        "job_id": logged.job_id,
        "index": logged.row,
        "time": time_range.shown(logged.time_ns, digits=9),
        "model": logged.model._asdict() if logged.model else None,
        "label": {"logged": logged.label, "now": now.label if now else None},
        "confidence": {"logged": logged.confidence, "now": change.probability if now else None},
        "outlier": {"logged": logged.outlier, "now": now.outlier if now else None},
        "outlier_score": {"logged": logged.score, "now": now.score if now else None},
        "largest_difference": change.distance if math.isfinite(change.distance) else None,
    }
