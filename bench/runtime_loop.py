"""ONNX Runtime alone in a loop: `runtime_loop.py FILE SECONDS`; prints one line of JSON as wrk.py has it.

The measure of what a server adds: no socket, no decoding, no log, one thread, always the same image in memory.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import onnxruntime as ort

from bench import image_models

_WARM_UP = 3


def main(file: str, seconds: float) -> None:
    """Run and print."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    given = {image_models.INPUT: image_models.images(1)}
    for _ in range(_WARM_UP):
        session.run(None, given)
    times: list[float] = []
    cpu, began = time.process_time(), time.perf_counter()
    last = began
    while last - began < seconds:
        session.run(None, given)
        now = time.perf_counter()
        times.append(now - last)
        last = now
    took, used = last - began, time.process_time() - cpu
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    seen = {"requests": len(times), "microseconds": round(took * 1e6), "p50": cuts[49] * 1e6, "p99": cuts[98] * 1e6}
    print(json.dumps(seen | {"unanswered": 0, "refused": 0, "cpu": used / len(times) * 1e6}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
