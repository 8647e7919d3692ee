"""What the digests of a stream prove: which records are as they were written, which are not, which nobody can tell."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from predictor.reader.sequence_sets import without
from predictor.recording import checkpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from predictor.reader.verify.digests import Checkpoint, SequenceRange, StreamDigests
    from predictor.reader.verify.keys import PublicKeys

_WRITTEN = "disk"
"""What is declared lost for this reason may have been written, and counted; for others it never was."""


class Proof(NamedTuple):
    """What is known of one stream by its digests."""

    proved: Sequence[SequenceRange] = ()
    """Records that are as they were written."""
    unproved: Sequence[tuple[int, int, str]] = ()
    """Records of which that cannot be told, and why."""
    faults: Sequence[str] = ()
    """What is not as it was written, one phrase each."""
    signed_by: Sequence[str] = ()
    """The keys that the checkpoints of what is proved name."""


def proof(
    stream: str,
    digests: StreamDigests,
    numbers: SequenceRange,
    why_absent: Callable[[int], str],
    tail: str,
    keys: PublicKeys | None = None,
) -> Proof:
    """Return what is proved of the records that were read of a stream, the first and the last of which are `numbers`.

    `why_absent` says of a number why its record is not there, `tail` why nothing follows the last checkpoint.
    """
    digests.try_again()
    every = [digests.checkpoints[number] for number in sorted(digests.checkpoints)]
    proved, settled, unknown, signed_by = [], [], [], set()
    faults = [f"the checkpoint of record {number} cannot be read" for number in digests.malformed]
    if every or keys:
        faults += [f"record {number} is not a checkpoint, and should be one" for number in digests.unsealed]
    for each in every:
        outcome = digests.outcomes[each.number]
        problem = keys.problem(each.key_id, each.digest, each.signature) if keys else None
        if outcome == "proved" and problem is None:
            proved.append((each.first, each.number))
            signed_by.add(each.key_id)
        elif outcome == "proved":  # anybody may have computed it
            unknown.append((each.first, each.number, f"record {each.number} {problem}"))
        elif outcome == "altered":
            faults.append(_altered(digests, each))
            settled.append((each.first, each.number))
        elif _contradicts(digests, each):
            faults.append(f"records are declared lost that the checkpoint of record {each.number} counts as written")
            settled.append((each.first, each.number))
        else:
            unknown.append((each.first, each.number, _why(digests, each, why_absent)))
        faults += _chained(stream, digests, each)
        if problem is not None:
            faults.append(f"record {each.number} {problem}")
    faults += _overcounted(digests, whole=numbers[0] == 1)
    rest = list(without(iter([numbers]), [*proved, *settled]))
    return Proof(_merged(proved), [*_unproved(rest, unknown, every, tail)], faults, sorted(signed_by - {""}))


def _altered(digests: StreamDigests, each: Checkpoint) -> str:
    about = f"records {each.first}-{each.number} are not as they were written"
    count, _ = digests.store.between(each.first, each.last)
    more = f": there are {count}, and {each.records} were written" if count > each.records else ""
    return f"{about}, by the digest of record {each.number}{more}"


def _contradicts(digests: StreamDigests, each: Checkpoint) -> bool:
    """Tell whether records are declared as never written of an interval that counts them."""
    never = [said.lost for said in digests.declared if said.reason != _WRITTEN]
    left = sum(last - first + 1 for first, last in without(iter([(each.first, each.last)]), never))
    return each.records > left


def _chained(stream: str, digests: StreamDigests, each: Checkpoint) -> Iterator[str]:
    """Yield that a checkpoint does not go on from the one before it."""
    before = digests.checkpoints.get(each.first)
    if each.first in digests.unsealed or (before and before.digest != each.previous):
        yield f"the checkpoint of record {each.number} does not go on from that of record {each.first}"
    elif each.first == 1 and not before and each.previous != checkpoints.beginning(stream):
        yield f"the checkpoint of record {each.number} does not go on from the beginning of the stream"


def _overcounted(digests: StreamDigests, *, whole: bool) -> Iterator[str]:
    """Yield that more was declared lost than the stream counted from one status to the next."""
    counted = [*([(0, 0)] if whole else []), *sorted(digests.counted)]
    for (after, before), (upto, now) in pairwise(counted):
        said = sum(d.lost[1] - d.lost[0] + 1 for d in digests.declared if after < d.number < upto)
        if said > now - before:
            yield f"{said} records are declared lost before record {upto}, which counts {now - before}"


def _why(digests: StreamDigests, each: Checkpoint, why_absent: Callable[[int], str]) -> str:
    if doubt := digests.doubt(each.first, each.number):
        return doubt
    if each.first <= digests.store.forgotten:
        return "too many records lie before their checkpoint"
    return why_absent(digests.store.absent(each.first, each.last))


def _unproved(
    rest: Sequence[SequenceRange],
    unknown: Sequence[tuple[int, int, str]],
    every: Sequence[Checkpoint],
    tail: str,
) -> Iterator[tuple[int, int, str]]:
    """Yield the stretches of what is left, by what is known of them."""
    end = every[-1].number if every else 0
    for first, last in rest:
        at = first
        for begin, upto, why in unknown:
            if begin > last or upto < at:
                continue
            if begin > at:
                yield at, begin - 1, "their checkpoint is not there"
            yield max(begin, at), min(upto, last), why
            at = min(upto, last) + 1
        if at <= last:
            if at > end:
                yield at, last, tail
            else:
                yield at, min(last, end), "their checkpoint is not there"


def _merged(ranges: Sequence[SequenceRange]) -> list[SequenceRange]:
    found: list[SequenceRange] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found
