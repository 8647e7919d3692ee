"""Hold the project's English to scripts/prose.toml: no riddles, no sentence that has to be read twice.

`python -m scripts.prose [PAGE...]` reads the pages, docstrings and messages that the file names, or the given pages,
prints a line for each finding and ends with 1 if there is any.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
_SKIPPED = re.compile(r"^```.*?^```$|<!--.*?-->", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_CODES = re.compile(r"code(?:(?: \([^)]*\))?, code)+")  # a list of names is one word
_LINK = re.compile(r"!?\[([^]\n]*)\]\([^)\n]*\)")
_LISTED = re.compile(r"^(?:[-*] |\d+\. |#+ |> )")
_END = re.compile(r"(?<=[.!?])[)*\"]*\s+")
_WORD = re.compile(r"[\w%'-]+")
_QUERY = re.compile(r"\s*(?:SELECT|INSERT|CREATE|WITH)\b")  # of a database: nobody reads it


@dataclass(frozen=True, slots=True)
class Rules:
    """What is read, and what it is held to: phrases with what to write instead, and words in a sentence."""

    pages: list[Path]
    docstrings: list[Path]
    messages: list[Path]
    everywhere: dict[re.Pattern[str], str]
    pages_only: dict[re.Pattern[str], str]
    limit: int


def rules(root: Path = ROOT) -> Rules:
    """Return the rules of scripts/prose.toml, with the pages and modules that it names."""
    said = tomllib.loads((root / "scripts" / "prose.toml").read_text(encoding="utf-8"))
    left = {root / name for name in said["written"]}
    everywhere, pages_only = (
        {re.compile(phrase, re.IGNORECASE): instead for phrase, instead in said[table].items()}
        for table in ("everywhere", "pages_only")
    )
    pages = sorted({path for pattern in said["pages"] for path in root.glob(pattern)} - left)
    docstrings, messages = (
        sorted({path for pattern in said[kind] for path in root.glob(pattern)}) for kind in ("docstrings", "messages")
    )
    return Rules(pages, docstrings, messages, everywhere, pages_only, said["limit"])


def sentences(page: str) -> Iterator[tuple[int, str]]:
    """Yield the sentences of a page with their line numbers: code is one word, a clause in a table is a sentence."""
    page = _SKIPPED.sub(lambda found: "\n" * found[0].count("\n"), page)
    for number, line in enumerate(page.splitlines(), 1):
        text = _CODES.sub("code", _LINK.sub(r"\1", _CODE.sub("code", line))).strip()
        parts = re.split(r" \| |; ", text.strip("|")) if text.startswith("|") else [text]
        for part in parts:
            for sentence in _END.split(_LISTED.sub("", part.strip())):
                yield number, sentence


def findings(page: str, phrases: dict[re.Pattern[str], str], limit: int) -> Iterator[tuple[int, str]]:
    """Yield line number and fault of each phrase and each sentence that the rules refuse."""
    for number, sentence in sentences(page):
        for phrase, instead in phrases.items():
            for found in phrase.finditer(sentence):
                yield number, f'"{found[0].strip()}": write {instead}'
        if (words := len(_WORD.findall(sentence))) > limit:
            yield number, f"a sentence of {words} words, of {limit} at most: {sentence[:60]}…"


def docstrings(module: str) -> Iterator[tuple[int, str]]:
    """Yield the docstrings of a module, those of constants and attributes too, with the line on which each begins."""
    for node in ast.walk(ast.parse(module)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        before: ast.stmt | None = None
        for each in node.body:
            match each:
                case ast.Expr(ast.Constant(str(text))) if isinstance(before, ast.Assign | ast.AnnAssign | None):
                    yield each.lineno, inspect.cleandoc(text)
            before = each


def messages(module: str) -> Iterator[tuple[int, str]]:
    """Yield what a module may say to somebody, with its line: each text of several words, values in it as `code`.

    Texts that stand alone, as docstrings and those of attributes do, are not among them.
    """
    every = list(ast.walk(ast.parse(module)))
    left = {id(node.value) for node in every if isinstance(node, ast.Expr)}
    left |= {id(part) for node in every if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in every:
        if id(node) in left or not isinstance(node, ast.JoinedStr | ast.Constant):
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "code" for part in node.values)
        else:
            text = node.value if isinstance(node.value, str) else ""
        if " " in text.strip() and not _QUERY.match(text):
            yield node.lineno, text


def faults(held_to: Rules) -> Iterator[str]:
    """Yield every fault of the pages, docstrings and messages, as `path:line: sentence`."""
    phrases = held_to.everywhere | held_to.pages_only
    for path in held_to.pages:
        for number, fault in findings(path.read_text(encoding="utf-8"), phrases, held_to.limit):
            yield f"{path.relative_to(ROOT)}:{number}: {fault}"
    for path in held_to.docstrings:
        for first, text in docstrings(path.read_text(encoding="utf-8")):
            joined = re.sub(r"(?<=\S)\n(?=\S)", " ", text)  # a sentence goes on in the next line
            for _, fault in findings(joined, held_to.everywhere, held_to.limit):
                yield f"{path.relative_to(ROOT)}:{first}: {fault}"
    for path in held_to.messages:
        for first, text in messages(path.read_text(encoding="utf-8")):
            for _, fault in findings(f"| {text}", phrases, held_to.limit):  # a clause is a sentence, as in a table
                yield f"{path.relative_to(ROOT)}:{first}: {fault}"


def main(names: list[str]) -> int:
    """Return the exit status: 0 if nothing is found."""
    held_to = rules()
    if names:
        given = [Path(name).resolve() for name in names]
        held_to = Rules(given, [], [], held_to.everywhere, held_to.pages_only, held_to.limit)
    found = list(faults(held_to))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
