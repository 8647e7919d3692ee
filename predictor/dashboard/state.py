"""The state of the server and of its log, as the page shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from predictor.dashboard.recent import Problems

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from predictor.core.problems import Kind
    from predictor.dashboard.recent import Percentiles


class LogState(msgspec.Struct):
    """Where the records of this process are."""

    records: int
    lost: int
    rejected: int
    backlog_bytes: int
    sink: bool
    """Whether records are shipped at all."""
    accepted: float | None
    """When the sink last took a record, Unix seconds."""
    problem: str | None
    """Why the sink takes nothing."""
    outbox_problem: str | None
    full: str | None
    """Why the outbox takes no record."""


class State(msgspec.Struct):
    """What the page shows beside predictions; it says nothing of them."""

    refusing: str | None
    """Why predictions are refused at this moment, None if they are not."""
    problems: dict[str, int]
    """Calls of the last five minutes that were answered with a problem, by its word."""
    log: LogState | None
    """None: the log is off."""
    latency: Percentiles | None = None
    """Of the answered predictions of the last five minutes."""


class ServerState:
    """Reads the state of a server when a page wants to show it."""

    def __init__(
        self,
        unready: Callable[[], str | None],
        refusals: Mapping[Kind, int],
        log: Callable[[], LogState | None],
    ) -> None:
        """Take what tells why the server is not ready, the counters of refused calls, and what reads the log."""
        self._unready, self._log = unready, log
        self.problems = Problems(refusals)

    def read(self) -> State:
        """Return the state at this moment."""
        self.problems.look()
        reason = self._unready()
        if reason is None and (words := self.problems.refusing()):
            reason = f"calls were refused within the last ten seconds: {', '.join(words)}"
        return State(reason, self.problems.recent(), self._log())
