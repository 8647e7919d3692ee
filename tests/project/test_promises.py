"""docs/promises.md shows what the runs left, and nothing else."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from scripts import promises, results
from scripts.promises import PROMISES
from scripts.results import Result
from tests.support.server import ROOT

if TYPE_CHECKING:
    from pathlib import Path

UNRELEASED = ("0.1.0", "")
PROOFS = [proof for promise in PROMISES for proof in promise.proofs]
EDITS = ("tests/reader/test_digests.py", "tests/reader/test_evidence.py")


def result(run: str, figures: dict[str, dict[str, float]], *, ended: str = "2026-11-26T07:00Z") -> Result:
    """Return a result of version 0.1.0."""
    return Result(run, f"make {run}", ended, "0.1.0", "abc1234", "2 cores", 1.5, figures)


def edits(passed: int, *, ended: str = "2026-11-26T07:00Z", **more: int) -> Result:
    """Return a result of the tests with planted edits."""
    return result("edits", {EDITS[0]: {"passed": passed, **more}, EDITS[1]: {"passed": 1}}, ended=ended)


def shown(*kept: Result, released: tuple[str, str] = UNRELEASED, about: str = "planted edits") -> list[str]:
    """Return the cells of a proof on the page that these results give."""
    page = promises.page(kept, released, "")
    (row,) = [line for line in page.splitlines() if line.startswith("|") and f"| {about}<br>" in line]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_page_is_what_the_results_make_of_it() -> None:
    """docs/promises.md is what `make promises` writes from the results that are kept."""
    assert promises.PAGE.read_text(encoding="utf-8") == promises.current()


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.by)
def test_a_proof_can_be_repeated(proof: promises.Proof) -> None:
    """The command of a proof is a target of make, and its tests are there."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    for command in proof.command.split(" && "):
        words = shlex.split(command)
        assert words[0] == "make"
        assert words[1] in targets
    for path in proof.tests:
        assert (ROOT / path).exists(), path
    assert proof.tests or proof.run
    named = [word for word in shlex.split(words[2].partition("=")[2]) if word.startswith("tests/")] if words[2:] else []
    assert named in ([], list(proof.tests))


def test_a_promise_has_a_proof() -> None:
    """Each promise is one sentence, said once, with something that proves it."""
    texts = [promise.text for promise in PROMISES]
    assert len(set(texts)) == len(texts)
    assert all(promise.proofs and re.fullmatch(r"[A-Z][^.]*(\.md[^.]*)*\.", promise.text) for promise in PROMISES)


def test_what_is_not_kept_is_said() -> None:
    """A proof without a result says so, and names its command all the same."""
    command = f"make test ARGS='{' '.join(EDITS)} --result edits'"
    assert shown()[1:] == [f"planted edits<br>`{command}`", promises.NONE, ""]
    half = result("half", {EDITS[0]: {"passed": 7}})
    assert shown(half)[2] == promises.NONE


def test_the_newest_result_counts() -> None:
    """Of two runs of the same tests the page has the newer one, with what failed in it, whatever both were called."""
    older, newer = edits(40, ended="2026-11-25T07:00Z"), result("tests", edits(38, failed=2, skipped=1).figures)
    assert shown(newer, older)[2:] == ["39 tests passed, 1 skipped, **2 failed**", "0.1.0, abc1234, 2026-11-26"]
    assert shown(older)[2:] == ["41 tests passed", "0.1.0, abc1234, 2026-11-25"]


def test_what_is_of_another_version_is_marked() -> None:
    """A result of another version, from before the release or of a changed source has a word about it."""
    assert shown(edits(4), released=("0.2.0", ""))[3] == "0.1.0, abc1234, 2026-11-26<br>**another version**"
    late = shown(edits(4), released=("0.1.0", "2026-12-01"))[3]
    assert late == "0.1.0, abc1234, 2026-11-26<br>**older than the release**"
    assert shown(edits(4), released=("0.1.0", "2026-11-26"))[3] == "0.1.0, abc1234, 2026-11-26"
    changed = msgspec.structs.replace(edits(4), commit="abc1234-dirty")
    assert shown(changed)[3] == "0.1.0, abc1234 with changes, 2026-11-26"


def test_release_is_that_of_the_changelog() -> None:
    """The day of a version's release is the one in the changelog, and none before it."""
    changelog = "# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-12-01\n"
    assert promises.release(changelog, "0.1.0") == ("0.1.0", "2026-12-01")
    assert promises.release(changelog, "0.1.1") == ("0.1.1", "")


def test_findings_of_chaos_are_shown() -> None:
    """A chaos run that found something says so beside its promise."""
    figures: dict[str, dict[str, float]] = {
        "faults": {"kill -9: the server": 7, "disk full": 2, "power cut": 0},
        "compared": {"rows acknowledged as logged": 3000},
        "wrong": {"acknowledged rows that are missing": 2, "rows under two numbers": 1},
    }
    said = promises.faults(result("chaos", figures))
    assert said == ("9 faults of 2 kinds, 7 kills of them; 3,000 rows acknowledged, 2 of them missing; **3 wrong**")


def test_what_the_benchmark_measured_is_shown() -> None:
    """The cost is that of the table for 32 connections, with the date of that run, and its version if kept."""
    rows = {
        "traced5": "**0.89** (0.81-1.10)",
        "litserve": "**0.04** (0.03-0.04)",
        "kserve-agent": "**0.05** (0.04-0.07)",
    }
    lines = [f"| its title | {name} | 745 | {ratio} |" for name, ratio in rows.items()]
    table = "\n".join(
        ["### 32 connections\n", "| | `--only` | requests/s | ÷ bare |", "|---|---|---:|---:|", *lines, ""]
    )
    head = "`python -m bench --write`, 2026-11-20, 8 rounds.\n\n### 8 connections\n\n"
    for measured, said in (("", ""), "version not recorded, 2026-11-20"), (("0.1.0", "ab1"), "0.1.0, ab1, 2026-11-20"):
        page = promises.page([], UNRELEASED, head + table, measured)
        (row,) = [line for line in page.splitlines() if "the benchmark" in line and line.startswith("|")]
        assert "<br>`make bench ARGS='--parts connections'` |" in row
        assert "**0.89** (0.81-1.10) of the requests a second of bare aiohttp" in row
        assert "that logs, kserve-agent: **0.05** (0.04-0.07) |" in row
        assert row.endswith(f"| {said} |")
    assert promises.NONE in promises.page([], UNRELEASED, table)


def test_tests_keep_their_result(tmp_path: Path) -> None:
    """`pytest --result NAME` keeps outcomes by file, with command, version, commit and machine; nothing without it."""
    path = "tests/otlp/test_otlp.py"
    asked = [sys.executable, "-m", "pytest", "-q", f"--basetemp={tmp_path / 'own'}", "-p", "no:cacheprovider", path]
    run = str(tmp_path / "kept")
    done = subprocess.run([*asked, "--result", run], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = msgspec.json.decode((tmp_path / "kept.json").read_bytes(), type=Result)
    passed = int(re.findall(r"(\d+) passed", done.stdout)[0])
    assert kept.figures == {path: {"passed": passed}}
    assert kept.command == f"make test ARGS='{path} --result {run}'"
    assert (kept.version, kept.machine) == (results.version(), results.machine())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", kept.ended)


def test_rows_of_a_power_cut_are_not_hidden_by_a_zero() -> None:
    """Where a power cut has cost rows, the figure of missing rows says that they are not among them."""
    figures: dict[str, dict[str, float]] = {
        "faults": {"power cut": 1},
        "compared": {"rows acknowledged as logged": 30, "rows of the last second before a power cut, gone": 4},
        "wrong": {"acknowledged rows that are missing": 0},
    }
    said = promises.faults(result("chaos", figures))
    assert "30 rows acknowledged, 0 of them missing besides 4 of the last second before a power cut; " in said
