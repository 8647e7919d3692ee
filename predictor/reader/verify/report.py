"""What `verify` finds: of each stream, and of the source as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from predictor.reader.verify.proof import Proof
from predictor.reader.verify.stream_state import size

if TYPE_CHECKING:
    from predictor.reader.verify.outbox_contents import Lack
    from predictor.reader.verify.stream_state import SequenceRange, State, Stream


@dataclass
class Verdict:
    """What is known of one stream."""

    stream: Stream
    state: State
    first: int
    """Numbers are judged from here on: 1, or the first that is kept, or the first in the window."""
    missing: list[SequenceRange] = field(default_factory=list)
    """Neither here nor declared lost."""
    beyond: bool = False
    """Whether there are numbers after the closing record."""
    refused: int = 0
    """How many of the missing the servers themselves say that the sink has refused for their content."""
    proof: Proof = field(default_factory=Proof)
    """What the digests of its checkpoints prove."""

    @property
    def unexplained(self) -> int:
        """How many numbers are missing for no reason that the log names."""
        return size(self.missing) - self.refused

    @property
    def sound(self) -> bool:
        """Whether everything is there or explained."""
        wrong = self.unexplained or self.stream.altered or self.proof.faults
        return not (wrong or self.beyond or self.state == "silent")


@dataclass
class VerifyReport:
    """What a source holds, stream by stream, and what is wrong with it as a whole."""

    verdicts: list[Verdict]
    twice: list[tuple[str, int | None]]
    """(job id, index) under more than one number."""
    damaged: list[str]
    """What could not be read."""
    lacks: list[Lack] = field(default_factory=list)
    """What the outbox has and the sink lacks; of an outbox itself, what lies in `rejected/`."""
    rejected_spans: int = 0
    """Spans in `rejected/`: no fault, since traces are a sample."""
    passed_over: list[str] = field(default_factory=list)
    """What lies beside it and was not read: no fault."""
    gone: list[str] = field(default_factory=list)
    """Streams that others name and that are not there, or not to their end, one sentence each."""
    of_outbox: bool = False
    """Whether an outbox was judged and not a sink."""

    @property
    def records(self) -> int:
        """How many different records were read."""
        return sum(verdict.stream.records for verdict in self.verdicts)

    @property
    def sound(self) -> bool:
        """Whether nothing is unexplained."""
        fine = all(verdict.sound for verdict in self.verdicts)
        return fine and not (self.twice or self.damaged or self.lacks or self.gone)
