#!/usr/bin/env python3
"""Prints the Debian packages of an image as a bill of materials (CycloneDX 1.6), from what its dpkg says of them.

    scripts/image-packages IMAGE | python3 scripts/image_packages.py IMAGE

Each line that comes in is a package: its name, version, architecture, and the name and version of its source, with tabs
between them. Exit status 1 if there is none: then the image is not Debian's, or could not be asked.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

_FIELDS = 5


def bill(image: str, lines: Iterable[str]) -> dict[str, object]:
    """Return the bill of an image with these packages, in the order of their names: the same for the same image."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": image, "bom-ref": "image"}},
        "components": sorted((_component(line) for line in lines if line.strip()), key=lambda each: str(each["purl"])),
    }


def _component(line: str) -> dict[str, object]:
    fields = line.rstrip("\n").split("\t")
    if len(fields) != _FIELDS:
        msg = f"{line!r} has {len(fields)} fields, wanted {_FIELDS}"
        raise ValueError(msg)
    name, version, architecture, source, source_version = fields
    # https://github.com/package-url/purl-spec: a scanner looks the source up, whose name is not always the package's
    purl = f"pkg:deb/debian/{quote(name, safe='+')}@{quote(version, safe=':+~')}?arch={architecture}"
    purl += f"&upstream={quote(f'{source}@{source_version}', safe='+~')}"
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def main() -> int:
    """Print the bill of the image that is named."""
    found = bill(sys.argv[1], sys.stdin)
    if not found["components"]:
        print(f"{sys.argv[1]}: no package of Debian's was found", file=sys.stderr)  # noqa: T201 - a script
        return 1
    print(json.dumps(found, indent=2, sort_keys=True))  # noqa: T201 - a script
    return 0


if __name__ == "__main__":
    sys.exit(main())
