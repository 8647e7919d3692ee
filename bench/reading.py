"""How long the log readers take, and how much memory: `python -m bench.reading --records 1000000`.

Writes an outbox of so many predictions of iris by the server's own encoder (0.9 KB each, eight a line, every tenth line
twice), then runs `predictor log` on it and prints seconds and the peak of resident memory of each verb.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from predictor import otlp
from predictor.core.ids import uuid7
from predictor.core.result import Origin, Prediction
from predictor.recording.encoder import RecordEncoder, numbered
from predictor.recording.record_schema import Schema
from predictor.recording.stream_events import closed, opened

_FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
_IRIS = Schema("iris@1", _FEATURES, ("setosa", "versicolor", "virginica"))
_MODEL = {"name": "iris", "version": "1", "digest": "sha256:" + "ab" * 32}
_LINE = 8
_SEGMENT = 64 << 20


def write(root: Path, records: int) -> int:
    """Write the outbox and return its bytes."""
    now, draw, encoder = time.time_ns() - 3600 * 10**9, random.Random(1), RecordEncoder(_IRIS)
    stream = uuid7(now)
    scope = {f"prediction.model.{key}": value for key, value in _MODEL.items()}
    scope |= {"prediction.schema_version": 1, "prediction.stream.id": stream}  # type: ignore[dict-item]
    head = otlp.head("logs", {"resource": {"attributes": []}}, otlp.scope_json("predictor", "1", scope))
    folder = root / "v1" / stream / "logs"
    folder.mkdir(parents=True)
    segment, size, total, sequence = 1, 0, 0, 1
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
        if size > _SEGMENT:
            file.close()
            segment, total, size = segment + 1, total + size, 0
            file = (folder / f"{segment:08d}.jsonl").open("wb")
    file.write(otlp.line(head, [numbered(sequence + 1, closed(stream, now))]))
    file.close()
    return total + size


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


def measure(*arguments: str) -> None:
    """Run a verb and print what it took."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "predictor", "log", *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    words = " ".join(Path(each).name if "/" in each else each for each in arguments[:2])
    print(f"{words:28} {seconds:7.1f} s  {used.ru_maxrss / 1024:6.0f} MB peak  exit status {process.returncode}")


def main() -> None:
    """Measure every verb that reads all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    records = parser.parse_args().records
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = write(folder / "outbox", records)
        print(f"{records} predictions, {size / 1e6:.0f} MB with copies")
        where = ("--from", str(folder / "outbox"))
        measure("verify", "--json", *where)
        measure("list", "--json", *where)
        for ending in ("parquet", "csv", "jsonl"):
            measure("export", str(folder / f"out.{ending}"), *where)


if __name__ == "__main__":
    main()
