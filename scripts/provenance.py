#!/usr/bin/env python3
"""Prints what an image is made of, as the predicate of an SLSA provenance (https://slsa.dev/spec/v1.0/provenance).

    python3 scripts/provenance.py [THE BUILDER'S ARGUMENTS, of which --build-arg NAME=VALUE counts]

`cosign attest --type slsaprovenance1` binds it to the image's digest. Exit status 1 if the sources are not those of a
commit, since then nobody could make the image again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_BASE = re.compile(r"^ARG PYTHON_IMAGE=(\S+)$", re.MULTILINE)
_DIGEST = re.compile(r"(?P<name>[^@]+)@sha256:(?P<digest>[0-9a-f]{64})")
_LOCKS = ("requirements/runtime.txt", "requirements/pip.txt")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=True)  # noqa: S603, S607
    return done.stdout.strip()


def predicate(arguments: dict[str, str], revision: str, source: str) -> dict[str, object]:
    """Return the predicate: build arguments, the commit, the base image and the locks with their digests."""
    default = _BASE.search((_ROOT / "Dockerfile").read_text(encoding="utf-8"))
    base = arguments.get("PYTHON_IMAGE") or (default[1] if default else "")
    materials: list[dict[str, object]] = [{"uri": f"git+{source}", "digest": {"gitCommit": revision}}]
    pinned = _DIGEST.fullmatch(base)
    materials.append({"uri": f"docker://{base}"} | ({"digest": {"sha256": pinned["digest"]}} if pinned else {}))
    for lock in _LOCKS:
        digest = hashlib.sha256((_ROOT / lock).read_bytes()).hexdigest()
        materials.append({"name": lock, "digest": {"sha256": digest}})
    return {
        "buildDefinition": {
            "buildType": "https://docs.docker.com/reference/dockerfile",
            "externalParameters": {"dockerfile": "Dockerfile", "buildArguments": arguments},
            "resolvedDependencies": materials,
        },
        "runDetails": {"builder": {"id": f"git+{source}@{revision}#scripts/image"}},
    }


def main() -> int:
    """Print the predicate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    given, _ = parser.parse_known_args()
    if changed := _git("status", "--porcelain", "--untracked-files=no"):
        print(f"provenance: no commit has these sources:\n{changed}", file=sys.stderr)  # noqa: T201 - a script
        return 1
    arguments = dict(pair.partition("=")[::2] for pair in given.build_arg)
    said = predicate(arguments, _git("rev-parse", "HEAD"), arguments.get("SOURCE", "unknown"))
    print(json.dumps(said, indent=2))  # noqa: T201 - its purpose
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
