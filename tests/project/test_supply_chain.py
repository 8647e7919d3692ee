"""What is said of the image: its packages, its sources, and known weaknesses."""

from __future__ import annotations

import hashlib
import json
import os
import re
import runpy
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.server import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_CYCLONEDX = ROOT / ".cache" / "supply-chain" / "bin" / "cyclonedx-py"
_PIN = re.compile(r"^([a-z0-9-]+)(?:\[\S+?\])?==(\S+)", re.MULTILINE)


def audit(folder: Path, script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/audit with a pip-audit that does what `script` says; its argument after --output is $out."""
    fake = folder / "pip-audit"
    fake.write_text(f'#!/bin/sh\nwhile [ $# -gt 0 ]; do [ "$1" = --output ] && out=$2; shift; done\n{script}\n')
    fake.chmod(0o755)
    return subprocess.run(
        ["sh", "scripts/audit", str(fake)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]} | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_audit_finds(tmp_path: Path) -> None:
    """Known weaknesses are shown, and end with status 1; without any it is 0."""
    found = audit(tmp_path, 'echo "{\\"vulns\\": [1]}" >"$out"; echo "Found 1 known vulnerability" >&2; exit 1')
    assert (found.returncode, found.stdout) == (1, '{"vulns": [1]}\n')
    assert "Found 1 known vulnerability" in found.stderr
    fine = audit(tmp_path, 'echo "{}" >"$out"; echo "No known vulnerabilities found" >&2')
    assert (fine.returncode, fine.stdout) == (0, "")


def test_audit_without_its_data(tmp_path: Path) -> None:
    """Where the data cannot be reached that is said and is no failure, unless REQUIRE_AUDIT makes it one."""
    for environ, status in (({}, 0), ({"REQUIRE_AUDIT": "1"}, 1)):
        done = audit(tmp_path, 'echo "ERROR: connection refused" >&2; exit 1', **environ)
        assert done.returncode == status
        assert "ERROR: connection refused" in done.stderr
        assert "audit: skipped, since the data of known weaknesses cannot be reached" in done.stderr


@pytest.mark.parametrize("digest", ["", "@sha256:" + "0f" * 32])
def test_provenance(digest: str) -> None:
    """It names the commit, the base image, by its digest where that is given, and the locks with theirs."""
    predicate = runpy.run_path(str(ROOT / "scripts" / "provenance.py"))["predicate"]
    base = "docker.io/library/python:3.13-slim-bookworm"
    arguments = {"PYTHON_IMAGE": base + digest} if digest else {}
    definition = predicate(arguments, "c0ffee", "https://git.example/predictor")["buildDefinition"]
    source, image, lock, _ = definition["resolvedDependencies"]
    assert source == {"uri": "git+https://git.example/predictor", "digest": {"gitCommit": "c0ffee"}}
    assert image["uri"] == f"docker://{base}{digest}"
    assert image.get("digest") == ({"sha256": "0f" * 32} if digest else None)
    assert lock["digest"]["sha256"] == hashlib.sha256((ROOT / lock["name"]).read_bytes()).hexdigest()
    assert definition["externalParameters"]["buildArguments"] == arguments


@pytest.mark.skipif(not _CYCLONEDX.exists(), reason="make sbom makes its environment")
def test_bill_of_materials(tmp_path: Path) -> None:
    """The bill that `make sbom` writes holds every package of the image's lock with its version and hashes."""
    makefile = (ROOT / "Makefile").read_text()
    command = re.search(r"cyclonedx-py (requirements .*?) -o dist/sbom", makefile.replace("\\\n", ""), re.DOTALL)
    assert command
    path = tmp_path / "sbom.json"
    subprocess.run([_CYCLONEDX, *command[1].split(), "-o", path], cwd=ROOT, check=True, capture_output=True)
    components = json.loads(path.read_text())["components"]
    lock = (ROOT / "requirements" / "runtime.txt").read_text()
    assert {(each["name"], each["version"]) for each in components} == set(_PIN.findall(lock))
    assert all(each["externalReferences"][0]["hashes"] for each in components)


def test_bill_of_the_base_image() -> None:
    """Each Debian package is there with its version and source, in one order; a line that is none is an error."""
    bill = runpy.run_path(str(ROOT / "scripts" / "image_packages.py"))["bill"]
    lines = ["zlib1g\t1:1.2.13.dfsg-1\tamd64\tzlib\t1:1.2.13.dfsg-1\n", "libstdc++6\t12.2\tamd64\tgcc-12\t12.2+b1\n"]
    found = bill("predictor:dev", lines)
    assert found == bill("predictor:dev", lines[::-1])
    assert [(each["name"], each["version"]) for each in found["components"]] == [
        ("libstdc++6", "12.2"),
        ("zlib1g", "1:1.2.13.dfsg-1"),
    ]
    assert found["components"][0]["purl"] == "pkg:deb/debian/libstdc++6@12.2?arch=amd64&upstream=gcc-12%4012.2+b1"
    assert found["bomFormat"] == "CycloneDX"
    with pytest.raises(ValueError, match="wanted 5"):
        bill("predictor:dev", ["nothing"])
