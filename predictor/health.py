"""Whether traffic should come, and what an operator would ask next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from predictor.logbook import Logbook


class Health:
    """What the probes and the admission of predictions ask."""

    def __init__(self, logbook: Logbook | None, *, refuses: bool) -> None:
        """Be ready: it is made when the models are loaded and the outbox is open."""
        self.terminating = False
        """SIGTERM came: no new traffic should be sent here, what comes is still answered."""
        self._logbook = logbook
        self._refuses = refuses

    def unready(self) -> str | None:
        """Return why no traffic should come, or None."""
        if self.terminating:
            return "shutting down"
        if self._logbook and self._refuses and (reason := self._logbook.outbox.full):
            return f"the outbox refuses: {reason}"
        return None

    def details(self) -> dict[str, object]:
        """Return the state of the log and of its shipping."""
        if self._logbook is None:
            return {"log": "off"}
        book, counters = self._logbook, self._logbook.counters
        return {
            "stream": book.stream.stream_id,
            "records": book.stream.sequence,
            "lost": book.stream.lost,
            "outbox_bytes": book.usage.used,
            "backlog_bytes": book.backlog_bytes(),
            "shipped": counters["logs"].shipped,
            "rejected": counters["logs"].refused,
            "shipping_problem": counters["logs"].problem or counters["traces"].problem,
        }
