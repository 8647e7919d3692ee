"""Which faults there are, and the order and the moments that a seed draws for them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


class Fault(Enum):
    """One kind of fault, by what the report calls it."""

    # Blows: over at once, and the supervisor starts anew what died.
    KILL_SERVER = "kill -9: the server"
    KILL_STARTING = "kill -9: the server, and the next one while it starts"
    KILL_WORKER = "kill -9: a gunicorn worker"
    KILL_MASTER = "kill -9: gunicorn's master"
    KILL_COLLECTOR = "kill -9: the Collector"
    KILL_LOKI = "kill -9: Loki"
    TERM_SERVER = "SIGTERM under load: the server"
    TERM_GUNICORN = "SIGTERM under load: gunicorn"
    POWER_CUT = "power cut"
    READ_ONLY = "file system made read-only, and everything ended"
    SEGMENT_REMOVED = "segment removed under its writer"
    FOLDER_REMOVED = "stream's folder removed under its writer"
    # What lasts for seconds, and may be met by a kill meanwhile.
    STOP_SERVER = "SIGSTOP: the server"
    STOP_WORKER = "SIGSTOP: a gunicorn worker"
    STOP_COLLECTOR = "SIGSTOP: the Collector"
    STOP_LOKI = "SIGSTOP: Loki"
    NO_THREADS = "no further threads for the server"
    DISK_FULL = "disk full"
    WRITE_NO_SPACE = "ENOSPC in the middle of a write"
    WRITE_EIO = "EIO in the middle of a write"
    WRITE_TORN = "EIO in the middle of a write, and at cutting it off again"
    SYNC_EIO = "EIO at fsync"
    CLOCK_BACK = "clock stepped back"
    SLOW = "Collector answers after 1.5 s"
    LATE = "Collector stores, and answers when nobody waits any more"
    BUSY = "Collector answers 429"
    UNAVAILABLE = "Collector answers 503"
    ONE_REFUSED = "Collector answers 400 for one record"
    ALL_REFUSED = "Collector answers 400 to everything"
    CUT = "Collector cuts the connection unread"
    CUT_STORED = "Collector stores, and cuts the connection"
    HALF = "Collector stores, and sends half an answer"


KILLS = (
    Fault.KILL_SERVER,
    Fault.KILL_WORKER,
    Fault.KILL_COLLECTOR,
    Fault.KILL_STARTING,
    Fault.KILL_MASTER,
    Fault.KILL_LOKI,
)
POWER = (Fault.POWER_CUT, Fault.READ_ONLY)
"""What takes a file system of the harness's own."""
_BLOWS = (Fault.TERM_SERVER, Fault.TERM_GUNICORN, *POWER, Fault.SEGMENT_REMOVED, Fault.FOLDER_REMOVED)
LASTING = tuple(fault for fault in Fault if fault not in KILLS + _BLOWS)
_LONGEST = 1.0  # s before each fault, so that it meets any state of the others
_LASTS = (0.5, 3.0)  # s; a gunicorn worker that is stopped for 30 would be killed by its master
_BACK = (1.0, 3600.0)  # s
_STARTS = 2.0  # s; a server needs about one to listen
_INSIDE = 3  # of so many kills one comes while something else lasts
_ROUND = 10  # kills, to which all other faults come once


@dataclass(frozen=True, slots=True)
class Step:
    """One fault, when it comes and for how long."""

    fault: Fault
    moment: float
    """Seconds after everything was well."""
    lasts: float = 0.0
    """Seconds, from the moment at which it has bitten; of a start, when it is killed; 0 for other faults."""
    meanwhile: Fault | None = None
    """A kill in the middle of it."""
    back: float = 0.0
    """Seconds by which the clock steps back."""

    def __str__(self) -> str:
        """Return it as progress shows it."""
        parts = [self.fault.value]
        if self.back:
            parts.append(f"by {self.back:.0f} s")
        if self.lasts:
            parts.append(f"for {self.lasts:.1f} s")
        if self.meanwhile:
            parts.append(f"and meanwhile {self.meanwhile.value}")
        return ", ".join(parts)


def plan(seed: int, kills: int, without: Collection[Fault] = ()) -> list[Step]:
    """Return the steps that a seed draws: that many kills, of every kind in turn, and the rest once for each ten.

    Every kind comes at least once, so `kills` below their number is that number; those in `without` do not come.
    """
    chance = random.Random(seed)
    kinds = [kill for kill in KILLS if kill not in without]
    deadly = [kinds[number % len(kinds)] for number in range(max(kills, len(kinds)))] if kinds else []
    chance.shuffle(deadly)
    rounds = max(1, kills // _ROUND)
    lasting = [fault for fault in LASTING if fault not in without] * rounds
    chance.shuffle(lasting)
    inside = deadly[: min(len(deadly) // _INSIDE, len(lasting))]
    steps = [
        *_lasting(lasting, inside, chance),
        *(_blow(fault, chance) for fault in deadly[len(inside) :]),
        *(_blow(fault, chance) for fault in _BLOWS * rounds if fault not in without),
    ]
    chance.shuffle(steps)
    return steps


def _blow(fault: Fault, chance: random.Random) -> Step:
    starting = chance.uniform(0.0, _STARTS) if fault is Fault.KILL_STARTING else 0.0
    return Step(fault, chance.uniform(0.0, _LONGEST), starting)


def _lasting(faults: list[Fault], inside: list[Fault], chance: random.Random) -> Iterator[Step]:
    for number, fault in enumerate(faults):
        yield Step(
            fault,
            chance.uniform(0.0, _LONGEST),
            chance.uniform(*_LASTS),
            inside[number] if number < len(inside) else None,
            chance.uniform(*_BACK) if fault is Fault.CLOCK_BACK else 0.0,
        )
