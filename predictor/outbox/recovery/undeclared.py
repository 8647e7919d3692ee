"""Stores losses that a process could not declare before it ended, for the next start to declare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from predictor.outbox.layout import open_regular, replace_file

if TYPE_CHECKING:
    from predictor.outbox.layout import StreamFiles

UndeclaredRange = tuple[int, int, str]
"""First and last number, and the reason."""
_BYTES = 1 << 20  # as much of it is read; a range has 40


class Undeclared(msgspec.Struct, frozen=True):
    """The last number that the process has given to a record, written or lost, and the lost ones that it never said."""

    sequence: int = 0
    lost: list[UndeclaredRange] = []


def leave(files: StreamFiles, left: Undeclared) -> None:
    """Write it whole and durably; raises OSError."""
    replace_file(files.undeclared, msgspec.json.encode(left))


def undeclared(files: StreamFiles) -> Undeclared:
    """Return what was left, nothing if there is nothing that can be read."""
    try:
        with open_regular(files.undeclared) as file:
            return msgspec.json.decode(file.read(_BYTES), type=Undeclared)
    except (OSError, msgspec.MsgspecError):
        return Undeclared()
