"""Asks a server by Triton's client over HTTP: `with_tritonclient.py URL FILE CALLERS SECONDS`; JSON at the end.

FILE has requests as `bench/dialects.py` writes them; each caller sends them in turn, and the next one when he has his
answer, as perf_analyzer does.
"""
# mypy: disable-error-code="import-not-found,import-untyped,misc"
# The package is in the client's own environment.

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import json  # noqa: E402 - behind the patch
import statistics  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
import numpy as np  # noqa: E402
import tritonclient.http as triton  # noqa: E402

_PATIENCE = 20.0  # s; a slow answer is one


def requests(file: Path) -> list[tuple[list[Any], bool]]:
    """Return inputs as the client wants them, and whether their data is binary."""
    found, content, at = [], file.read_bytes(), 0
    while at < len(content):
        end = content.index(b"\n", at)
        line, at = content[at:end], end + 1
        binary = b""
        if not line.startswith(b"{"):
            length, size = map(int, line.split())
            line, binary = content[at : at + length], content[at + length : at + length + size]
            at += length + size + 1
        inputs = []
        for each in json.loads(line)["inputs"]:
            one = triton.InferInput(each["name"], each["shape"], each["datatype"])
            data = np.frombuffer(binary, "<f4") if binary else np.array(each["data"], np.float32)
            one.set_data_from_numpy(data.reshape(each["shape"]), binary_data=bool(binary))
            inputs.append(one)
        found.append((inputs, bool(binary)))
    return found


def main(url: str, file: str, callers: int, seconds: float) -> None:
    """Load and print what was seen."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    model = path.split("/")[2]
    asked = requests(Path(file))
    client = triton.InferenceServerClient(host, concurrency=callers, network_timeout=_PATIENCE, ssl=scheme == "https")
    outputs = [triton.InferRequestedOutput(each["name"], binary_data=asked[0][1]) for each in outputs_of(client, model)]
    times: list[float] = []
    until = time.perf_counter() + seconds

    def call(turn: int) -> None:
        while (began := time.perf_counter()) < until:
            client.infer(model, asked[turn % len(asked)][0], outputs=outputs)
            times.append(time.perf_counter() - began)
            turn += 1

    began = time.perf_counter()
    gevent.joinall([gevent.spawn(call, turn) for turn in range(callers)], raise_error=True)
    took = time.perf_counter() - began
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    seen = {"requests": len(times), "microseconds": round(took * 1e6), "p50": cuts[49] * 1e6, "p99": cuts[98] * 1e6}
    print(json.dumps(seen | {"unanswered": 0, "refused": 0}))


def outputs_of(client: Any, model: str) -> list[dict[str, Any]]:  # noqa: ANN401 - the package has no types
    """Return what the model has: a client that names no outputs gets them in a form of the server's choice."""
    metadata: dict[str, Any] = client.get_model_metadata(model)
    found: list[dict[str, Any]] = metadata["outputs"]
    return found


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
