"""Watch the server's memory under load while the Collector is down: `python -m bench.memory --minutes 10`.

Prints one line for each slice of load: resident set, file descriptors, outbox bytes, requests a second.
Needs disk: some 12 MB a second.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from bench import dialects, wrk
from bench.__main__ import choose_cores
from bench.pinned import BenchError, Pinned, free_port
from bench.programs import start
from bench.setting import Setting
from bench.variants import VARIANTS

_SLICE = 10  # s of load between two looks
_SAMPLE = b'{"data":[[6.7,3.0,5.2,2.3]]}'


def main() -> int:
    """Load the server and print what it holds; status 1 if it grew by more than a tenth after the first minute."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="of load (%(default)s)")
    parser.add_argument("--connections", type=int, default=32, help="(%(default)s)")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="memory-") as folder:
            resident = _watch(Path(folder), int(arguments.minutes * 60 / _SLICE), arguments.connections)
    except BenchError as error:
        print(f"memory: {error}", file=sys.stderr)
        return 1
    settled = resident[60 // _SLICE :] or resident
    growth = settled[-1] / settled[0]
    print(f"after the first minute: {min(settled)} to {max(settled)} KiB, last / first {growth:.3f}")
    return 0 if growth <= 1.1 else 1


def _watch(folder: Path, slices: int, connections: int) -> list[int]:
    cores, port, outbox = choose_cores(), free_port(), folder / "outbox"
    (variant,) = (variant for variant in VARIANTS if variant.name == "traced5")
    nobody = f"http://127.0.0.1:{free_port()}"
    command, environ = start(variant, port, folder, nobody)
    requests = dialects.questions(variant.dialect, Setting(1, 1), folder)
    server = Pinned("server", command, cores.server, environ, folder / "said.txt", folder)
    resident = []
    try:
        server.wait_for(f"http://127.0.0.1:{port}/predict", _SAMPLE)
        print("  s   resident KiB  descriptors  outbox MiB  requests/s")
        for number in range(1, slices + 1):
            load = wrk.run(f"http://127.0.0.1:{port}/predict", requests.file, connections, _SLICE, cores.load)
            resident.append(server.resident() >> 10)
            descriptors = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
            size = sum(path.stat().st_size for path in outbox.rglob("*.jsonl")) >> 20
            row = f"{number * _SLICE:4} {resident[-1]:13} {descriptors:12} {size:11} {load.rate:11.0f}"
            print(row, flush=True)
    finally:
        server.end()
    return resident


if __name__ == "__main__":
    sys.exit(main())
