"""`predictor log score`: feedback joined to predictions: accuracy, confusion, coverage, numbers, by model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from predictor.reader import cli
from predictor.reader.score.command import interval
from tests.support.fake_loki import Loki
from tests.support.log_files import BASE, LABELS, Stream, changed, lay_out, line, lines, said

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.log_files import Record

SINCE = ("--since", "2025-10-09T00:00:00Z")


def score(capsys: pytest.CaptureFixture[str], where: str, *arguments: str) -> str:
    """Return what `score` prints."""
    assert cli.main(["score", "--from", where, *SINCE, *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return str(out)


def scores(capsys: pytest.CaptureFixture[str], where: str, *arguments: str) -> dict[str, Any]:
    """Return what `score` prints for a machine."""
    result: dict[str, Any] = json.loads(score(capsys, where, "--json", *arguments))
    return result


def job(record: Record) -> str:
    """Return a record's job id."""
    return str(said(record)["prediction.job_id"])


def written(stream: Stream) -> list[Record]:
    """Return six predictions of two labels, and feedback on four of them."""
    records = [stream.opened(), *(stream.prediction(at % 2) for at in range(6)), stream.failure()]
    one, two, three, four, five = (job(record) for record in records[1:6])
    return [
        *records,
        stream.feedback(one, label="setosa"),
        stream.feedback(two, label="virginica"),
        stream.feedback(two, label="versicolor"),  # the latest counts
        stream.feedback(two, comment="look again"),  # and takes nothing back
        stream.feedback(three, label="virginica", value=0.25),
        stream.feedback(four, value=0.75),
        stream.feedback(five, comment="no idea"),  # tells nothing of what was right
        stream.feedback(five, 3, label="setosa"),  # a row that there is not
        stream.feedback("of-long-ago", label="setosa"),
    ]


@pytest.fixture(params=["outbox", "files", "loki"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the same log as each kind of source, some of it sent again where that can be seen."""
    stream = Stream()
    texts = lines(stream, written(stream))
    if request.param != "loki":
        yield lay_out(request.param, tmp_path, [*texts, *texts[1:4], *texts[8:10]])
        return
    with Loki() as loki:
        loki.add(*texts)
        yield loki.url


def test_score(capsys: pytest.CaptureFixture[str], where: str) -> None:
    """Each row counts once, with the latest label and the latest number that were said of it; comments say neither."""
    result = scores(capsys, where)
    (model,) = result["models"]
    confusion = {(each["predicted"], each["truly"]): each["predictions"] for each in model.pop("confusion")}
    assert confusion == {("setosa", "setosa"): 1, ("versicolor", "versicolor"): 1, ("setosa", "virginica"): 1}
    bounds = model.pop("accuracy_95")
    assert bounds == pytest.approx([0.2077, 0.9385], abs=1e-4)
    assert model.pop("model")["name"] == "iris"
    qualities = {each.pop("label"): each for each in model.pop("labels")}
    assert qualities == {
        "setosa": {"predicted": 2, "truly": 1, "right": 1, "precision": 0.5, "recall": 1.0, "f1": 2 / 3},
        "versicolor": {"predicted": 1, "truly": 1, "right": 1, "precision": 1.0, "recall": 1.0, "f1": 1.0},
        "virginica": {"predicted": 0, "truly": 1, "right": 0, "precision": None, "recall": 0.0, "f1": None},
    }
    assert model.pop("calibration_error") == pytest.approx(0.8 - 2 / 3)
    (tenth,) = model.pop("calibration")
    assert tenth == {"from": 0.8, "predictions": 3, "confidence": pytest.approx(0.8), "accuracy": pytest.approx(2 / 3)}
    assert model.pop("trend") == []
    assert model == {
        "predictions": 6,
        "with_feedback": 4,
        "coverage": 4 / 6,
        "judged": 3,
        "right": 2,
        "accuracy": 2 / 3,
        "numbers": {"count": 2, "mean": 0.5, "least": 0.25, "most": 0.75},
    }
    assert result["feedback_without_prediction"] == 2


def test_tables(capsys: pytest.CaptureFixture[str], where: str) -> None:
    """A person sees the same as tables."""
    assert [text.split() for text in score(capsys, where).splitlines()] == [
        ["model", "digest", "predictions", "with", "feedback", "coverage", "right", "of", "accuracy", "95", "%"],
        ["iris@1", "abababababab", "6", "4", "66.7%", "2", "3", "0.667", "0.208", "to", "0.939"],
        [],
        ["iris@1:", "rows", "what", "was", "predicted,", "columns", "what", "it", "truly", "was"],
        ["predicted", "setosa", "versicolor", "virginica"],
        ["setosa", "1", "0", "1"],
        ["versicolor", "0", "1", "0"],
        ["virginica", "0", "0", "0"],
        [],
        ["label", "predicted", "truly", "precision", "recall", "F1"],
        ["setosa", "2", "1", "0.500", "1.000", "0.667"],
        ["versicolor", "1", "1", "1.000", "1.000", "1.000"],
        ["virginica", "0", "1", "0.000"],
        ["iris@1:", "confidence", "and", "accuracy", "lie", "0.133", "apart", "(expected", "calibration", "error)"],
        [],
        ["model", "numbers", "mean", "least", "most"],
        ["iris@1", "2", "0.5", "0.25", "0.75"],
        ["feedback", "on", "2", "rows", "whose", "prediction", "is", "not", "among", "these"],
    ]


def test_trend(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """--every shows each model's accuracy and errors by the time at which its predictions arrived."""
    stream, records = Stream(), list[Any]()
    for day, right in enumerate((3, 1, 0)):
        stream.now = BASE + day * 24 * 3600 * 10**9
        for at in range(3):
            prediction = stream.prediction(0, value=float(day))
            truth = LABELS[0] if at < right else LABELS[1]
            records += [prediction, stream.feedback(job(prediction), label=truth, value=2.0)]
        records += [stream.prediction(1)]
    where = lay_out("files", tmp_path, lines(stream, records))
    (model,) = scores(capsys, where, "--every", "1d")["models"]
    found = [(each["time"], each["predictions"], each["judged"], each["right"]) for each in model["trend"]]
    assert found == [(f"2025-10-{9 + day:02}T00:00:00Z", 4, 3, right) for day, right in enumerate((3, 1, 0))]
    assert [each["absolute_error"] for each in model["trend"]] == [2.0, 1.0, 0.0]
    assert model["trend"][1]["accuracy"] == pytest.approx(1 / 3)
    text = score(capsys, where, "--every", "24h")
    assert "2025-10-10T00:00:00Z            4       3     0.333  0.061 to 0.792           1" in text
    assert cli.main(["score", where, *SINCE, "-o", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("iris@1,abababababab,12,9,75.0%,4,9,0.444,")


def test_feedback_comes_in_any_order(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What was said later counts, wherever it stands: before its prediction, or in another server's stream."""
    stream, other = Stream(), Stream(BASE + 10**12)
    prediction = stream.prediction(0)
    early = stream.feedback(job(prediction), label="virginica")
    late = other.feedback(job(prediction), label="setosa")
    texts = [*lines(other, [late]), *lines(stream, [early, prediction])]
    (model,) = scores(capsys, lay_out("files", tmp_path, texts))["models"]
    assert (model["judged"], model["right"]) == (1, 1)


def test_versions(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each version of a model is judged for itself, whichever server took the feedback; `--model` chooses."""
    stream = Stream()
    old, new = stream.predictions(4), stream.predictions(2)
    told = [stream.feedback(job(record), label="setosa") for record in (*old, *new)]
    newer = {"prediction.model.version": "2", "prediction.model.digest": "sha256:" + "cd" * 32}
    texts = [line(stream.id, old), line(stream.id, new, scope=newer), line(stream.id, told, scope=newer)]
    where = lay_out("files", tmp_path, texts)
    first, second = scores(capsys, where)["models"]
    assert (first["model"]["version"], first["predictions"], first["right"], first["judged"]) == ("1", 4, 2, 4)
    assert (second["model"]["version"], second["predictions"], second["right"], second["judged"]) == ("2", 2, 1, 2)
    (only,) = scores(capsys, where, "--model", "iris@2")["models"]
    assert only == second
    assert len(scores(capsys, where, "--model", "iris")["models"]) == 2
    assert scores(capsys, where, "--model", "other") == {"models": [], "feedback_without_prediction": 6}


@pytest.mark.parametrize("kind", ["files", "loki"])
def test_truth_comes_later(capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str) -> None:
    """A window is one of predictions: feedback after its end is joined too."""
    stream = Stream()
    first, second = stream.predictions(2)
    until = stream.now
    texts = lines(stream, [first, second, stream.feedback(job(first), label=LABELS[0])])
    with Loki() as loki:
        loki.add(*texts)
        where = loki.url if kind == "loki" else lay_out("files", tmp_path, texts)
        end = f"2025-10-09T08:53:20.{(until - BASE) // 10**6:03}Z"
        (model,) = scores(capsys, where, "--until", end)["models"]
    assert (model["predictions"], model["right"], model["judged"]) == (1, 1, 1)


def test_no_feedback(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Without feedback, or without predictions, that is said, and no figure is made up."""
    stream = Stream()
    where = lay_out("files", tmp_path, lines(stream, stream.predictions(3)))
    assert score(capsys, where).splitlines()[1:] == [
        "iris@1  abababababab            3              0      0.0%      -   -         -  -",
        "no feedback on any of them",
    ]
    (model,) = scores(capsys, where)["models"]
    assert (model["accuracy"], model["accuracy_95"], model["numbers"]) == (None, None, None)
    assert score(capsys, where, "--model", "other") == "no predictions there: nothing to score\n"


def test_many_labels(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """With more labels than fit a terminal the pairs are listed, the most frequent first."""
    stream = Stream()
    records = [changed(stream.prediction(), label=f"l{at}") for at in (0, 0, *range(1, 12))]
    told = [stream.feedback(job(record), label=str(said(record)["prediction.label"])) for record in records]
    out = score(capsys, lay_out("files", tmp_path, lines(stream, [*records, *told])))
    _, _, _, _, head, first, *rest, calibration = out.splitlines()
    assert head.split() == ["predicted", "truly", "predictions"]
    assert first.split() == ["l0", "l0", "2"]
    assert len(rest) == 11
    assert "expected calibration error" in calibration


@pytest.mark.parametrize(
    ("right", "of", "bounds"),
    # Wilson's interval as statsmodels' proportion_confint(…, method="wilson") gives it
    [(8, 10, (0.4902, 0.9433)), (0, 10, (0.0, 0.2775)), (10, 10, (0.7225, 1.0)), (950, 1000, (0.9347, 0.9619))],
)
def test_interval(right: int, of: int, bounds: tuple[float, float]) -> None:
    """The bounds of the accuracy are Wilson's."""
    assert interval(right, of) == pytest.approx(bounds, abs=1e-4)


def test_interval_of_nothing() -> None:
    """Of nothing there are no bounds."""
    assert interval(0, 0) is None
