"""What is measured: a bare handler, the server with more and more switched on, the usual wiring, and peers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from bench import dialects, wrk
from bench.environments import AGENT_VERSION, ROOT, version
from bench.open_inference import OpenInference

if TYPE_CHECKING:
    from pathlib import Path

    from bench.dialects import Dialect
    from bench.setting import Form, Setting

__all__ = ["BARE", "OFF", "ROOT", "TRACED_5", "VARIANTS", "Variant"]

BARE = "bare"
OFF = "off"
Program = Literal[
    "bare", "runtime", "predictor", "obvious", "kserve", "kserve-agent", "mlserver", "litserve", "bentoml"
]


@dataclass(frozen=True, slots=True)
class Variant:
    """One server to measure: its name on the command line, how the page calls it, and what its log must show."""

    name: str
    title: str
    program: Program = "predictor"
    environ: dict[str, str] = field(default_factory=dict)
    records: Literal["none", "otlp", "lines", "events"] = "otlp"
    """How its log of predictions is written: not at all, OTLP, lines of JSON in a file, CloudEvents to a URL."""
    sink: Literal["", "up", "down", "slow"] = ""
    """What it ships to, if it does: slow answers after a second."""
    traced: float = 0.0
    """Share of the requests that must have spans."""
    alone: bool = False
    """Measured only in the part where servers run one after the other."""
    dialect: Dialect = dialects.OURS
    load: wrk.Kind = ""
    """What differs from one request to the next, besides the rows."""
    nginx: bool = False
    """Asked through nginx."""
    lane: Literal["", "on", "off"] = ""
    """Whether the fast lane must answer its predictions; empty: nobody counts."""
    repository: bool = False
    """Serves models of images too, not iris alone."""
    per_request: bool = False
    """Has a record for the rows of a request together, not one for each."""
    models: tuple[str, ...] = ()
    """The models that it is measured with; empty: every one."""
    lacks: dict[Form, str] = field(default_factory=dict)
    """What it answers to a form that it has not, in place of figures."""
    beside: str = ""
    """The variant that it is but for one thing; such a row is in the part `connections` only."""
    tree: Path = ROOT
    """The checkout whose server it is."""

    @property
    def ours(self) -> bool:
        """Tell whether every acknowledged prediction must have its record; elsewhere the missing are reported."""
        return self.program in {"bare", "predictor", "runtime"}

    def answers(self, setting: Setting) -> bool:
        """Tell whether it is measured in a setting."""
        return self.has_row(setting) and setting.form not in self.lacks

    def has_row(self, setting: Setting) -> bool:
        """Tell whether it stands in the table of a setting: with figures, or with why it has none."""
        return not self.models or setting.model in self.models

    @property
    def peer(self) -> str:
        """Return the package whose environment it needs, or nothing."""
        name = self.program.partition("-")[0]
        return name if name in {"kserve", "mlserver", "litserve", "bentoml"} else ""


_NO_TRACES = {"OTEL_TRACES_EXPORTER": "none"}
TRACED_5 = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.05"}
_OBVIOUS_5 = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.05"}
_ALL = {"OTEL_TRACES_SAMPLER": "always_on"}
_LANE_OFF = {"PREDICTOR_FAST_LANE": "off"}


def _like_traced5(
    name: str,
    title: str,
    lane: Literal["on", "off"] = "on",
    load: wrk.Kind = "",
    *,
    nginx: bool = False,
) -> Variant:
    environ = TRACED_5 | (_LANE_OFF if lane == "off" else {})
    return Variant(
        *(name, f"5 % traced, {title}"),
        environ=environ,
        sink="up",
        traced=0.05,
        load=load,
        nginx=nginx,
        lane=lane,
        beside="traced5",
    )


VARIANTS = (
    Variant(BARE, "bare aiohttp", "bare", records="none"),
    Variant(OFF, "logging off", environ={"PREDICTOR_LOG": "off"}, records="none"),
    Variant("on", "logging on, kept on disk"),
    Variant("shipped", "+ shipped to a Collector", environ=_NO_TRACES, sink="up"),
    Variant("traced5", "+ 5 % traced", environ=TRACED_5, sink="up", traced=0.05),
    Variant(
        "per-request",
        "5 % traced, a record a request",
        environ=TRACED_5,
        sink="up",
        traced=0.05,
        per_request=True,
    ),
    _like_traced5("lane-off", "fast lane off", lane="off"),
    _like_traced5("heads", "each request its own `traceparent`", load="traceparent"),
    _like_traced5("odd", "one request in 100 a `GET /livez`", load="livez"),
    _like_traced5("nginx", "one in 100 a `GET /livez`, through nginx", load="livez", nginx=True),
    Variant("traced100", "+ 100 % traced", environ=_ALL, sink="up", traced=1.0),
    Variant("down", "shipped, Collector down", environ=_NO_TRACES, sink="down"),
    Variant("slow", "shipped, Collector slow", environ=_NO_TRACES, sink="slow"),
    Variant("obvious5", "usual wiring, 5 % traced", "obvious", _OBVIOUS_5, sink="up"),
    Variant("obvious", "usual wiring, 100 % traced", "obvious", _ALL, sink="up"),
    Variant("obvious-down", "usual wiring, Collector down", "obvious", _ALL, sink="down", alone=True),
    Variant("obvious-slow", "usual wiring, Collector slow", "obvious", _ALL, sink="slow", alone=True),
    Variant("kserve", f"KServe {version('kserve')}", "kserve", records="none", dialect=dialects.V1),
    Variant(
        "kserve-agent",
        f"KServe {version('kserve')}, its agent {AGENT_VERSION} logs payloads",
        "kserve-agent",
        records="events",
        sink="up",
        dialect=dialects.V1,
    ),
    *(
        Variant(
            f"kserve-agent-{state}",
            f"KServe {version('kserve')}, its agent's sink {state}",
            "kserve-agent",
            records="events",
            sink=state,
            alone=True,  # two agents cannot run side by side: each listens on the same abstract socket
            dialect=dialects.V1,
        )
        for state in ("down", "slow")
    ),
    Variant(
        "mlserver", f"MLServer {version('mlserver')}, has no log", "mlserver", records="none", dialect=OpenInference()
    ),
    Variant("litserve", f"LitServe {version('litserve')}, Logger", "litserve", records="lines", dialect=dialects.DATA),
    Variant("bentoml", f"BentoML {version('bentoml')}, monitor", "bentoml", records="lines", dialect=dialects.DATA),
)
