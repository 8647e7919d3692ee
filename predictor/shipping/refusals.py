"""Decides which refusals are believed: one may be about the record, or about the way to the sink.

A wrong port, a proxy or a setting of the sink answers 400 to everything.
So a refusal is believed only if another item of the same event is accepted after it, and the item itself is refused
again after that.
Many refusals are not believed at all: a sink whose clock or limits are wrong refuses some records and takes others.
Until it is believed the item stays first in line, and nothing of its stream passes it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from predictor import otlp
from predictor.outbox.layout import Cursor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from predictor.outbox.layout import Signal
    from predictor.shipping.flow_control import Backoff
    from predictor.shipping.otlp_http import Refused

MOST_BELIEVED = 10  # of the last RECENT items of a stream; more are an outage
RECENT = 1000
_AGAIN = 2  # refusals in a row that must follow the proof: a way that takes every second request passes one
_SHOWN = 1000  # characters of the sink's words on stderr and in /readyz


@dataclass(slots=True)
class Unproved:
    """A refused item that stays first in line, with what is known of it."""

    name: str
    event: str  # another item of this event is a proof; empty for a span or a damaged line: any item is one
    answer: Refused
    backoff: Backoff
    proved: bool = False  # another item was accepted after the refusal
    again: int = 0  # refusals since then
    probes: Iterator[bytes | None] | None = None  # items that are tried as its proof


class RefusalProof:
    """The refusals of one signal of one stream; used from the event loop's thread."""

    def __init__(self) -> None:
        """Begin without any."""
        self.unproved: Unproved | None = None
        self.retry_at = 0.0
        """When the first item in line is sent again, by the shipper's clock."""
        self._settled = 0
        self._believed: deque[int] = deque(maxlen=MOST_BELIEVED)  # at which count of settled items
        self._accepted_before = Cursor(0, 0)

    @property
    def too_many(self) -> bool:
        """Whether one more refusal would be too many, so that none is believed until the first item is accepted."""
        return len(self._believed) == MOST_BELIEVED and self._settled + 1 - self._believed[0] < RECENT

    def waits(self, now: float) -> bool:
        """Tell whether the first item in line is not to be sent yet."""
        return now < self.retry_at

    def refused(self, unproved: Unproved) -> Unproved:
        """Note that the first item in line was refused, and return what is known of it."""
        known = self.unproved
        if known is None or known.name != unproved.name:
            self.unproved = unproved
            return unproved
        known.answer = unproved.answer
        known.again += known.proved
        return known

    def believes(self, place: Cursor) -> bool:
        """Tell whether the refusal of the first item in line, which lies at `place`, is about the item."""
        if (place.segment, place.offset) < (self._accepted_before.segment, self._accepted_before.offset):
            return True
        return self.unproved is not None and self.unproved.again >= _AGAIN and not self.too_many

    def prove(self, signal: Signal, accepted: bytes) -> None:
        """Take note of a body that the sink has accepted from another place in line."""
        if self.unproved and not self.unproved.proved and otlp.event_mark(signal, self.unproved.event) in accepted:
            self.unproved.proved = True
            self.retry_at = 0.0

    def doubt(self) -> None:
        """Take the proof back: the way has failed since."""
        if self.unproved:
            self.unproved.proved, self.unproved.again = False, 0

    def accept(self, before: Cursor) -> bool:
        """Believe all refusals of items before that place, as the operator wants; False if no refusal waits."""
        if self.unproved is None:
            return False
        self._accepted_before = before
        self._believed.clear()
        self.retry_at = 0.0
        return True

    def passed(self, items: int) -> bool:
        """Count items that were accepted from the first in line on; True if a refusal waited until now."""
        if waited := self.unproved is not None:
            if self.too_many:
                self._believed.clear()
            self.unproved, self.retry_at = None, 0.0
        self._settled += items
        return waited

    def set_aside(self, place: Cursor) -> None:
        """Count the first item in line as refused and kept."""
        self._settled += 1
        if (place.segment, place.offset) >= (self._accepted_before.segment, self._accepted_before.offset):
            self._believed.append(self._settled)
        self.unproved, self.retry_at = None, 0.0

    def hurry(self, longest: float) -> None:
        """Try again now, and then after `longest` seconds at most."""
        self.retry_at = 0.0
        if self.unproved:
            self.unproved.backoff.reset()
            self.unproved.backoff.longest = longest
            self.unproved.probes = None  # a cancelled task may have left its thread in there


def event_of(signal: Signal, text: bytes) -> str:
    """Return the event of a lone record, empty for a span and for a line that is damaged."""
    if signal == "traces" or not otlp.well_formed(signal, text):
        return ""
    return otlp.last_event(text)


def reason(stream_id: str, unproved: Unproved, *, too_many: bool) -> str:
    """Return why a stream waits, in words that end with the sink's own."""
    answer = unproved.answer
    if too_many:
        why = (
            f"more than {MOST_BELIEVED} of the last {RECENT} records are refused, which counts as an outage until "
            f"the first of them is accepted or `predictor log rejected --accept` is given"
        )
    else:
        other = f"other record with the event {unproved.event}" if unproved.event else "other item"
        why = f"no {other} is accepted after it, so the way to the sink may be wrong"
    return f"{unproved.name} of stream {stream_id} is refused and waits: {why}; the sink's answer: {words(answer)}"


def words(answer: Refused) -> str:
    """Return status and words of an answer, without the middle if they are long: the reason often stands at the end."""
    said = answer.words
    if len(said) > _SHOWN:
        said = f"{said[: _SHOWN // 4]} … {said[-_SHOWN * 3 // 4 :]}"
    return f"{answer.status} {said}".rstrip()
