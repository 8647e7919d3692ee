"""Records of a later schema version: they are named once a stream, and what they say is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from predictor.reader.record import LaterSchema


class _Named(Protocol):
    damaged: list[str]
    later: dict[str, LaterSchema]

    @property
    def name(self) -> str: ...


def add_later(source: _Named, record: LaterSchema) -> None:
    """Take in what a source found: a sentence for each stream and version, and its least number."""
    sentence = f"{source.name}: {record}"
    if sentence not in source.damaged:
        source.damaged.append(sentence)
    known = source.later.get(record.stream)
    if known is None or record.number < known.number:
        source.later[record.stream] = record
