"""Links into Grafana: the URL that shows one prediction on the dashboard `trace` of otel/grafana."""

from __future__ import annotations

from urllib.parse import urlencode

_AROUND_MS = 15 * 60_000
"""What is shown before and after: a caller's trace may have begun earlier, feedback come later."""


def link(url: str, trace_id: str, job_id: str, time_ns: int) -> str:
    """Return where the Grafana at `url` shows a job's records and its trace; ids that were read may be anything."""
    about = time_ns // 1_000_000
    asked = {
        "var-trace_id": trace_id,
        "var-job_id": job_id,
        "from": about - _AROUND_MS,
        "to": about + _AROUND_MS,
    }
    return f"{url.rstrip('/')}/d/trace?{urlencode(asked)}"
