"""checkov's verdict on rendered manifests, less the exceptions that kustomize/checkov.yaml gives a reason for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from scripts.manifests.rendering import FOLDER

EXCEPTIONS = FOLDER / "checkov.yaml"
_LEAST = 20  # checks that pass on any workload; fewer mean that checkov has not read the file


class Finding(NamedTuple):
    """A check that something fails, as checkov names both."""

    check: str
    resource: str
    words: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What an exception names."""
        return self.check, self.resource


def findings(text: str) -> list[Finding]:
    """Return what checkov holds against a YAML stream; raises RuntimeError if it did not read it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "manifests.yaml")
        path.write_text(text)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "checkov.main", "--file", path, "--framework", "kubernetes"),
                *("--output", "json", "--quiet", "--compact", "--skip-download"),  # asks nobody but itself
            ],
            env=os.environ | {"LOG_LEVEL": "ERROR"},
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        results: dict[str, Any] = json.loads(done.stdout)
        summary, failed = results["summary"], results["results"]["failed_checks"]
    except (ValueError, KeyError, TypeError):
        msg = f"checkov said nothing that can be read: {done.stdout[-500:]} {done.stderr[-2000:]}"
        raise RuntimeError(msg) from None
    if summary["parsing_errors"] or summary["passed"] + summary["failed"] < _LEAST:
        msg = f"checkov has not read the manifests: {summary}"
        raise RuntimeError(msg)
    return [Finding(one["check_id"], one["resource"], one["check_name"]) for one in failed]


def exceptions(path: Path = EXCEPTIONS) -> dict[tuple[str, str], str]:
    """Return the reason for each excepted (check, resource); raises ValueError for one without a reason, or twice."""
    reasons: dict[tuple[str, str], str] = {}
    for item in yaml.safe_load(path.read_text()):
        if len(str(item.get("reason", "")).split()) < 3:  # noqa: PLR2004 - less is no sentence
            msg = f"{path.name}: {item} gives no reason"
            raise ValueError(msg)
        for resource in item["resources"]:
            if (key := (item["check"], resource)) in reasons:
                msg = f"{path.name}: {key} is excepted twice"
                raise ValueError(msg)
            reasons[key] = item["reason"]
    return reasons
