"""docs/operations.md says what is deployed: figures that follow from the manifests, signs to look for, arrows."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bench.report import sizing
from predictor.config import settings
from scripts.manifests import rendering
from tests.deploy.test_manifests_network import Arrow, arrows
from tests.project.test_docs import rows
from tests.project.test_guides import blocks
from tests.server.test_start import post
from tests.support.rendered_manifests import (
    Pod,
    environment,
    everything,
    full,
    overlay,
    quantity,
    render,
    variables,
)
from tests.support.server import ROOT, Here, Server

if TYPE_CHECKING:
    from pathlib import Path

TEXT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SECONDS = {"s": 1, "min": 60, "h": 3600}
WEEK = 168 * 3600


def figure(cell: str) -> float:
    """Return the number that a cell begins with."""
    return float(cell.split(maxsplit=1)[0].replace(",", ""))


def bytes_of(what: str) -> float:
    """Return what the table says that a record takes somewhere."""
    (found,) = [figure(size) for where, size in rows(TEXT, "What a record takes") if where.startswith(what)]
    return found


def outbox_bound(pod: Pod) -> int:
    """Return PREDICTOR_OUTBOX_BYTES as the server reads it in a pod."""
    return settings.load(environment(pod.spec["containers"][0])).outbox_bytes


def test_outage_table() -> None:
    """How long an outage is bridged follows from the bounds that are deployed and the bytes of a record."""
    bounds = [outbox_bound(overlay("gke").pod("predictor")), outbox_bound(full("gke").pod("predictor"))]
    single, together = bytes_of("outbox and wire"), bytes_of("the same, 8,400 a second")
    assert single == sizing.LONE_LINE
    table = rows(TEXT, "How long an outage is bridged")
    assert len(table) == 4
    for rate, *shown in table:
        for bound, cell in zip(bounds, shown, strict=True):
            said = figure(cell) * SECONDS[cell.split()[1]]
            assert said == pytest.approx(bound / (figure(rate) * single), rel=0.03), cell
    assert f"up to {single / together:.1f} times as long" in TEXT


def test_the_startup_probe_allows_for_the_outbox() -> None:
    """The page says how long each startup probe waits, and how large an outbox may be read meanwhile."""
    (seconds, size, faster) = re.findall(r"(\d+) s for ([\d.]+) GB, which is (\d+) MB a second", TEXT)[0]
    assert int(faster) == pytest.approx(1000 * float(size) / float(seconds), rel=0.05)
    allowed = re.findall(r"(\d+) s (?:in the base|with `durable`), enough for (\d+) GB", TEXT)
    assert len(allowed) == 2
    for (threshold, most), pod in zip(allowed, (overlay("gke"), full("gke")), strict=True):
        probe = pod.pod("predictor").spec["containers"][0]["startupProbe"]
        assert probe["periodSeconds"] == 1
        assert probe["failureThreshold"] == int(threshold)
        assert int(most) == pytest.approx(int(threshold) * int(faster) / 1000, rel=0.05)


def test_a_day_without_the_sink(tmp_path: Path) -> None:
    """The patches for an outage of a day make outbox, claim and probe as large as the page reckons."""
    manifests = own_overlay(tmp_path, "PREDICTOR_OUTBOX_BYTES, value", "durable")
    (made,) = [one for one in manifests if rendering.name_of(one) == "StatefulSet/predictor"]
    (container,) = made["spec"]["template"]["spec"]["containers"]
    bound = settings.load(environment(container)).outbox_bytes
    assert bound >= 100 * bytes_of("outbox and wire") * 24 * 3600
    (claim,) = made["spec"]["volumeClaimTemplates"]
    assert quantity(claim["spec"]["resources"]["requests"]["storage"]) >= bound + (1 << 30)
    assert claim["metadata"]["labels"], "the patch leaves the rest of the claim"
    assert container["startupProbe"]["failureThreshold"] >= 2 * bound / 80e6
    loki = (ROOT / "otel" / "loki" / "loki.yaml").read_text(encoding="utf-8")
    (hours,) = re.findall(r"^  max_chunk_age: (\d+)h$", loki, re.MULTILINE)
    assert int(hours) == 2 * 168, "a week behind the newest is accepted"
    assert "reject_old_samples_max_age: ${LOKI_RETENTION:-168h}" in loki


def test_loki_disk_tables() -> None:
    """Loki's disk follows from its retention and the bytes of a record, and each overlay's claim holds what is said."""
    loki = (ROOT / "otel" / "loki" / "loki.yaml").read_text(encoding="utf-8")
    assert "retention_period: ${LOKI_RETENTION:-168h}" in loki
    chunk, journal = bytes_of("Loki's chunks"), bytes_of("Loki's write-ahead log")
    for rate, *shown in rows(TEXT, "Loki's disk"):
        sizes = [chunk * WEEK, chunk * 720 * 3600, journal * 600]
        assert [figure(cell) * 1e9 for cell in shown] == pytest.approx(
            [figure(rate) * size for size in sizes], rel=0.05
        )
    claims = re.findall(r"^\| (minikube|base|gke) \| (\w+) \| (\d+) a second \|$", TEXT, re.MULTILINE)
    assert len(claims) == 3
    for name, size, rate in claims:
        workload = (full("minikube") if name == "base" else overlay(name)).pod("loki").workload
        if name == "base":
            workload = yaml.safe_load((ROOT / "kustomize/components/loki/statefulset.yaml").read_text(encoding="utf-8"))
        (claim,) = workload["spec"]["volumeClaimTemplates"]
        assert claim["spec"]["resources"]["requests"]["storage"] == size, name
        holds = 0.95 * quantity(size) / (chunk * WEEK + journal * 600)  # beyond 95 % it takes nothing
        assert 0.95 * holds <= int(rate) <= holds, name


def test_bytes_of_a_record(outbox: Path) -> None:
    """One row a request takes as many bytes in the outbox as the page says, with the attributes of a pod."""
    attributes = next(re.finditer(r"^export OTEL_RESOURCE_ATTRIBUTES=(\S+)$", TEXT, re.MULTILINE))[1]
    deployed_as = variables(overlay("gke").pod("predictor").spec["containers"][0])["OTEL_RESOURCE_ATTRIBUTES"]
    keys = [pair.partition("=")[0] for pair in deployed_as.replace("$(WORKLOAD)", "k8s.deployment.name=").split(",")]
    assert [pair.partition("=")[0] for pair in attributes.split(",")] == keys
    with Server(outbox, OTEL_RESOURCE_ATTRIBUTES=attributes) as server:
        for _ in range(3):
            assert post(server.port)[0] == 200
    (path,) = outbox.glob("v1/*/logs/00000001.jsonl")
    third = path.read_bytes().splitlines(keepends=True)[2]
    assert len(third) == pytest.approx(bytes_of("outbox and wire"), rel=0.03)


async def test_details_of_readyz(here: Here) -> None:
    """The page explains every detail of /readyz, and none that is not there."""
    section = TEXT[TEXT.index("| detail of `/readyz`") :].split("\n\n", 1)[0]
    explained = {name for line in section.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split(" | ")[0])}
    assert explained == (await here.get("/readyz")).json.keys() - {"ready"}


def test_signs() -> None:
    """Each line on stderr that the page explains is one that the server can write, each panel one that there is."""
    section = TEXT[TEXT.index("| line contains |") :].split("\n\n", 1)[0]
    signs = re.findall(r"^\| `([^`]+)` \| (\w+) \|", section, re.MULTILINE)
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "predictor").rglob("*.py")]
    assert len(signs) == 16
    for sign, level in signs:
        assert level in {"info", "warning", "error"}
        assert any(sign in source for source in sources), sign
    board = json.loads((ROOT / "otel" / "grafana" / "dashboards" / "log-health.json").read_text(encoding="utf-8"))
    titles = {panel.get("title") for panel in board["panels"]}
    shown = {name for row in rows(TEXT, "What to watch") for name in re.split(r", (?=[A-Z])", row[0])}
    assert shown <= titles


def test_what_stays_when_the_namespace_goes() -> None:
    """What lies outside of the namespace, and so stays when only that is deleted, is named with its kind."""
    outside = {
        (manifest["kind"], manifest["metadata"]["name"])
        for made in everything()
        for manifest in made.objects
        if "namespace" not in manifest["metadata"] and manifest["kind"] != "Namespace"
    }
    assert outside == {("PriorityClass", "prediction-log-collector")}
    (row,) = [line for line in TEXT.splitlines() if line.startswith("| `make undeploy`, or the namespace")]
    for kind, name in outside:
        assert f"kubectl delete {kind.lower()} {name}" in row


def own_overlay(folder: Path, sign: str, *components: str) -> list[dict[str, Any]]:
    """Return what minikube's overlay is with these components and with the patches of the page that have this sign."""
    (patches,) = [block for block in blocks("operations.md", "yaml") if sign in block]
    names = ["overlays/minikube", *(f"components/{name}" for name in components)]
    resource, *others = [os.path.relpath(rendering.FOLDER / name, folder.resolve()) for name in names]
    mine = yaml.safe_load(patches) | {"resources": [resource], "components": others}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(mine), encoding="utf-8")
    return rendering.parsed(render(folder))


def test_retention_patch(tmp_path: Path) -> None:
    """The patch for another retention, in an overlay of one's own, reaches Loki's environment."""
    manifests = own_overlay(tmp_path, "LOKI_RETENTION")
    (loki,) = [one for one in manifests if rendering.name_of(one) == "StatefulSet/loki"]
    assert variables(loki["spec"]["template"]["spec"]["containers"][0])["LOKI_RETENTION"] == "720h"


def test_what_loki_needs_elsewhere() -> None:
    """Each setting to take along to another Loki is one of otel/loki/loki.yaml."""
    (sentence,) = re.findall(r"Copy these settings .*", TEXT)
    loki = (ROOT / "otel" / "loki" / "loki.yaml").read_text(encoding="utf-8")
    wanted = re.findall(r"`(\w+)`", sentence)
    assert len(wanted) == 7
    for name in wanted:
        assert re.search(rf"^ +{name}:", loki, re.MULTILINE), name


def test_arrows() -> None:
    """The table of who reaches whom has just the arrows that the policies open between pods."""
    told = {
        Arrow("client" if "`app.kubernetes.io/name: client`" in source else source.partition(",")[0], *end)
        for source, targets, _ in rows(TEXT, "Security")
        for end in [(name, int(port)) for name, port in re.findall(r"([a-z]+) (\d+)", targets)]
    }
    assert told == set(arrows(full("gke"), "egress"))
