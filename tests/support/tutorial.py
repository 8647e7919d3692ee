"""Run a tutorial of docs/tutorials word by word: its blocks, one after the other, in one shell and an empty folder.

A block of `sh` (of `console`, where it needs a cluster) is typed, a block of `text` behind it is what it must print,
and a block of another language is saved under the name that the sentence before it gives: "Save this as `train.py`:".
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"^(?:.* )?[Ss]ave this as `([\w./-]+)`:$")
_MARK = "--- block"
_VARYING = (
    (r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"\b[0-9a-f]{8,}\b", "DIGEST"),
    (r"-?\b\d+\.\d+(?:e-?\d+)?\b", "FRACTION"),
    (r"\b\d{5,}\b", "NUMBER"),
)
"""What differs from run to run, in the order in which it is looked for."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a page: what is typed or saved, the name of its file, and what it prints."""

    text: str
    file: str | None = None
    shown: str | None = None


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page in their order.

    Raises:
        ValueError: a block is neither typed nor saved, and shows the output of none.
    """
    found: list[Block] = []
    for match in _BLOCK.finditer(page):
        language, text = match.groups()
        before = page[: match.start()].rstrip().rpartition("\n")[2]
        name = _NAME.match(before)
        if language in {"sh", "console"}:
            found.append(Block(text))
        elif language == "text" and before == "```" and found and found[-1].file is None:
            found[-1] = Block(found[-1].text, shown=text)
        elif name:
            found.append(Block(text, file=name[1]))
        else:
            message = f"nobody says what a reader does with the block of {language} behind {before!r}"
            raise ValueError(message)
    return found


def run(parts: list[Block], folder: Path, environment: Mapping[str, str], *, timeout: float) -> list[str]:
    """Return what each block printed, on both outputs; one shell runs them all and ends what it started.

    Raises:
        AssertionError: a command failed, which ends the shell.
    """
    lines = ["trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT", "set -e -o pipefail", "exec 2>&1 </dev/null"]
    for number, block in enumerate(parts):
        lines.append(f"printf '\\n{_MARK} {number}\\n'")
        lines.append(f"printf %s {shlex.quote(block.text)} >{block.file}" if block.file else block.text)
    lines.append(f"printf '\\n{_MARK} {len(parts)}\\n'")
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=timeout,
        check=False,
    )
    printed = re.split(rf"^{_MARK} \d+\n", done.stdout, flags=re.MULTILINE)[1:]
    assert done.returncode == 0, f"block {len(printed)}:\n{parts[len(printed) - 1].text}\nprinted:\n{printed[-1]}"
    return printed[:-1]


def looks_like(shown: str, printed: str) -> bool:
    """Return whether a page shows what was printed: word by word, but ids, times and fractions may be others.

    `…` stands for anything within a line, and alone on a line for any number of lines.
    """
    lines = [re.escape(line).replace("…", ".*") for line in _masked(shown)]
    pattern = "".join(r"(?:.*\n)*" if line == ".*" else rf"{line}\n" for line in lines)
    return re.fullmatch(pattern, "\n".join(_masked(printed)) + "\n") is not None


def _masked(text: str) -> list[str]:
    """Return the lines with one word for each id, time, digest, fraction and large number."""
    for pattern, word in _VARYING:
        text = re.sub(pattern, word, text)
    return [" ".join(line.split()) for line in text.strip().split("\n")]
