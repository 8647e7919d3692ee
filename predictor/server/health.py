"""Readiness: whether traffic should come, and the details that an operator would ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from predictor.api.catalog import Catalog
    from predictor.server.log_service import LogService

_LEAST = 5.0
"""Seconds without a batch that ends, although there is work, before that is a reason: a short deadline is none."""


class Health:
    """What the probes and the admission of predictions ask."""

    def __init__(self, log_service: LogService | None, catalog: Catalog, *, refuses: bool, deadline: float) -> None:
        """Be ready: it is made when the models are loaded and the outbox is open."""
        self.terminating = False
        """SIGTERM came: no new traffic should be sent here, what comes is still answered."""
        self._log_service = log_service
        self._refuses = refuses
        self._catalog = catalog
        # In the first deadline a model may just be slow, though nobody was answered in time; nor was in the second.
        self._longest = max(2 * deadline, _LEAST)

    def unready(self) -> str | None:
        """Return why no traffic should come, or None."""
        if self.terminating:
            return "shutting down"
        if self._log_service and self._refuses and (reason := self._log_service.outbox.full):
            return f"the outbox refuses: {reason}"
        if self._catalog.default is None:
            return self._catalog.unknown(None, None).detail
        if (seconds := self._stalled()) > self._longest:
            return f"nothing moves: requests wait, and no batch has ended for {seconds:.0f} s"
        return None

    def _stalled(self) -> float:
        """Return for how many seconds a model has had work while none of its batches ended."""
        return max(version.pipeline.stalled() for version in self._catalog.versions())

    def details(self) -> dict[str, object]:
        """Return the state of the log and of its shipping."""
        models = [str(version) for version in self._catalog.versions()]
        if self._log_service is None:
            return {"log": "off", "models": models}
        book, counters = self._log_service, self._log_service.counters
        return {
            "stream": book.stream.stream_id,
            "records": book.stream.sequence,
            "lost": book.stream.lost,
            "outbox_bytes": book.usage.used,
            "backlog_bytes": book.backlog_bytes(),
            "shipped": counters["logs"].shipped,
            "rejected": counters["logs"].refused,
            "outbox_problem": book.problem,
            "models": models,
            "shipping_problem": counters["logs"].problem or counters["traces"].problem,
        }
