"""The README is what a newcomer follows: its commands are run as they stand there."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import external_programs
from tests.support.server import ROOT, Server, predictions

if TYPE_CHECKING:
    from collections.abc import Iterator

README = (ROOT / "README.md").read_text()
CURLS = re.findall(r"^curl .*$", README, re.MULTILINE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run the server as `make run` does."""
    with Server(tmp_path_factory.mktemp("readme") / "outbox") as running:
        yield running


def typed(line: str, server: Server) -> dict[str, Any]:
    """Run a line of the README in a shell, at the test's own server, and return the JSON that it printed."""
    external_programs.on_path("curl")
    line = line.replace("http://127.0.0.1:8000", server.url)
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=True, timeout=30)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("line", CURLS)
def test_curl_lines_work_as_they_stand(line: str, server: Server) -> None:
    """Every curl line of the README answers JSON: a prediction where a whole row is sent, a problem where it is not."""
    answer = typed(line, server)
    if "[[6.7,3.0]]" in line:
        assert answer["status"] == 422
        assert "wanted 4" in answer["detail"]
    elif "/predict" in line:
        assert answer["job_id"] in {record["prediction.job_id"] for record in predictions(server.outbox)}
    else:
        assert answer


def test_the_answer_that_is_shown_is_the_answer(server: Server) -> None:
    """The first curl line's answer is the one that the README shows, but for its job id."""
    (shown,) = re.findall(r"^```json\n(.*)\n```$", README, re.MULTILINE)
    wanted = json.loads(shown)
    answer = typed(CURLS[0], server)
    assert list(answer) == list(wanted)
    assert answer["prediction"] == pytest.approx(wanted["prediction"], abs=1e-6)
    assert answer["outlier_score"] == pytest.approx(wanted["outlier_score"], abs=1e-6)
    assert answer["is_outlier"] == wanted["is_outlier"]


def test_there_are_curl_lines() -> None:
    """The README's curl lines are found by these tests: a changed format must not silence them."""
    assert len(CURLS) >= 5


def test_links_lead_somewhere() -> None:
    """Every relative link of every page leads to a file."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "predictor").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"
