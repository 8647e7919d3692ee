"""Requests of the fast lane whose bodies have not come whole: their deadlines, and the model versions they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from predictor.serving.deadlines import Deadlines

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from predictor.api.dataplane import RequestContext

C = TypeVar("C", bound="Hashable")


class WaitingBodies(Generic[C]):
    """Calls `expire` with each connection whose body is late; a version that is replaced waits for those in here."""

    def __init__(self, expire: Callable[[C], None]) -> None:
        """Hold none yet."""
        self._deadlines: Deadlines[C] = Deadlines(expire)
        self._contexts: dict[C, RequestContext] = {}

    def add(self, connection: C, context: RequestContext) -> None:
        """Wait for the body of the request that a connection has begun."""
        self._deadlines.add(connection, context.deadline)
        self._contexts[connection] = context
        if context.served:
            context.served.hold()

    def arrived(self, connection: C) -> None:
        """Wait no longer for a body that has come, and hold its version until `discard`: it is decoded in slices."""
        self._deadlines.discard(connection)

    def discard(self, connection: C) -> None:
        """Wait no longer, whatever became of the body."""
        self._deadlines.discard(connection)
        context = self._contexts.pop(connection, None)
        if context and context.served:
            context.served.release()
