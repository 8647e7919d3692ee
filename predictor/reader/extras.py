"""How to get rich and pyarrow, which `predictor log` does without, into the very environment that it runs in."""

from __future__ import annotations

import re
import shlex
import sys
from importlib import metadata
from importlib.util import find_spec

_PACKAGES = ("pyarrow", "rich")
_PROJECT = "prediction-log-server"


def absent() -> list[str]:
    """Return which of the packages are not installed."""
    return [name for name in _PACKAGES if find_spec(name) is None]


def command() -> str:
    """Return what installs them here: by pip, or by uv where the environment has no pip."""
    wanted = [shlex.quote(each) for each in _requirements()]
    python = shlex.quote(sys.executable)
    if find_spec("pip") is None:
        return f"uv pip install --python {python} {' '.join(wanted)}"
    return f"{python} -m pip install {' '.join(wanted)}"


def _requirements() -> list[str]:
    """Return the requirements of the extra `log`, as the installed project says them; else the bare names."""
    try:
        said = metadata.requires(_PROJECT) or []
    except metadata.PackageNotFoundError:
        said = []
    found = [
        match[1].strip() for each in said if (match := re.fullmatch(r"([^;]+);\s*extra\s*==\s*['\"]log['\"]", each))
    ]
    return found or [*_PACKAGES]
