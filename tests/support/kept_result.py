"""Keeps what came of a run of tests, for docs/promises.md: `pytest --result NAME`."""

from __future__ import annotations

import os
import shlex
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from scripts import results

if TYPE_CHECKING:
    import pytest

_OWN = {"stack": "test-stack", "compose": "test-compose", "cluster": "test-cluster", "lowest": "test-lowest"}
"""The targets of make for runs with one of their own, which names the folder itself."""


class KeptResult:
    """Counts the outcomes of each file of tests, and keeps them when the run has ended."""

    def __init__(self, run: str, paths: list[str]) -> None:
        """Count from now on; the paths are those that pytest was given."""
        self._run = run
        self._began = time.monotonic()
        self._outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        given = [path for path in paths if run not in _OWN]
        arguments = shlex.join([*given, "--result", run])
        self.command = f"make {_OWN.get(run, 'test')} ARGS='{arguments}'"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test by what became of it; what fails around it is a failure too."""
        file = report.location[0].replace(os.sep, "/")
        if report.failed:
            self._outcomes[file]["failed"] += 1
        elif report.skipped:
            self._outcomes[file]["skipped"] += 1
        elif report.when == "call":
            self._outcomes[file]["passed"] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count a file that cannot be read as a failure, and one that is skipped as a whole as a skip."""
        file = report.nodeid.partition("::")[0]
        if report.failed or report.skipped:
            self._outcomes[file]["failed" if report.failed else "skipped"] += 1

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Keep the counts of a run that came to its end, failures included."""
        if exitstatus in {0, 1} and self._outcomes:  # passed or failed; the others were broken off
            figures: dict[str, dict[str, float]] = {
                file: dict(sorted(outcomes.items())) for file, outcomes in sorted(self._outcomes.items())
            }
            results.write(self._run, self.command, time.monotonic() - self._began, figures)
