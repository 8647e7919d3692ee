"""Every block of docs/analytics.md runs as it stands, in an environment of its own, and tools agree on the answers."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from predictor.reader import cli
from tests.support.external_programs import environment, java
from tests.support.log_files import LABELS, Stream, lay_out, lines, said
from tests.support.server import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_PAGE = (ROOT / "docs" / "analytics.md").read_text(encoding="utf-8")
_WAIT = 300.0  # s: Spark starts a JVM
_QUIET = {"NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1"}  # both would report usage to their makers
_NOTEBOOK = """
import json, sys
import nbformat
from nbclient import NotebookClient

cells = [nbformat.v4.new_code_cell(text) for text in json.loads(sys.argv[1])]
book = NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=120, kernel_name="python3").execute()
shown = [output for cell in book.cells for output in cell.outputs]
print("".join(output["text"] for output in shown if output.output_type == "stream"), end="")
"""


def section(title: str) -> list[str]:
    """Return the blocks of Python in one section of the page."""
    (text,) = re.findall(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", _PAGE, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    """Make both forms of a log of three labels, failures among them, nine of ten right by the feedback."""
    stream = Stream()
    records = [stream.opened()]
    for number in range(300):
        record = stream.prediction(number % 3)
        job = str(said(record)["prediction.job_id"])
        truth = LABELS[number % 3 - (number % 10 == 0)]
        records += [record, stream.feedback(job, label="virginica"), stream.feedback(job, label=truth)]
    records += [stream.failure(), stream.closed()]
    where = lay_out("files", tmp_path, lines(stream, records))
    assert cli.main(["export", "--append", str(tmp_path / "table"), "--from", where]) == 0
    file = str(tmp_path / "predictions.parquet")
    assert cli.main(["export", file, "--from", where, "--only", "success", "--feedback", "joined"]) == 0
    return tmp_path


def run(python: Path, folder: Path, *arguments: str) -> str:
    """Run a Python beside the exports and return what it prints."""
    command = [str(python), "-W", "ignore", "-c", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | _QUIET, capture_output=True, text=True, timeout=_WAIT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("title", "name"), [("duckdb", "duckdb"), ("polars", "duckdb"), ("Spark", "spark"), ("A notebook", "notebook")]
)
def test_questions(exports: Path, title: str, name: str) -> None:
    """Each tool reads the table as it lies there, and answers both questions alike."""
    python, blocks = environment(name), section(title)
    if title == "Spark":
        java()
    if title == "A notebook":
        text = run(python, exports, _NOTEBOOK, json.dumps(blocks))
    else:
        text = run(python, exports, "\n".join(blocks))
    counts, accuracy = (ast.literal_eval(row.replace("np.float64", "")) for row in text.splitlines()[-2:])
    assert counts == [(label, 100) for label in LABELS]
    assert accuracy == [("1", 0.9)]


@pytest.mark.parametrize(("title", "name"), [("Evidently", "evidently"), ("NannyML", "nannyml")])
def test_reports(exports: Path, title: str, name: str) -> None:
    """Detectors of drift take an export as it is, and write their reports."""
    (block,) = section(title)
    run(environment(name), exports, block)
    for report in ("drift.html", "quality.html"):
        assert "<html" in (exports / report).read_text(encoding="utf-8")[:2000].lower()


def test_every_section() -> None:
    """No block of the page is left untried."""
    titles = re.findall(r"^## (.*)$", _PAGE, flags=re.MULTILINE)
    assert titles == ["duckdb", "polars", "Spark", "A notebook", "Evidently", "NannyML"]
    assert sum(len(section(title)) for title in titles) == _PAGE.count("```python")
