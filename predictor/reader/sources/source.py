"""The protocol of a source of records, and the choice of one: outbox, OTLP JSON-lines files, Loki."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from predictor.config import urls
from predictor.outbox.layout import LAYOUT
from predictor.reader.sources.errors import SourceError
from predictor.reader.sources.files import Files
from predictor.reader.sources.loki import Loki
from predictor.reader.sources.outbox import OutboxSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from predictor.reader.record import Entry, LaterSchema
    from predictor.reader.sources.backwards import Part
    from predictor.reader.time_range import TimeRange

_T = TypeVar("_T")


class Source(Protocol):
    """One place that holds records."""

    @property
    def name(self) -> str:
        """The name for a person: the path or the URL."""

    @property
    def damaged(self) -> list[str]:
        """What could not be read so far, one sentence each."""

    @property
    def passed_over(self) -> list[str]:
        """What lies there and was not read so far, one sentence each."""

    @property
    def later(self) -> Mapping[str, LaterSchema]:
        """The first record of a later schema version that was found so far of each stream that has some."""

    @property
    def fraction(self) -> float:
        """How much of the present reading is done, about: 0 to 1."""

    @property
    def oldest(self) -> int | None:
        """From when on it is looked at if nobody says, Unix nanoseconds; None: from its beginning."""

    def read(self, window: TimeRange, exactly: Mapping[str, str] | None = None) -> Iterator[Entry]:
        """Yield the records of a window, copies included, each stream in about the order of its numbers.

        `exactly` names text attributes and their values: a source may leave out other records, and need not.
        Raises SourceError if the place cannot be read.
        """

    def mapped(self, function: Callable[[Iterable[Entry]], _T], window: TimeRange) -> Iterator[_T]:
        """Yield what a function makes of the records of a window, some at a time, in the order in which `read` does.

        It takes all of them, one after another.
        It may be called in other processes: what it is, and what it returns, can be pickled. Raises SourceError, and
        whatever the function raises.
        """

    def of(self, streams: AbstractSet[str], window: TimeRange) -> Iterator[Entry]:
        """Yield the records of these streams in a window; raises SourceError."""

    def recent(self, window: TimeRange) -> Iterator[TimeRange]:
        """Yield parts of a window, the newest first: who wants the newest records may stop after any of them."""

    def backwards(self, window: TimeRange) -> Iterator[Iterator[Part]]:
        """Yield places of their own, each as the parts of its records in a window, those that were written last first.

        Who has enough records that are not older than a part's `before` may leave the place there. Raises SourceError.
        """

    def follow(self, window: TimeRange) -> Iterator[Entry | None]:
        """Yield what `read` does and then what comes, without end; None each time that there is nothing new for now."""

    def kept_from(self, stream: str) -> int:
        """Return the number from which on a stream must be here: what was shipped, say, leaves the outbox."""

    def writes(self, stream: str) -> bool | None:
        """Tell whether a process still has the stream; None if this source cannot know."""


@dataclass(frozen=True)
class Access:
    """How to be let in, for a source that asks."""

    tenant: str | None = None
    """Loki's X-Scope-OrgID."""
    token: str | None = field(default=None, repr=False)
    """Sent as a bearer token."""
    selector: str = '{service_name="predictor"}'
    """Loki's stream selector."""


def source(where: str, access: Access | None = None) -> Source:
    """Return the source that `where` names: a URL of Loki, an outbox folder, a file or a folder of files.

    Raises SourceError if there is nothing of the kind.
    """
    access = access or Access()
    if where.startswith(("http://", "https://")):
        place = "the URL of Loki"  # stderr must not repeat a password
        if not urls.usable(where):
            raise SourceError(place, "it is not a usable URL; wanted one such as http://127.0.0.1:3100")
        if urls.has_userinfo(where):
            raise SourceError(place, "it holds a user or a password; wanted --token-file instead")
        return Loki(where, tenant=access.tenant, token=access.token, selector=access.selector)
    path = Path(where).expanduser()
    if (path / LAYOUT).is_dir():
        return OutboxSource(path)
    return Files(path)
