"""The part `protocol`: the Open Inference Protocol V2, JSON, binary and gRPC, with rows and images, beside its peers.

Another form of the protocol is a word of `setting.Form` and a line in `SETTINGS`; another server a line in `VARIANTS`.
"""

from __future__ import annotations

from functools import partial

from bench.environments import AGENT_VERSION, version
from bench.open_inference import OpenInference
from bench.setting import IMAGES, Setting
from bench.variants import TRACED_5, Variant

OFF = "v2-off"
LOOP = "runtime"
_server = partial(Variant, repository=True, dialect=OpenInference())

VARIANTS = (
    _server(OFF, "logging off", environ={"PREDICTOR_LOG": "off"}, records="none"),
    _server("v2-traced5", "shipped, 5 % traced", environ=TRACED_5, sink="up", traced=0.05),
    _server(
        "v2-per-request",
        "shipped, 5 % traced, a record a request",
        environ=TRACED_5,
        sink="up",
        traced=0.05,
        per_request=True,
        models=("iris",),  # records of tensors are so in any case
    ),
    _server("v2-kserve", f"KServe {version('kserve')}", "kserve", records="none"),
    _server(
        "v2-kserve-agent",
        f"KServe {version('kserve')}, its agent {AGENT_VERSION} logs payloads",
        "kserve-agent",
        records="events",
        sink="up",
        lacks={"grpc": "its agent is a proxy of HTTP"},
    ),
    _server(
        "v2-mlserver",
        f"MLServer {version('mlserver')}, has no log",
        "mlserver",
        records="none",
        lacks={"binary": "has not the binary tensor data extension: status 422"},
    ),
    Variant(LOOP, "ONNX Runtime alone in a loop", "runtime", records="none", models=IMAGES),
)

SETTINGS = (
    *(Setting(32, rows, form=form) for rows in (1, 256) for form in ("json", "binary")),
    Setting(8, 1, "image-5ms", "json"),
    *(Setting(8, 1, model, "binary") for model in IMAGES),
    Setting(16, 1, form="binary", client="tritonclient"),
    Setting(8, 1, "image-5ms", "binary", "tritonclient"),
    *(Setting(32, rows, form="grpc", client="tritonclient") for rows in (1, 256)),
    Setting(8, 1, "image-5ms", "grpc", "tritonclient"),
)
