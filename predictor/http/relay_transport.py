"""A transport that hands on to another one; what `close` and reading mean is for each kind of it to say."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class RelayTransport(asyncio.Transport):
    """Hands on what its protocol writes and asks."""

    def __init__(self, transport: asyncio.Transport) -> None:
        """Take the transport of the connection."""
        super().__init__()
        self._transport = transport
        self._closing = False

    def abort(self) -> None:
        """Drop the connection."""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Tell whether nothing can be written."""
        return self._closing or self._transport.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write."""
        self._transport.write(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write one after the other."""
        self._transport.writelines(list_of_data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - asyncio's own
        """Return what the transport has."""
        return self._transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """Return the bytes that the caller has not taken."""
        return self._transport.get_write_buffer_size()
