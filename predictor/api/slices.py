"""Work in slices: a large body is decompressed and parsed piece by piece, so that others have their turn between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

T = TypeVar("T")
if TYPE_CHECKING:
    from collections.abc import Generator

    Slices = Generator[None, None, T]
    """Work that yields whenever others may have their turn, and returns its result."""


def at_once(slices: Slices[T]) -> T:
    """Do the work without a pause, and return its result."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            result: T = end.value
            return result


async def in_turns(slices: Slices[T]) -> T:
    """Do work slice by slice, so that others have their turn between."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)
