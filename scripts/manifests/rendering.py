"""What kustomize makes of the overlays and of the base with every set of components that makes sense."""

from __future__ import annotations

import itertools
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "kustomize"
PROGRAM = ROOT / ".cache" / "bin" / "kustomize"

MODELS = ("model-download", "model-image")
"""Components of which one at most can bring the models."""
_APART = {"table", "verify", "kserve", "grpc", "prometheus", "grafana-alerts", *MODELS}
"""Components that touch nothing of the others, or the server alone."""

Manifest = dict[str, Any]
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there


class RenderingError(Exception):
    """What kustomize said of a folder that it cannot render."""


def overlays() -> list[str]:
    """Return the names of the overlays."""
    return sorted(path.parent.name for path in FOLDER.glob("overlays/*/kustomization.yaml"))


def components() -> list[str]:
    """Return the names of the components."""
    return sorted(path.parent.name for path in FOLDER.glob("components/*/kustomization.yaml"))


def combinations() -> Iterator[tuple[str, ...]]:
    """Yield every set of components that makes sense.

    Records need a place to go (stdout, loki), and Grafana reads Loki. So do the jobs (table, verify), which touch
    nothing else; nor do KServe's runtime and Grafana's rules, and Prometheus and the models add to the server alone:
    each is tried beside all others, and with Loki alone; what brings the models with `durable` too.
    """
    names = [name for name in components() if name not in _APART]
    for count in range(1, len(names) + 1):
        for chosen in map(set, itertools.combinations(names, count)):
            if chosen & {"stdout", "loki"} and ("loki" in chosen or "grafana" not in chosen):
                yield tuple(sorted(chosen))
    for name in sorted(_APART):
        yield tuple(sorted({name, "loki"}))
    for models in MODELS:
        yield tuple(sorted({models, "loki", "durable"}))
        yield tuple(everything(models))


def overlay(name: str) -> str:
    """Return an overlay as YAML."""
    return render(FOLDER / "overlays" / name)


def everything(models: str) -> list[str]:
    """Return all components that go together, with one of those that bring the models."""
    return [name for name in components() if name not in MODELS or name == models]


def full(name: str, models: str = MODELS[0]) -> str:
    """Return an overlay with all the components that it does not have itself as YAML, one of MODELS among them."""
    own = yaml.safe_load((FOLDER / "overlays" / name / "kustomization.yaml").read_text()).get("components", [])
    return combined(sorted(set(everything(models)) - {Path(path).name for path in own}), f"overlays/{name}")


def combined(chosen: Iterable[str], base: str = "base") -> str:
    """Return the base (or `overlays/NAME`) with the chosen components as YAML."""
    with tempfile.TemporaryDirectory() as folder:
        to_here = os.path.relpath(FOLDER, Path(folder).resolve())
        kustomization = {
            "resources": [f"{to_here}/{base}"],
            "components": [f"{to_here}/components/{name}" for name in chosen],
        }
        Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return render(Path(folder))


def render(folder: Path) -> str:
    """Return what kustomize makes of a folder, as YAML; raises RenderingError."""
    done = subprocess.run([PROGRAM, "build", folder], capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"{folder}: {done.stderr.strip()}"
        raise RenderingError(msg)
    return done.stdout


def parsed(text: str) -> list[Manifest]:
    """Return the objects of a YAML stream."""
    return [manifest for manifest in yaml.load_all(text, _LOADER) if manifest]


def name_of(manifest: Manifest) -> str:
    """Return `Kind/name` for sentences."""
    return f"{manifest.get('kind', '?')}/{manifest.get('metadata', {}).get('name', '?')}"
