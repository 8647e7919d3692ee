"""The type of a verb of `predictor log`, and the arguments that it gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    from predictor.config.otel_env import Export
    from predictor.reader.output import Output
    from predictor.reader.sources.source import Source
    from predictor.reader.time_range import TimeRange

FINE, FOUND, FAILED = 0, 1, 2
"""Exit statuses: all is well; what was asked for is not so, or not there; the question could not be answered."""


@dataclass(frozen=True)
class Asked:
    """What the command line says, the common part of it understood."""

    options: argparse.Namespace
    source: Source
    window: TimeRange
    output: Output


class Verb(NamedTuple):
    """One verb: its sentence in the help, its own options, its work, which returns the exit status."""

    sentence: str
    options: Callable[[argparse.ArgumentParser], object]
    run: Callable[[Asked], int]
    ends: bool = True
    """Whether there is an end: what follows the log has no `--until`."""
    place: bool = False
    """Whether the source may stand alone, without `--from`: nothing else stands there."""
    lists: bool = False
    """Whether the result is a table whose columns can be chosen."""


@dataclass(frozen=True)
class AskedOutbox:
    """What the command line says to a verb that looks after an outbox."""

    options: argparse.Namespace
    outbox: Path
    output: Output
    export: Callable[[], Export]
    """Returns where signals go, by the environment; raises SettingsError."""


class OutboxVerb(NamedTuple):
    """A verb that looks after an outbox and reads no log: `--outbox` and `--stream` instead of source and window."""

    sentence: str
    options: Callable[[argparse.ArgumentParser], object]
    run: Callable[[AskedOutbox], int]
    lists: bool = False
