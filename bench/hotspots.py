"""Where the server's processor time goes, by function: `python -m bench.hotspots`; needs py-spy (`pip install py-spy`).

Sampled while the interpreter's lock is held: C extensions and system calls under the lock count for the Python function
that called them; inference and writing to disk, which free the lock, do not show. The sampler stops the process for a
moment each time, so the microseconds are those of a run without it, divided in the sampled proportions.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from bench.__main__ import choose_cores
from bench.pinned import BenchError
from bench.running import Running
from bench.setting import Setting
from bench.sinks import Sinks
from bench.variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.variants import Variant

_RATE = 400  # samples a second
_ROWS = 45
_STOPS = 60.0  # s for py-spy to finish


def main() -> int:
    """Load one variant, sample it and print its functions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", choices=[v.name for v in VARIANTS if not v.peer], default="traced5")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rows", type=int, default=1, help="rows a request")
    parser.add_argument("--seconds", type=int, default=10)
    arguments = parser.parse_args()
    variant = next(v for v in VARIANTS if v.name == arguments.variant)
    sampler = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if sampler is None:
        print("hotspots: py-spy is not installed: `pip install py-spy`", file=sys.stderr)
        return 1
    try:
        with contextlib.ExitStack() as stack:
            setting = Setting(arguments.connections, arguments.rows)
            lines = _sampled(sampler, variant, setting, arguments.seconds, stack)
    except BenchError as error:
        print(f"hotspots: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def _sampled(
    sampler: str, variant: Variant, setting: Setting, seconds: int, stack: contextlib.ExitStack
) -> Sequence[str]:
    cores = choose_cores()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
    sinks = Sinks(folder, cores.load)
    stack.callback(sinks.end)
    server = Running(variant, folder, cores, sinks.of(variant))
    stack.callback(server.end)
    unsampled = server.measure(setting, seconds)
    stacks = folder / "stacks"
    command = [sampler, "record", "--gil", "--function", "--format", "raw", "--rate", str(_RATE)]
    command += ["--duration", str(max(1, seconds - 1)), "--pid", str(server.server.pid), "--output", str(stacks)]
    server.server.go_on()
    recording = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    server.measure(setting, seconds)
    _, said = recording.communicate(timeout=_STOPS)
    if recording.returncode or not stacks.exists():
        msg = f"py-spy failed: {said.decode(errors='replace')}"
        raise BenchError(msg)
    return list(_table(stacks.read_text().splitlines(), unsampled.cpu))


def _table(stacks: Sequence[str], microseconds: float) -> Iterator[str]:
    """Yield Markdown of the functions that took most, in microseconds a request."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    total = 0
    for line in stacks:
        text, _, number = line.rpartition(" ")
        samples = int(number)
        frames = text.split(";")
        total += samples
        own[frames[-1]] += samples
        for frame in set(frames):
            whole[frame] += samples
    each = microseconds / total
    yield f"{microseconds:.0f} µs of processor time a request, {total} samples"
    yield ""
    yield "| function | self µs | with what it calls µs |"
    yield "|---|---:|---:|"
    for frame, samples in own.most_common(_ROWS):
        yield f"| {frame} | {samples * each:.1f} | {whole[frame] * each:.1f} |"
    yield ""
    yield "| function | with what it calls µs | self µs |"
    yield "|---|---:|---:|"
    for frame, samples in whole.most_common(_ROWS):
        yield f"| {frame} | {samples * each:.1f} | {own[frame] * each:.1f} |"


if __name__ == "__main__":
    sys.exit(main())
