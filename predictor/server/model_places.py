"""What is known of a place where a model version lies: what is served from there, what was tried in vain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from predictor.inference.model_name import name_of

if TYPE_CHECKING:
    from predictor.api.catalog import ServedVersion
    from predictor.inference.repository import Fingerprint, Source


@dataclass(eq=False)
class ModelPlace:
    """What is known of a place where a version lies."""

    source: Source
    tried: Fingerprint
    """Of the files that were last loaded, or found broken."""
    seen: Fingerprint | None = ()
    """What the last poll saw and did not load yet; None: nothing was there."""
    served: ServedVersion | None = None
    known: str | None = None
    """The model's name by the last version that was served from here."""
    reason: str | None = None
    """Why the files that lie there are not what is served."""
    unloaded: bool = False
    """Somebody asked that it be not served."""

    @property
    def name(self) -> str:
        """The model's name, as far as it is known."""
        return self.known or self.source.name or name_of(self.source.path.stem)


class IndexEntry(NamedTuple):
    """A version in the repository, as the protocol's index lists it."""

    name: str
    version: str
    ready: bool
    reason: str
    """Why it is not served, or why newer files of it are not."""


def entry_of(place: ModelPlace) -> IndexEntry:
    """Return a place as the index lists it."""
    version = place.served.version if place.served else place.source.version or ""
    reason = "unloaded" if place.unloaded else place.reason or ""
    return IndexEntry(place.name, version, place.served is not None, reason)
