"""Work in slices: a large body is decompressed and parsed piece by piece, so that others have their turn between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

T = TypeVar("T")
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

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


def by_callback(slices: Slices[T], check: Callable[[], None], done: Callable[[T | Exception], None]) -> None:
    """Do the same without a task: `done` is called with the result, or with what was raised.

    `check` is called before each slice, and ends the work by what it raises.
    """
    try:
        check()
        next(slices)
    except StopIteration as end:
        done(end.value)
    except Exception as error:  # noqa: BLE001 - `done` is told
        done(error)
    else:
        asyncio.get_running_loop().call_soon(by_callback, slices, check, done)
