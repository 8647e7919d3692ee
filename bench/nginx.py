"""nginx in front of a server, with upstream connections that are kept alive, as operators set it up."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from bench.pinned import BenchError, Pinned, free_port

if TYPE_CHECKING:
    from pathlib import Path

# Bodies of a benchmark fit its buffers, so that nothing is written to a file on the way.
# Kept connections end before the server's own time-out: a request on one that ends just then would be a 502.
_CONFIGURATION = """\
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    client_body_buffer_size 1m;
    keepalive_requests 1000000;
    upstream predictor {{
        server 127.0.0.1:{upstream};
        keepalive 256;
        keepalive_timeout 10s;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://predictor;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])


class NotInstalledError(BenchError):
    """A row cannot be measured on this machine; the others can."""


def command() -> str:
    """Return nginx's path; raises NotInstalledError with how to get it."""
    found = shutil.which("nginx", path=_PATH)
    if not found:
        msg = "not measured: nginx is not installed (`apt install nginx-light`)"
        raise NotInstalledError(msg)
    return found


def version() -> str:
    """Return nginx's name and version; raises NotInstalledError."""
    said = subprocess.run([command(), "-v"], capture_output=True, text=True, check=False).stderr
    found = re.search(r"nginx/\S+", said)
    return found[0].replace("/", " ") if found else "nginx"


def start(upstream: int, core: int, folder: Path) -> tuple[Pinned, str]:
    """Start nginx on `core` before the port `upstream` of 127.0.0.1; return it and its URL.

    It serves on a free port of 127.0.0.1 and writes below `folder`. Raises NotInstalledError.
    """
    port, place = free_port(), folder / "nginx"
    place.mkdir()
    configuration = place / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(upstream=upstream, port=port), encoding="utf-8")
    started = [command(), "-e", "stderr", "-p", f"{place}/", "-c", str(configuration)]
    return Pinned("nginx", started, core, os.environ, place / "output", place), f"http://127.0.0.1:{port}"
