"""The part `where`: what a request's processor time goes to, by the parts of the server; needs py-spy.

Threads are told apart by the kernel's own clock of each. The loop's time is divided as py-spy's samples of whoever
holds the interpreter's lock fall on the server's folders; system calls under the lock count for who made them.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from bench.pinned import BenchError
from bench.protocol import VARIANTS as PROTOCOL
from bench.report.store import Step, Way
from bench.running import Running
from bench.setting import Setting
from bench.sinks import Sinks
from bench.variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.running import Cores

WAYS = (
    ("traced5", Setting(32, 1)),
    ("traced5", Setting(1, 1)),
    ("traced5", Setting(32, 256)),
    ("per-request", Setting(32, 256)),
    ("v2-traced5", Setting(8, 1, "image-5ms", "binary")),
    ("v2-traced5", Setting(8, 1, "image-20ms", "binary")),
)
_STEPS = (
    ("predictor/http/", "HTTP: heads, bodies, answers, sockets"),
    ("predictor/api/", "decoding and validating, encoding answers"),
    ("predictor/tracing/", "ids, the sample, spans"),
    ("predictor/serving/", "jobs, batches, the hand-over to the pool"),
    ("predictor/inference/", "arrays to and from the model"),
    ("predictor/recording/canonical", "digests of records"),
    ("predictor/recording/checkpoints", "digests of records"),
    ("predictor/recording/", "encoding and numbering records"),
    ("predictor/otlp/", "lines of the outbox"),
    ("predictor/outbox/", "lines of the outbox"),
    ("predictor/shipping/", "shipping"),
    ("predictor/dashboard/", "the page's last predictions"),
    ("predictor/", "the rest of the server"),
    ("aiohttp/", "aiohttp, for what the fast lane leaves to it and for shipping"),
)
"""What a frame belongs to, by the beginning of its file: the innermost that is the server's own decides."""
_LOOP = "the event loop and what it calls in the kernel"
_POOL = "threads of the pool: the model, and what records have of tensors"
_OTHERS = "other threads: syncing the disk, reading what is shipped"
_RATE = 1000  # samples a second
_WARM_UP = 2  # s
_PATIENCE = 60.0  # s for py-spy to finish
_FRAME = re.compile(r"\(((?:predictor|aiohttp)/[^:)]*)")
_THREAD = re.compile(r'^Thread (\d+) \(\w+(?:\+\w+)*\): "([^"]*)"', re.MULTILINE)


def run(cores: Cores, seconds: int, say: Callable[[str], None]) -> list[Way]:
    """Return where the time goes in each setting; raises BenchError if py-spy is not there or fails."""
    sampler = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if sampler is None:
        msg = "py-spy is not installed: `pip install py-spy`"
        raise BenchError(msg)
    found = []
    for name, setting in WAYS:
        (variant,) = (each for each in (*VARIANTS, *PROTOCOL) if each.name == name)
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            sinks = Sinks(folder, cores.load)
            stack.callback(sinks.end)
            server = Running(variant, folder, cores, sinks.of(variant))
            stack.callback(server.end)
            server.check(setting)
            server.load(setting, _WARM_UP)
            found.append(_way(server, setting, seconds, sampler, folder))
        say(f"{name}  {setting.title}  {found[-1].whole:.0f} µs a request")
    return found


def _way(server: Running, setting: Setting, seconds: int, sampler: str, folder: Path) -> Way:
    pid = server.server.pid
    server.server.go_on()
    before = _threads(pid)
    load = server.load(setting, seconds)
    after, names = _threads(pid), _names(sampler, pid)
    spent: Counter[str] = Counter()
    for thread, nanoseconds in after.items():
        name = "loop" if thread == pid else "pool" if names.get(thread, "").startswith("inference") else "others"
        spent[name] += nanoseconds - before.get(thread, 0)
    each = {name: total / 1000 / load.requests for name, total in spent.items()}
    stacks = folder / "stacks"
    command = [sampler, "record", "--gil", "--format", "raw", "--rate", str(_RATE), "--duration", str(seconds)]
    recording = subprocess.Popen(
        [*command, "--pid", str(pid), "--output", str(stacks)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    server.load(setting, seconds + 1)
    _, said = recording.communicate(timeout=_PATIENCE)
    if recording.returncode or not stacks.exists():
        msg = f"py-spy failed: {said.decode(errors='replace')}"
        raise BenchError(msg)
    samples = steps_of(stacks.read_text(encoding="utf-8").splitlines())
    loop = each.get("loop", 0.0) / max(1, samples.total())
    steps = [Step(name, round(count * loop, 1)) for name, count in samples.most_common()]
    steps += [Step(_POOL, round(each.get("pool", 0.0), 1)), Step(_OTHERS, round(each.get("others", 0.0), 1))]
    steps.sort(key=lambda step: -step.microseconds)
    return Way(server.variant.name, setting, round(sum(each.values()), 1), steps)


def steps_of(stacks: Iterable[str]) -> Counter[str]:
    """Return how many samples of the loop fell on each step; each line has frames, outermost first, and a number."""
    found: Counter[str] = Counter()
    for line in stacks:
        text, _, number = line.rpartition(" ")
        if "(concurrent/futures/thread.py" in text.partition(";")[0] or "Thread._bootstrap" in text:
            continue  # threads of the pool, and others
        files = _FRAME.findall(text)
        own = [file for file in files if file.startswith("predictor/") and not file.startswith("predictor/__main__")]
        inner = [file for file in own if not file.startswith("predictor/server/lifecycle")]
        file = (inner or [each for each in files if each.startswith("aiohttp/")] or [""])[-1]
        name = next((step for beginning, step in _STEPS if file.startswith(beginning)), _LOOP) if file else _LOOP
        found[name] += int(number)
    return found


def _threads(pid: int) -> dict[int, int]:
    """Return the processor time of each thread in nanoseconds."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found[int(task.name)] = int((task / "schedstat").read_text(encoding="ascii").split()[0])
    return found


def _names(sampler: str, pid: int) -> dict[int, str]:
    """Return the names of the threads."""
    done = subprocess.run([sampler, "dump", "--pid", str(pid)], capture_output=True, text=True, check=False)
    return {int(thread): name for thread, name in _THREAD.findall(done.stdout)}
