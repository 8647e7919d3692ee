"""`predictor log score`: the quality of each model by the feedback that has come since."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from predictor.reader.command import FINE, Verb
from predictor.reader.output import TextColumn, number
from predictor.reader.score.join import FeedbackNumbers, ModelScore, ScoreTable
from predictor.reader.score.quality import LabelQuality, Period, calibration_error, labels
from predictor.reader.time_range import TimeRange, age, shown
from predictor.recording.record_schema import EVENT_NAME, FEEDBACK_EVENT

if TYPE_CHECKING:
    from predictor.reader.command import Asked
    from predictor.reader.output import Output

_COLUMNS = (
    TextColumn("model"),
    TextColumn("digest"),
    *(
        TextColumn(title, right=True)
        for title in ("predictions", "with feedback", "coverage", "right", "of", "accuracy")
    ),
    TextColumn("95 %"),
)
_NUMBERS = (TextColumn("model"), *(TextColumn(title, right=True) for title in ("numbers", "mean", "least", "most")))
_ERRORS = tuple(TextColumn(title, right=True) for title in ("compared", "mean error", "root mean square"))
_LABELS = (
    TextColumn("label"),
    *(TextColumn(title, right=True) for title in ("predicted", "truly", "precision", "recall", "F1")),
)
_TREND = (
    TextColumn("model"),
    TextColumn("from"),
    *(TextColumn(title, right=True) for title in ("predictions", "judged", "accuracy")),
    TextColumn("95 %"),
    TextColumn("mean error", right=True),
)
_OF_FEEDBACK = {"count", "mean", "least", "most"}
_SHORT = 12  # of a digest's 64 digits
_Z = 1.959964  # standard deviations that hold 95 %
_MOST_LABELS = 10  # a side of a table that fits a terminal; of more labels the pairs are listed


def interval(right: int, of: int) -> tuple[float, float] | None:
    """Return between which bounds the accuracy lies with 95 % confidence (Wilson); None if nothing was judged.

    That holds if the rows with feedback are a fair sample of all.
    """
    if not of:
        return None
    share, spread = right / of, _Z * _Z / of
    middle = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / of + spread / (4 * of)) / (1 + spread)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME[@VERSION]", help="only predictions of this model")
    parser.add_argument("--every", type=_period, metavar="TIME", help="also over time, by periods such as 1h, 1d, 1w")


def _period(text: str) -> int:
    try:
        period = age(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not period:
        msg = "a period of nothing; wanted one such as 1h, 1d, 1w"
        raise argparse.ArgumentTypeError(msg)
    return period


def _run(asked: Asked) -> int:
    wanted: str | None = asked.options.model
    with ScoreTable() as table:
        with asked.output.progress("reading", asked.source) as tick:
            for entry in asked.source.read(asked.window):
                tick()
                if entry.event == FEEDBACK_EVENT:
                    table.add_feedback(entry)
                elif entry.event == EVENT_NAME and (
                    not wanted or (entry.model and wanted in {entry.model.name, str(entry.model)})
                ):
                    table.add_prediction(entry)
            if asked.window.end is not None:  # the truth comes later than the prediction
                for entry in asked.source.read(TimeRange(asked.window.end), {"event.name": FEEDBACK_EVENT}):
                    tick()
                    if entry.event == FEEDBACK_EVENT:
                        table.add_feedback(entry)
        scores, stray = table.scores(asked.options.every), table.stray()
    if asked.output.as_json:
        asked.output.json({"models": [_json(score) for score in scores], "feedback_without_prediction": stray})
    else:
        _tell(asked, scores, stray)
    return FINE


def _tell(asked: Asked, scores: list[ModelScore], stray: int) -> None:
    output = asked.output
    output.listing(_COLUMNS, [_row(score) for score in scores])
    if output.layout.form == "csv":
        return
    for score in scores:
        _tell_of(output, score)
    numbers = [(score.model, score.numbers) for score in scores if score.numbers]
    if numbers:
        output.line("")
    errors = any(of.compared for _, of in numbers)
    rows = [
        [
            str(model),
            str(of.count),
            *(f"{each:.6g}" for each in (of.mean, of.least, of.most)),
            *(_errors(of) if errors else ()),
        ]
        for model, of in numbers
    ]
    output.table((*_NUMBERS, *(_ERRORS if errors else ())), rows)
    if not scores:
        output.line("no predictions there: nothing to score")
    elif not any(score.covered for score in scores):
        output.line("no feedback on any of them")
    if stray:
        output.line(f"feedback on {stray} rows whose prediction is not among these")


def _tell_of(output: Output, score: ModelScore) -> None:
    """Print what is known of one model beyond its row."""
    if score.pairs:
        output.line(f"\n{score.model}: rows what was predicted, columns what it truly was", escape=False)
        output.table(*_confusion(score))
        qualities = labels(score.pairs)
        if len(qualities) <= _MOST_LABELS:
            output.line("")
            output.table(_LABELS, [_label(each) for each in qualities])
    if (off := calibration_error(score.bins)) is not None:
        output.line(f"{score.model}: confidence and accuracy lie {off:.3f} apart (expected calibration error)")
    if score.periods:
        output.line("")
        output.table(_TREND, [_of_period(score, each) for each in score.periods])


def _row(score: ModelScore) -> list[str]:
    bounds = interval(score.right, score.judged)
    return [
        str(score.model or ""),
        score.model.digest.removeprefix("sha256:")[:_SHORT] if score.model else "",
        str(score.predictions),
        str(score.covered),
        f"{score.covered / score.predictions:.1%}",
        str(score.right) if score.judged else "",
        str(score.judged) if score.judged else "",
        number(score.right / score.judged if score.judged else None, 3),
        f"{bounds[0]:.3f} to {bounds[1]:.3f}" if bounds else "",
    ]


def _label(quality: LabelQuality) -> list[str]:
    shares = (number(each, 3) for each in (quality.precision, quality.recall, quality.f1))
    return [quality.label, str(quality.predicted), str(quality.truly), *shares]


def _of_period(score: ModelScore, period: Period) -> list[str]:
    bounds = interval(period.right, period.judged)
    return [
        str(score.model),
        shown(period.start_ns, 0).replace(".Z", "Z"),
        *map(str, (period.predictions, period.judged)),
        number(period.right / period.judged if period.judged else None, 3),
        f"{bounds[0]:.3f} to {bounds[1]:.3f}" if bounds else "",
        "" if period.absolute_error is None else f"{period.absolute_error:.6g}",
    ]


def _errors(numbers: FeedbackNumbers) -> list[str]:
    """Return the mean distance between what was predicted and what was so, and the root of the mean square."""
    if numbers.absolute_error is None or numbers.squared_error is None:
        return ["", "", ""]
    return [str(numbers.compared), f"{numbers.absolute_error:.6g}", f"{math.sqrt(numbers.squared_error):.6g}"]


def _confusion(score: ModelScore) -> tuple[list[TextColumn], list[list[str]]]:
    """Return the confusion table's columns and rows."""
    labels = sorted({label for pair in score.pairs for label in pair})
    if len(labels) > _MOST_LABELS:
        pairs = sorted(score.pairs.items(), key=lambda item: (-item[1], item[0]))
        rows = [[called, truly, str(count)] for (called, truly), count in pairs]
        return [TextColumn("predicted"), TextColumn("truly"), TextColumn("predictions", right=True)], rows
    columns = [TextColumn("predicted"), *(TextColumn(label, right=True) for label in labels)]
    return columns, [[called, *(str(score.pairs.get((called, truly), 0)) for truly in labels)] for called in labels]


def _json(score: ModelScore) -> dict[str, Any]:
    bounds = interval(score.right, score.judged)
    return {
        "model": score.model._asdict() if score.model else None,
        "predictions": score.predictions,
        "with_feedback": score.covered,
        "coverage": score.covered / score.predictions,
        "judged": score.judged,
        "right": score.right,
        "accuracy": score.right / score.judged if score.judged else None,
        "accuracy_95": bounds,
        "confusion": [
            {"predicted": called, "truly": truly, "predictions": count}
            for (called, truly), count in score.pairs.items()
        ],
        "labels": [
            {**each._asdict(), "precision": each.precision, "recall": each.recall, "f1": each.f1}
            for each in labels(score.pairs)
        ],
        "calibration_error": calibration_error(score.bins),
        "calibration": [
            {"from": each.place / 10, **{name: value for name, value in each._asdict().items() if name != "place"}}
            for each in score.bins
        ],
        "trend": [{"time": shown(each.start_ns, 0).replace(".Z", "Z"), **_trend(each)} for each in score.periods],
        "numbers": _numbers(score.numbers) if score.numbers else None,
    }


def _trend(period: Period) -> dict[str, Any]:
    said = {name: value for name, value in period._asdict().items() if name != "start_ns"}
    return said | {"accuracy": period.right / period.judged if period.judged else None}


def _numbers(numbers: FeedbackNumbers) -> dict[str, Any]:
    """Return the numbers, and the errors of a model that gives numbers itself."""
    return {name: value for name, value in vars(numbers).items() if numbers.compared or name in _OF_FEEDBACK}


VERB = Verb(
    "accuracy, precision, recall, calibration and errors of each model, by feedback",
    _options,
    _run,
    place=True,
    lists=True,
)
