"""Certificates as a site with a CA of its own has them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.support import external_programs

if TYPE_CHECKING:
    from pathlib import Path


def make_certificates(folder: Path) -> None:
    """Make a CA and a certificate for 127.0.0.1, as a site with a CA of its own does."""
    ca = "-subj /CN=test-ca -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign"
    leaf = "-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=IP:127.0.0.1"
    server = f"-subj /CN=sink {leaf} -CA ca.pem -CAkey ca.key"
    external_programs.on_path("openssl")
    new = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    for name, options in (("ca", ca), ("server", server), ("other", ca)):
        command = f"{new} -keyout {name}.key -out {name}.pem {options}"
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
