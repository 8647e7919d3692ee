"""An exported file is one that Evidently takes as it is; in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from predictor.reader import cli
from tests.support.external_programs import environment
from tests.support.log_files import Stream, lay_out, lines

if TYPE_CHECKING:
    from pathlib import Path


_SCRIPT = """
import sys
import pandas as pd
from evidently import DataDefinition, Dataset, MulticlassClassification, Report
from evidently.presets import ClassificationPreset, DataDriftPreset

frame = pd.read_parquet(sys.argv[1])
judged = frame[frame["feedback_label"].notna()]
inputs = [name for name in frame if name.startswith("input_") and name != "input_json"]
definition = DataDefinition(
    numerical_columns=[*inputs, "confidence"],
    categorical_columns=["label", "feedback_label"],
    classification=[MulticlassClassification(target="feedback_label", prediction_labels="label")],
)
half = len(judged) // 2
halves = [Dataset.from_pandas(part, data_definition=definition) for part in (judged[:half], judged[half:])]
Report([DataDriftPreset(columns=[*inputs, "label"]), ClassificationPreset()]).run(*halves).save_json(sys.argv[2])
"""


def test_report(tmp_path: Path) -> None:
    """Evidently reads an export and reports drift of each feature, and quality by the feedback that is joined."""
    stream = Stream()
    records = [stream.opened()]
    for number in range(120):
        job = f"job {number}"
        records += [stream.prediction(number % 3, job=job)]
        records += [stream.feedback(job, label=("setosa", "versicolor", "virginica")[number % 3 - (number % 10 == 0)])]
    where = lay_out("files", tmp_path, lines(stream, records))
    file, report = tmp_path / "predictions.parquet", tmp_path / "report.json"
    assert cli.main(["export", str(file), "--from", where]) == 0
    command = [str(environment("evidently")), "-W", "ignore", "-c", _SCRIPT, str(file), str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    metrics = {each["metric_name"]: each["value"] for each in json.loads(report.read_text())["metrics"]}
    drift = [name for name in metrics if name.startswith("ValueDrift(column=input_")]
    assert len(drift) == 4, list(metrics)
    (accuracy,) = (value for name, value in metrics.items() if name.startswith("Accuracy"))
    assert accuracy == pytest.approx(0.9)
