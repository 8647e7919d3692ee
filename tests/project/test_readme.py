"""README and docs/quickstart.md are what a newcomer follows: their commands are run as they stand there."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from scripts import promises, results
from scripts.readme_figures import many_rows, rewritten
from tests.support import external_programs
from tests.support.server import ROOT, Server, predictions

if TYPE_CHECKING:
    from collections.abc import Iterator

README = (ROOT / "README.md").read_text()
QUICKSTART = (ROOT / "docs" / "quickstart.md").read_text()
CURLS = re.findall(r"^curl .*$", README + QUICKSTART, re.MULTILINE)
SCREEN = 90  # lines


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run the server as `make run` does."""
    with Server(tmp_path_factory.mktemp("readme") / "outbox") as running:
        yield running


def typed(line: str, server: Server) -> dict[str, Any]:
    """Run a line of a page in a shell, at the test's own server, and return the JSON that it printed."""
    external_programs.on_path("curl")
    line = line.replace("http://127.0.0.1:8000", server.url)
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=True, timeout=30)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("line", CURLS)
def test_curl_lines_work_as_they_stand(line: str, server: Server) -> None:
    """Every curl line answers JSON: a prediction where a whole row is sent, a problem where it is not."""
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
    """The curl lines of both pages are found by these tests: a changed format must not silence them."""
    assert len(CURLS) >= 6


def test_the_readme_is_one_screen() -> None:
    """The README stays short: what is longer belongs to a page of docs/."""
    assert len(README.splitlines()) <= SCREEN


def test_the_figures_are_those_of_the_benchmarks() -> None:
    """The README's table is what scripts/readme_figures.py makes of docs/benchmarks.md."""
    assert rewritten(README, (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")) == README
    assert README.count("| bare aiohttp on uvloop | 1 | 1 | 1 |") == 1


def test_where_others_are_faster_is_said() -> None:
    """The README names each server that answers more requests of many rows than this one, and none that does not."""
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    said = many_rows(page)
    assert said in README
    assert README.index(said) < README.index("| bare aiohttp on uvloop |")
    ours, *others = re.findall(r" ([\d.]+)(?= at 256\.|,|\. With|\.$)", said)
    assert all(float(other) > float(ours) for other in others)
    slow = re.sub(r"^(\| [^|]* \| traced5 \| [^|]* \|) [^|]*", r"\1 **9.99** ", page, flags=re.MULTILINE)
    assert "and 9.99 at 256. Other servers have less." in many_rows(slow)
    for line in page.partition("\n## Where others are faster\n")[2].partition("\n## ")[0].splitlines():
        if line.startswith("- ") and "256 rows" not in line:
            assert line[2:].partition(": ")[0] in said


def test_the_readme_says_which_version_it_is() -> None:
    """The README says which version the source is and whether it is released, as the changelog has it."""
    version, day = promises.release((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), results.version())
    state = f"was released on {day}" if day else "is not released yet"
    assert f"The version is {version}, which {state}; " in README


def test_terms_of_the_readme_are_explained() -> None:
    """Where the README first names a term of its own, it links to the part of the glossary that explains it."""
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    for term in ("outbox", "sink", "Collector", "stream", "digest"):
        (anchor,) = re.findall(rf"\[{term}\]\(docs/glossary\.md#([a-z-]+)\)", README)
        before = README[: README.index(f"[{term}](")]
        assert not re.search(rf"\b{term}\b", re.sub(r"\(docs/[^)]*\)|`[^`]*`", "", before)), f"{term} is named before"
        sections = re.split(r"^## ", glossary, flags=re.MULTILINE)
        (section,) = [one for one in sections if one.splitlines()[0].lower().replace(" ", "-") == anchor]
        assert f"\n| {term} | " in section


def test_the_index_names_every_page() -> None:
    """docs/README.md links to every page of docs/ and to every tutorial."""
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([^)#:]+)", index))
    pages = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "tutorials").glob("*.md")]
    names = {str(page.relative_to(ROOT / "docs")) for page in pages} - {"README.md"}
    assert names <= linked, names - linked


@pytest.mark.parametrize(
    ("question", "page", "answer"),
    [
        ("happens on a power cut", "docs/settings.md", "about the last second of records"),
        ("serve my own model", "docs/models.md", "PREDICTOR_MODEL"),
        ("encoding is changed", "docs/architecture.md", "recording/encoder.py"),
        ("or one of them", "CONTRIBUTING.md", "make test ARGS='tests/outbox/test_outbox.py'"),
    ],
)
def test_questions_lead_to_their_answer(question: str, page: str, answer: str) -> None:
    """What people ask first has a line in the README that links to the page with the answer."""
    (line,) = [line for line in README.splitlines() if question in line]
    assert f"]({page}" in line
    assert answer in (ROOT / page).read_text(encoding="utf-8")


def test_links_lead_somewhere() -> None:
    """Every relative link of every page leads to a file."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "predictor").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_one_test_that_is_named_exists(page: str) -> None:
    """The pages show how one test runs, by the name of a test that is there."""
    (named,) = set(re.findall(r"make test ARGS='(tests/[^':]+)::(\w+)'", (ROOT / page).read_text(encoding="utf-8")))
    assert re.search(rf"^(async )?def {named[1]}\(", (ROOT / named[0]).read_text(encoding="utf-8"), re.MULTILINE)


def test_a_power_cut_costs_the_same_on_every_page() -> None:
    """Each line on what a power cut costs by default says "about the last second of records"; one page explains it."""
    texts = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "scripts" / "promises.py"]
    lines = [line for path in texts for line in path.read_text(encoding="utf-8").splitlines()]
    said = [line for line in lines if re.search(r"(power|disk|sync).*last second\b", line)]
    assert len(said) >= 8
    others = [line for line in said if "about the last second of records" not in line]
    assert [line for line in others if "the last second before" not in line] == []
    assert not [line for line in lines if "of one sync" in line]
    assert "since the last completed sync began" in (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
