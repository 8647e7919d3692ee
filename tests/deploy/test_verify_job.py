"""The component verify: its command works as it stands, and its alerts speak of what it makes."""

from __future__ import annotations

import itertools
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from predictor.__main__ import main
from scripts.manifests.rendering import FOLDER
from tests.support.fake_loki import Loki
from tests.support.log_files import SECOND
from tests.support.rendered_manifests import full
from tests.support.sealed_log import SealedStream, sealed

if TYPE_CHECKING:
    from pathlib import Path

_EVERY = 15
"""Minutes."""


@pytest.fixture
def job() -> dict[str, Any]:
    """Return the CronJob as it is applied."""
    return full("minikube").one("CronJob", "verify")


def _command(job: dict[str, Any]) -> list[str]:
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    arguments: list[str] = container["args"]
    return arguments


def test_the_command_runs(job: dict[str, Any], tmp_path: Path) -> None:
    """What the pod runs leaves a state, is content without records, and fails on an altered one."""
    stream = sealed(SealedStream(time.time_ns() - 600 * SECOND))
    with Loki() as loki:
        told = [
            each.replace("http://loki:3100", loki.url).replace("/var/lib/verify", str(tmp_path))
            for each in _command(job)
        ]
        assert [told[at] != here for at, here in enumerate(_command(job))].count(True) == 2
        assert main(told) == 0
        state = tmp_path / "verify.json"
        assert state.is_file()
        state.unlink()
        loki.add(*stream.lines)
        assert main(told) == 0
        state.unlink()
        loki.entries = [
            each._replace(line="x") if "prediction_label" in each.metadata else each for each in loki.entries
        ]
        assert main(told) == 1


def test_a_finding_stays(job: dict[str, Any]) -> None:
    """A finding is told once, so a failed run is not tried again, and two never share the state."""
    spec = job["spec"]
    assert (spec["concurrencyPolicy"], spec["jobTemplate"]["spec"]["backoffLimit"]) == ("Forbid", 0)
    assert spec["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    minutes = [int(each) for each in spec["schedule"].split()[0].split(",")]
    assert {later - before for before, later in itertools.pairwise(minutes)} == {_EVERY}
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] < _EVERY * 60


def test_alerts_speak_of_the_job(job: dict[str, Any]) -> None:
    """Each rule names the namespace and the CronJob that there is, and waits longer than one run is apart."""
    content = yaml.safe_load((FOLDER / "components" / "verify" / "alerts.yaml").read_text(encoding="utf-8"))
    (group,) = content["groups"]
    assert [rule["alert"] for rule in group["rules"]] == ["PredictionLogFinding", "PredictionLogNotVerified"]
    for rule in group["rules"]:
        assert set(re.findall(r'namespace="([^"]+)"', rule["expr"])) == {job["metadata"]["namespace"]}
        named = re.findall(r'cronjob="([^"]+)"', rule["expr"]) or re.findall(r'job_name=~"([a-z]+)-', rule["expr"])
        assert set(named) == {job["metadata"]["name"]}
        assert {"summary", "description"} <= rule["annotations"].keys()
    (longest,) = re.findall(r"> (\d{2,})", group["rules"][1]["expr"])
    assert int(longest) >= 3 * _EVERY * 60
