"""Work in the background: a page of Loki is asked for while the one before it is read."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class Background(Generic[_T]):
    """Calls a function once, in a thread that keeps no process from its end."""

    def __init__(self, function: Callable[[], _T]) -> None:
        """Begin."""
        self._function = function
        self._result: _T
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self) -> _T:
        """Wait for what it returns, and return it; raises what it raises."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:  # noqa: BLE001 - raised again by who waits for it
            self._error = error
