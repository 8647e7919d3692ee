"""Other people's programs that tests need: found here, or else the test is skipped with the way to get them.

REQUIRE_PROGRAMS=1 makes the absence of any of them a failure, REQUIRE_PROGRAMS=collector,kustomize that of those.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROOT = Path(__file__).parents[2]
CACHE = _ROOT / ".cache"
_COLLECTOR = CACHE / "collector" / "otelcol"
_LOKI = _ROOT / "kustomize" / "components" / "loki" / "statefulset.yaml"
_PULL = 300.0  # s


def absent(name: str, way: str) -> NoReturn:
    """Skip the test, or fail it where REQUIRE_PROGRAMS says that this program must be there."""
    required = os.environ.get("REQUIRE_PROGRAMS", "")
    reason = f"no {name}: {way}"
    if required == "1" or name in required.split(","):
        pytest.fail(reason)
    pytest.skip(reason)


def on_path(name: str, *others: str) -> str:
    """Return the path of a program of the system, under its own name or another one that it goes by."""
    found = next(filter(None, map(shutil.which, (name, *others))), None)
    return found or absent(name, f"`apt-get install {name}` or the like")


def built(name: str, path: Path, target: str) -> Path:
    """Return a program that a make target builds."""
    return path if path.exists() else absent(name, f"run `make {target}`, which makes {path}")


def environment(name: str) -> Path:
    """Return the Python of an environment of its own that `make analytics` fills from PyPI."""
    path = CACHE / f"venv-{name}" / "bin" / "python"
    return path if path.exists() else absent("analytics", f"run `make analytics`, which makes {path}")


def java() -> str:
    """Return the Java that Spark needs, 17 or later."""
    return on_path("java")


def collector() -> Path:
    """Return the OpenTelemetry Collector of `otel/builder.yaml`."""
    return built("collector", _COLLECTOR, "collector")


def collector_program() -> Path | None:
    """Return the Collector that `make collector` made, or None, for those who have another way to run one."""
    return _COLLECTOR if _COLLECTOR.exists() else None


def kustomize() -> Path:
    """Return kustomize."""
    return built("kustomize", CACHE / "bin" / "kustomize", "kustomize")


def promtool() -> Path:
    """Return Prometheus's promtool, which tries alert rules."""
    return built("promtool", CACHE / "bin" / "promtool", "promtool")


def loki_program() -> Path | None:
    """Return the Loki that a person has: what LOKI names, else the one on the PATH, else None."""
    if named := os.environ.get("LOKI"):
        found = shutil.which(named)
        return Path(found).absolute() if found else pytest.fail(f"LOKI is {named!r}, wanted the path of a Loki")
    found = shutil.which("loki")
    return Path(found).absolute() if found else None


def loki_image() -> str:
    """Return the image of the Loki that is deployed."""
    (image,) = re.findall(r"^ *image: (\S+/loki:\S+)$", _LOKI.read_text(encoding="utf-8"), re.MULTILINE)
    return str(image)


def loki(*folders: Path, environment: Mapping[str, str], name: str | None = None) -> list[str]:
    """Return the beginning of a command that runs Loki, to which its arguments are added.

    Without a program the image is run by docker or podman, on the network of this machine, as this user and with no
    more of its files than `folders`; `name` is then the container's. The command's environment must hold the variables.
    """
    if program := loki_program():
        return [str(program)]
    engine = _engine(image := loki_image())
    if engine is None:
        absent("loki", f"set LOKI=/path/to/loki, put it on the PATH, or have docker or podman run {image}")
    command = [engine, "run", "--rm", "--network=host", f"--user={os.getuid()}:{os.getgid()}"]
    command += [f"--name={name}"] if name else []
    command += [f"--volume={folder}:{folder}" for folder in folders]
    command += [f"--env={variable}" for variable in environment]
    return [*command, image]


@cache
def _engine(image: str) -> str | None:
    """Return the first engine that works here and has the image, or gets it."""
    for engine in filter(None, map(shutil.which, ("docker", "podman"))):
        # The client may be there without a daemon or rights behind it: `info` tells.
        if _does(engine, "info") and (_does(engine, "image", "inspect", image) or _does(engine, "pull", image)):
            return engine
    return None


def _does(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=_PULL, check=False).returncode == 0
    except subprocess.TimeoutExpired:  # a registry that does not answer is none
        return False
