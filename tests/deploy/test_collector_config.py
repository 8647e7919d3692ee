"""The pieces of the Collector's configuration fit together, keep nothing back, and are what `make collector` builds."""

from __future__ import annotations

import re
import subprocess
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support import external_programs
from tests.support.deployed_collector import FOLDER, PIECES, environment, read, validate
from tests.support.server import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALL = ("base", *PIECES)
ARE_CHOSEN = [
    chosen
    for size in range(len(PIECES) + 1)
    for chosen in combinations(PIECES, size)
    if "kubernetes" not in chosen or "tempo" in chosen  # it belongs to the traces
]
SENDER_GIVES_UP = 10.0  # s, OTEL_EXPORTER_OTLP_TIMEOUT's default


def leaves(said: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Return what merging takes from one piece as a whole: everything but maps with something in them."""
    if isinstance(said, dict) and said:
        for key, value in said.items():
            yield from leaves(value, (*path, str(key)))
    else:
        yield path, said


def components(kind: str) -> dict[str, Any]:
    """Return the components of one kind (`exporters`) that all pieces together name, by their full names."""
    return dict(chain.from_iterable((read(piece).get(kind) or {}).items() for piece in ALL))


@pytest.mark.parametrize("chosen", ARE_CHOSEN, ids=" ".join)
def test_combinations(chosen: tuple[str, ...]) -> None:
    """The Collector takes every combination of pieces with a place for the records, and none without."""
    judged = validate(*chosen)
    assert (judged.returncode == 0) == bool({"stdout", "loki"} & set(chosen)), judged.stderr


def test_kubernetes_needs_tempo() -> None:
    """The piece that enriches spans is refused where there is no pipeline for them."""
    judged = validate("loki", "kubernetes")
    assert judged.returncode != 0
    assert "traces" in judged.stderr


def test_pieces_leave_each_other_alone() -> None:
    """No piece overrides what another says, but for the processors of the traces, to which Kubernetes adds one."""
    said = [(path, piece) for piece in ALL for path, _ in leaves(read(piece))]
    twice = {path for path, _ in said if sum(path == other for other, _ in said) > 1}
    processors = ("service", "pipelines", "traces", "processors")
    assert twice == {processors}
    without, enriched = (
        read(piece)["service"]["pipelines"]["traces"]["processors"] for piece in ("tempo", "kubernetes")
    )
    assert [name for name in enriched if name != "k8s_attributes"] == without
    assert set(enriched) - set(without) == {"k8s_attributes"}


def test_nothing_is_kept() -> None:
    """No exporter queues or retries, each gives up before the sender does, and nothing gathers or stores."""
    exporters = components("exporters")
    remote = {name: said for name, said in exporters.items() if name.startswith("otlp_http")}
    assert exporters.keys() - remote.keys() == {"debug"}
    for said in remote.values():
        assert said["sending_queue"] == {"enabled": False}
        assert said["retry_on_failure"] == {"enabled": False}
        assert float(said["timeout"].removesuffix("s")) < SENDER_GIVES_UP - 1
    kept = {"memory_limiter", "resource_detection", "k8s_attributes"}
    assert set(components("processors")) == kept | {"transform/stdout"}
    assert set(components("extensions")) == {"health_check"}


def test_one_sink_a_pipeline() -> None:
    """Each pipeline has one exporter, and records pass no processor whose word about a pod may change.

    Only what is printed is altered: its pipeline has a copy of its own.
    """
    pipelines = {
        name: said for piece in ALL for name, said in read(piece).get("service", {}).get("pipelines", {}).items()
    }
    assert all(len(said["exporters"]) == 1 for said in pipelines.values() if "exporters" in said)
    of_logs = {name: said for name, said in pipelines.items() if name.partition("/")[0] == "logs"}
    assert {name: said.get("processors", []) for name, said in of_logs.items()} == {
        "logs": ["memory_limiter", "resource_detection"],
        "logs/stdout": ["transform/stdout"],
        "logs/loki": [],
    }
    assert read("base")["processors"]["resource_detection"] == {"detectors": ["env"], "override": False}


def test_variables_have_defaults() -> None:
    """Every variable in the pieces has a default, so that none is empty where nobody sets it."""
    for piece in ALL:
        for variable in re.findall(r"\$\{env:([^}]*)\}", (FOLDER / f"{piece}.yaml").read_text(encoding="utf-8")):
            assert ":-" in variable, f"{piece}: {variable}"


def test_builder() -> None:
    """`make collector` builds the components that the pieces name and the file exporter of the tests, and no other."""
    recipe = yaml.safe_load((ROOT / "otel" / "builder.yaml").read_text(encoding="utf-8"))
    named: set[str] = set()
    for kind in ("receivers", "processors", "exporters", "connectors", "extensions"):
        types = {name.partition("/")[0] for name in components(kind)}
        named |= {f"{kind.removesuffix('s')}/{type_.replace('_', '')}{kind.removesuffix('s')}" for type_ in types}
    built = {
        "/".join(part["gomod"].split()[0].split("/")[-2:])
        for kind, parts in recipe.items()
        if kind not in {"dist", "providers"}
        for part in parts
    }
    assert built == named | {"exporter/fileexporter"}
    versions = {
        part["gomod"].split()[1] for kind in recipe if kind not in {"dist", "providers"} for part in recipe[kind]
    }
    assert versions == {f"v{recipe['dist']['version']}"}


def test_config_map_has_every_piece() -> None:
    """Kustomize packs every file of each folder, so that none is forgotten."""
    for folder in (FOLDER, ROOT / "otel" / "loki", ROOT / "otel" / "tempo"):
        (made,) = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))["configMapGenerator"]
        assert set(made["files"]) == {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}


def test_loki(tmp_path: Path) -> None:
    """Loki takes its configuration, with every variable at its default."""
    folder = ROOT / "otel" / "loki"
    file = f"-config.file={folder / 'loki.yaml'}"
    command = [*external_programs.loki(folder, environment={}), file, "-config.expand-env=true", "-verify-config"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
