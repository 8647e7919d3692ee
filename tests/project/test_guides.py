"""What a page tells a person to write or type works as it stands there: model.toml, Collector, reading the log."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.server.test_start import post
from tests.support.bare_models import FLOAT, STRING, save
from tests.support.external_programs import CACHE, collector, on_path
from tests.support.server import ROOT, Server, predictions, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bare_models import Inputs
    from tests.support.onnx_graphs import Node


def blocks(page: str, language: str) -> list[str]:
    """Return the blocks of code of one language in a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def test_model_description(outbox: Path, tmp_path: Path) -> None:
    """The model.toml of docs/models.md is whole and right: with files that fit it, `predictor check` finds no fault."""
    text, *_ = blocks("models.md", "toml")  # the others are parts alone
    shown = tomllib.loads(text)
    age, city = (feature["name"] for feature in shown["features"] if "role" not in feature)
    inputs: Inputs = {age: (FLOAT, ["N", 1]), city: (STRING, ["N", 1])}
    cities = {"cats_strings": [shown["features"][1]["sample"], "Oslo"], "zeros": 1, "domain": "ai.onnx.ml"}
    classes = {"classlabels_strings": shown["labels"], "post_transform": "SOFTMAX", "domain": "ai.onnx.ml"}
    nodes: list[Node] = [
        ("OneHotEncoder", [city], ["encoded"], cities),
        ("Flatten", ["encoded"], ["columns"], {"axis": 1}),
        ("Concat", [age, "columns"], ["all"], {"axis": 1}),
        (
            "LinearClassifier",
            ["all"],
            ["label", "probabilities"],
            classes | {"coefficients": [0.1, -1.0, 1.0, -0.1, 1.0, -1.0], "intercepts": [0.0, 2.0]},
        ),
    ]
    folder = tmp_path / "churn"
    save(folder / shown["file"], nodes, inputs, {"label": (STRING, ["N"]), "probabilities": (FLOAT, ["N", 2])})
    score = shown["outlier"]["score"]
    save(folder / shown["outlier"]["file"], [("Identity", [age], [score], {})], inputs, {score: (FLOAT, ["N", 1])})
    (folder / "model.toml").write_text(text, encoding="utf-8")
    checked = run("check", outbox=outbox, PREDICTOR_MODEL=str(folder))
    assert checked.returncode == 0, checked.stderr
    assert "churn@2026-01-31 with 2 features and 2 labels" in checked.stderr


@pytest.mark.parametrize("number", [0, 1])
def test_collector_commands(number: int) -> None:
    """A Collector takes the configurations with which docs/deployment.md starts it in the project's folder."""
    shown = blocks("deployment.md", "sh")
    assert len(shown) == 2
    command = shown[number].splitlines()[-1].split()
    assert ROOT / command[0] == CACHE / "collector" / "otelcol"
    assert all(argument.startswith("--config=otel/collector/") for argument in command[1:])
    done = subprocess.run(
        [str(collector()), "validate", *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("tool", ["jq", "python"])
def test_reading_with_plain_tools(outbox: Path, tool: str) -> None:
    """The lines of docs/record.md that read the log with jq and with Python print every prediction of it."""
    (shell,), (script,) = blocks("record.md", "sh"), blocks("record.md", "python")
    command = [sys.executable, "-c", script] if tool == "python" else ["/bin/sh", "-c", shell]
    if tool == "jq":
        on_path("jq")
    with Server(outbox) as server:
        assert post(server.port)[0] == 200
        assert post(server.port, "{")[0] == 400
    jobs = [str(record["prediction.job_id"]) for record in predictions(outbox)]
    done = subprocess.run(command, cwd=outbox.parent, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(jobs) == 2
    assert all(job in line for job, line in zip(jobs, lines, strict=True))
