"""What a tag releases: the scripts of the release, with programs that only note what is asked of them."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from predictor import __version__
from tests.support.server import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_BASE, _PUSHED = "sha256:" + "ba" * 32, "sha256:" + "12" * 32
_DOCKER = f"""#!/bin/sh
echo "docker $*" >>"$ASKED"
case "$*" in
  *imagetools*ghcr.example*) echo {_PUSHED} ;;
  *imagetools*) echo {_BASE} ;;
esac
"""
_NOTES = '#!/bin/sh\necho "{} $*" >>"$ASKED"\n'
_CHANGES = """# Changelog

## [Unreleased]

## [1.2.3] - 2026-12-01

### Added

- A thing.

## [1.2.2] - 2026-11-01

- Another thing.
"""


class Releaser:
    """A copy of the release's scripts beside a changelog and a version, and what programs were asked."""

    def __init__(self, folder: Path) -> None:
        """Put the scripts and the files that they read into the folder."""
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        (folder / "scripts").symlink_to(ROOT / "scripts")
        (folder / "Dockerfile").symlink_to(ROOT / "Dockerfile")
        self.write("1.2.3", _CHANGES)
        self.gets("docker", _DOCKER)
        for program in ("cosign", "gh", "make"):
            self.gets(program, _NOTES.format(program))

    def write(self, version: str, changes: str) -> None:
        """Set the package's version and the changelog."""
        (self.folder / "pyproject.toml").write_text(f'[project]\nversion = "{version}"\n')
        (self.folder / "CHANGELOG.md").write_text(changes)

    def gets(self, name: str, script: str) -> None:
        """Put a program on the path."""
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def runs(self, script: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run one of the scripts."""
        environment = {"PATH": f"{self.bin}:{os.environ['PATH']}", "ASKED": str(self.folder / "asked")} | more
        command = [str(ROOT / "scripts" / script), *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    @property
    def asked(self) -> list[str]:
        """Return what was asked, a line each."""
        return (self.folder / "asked").read_text().splitlines()


@pytest.fixture
def releaser(tmp_path: Path) -> Releaser:
    """Return somebody who releases 1.2.3."""
    return Releaser(tmp_path)


def test_a_tag_releases_its_version(releaser: Releaser) -> None:
    """A tag must be the package's version, and the changelog must have a section of it with a day and words."""
    assert releaser.runs("release-check", "v1.2.3").returncode == 0
    for tag, changes, reason in (
        ("v1.2.4", _CHANGES, "the tag is v1.2.4, and pyproject.toml has 1.2.3"),
        ("v1.2.3", _CHANGES.replace("1.2.3", "1.3.0"), "no section of 1.2.3"),
        ("v1.2.3", _CHANGES.replace("[1.2.3] - 2026-12-01", "[1.2.3]"), "has no day"),
    ):
        releaser.write("1.2.3", changes)
        done = releaser.runs("release-check", tag)
        assert done.returncode == 1
        assert done.stderr.startswith("release-check: ")
        assert reason in done.stderr


def test_the_version_that_would_be_released_has_one_source() -> None:
    """The version that the scripts read from pyproject.toml is the package's."""
    found = subprocess.run([ROOT / "scripts" / "release-check", "v0"], cwd=ROOT, capture_output=True, check=False)
    assert f"pyproject.toml has {__version__}".encode() in found.stderr


def test_the_page_has_the_changelogs_words(releaser: Releaser) -> None:
    """The notes are the section of that version alone; a version with letters is a pre-release."""
    assert releaser.runs("release-notes", "1.2.3").stdout.split("\n") == ["", "### Added", "", "- A thing.", "", ""]
    (releaser.folder / "dist").mkdir()
    (releaser.folder / "dist" / "sbom.cdx.json").touch()
    for version, option in (("1.2.3", ""), ("1.3.0rc1", "--prerelease ")):
        assert releaser.runs("release-page", f"v{version}").returncode == 0
        assert releaser.asked[-1].startswith(
            f"gh release create v{version} --verify-tag --title {version} --notes-file "
        )
        assert releaser.asked[-1].endswith(f" {option}dist/sbom.cdx.json")


def test_an_image_is_built_of_a_base_that_cannot_change(releaser: Releaser) -> None:
    """The image of a release is built of the base's present digest, with where its sources are."""
    forge = {"GITHUB_SERVER_URL": "https://forge.example", "GITHUB_REPOSITORY": "A/B"}
    assert releaser.runs("release-image", "build", "ghcr.example/A/B", "v1.2.3", **forge).returncode == 0
    assert releaser.asked[-1] == (
        "make image sbom sbom-image provenance IMAGE=predictor:release IMAGE_ARGS=--build-arg "
        f"PYTHON_IMAGE=docker.io/library/python:3.13-slim-bookworm@{_BASE} --build-arg SOURCE=https://forge.example/A/B"
    )


def test_an_image_is_signed_by_its_digest(releaser: Releaser) -> None:
    """What was pushed is signed by its digest, and bills and provenance are bound to that; the workflow hears which."""
    told = releaser.folder / "output"
    done = releaser.runs("release-image", "push", "ghcr.example/A/B", "v1.2.3", GITHUB_OUTPUT=str(told))
    assert done.returncode == 0, done.stderr
    assert "docker push ghcr.example/a/b:1.2.3" in releaser.asked
    signed = [line for line in releaser.asked if line.startswith("cosign ")]
    assert signed[0] == f"cosign sign --yes ghcr.example/a/b@{_PUSHED}"
    assert [line.split(" --predicate ")[1] for line in signed[1:]] == [
        f"dist/{name}.json ghcr.example/a/b@{_PUSHED}" for name in ("sbom.cdx", "sbom-image.cdx", "provenance")
    ]
    assert told.read_text() == f"name=ghcr.example/a/b\ndigest={_PUSHED}\n"


def test_what_is_not_pushed_is_not_signed(releaser: Releaser) -> None:
    """A push that fails ends the release before anything is signed."""
    releaser.gets("docker", '#!/bin/sh\necho "docker $*" >>"$ASKED"\n[ "$1" != push ]\n')
    assert releaser.runs("release-image", "push", "ghcr.example/A/B", "v1.2.3").returncode != 0
    assert not [line for line in releaser.asked if line.startswith("cosign ")]
