"""The real Tempo, configured as the overlays configure it, where TEMPO names its program: it has no Go module."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

from tests.stack.programs import Program
from tests.stack.rendered import pod
from tests.support.collector import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PATIENCE = 90.0  # s; a fresh trace takes 15-30 s to show in a search


class Tempo(Program):
    """One Tempo; `trace` and `of_job` wait until it has an answer, or for as long as it may take."""

    def __init__(self, program: Path, overlay: str, folder: Path) -> None:
        """Take the program and the overlay."""
        self._url = f"http://127.0.0.1:{(port := free_port())}"
        self.endpoint = f"http://127.0.0.1:{(otlp := free_port())}"
        """What TEMPO_ENDPOINT takes."""
        configured = pod(overlay, "tempo")
        environment = configured.environment(
            "tempo",
            TEMPO_ADDRESS="127.0.0.1",
            TEMPO_HTTP_PORT=str(port),
            TEMPO_GRPC_PORT=str(free_port()),
            TEMPO_OTLP_PORT=str(otlp),
            TEMPO_DATA=str(folder / "data"),
        )
        command: list[str | Path] = [program, *configured.lay_out(folder)]
        super().__init__("tempo", command, environment, folder, f"{self._url}/ready")

    def stop(self) -> None:
        """End it at once: once it has answered a query, 3.0.3 waits at its end for a queue that never goes."""
        self.kill()

    def trace(self, trace_id: str) -> set[str]:
        """Return the names of the spans of a trace."""

        def names() -> set[str]:
            found = self._get(f"/api/traces/{trace_id}")
            batches = found.get("batches", []) if found else []
            return {span["name"] for batch in batches for scope in batch["scopeSpans"] for span in scope["spans"]}

        return _wait(names)

    def of_job(self, job_id: str) -> set[str]:
        """Return the ids of the traces that have a span of this prediction job, as TraceQL finds them."""
        query = urllib.parse.urlencode({"q": f'{{ span.prediction.job_id = "{job_id}" }}'})

        def ids() -> set[str]:
            found = self._get(f"/api/search?{query}")
            return {each["traceID"].zfill(32) for each in found.get("traces", [])}  # leading zeros are dropped

        return _wait(ids)

    def _get(self, path: str) -> Any:  # noqa: ANN401 - parsed JSON
        try:
            with urllib.request.urlopen(self._url + path, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return {}
            raise


def _wait(ask: Callable[[], set[str]]) -> set[str]:
    end = time.monotonic() + _PATIENCE
    while not (found := ask()) and time.monotonic() < end:
        time.sleep(0.2)  # another program can only be asked again
    return found
