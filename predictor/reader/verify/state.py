"""What a run of `verify --state FILE` leaves for the next one: until when it looked, and where each stream stood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from predictor.outbox.layout import open_regular, replace_file
from predictor.reader.sources.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class StreamThen(msgspec.Struct, frozen=True):
    """One stream that had not ended."""

    last: _Count
    """Its greatest number."""
    spoke: _Count
    """When its newest record was written, Unix nanoseconds."""
    settled: bool
    """Whether that is a status without a backlog."""
    rejected: _Count
    """How many records it had said to be refused."""
    told: bool
    """Whether a run has said that it ended without a word."""
    sealed: _Count = 0
    """The number of its last checkpoint that was read, 0 if there is none."""
    sealed_ns: _Count = 0
    """When that was written, Unix nanoseconds: what follows it is read once more, since it has no digest yet."""


class VerifyState(msgspec.Struct, frozen=True):
    """The whole file."""

    source: str
    selector: str
    until: _Count
    """When the run began, Unix nanoseconds: the next window begins here."""
    streams: dict[str, StreamThen] = {}
    version: int = 1


def load(path: Path, source: str, selector: str, now_ns: int) -> VerifyState | None:
    """Return the state that the last run left, None if there is no file.

    Raises SourceError for a file that is none, is of another source or selector, or of a time after `now_ns`; OSError
    if it cannot be read.
    """
    try:
        with open_regular(path) as file:
            content = file.read()
    except FileNotFoundError:
        return None
    place = f"--state {path}"
    try:
        state = msgspec.json.decode(content, type=VerifyState)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise SourceError(place, f"it holds no state of `verify`: {error}; wanted one, or no such file") from error
    if (state.version, state.source, state.selector) != (1, source, selector):
        raise SourceError(
            place, f"it is of {state.source} with {state.selector}, version {state.version}; wanted one file a source"
        )
    if state.until > now_ns:
        raise SourceError(place, "it says that a run looked until a time that is yet to come; wanted an older one")
    return state


def store(path: Path, state: VerifyState) -> None:
    """Replace the file so that a crash leaves the old or the new one; raises OSError."""
    replace_file(path, msgspec.json.format(msgspec.json.encode(state), indent=1) + b"\n")
