"""How long the log readers take, and how much memory: `python -m bench.reading --records 1000000`.

Writes an outbox of so many predictions of iris by the server's own encoder (1.6 KB each, eight a line, every tenth line
twice), then runs `predictor log` on it and prints for each verb records a second, by the clock and by processor time,
and the most memory that all of its processes had at once.
Beside them jq and duckdb, where they are, read the numbers of all records of the same files: duckdb on one thread,
from the environment that `scripts/analytics duckdb` makes.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.report.store import Reading
from predictor import otlp
from predictor.core.ids import uuid7
from predictor.core.result import Origin, Prediction
from predictor.recording.encoder import RecordEncoder, numbered
from predictor.recording.record_schema import Schema
from predictor.recording.stream_events import closed, opened

if TYPE_CHECKING:
    from collections.abc import Callable

_FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
_IRIS = Schema("iris@1", _FEATURES, ("setosa", "versicolor", "virginica"))
_MODEL = {"name": "iris", "version": "1", "digest": "sha256:" + "ab" * 32}
_LINE = 8
_SEGMENT = 64 << 20
_SAMPLE = 0.25  # s: to look costs some milliseconds


def write(root: Path, records: int) -> tuple[int, int]:
    """Write the outbox and return its bytes, and how many records it has with copies."""
    now, draw, encoder = time.time_ns() - 3600 * 10**9, random.Random(1), RecordEncoder(_IRIS)
    stream = uuid7(now)
    scope = {f"prediction.model.{key}": value for key, value in _MODEL.items()}
    scope |= {"prediction.schema_version": 1, "prediction.stream.id": stream}  # type: ignore[dict-item]
    head = otlp.head("logs", {"resource": {"attributes": []}}, otlp.scope_json("predictor", "1", scope))
    folder = root / "v1" / stream / "logs"
    folder.mkdir(parents=True)
    segment, size, total, sequence, written = 1, 0, 0, 1, 2
    file = (folder / "00000001.jsonl").open("wb")
    file.write(otlp.line(head, [numbered(1, opened(stream, now))]))
    for at in range(0, records, _LINE):
        now += 1_000_000
        batch = [_prediction(draw, now, index) for index in range(min(_LINE, records - at))]
        rests = encoder.encode(batch, now + 500_000)
        line = otlp.line(head, [numbered(sequence + 1 + offset, rest) for offset, rest in enumerate(rests)])
        sequence += len(batch)
        for _ in range(2 if at // _LINE % 10 == 0 else 1):
            size += file.write(line)
            written += len(batch)
        if size > _SEGMENT:
            file.close()
            segment, total, size = segment + 1, total + size, 0
            file = (folder / f"{segment:08d}.jsonl").open("wb")
    file.write(otlp.line(head, [numbered(sequence + 1, closed(stream, now))]))
    file.close()
    return total + size, written


def _prediction(draw: random.Random, now: int, index: int) -> Prediction:
    first = draw.random()
    second = draw.random() * (1 - first)
    output = [first, second, 1 - first - second]
    return Prediction(
        job_id=uuid7(now),
        origin=Origin(trace_id=f"{now:032x}", span_id=f"{now:016x}", route="/predict", received_ns=now, received=0.0),
        index=index,
        features=tuple(round(draw.uniform(0, 8), 1) for _ in _FEATURES),
        probabilities=output,
        label=output.index(max(output)),
        outlier=False,
        score=draw.random(),
        queue=0.0001,
        inference=0.0002,
        total=0.001,
        batch_size=_LINE,
    )


_SEQUENCE = "prediction.stream.sequence"
_JQ = f'[.resourceLogs[].scopeLogs[].logRecords[].attributes[] | select(.key == "{_SEQUENCE}")] | length'
_DUCKDB = """
import duckdb, sys
duckdb.sql("SET threads = 1")
query = (
    "SELECT count(*), max(CAST(record.attributes[1].value.intValue AS BIGINT)) "
    "FROM (SELECT unnest(scoped.logRecords) AS record FROM (SELECT unnest(data.scopeLogs) AS scoped "
    "FROM (SELECT unnest(resourceLogs) AS data FROM read_ndjson($files, sample_size = 1000))))"
)
print(duckdb.execute(query, dict(files=sys.argv[1])).fetchone())
"""
_PYTHON = Path(__file__).parent.parent / ".cache" / "venv-duckdb" / "bin" / "python"


def measure(name: str, records: int, command: list[str], say: Callable[[str], None] = print) -> Reading:
    """Run a command and say what it took, its own processes included."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    ended, sizes = threading.Event(), [0]

    def look() -> None:
        while not ended.wait(_SAMPLE):
            sizes.append(resident(process.pid))

    looking = threading.Thread(target=look)
    looking.start()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    ended.set()
    looking.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    processor = used.ru_utime + used.ru_stime
    rates = f"{records / seconds:8,.0f} records/s, {records / processor:8,.0f} a second of processor time"
    took = f"{seconds:5.1f} s, {processor:5.1f} s of processors"
    say(f"{name:18} {rates} ({took}), {max(sizes) >> 20:4} MB, exit status {process.returncode}")
    return Reading(name, records, seconds, processor, max(sizes))


def resident(process: int) -> int:
    """Return the bytes in memory of a process and its children, what they share counted once."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
        mine = int(text.partition("Pss:")[2].split()[0]) << 10
        children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
    except (OSError, IndexError):  # it has ended
        return 0
    return mine + sum(map(resident, map(int, children)))


def run(asked: int, say: Callable[[str], None] = print) -> list[Reading]:
    """Measure every verb that reads all, and what else can."""
    found: list[Reading] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size, records = write(folder / "outbox", asked)
        files = [str(path) for path in sorted((folder / "outbox").glob("v1/*/logs/*.jsonl"))]
        say(f"{records} records with copies, {size / 1e6:.0f} MB")

        def predictor(verb: str, *arguments: str) -> None:
            where = ("--from", str(folder / "outbox"))
            command = [sys.executable, "-m", "predictor", "log", verb, *arguments, *where]
            name = " ".join(Path(each).name for each in (verb, *arguments))
            found.append(measure(name, records if verb != "list" else 0, command, say))

        predictor("verify")
        for ending in ("parquet", "csv", "jsonl"):
            predictor("export", str(folder / f"out.{ending}"))
        predictor("list")
        if shutil.which("jq"):
            found.append(measure("jq, the numbers alone", records, ["jq", _JQ, *files], say))
        if _PYTHON.exists():
            command = [str(_PYTHON), "-c", _DUCKDB, str(Path(files[0]).with_name("*.jsonl"))]
            found.append(measure("duckdb, the numbers alone", records, command, say))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000, help="(default: %(default)s)")
    run(parser.parse_args().records)


if __name__ == "__main__":
    main()
