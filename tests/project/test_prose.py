"""The linter of the project's English: it finds what it is there to find, and leaves code alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from scripts import prose
from tests.support.server import ROOT

if TYPE_CHECKING:
    from pathlib import Path

RULES = prose.rules()
PHRASES = RULES.everywhere | RULES.pages_only


def found(page: str) -> list[str]:
    """Return what the linter says of a page."""
    return [fault for _, fault in prose.findings(page, PHRASES, RULES.limit)]


@pytest.mark.parametrize(
    "riddle",
    [
        "The first request of a like is parsed.",
        "The table says under which blows it was tried.",
        "A check of nothing is none.",
        "It begins the stream and has nothing more to say.",
        "Whoever reads it is told so.",
        "A bold **whoever** counts too.",
        "| cell | a request that is no prediction |",
        "All goes, but for the last.",
        "Custody of a stream.",
    ],
)
def test_a_riddle_is_found(riddle: str) -> None:
    """Each riddle that the project once had, planted in a page, is a finding."""
    assert found(f"# Page\n\nA good sentence.\n{riddle}\n")


@pytest.mark.parametrize(
    "plain",
    [
        "There is no other way, and it is no longer needed.",
        "The stream is silent: it *ended without a word*.",
        "`whoever` is a name, and [a page](whoever.md) is a link.",
        "```text\nwhoever is told\n```\n",
        "Someone else asks.",
    ],
)
def test_plain_english_is_left_alone(plain: str) -> None:
    """Code, links and phrases that only look like riddles are no findings."""
    assert not found(plain)


def test_a_long_sentence_is_found_on_its_line() -> None:
    """A sentence with more words than the limit is a finding on its line; two sentences of that length are not."""
    many = " ".join(["word"] * RULES.limit)
    page = f"# Page\n\n{many}. {many}.\n{many} more.\n"
    assert [number for number, _ in prose.findings(page, PHRASES, RULES.limit)] == [4]


def test_docstrings_are_read() -> None:
    """A riddle in a docstring of any depth, or below an attribute, is a finding; in a comment or a name it is not."""
    inside = '    ring = 1\n    """Vetting."""\n\n    def ring(self):\n        """Vetting."""\n'
    module = f'"""Fine."""\n\n\nclass Custody:\n    """Fine."""\n\n{inside}'
    texts = [text for _, text in prose.docstrings(module)]
    assert sorted(texts) == ["Fine.", "Fine.", "Vetting.", "Vetting."]
    assert [fault for text in texts for fault in prose.findings(text, RULES.everywhere, RULES.limit)]


@pytest.mark.parametrize(
    "said",
    [
        'msg = "it has none of it, but for the last"',
        'raise ValueError(f"{given!r} is no time")',
        '_logger.warning("%s is told", name)',
        'table.refuse(key, value, "a text that wants a quote")',
    ],
)
def test_messages_are_read(said: str) -> None:
    """A riddle in the text of an error, of a log line or of an argument is a finding, with the line of the text."""
    (fault,) = prose.messages(f'"""Fine."""\n{said}\n')
    assert fault[0] == 2
    assert list(prose.findings(f"| {fault[1]}", PHRASES, RULES.limit))


def test_only_what_is_said_is_a_message() -> None:
    """Docstrings, texts of attributes, keys and single words are no messages; values in a text are one word each."""
    module = '"""Fine."""\nKEY = "none"\n"""Of a lock."""\nmsg = f"{given!r}, wanted {\', \'.join(names)}"\n'
    assert list(prose.messages(module)) == [(4, "code, wanted code")]


def test_pages_are_clean_and_a_planted_riddle_fails(tmp_path: Path) -> None:
    """`python -m scripts.prose` passes as the tree is, and fails with path and line where a riddle is planted."""
    for name in ("scripts", "docs", "predictor"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "README.md", tmp_path)
    command = [sys.executable, "-m", "scripts.prose"]
    clean = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (clean.returncode, clean.stdout) == (0, "")
    lines = (tmp_path / "README.md").read_text(encoding="utf-8").splitlines()
    (tmp_path / "README.md").write_text("\n".join([*lines, "Whoever asks is told."]), encoding="utf-8")
    planted = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert planted.returncode == 1
    assert planted.stdout.startswith(f"README.md:{len(lines) + 1}: ")


def test_what_is_left_out_is_there() -> None:
    """Every page that scripts/prose.toml leaves out exists, and generated pages are the only ones left out for good."""
    said = tomllib.loads((ROOT / "scripts" / "prose.toml").read_text(encoding="utf-8"))
    assert all((ROOT / name).is_file() for name in said["written"])
    assert said["written"] == ["docs/benchmarks.md", "docs/model-kinds.md"]
