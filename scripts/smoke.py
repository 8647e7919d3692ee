#!/usr/bin/env python3
"""Do what a newcomer does: `make run` from the project's folder, each command of its first pages, then a polite end.

Needs nothing but the standard library, make and curl, and leaves no process behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

PAGES = ("README.md", "docs/quickstart.md")
LEAST = 10
"""Commands of these pages: a changed format must not silence them."""
PATIENCE = 300  # seconds for the first `make run`, which may have to install
ROW = [[6.7, 3.0, 5.2, 2.3]]
TYPED = re.compile(r"^((?:curl|\.venv/bin/predictor) .*)$", re.MULTILINE)
"""Their commands toward a server and its log; the others need a Collector, a cluster or minutes."""


def main() -> None:
    """Start the server, ask it, end it; raises for whatever is not as promised."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    with tempfile.TemporaryDirectory() as folder:
        outbox = Path(folder, "outbox")
        settings = {"PREDICTOR_PORT": str(port), "PREDICTOR_OUTBOX": str(outbox)}
        make = subprocess.Popen(["make", "run"], env=os.environ | settings)  # noqa: S607
        try:
            wait_until_live(url, make)
            answer = ask(f"{url}/predict", {"data": ROW})
            lines = [line for page in PAGES for line in TYPED.findall(Path(page).read_text(encoding="utf-8"))]
            for line in lines:
                run_typed(line.replace("http://127.0.0.1:8000", url), settings)
            (server,) = children(make.pid)
            os.kill(server, signal.SIGTERM)  # not make, which would report the signal instead of the exit status
            status = make.wait(60)
        finally:
            if make.poll() is None:
                kill_tree(make.pid)
                make.wait()
        logged = b"".join(path.read_bytes() for path in outbox.rglob("logs/*.jsonl"))
    check(status == 0, f"make run ended with status {status} after SIGTERM")
    check(len(answer["prediction"]) > 0, f"no prediction in {answer}")
    check(answer["job_id"].encode() in logged, f"job {answer['job_id']} is not in the log")
    check(len(lines) >= LEAST, f"only {len(lines)} commands were found in {PAGES}")
    print(f"smoke: {len(lines)} commands of README and quick start work, {answer} is in the log")  # noqa: T201


def run_typed(line: str, settings: dict[str, str]) -> None:
    """Run a command as a shell does; ends with a sentence if it fails or says nothing."""
    done = subprocess.run(line, shell=True, env=os.environ | settings, capture_output=True, timeout=60, check=False)  # noqa: S602
    said = (done.stdout + done.stderr).decode(errors="replace")
    check(done.returncode == 0 and bool(said), f"{line} ended with status {done.returncode}: {said}")


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until_live(url: str, make: subprocess.Popen[bytes]) -> None:
    """Return when the server answers; raises if it ended or took too long."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            ask(f"{url}/livez")
        except OSError:
            check(make.poll() is None, f"make run ended with status {make.returncode}")
            check(time.monotonic() < give_up, f"the server did not answer within {PATIENCE} s")
            time.sleep(0.1)
        else:
            return


def ask(url: str, body: object = None) -> dict[str, Any]:
    """Return the JSON answer; raises OSError if there is none or it is an error."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - http, above
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        text = response.read()
    return json.loads(text) if body is not None else {}


def children(pid: int) -> list[int]:
    """Return the processes that `pid` started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # has ended meanwhile
        if int(after_name[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def kill_tree(pid: int) -> None:
    """Kill a process and all that it started."""
    for child in children(pid):
        kill_tree(child)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def check(promise: bool, otherwise: str) -> None:  # noqa: FBT001 - reads like assert, and -O keeps it
    """End with a sentence when a promise is not kept."""
    if not promise:
        sys.exit(f"smoke: {otherwise}")


if __name__ == "__main__":
    main()
