"""The load that `make test-cluster` sends from a pod, tried without a cluster."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.cluster.client import PROGRAM
from tests.support.server import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_MODULES = """
import sys, tests.cluster.program
print(*(module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] == "tests"), sep="\\n")
"""


def test_the_pod_gets_the_whole_program(tmp_path: Path) -> None:
    """The load's files start in a folder of their own: what they import of the tests is among them."""
    for name in PROGRAM:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    command = [sys.executable, "-c", _MODULES]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {str(tmp_path / name) for name in PROGRAM}
