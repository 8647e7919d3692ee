"""What is kept of a run in which something was wrong, so that it can be looked into after everything has ended."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from chaos.machine import Machine


def keep(stand: Machine, folder: Path, findings: Mapping[str, Sequence[str]]) -> None:
    """Write findings, ledger, the sink's records, the servers' words and the outbox into the folder."""
    (folder / "findings.json").write_text(json.dumps({k: v for k, v in findings.items() if v}, indent=1))
    with (folder / "ledger.jsonl").open("w") as file:
        for key, answer in stand.answers.items():
            file.write(json.dumps([*key, *answer]) + "\n")
    with (folder / "sink.jsonl").open("w") as file:
        for record in stand.sink.records():
            file.write(json.dumps(record) + "\n")
    for post in stand.posts:
        (folder / f"{post.name}.txt").write_text("\n".join(post.said) + "\n", errors="surrogateescape")
    if stand.outbox.exists():
        shutil.copytree(stand.outbox, folder / "outbox")
