"""What readers remember of numbers, against plain sets."""

from __future__ import annotations

import tracemalloc
from array import array
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from predictor.reader.sequence_sets import Fingerprints, NumberSet, Once, without

_FAR = 3 * 4096
_numbers = st.lists(st.integers(1, _FAR) | st.integers(4090, 4100), max_size=60)
_ranges = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)).map(lambda pair: (pair[0], sum(pair))), max_size=6)


def spread(ranges: list[tuple[int, int]]) -> list[int]:
    """Return the numbers in stretches, in the order in which they stand there."""
    return [number for first, last in ranges for number in range(first, last + 1)]


@given(_numbers, st.integers(1, _FAR), st.integers(1, _FAR))
def test_gaps(numbers: list[int], first: int, last: int) -> None:
    """The gaps are just the numbers between that were not seen, ascending, in stretches that do not touch."""
    seen = Fingerprints()
    for number in numbers:
        seen.add(number, number)
    gaps = list(seen.gaps(first, last))
    assert spread(gaps) == sorted(set(range(first, last + 1)) - set(numbers))
    assert spread(list(seen.ranges())) == sorted(set(numbers))
    assert all(end + 1 < begin for (_, end), (begin, _) in pairwise(gaps))
    assert all((number in seen) == (number in numbers) for number in range(first, min(last, first + 50)))


@given(st.lists(st.tuples(st.integers(1, _FAR), st.integers(0, 2**64 - 1)), max_size=60))
def test_first_fingerprint_stays(pairs: list[tuple[int, int]]) -> None:
    """A number keeps the fingerprint that it had first, also one of 0."""
    seen, plain = Fingerprints(), dict[int, int]()
    for number, fingerprint in pairs:
        assert seen.add(number, fingerprint) == plain.get(number, 0)
        plain.setdefault(number, fingerprint or 1)


_runs = st.lists(st.tuples(st.integers(1, _FAR), st.integers(1, 200) | st.integers(4000, 5000)), max_size=12)


@given(_runs, _numbers)
def test_runs(runs: list[tuple[int, int]], numbers: list[int]) -> None:
    """Numbers that follow one another are taken in at once if none was seen, and else none of them is."""
    seen, bits, plain = Fingerprints(), NumberSet(), dict[int, int]()
    for at, (first, count) in enumerate(runs):
        for number in numbers[5 * at : 5 * at + 5]:
            assert bits.add(number) == (number not in plain)
            assert seen.add(number, 7) == plain.get(number, 0)
            plain.setdefault(number, 7)
        every = range(first, first + count)
        new = plain.keys().isdisjoint(every)
        assert seen.add_all(first, array("Q", [number + 1 for number in every])) == new
        assert bits.add_all(first, first + count - 1) == new
        if new:
            plain |= {number: number + 1 for number in every}
    assert spread(list(seen.ranges())) == sorted(plain)
    assert all(seen.add(number, 9) == fingerprint for number, fingerprint in plain.items())
    assert all(number in bits for number in plain)


def test_a_fingerprint_of_nothing_is_taken_by_itself() -> None:
    """A fingerprint of 0 stands for a number that was not seen, so a run with one is not taken in at once."""
    seen = Fingerprints()
    assert not seen.add_all(5, array("Q", [1, 0, 3]))
    assert 5 not in seen


def test_numbers_far_apart_cost_little() -> None:
    """A hundred thousand forged numbers, each of a page of its own, take no page each: those would be 3 GB."""
    seen = Fingerprints()
    tracemalloc.start()
    for number in range(100_000):
        assert seen.add(number * 2**40 + 1, 5) == 0
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used < 100 << 20
    assert len(list(seen.ranges())) == 100_000


def test_runs_far_apart_cost_little() -> None:
    """Short runs that are taken in at once take no page each either, and are found again with their fingerprints."""
    seen = Fingerprints()
    tracemalloc.start()
    for number in range(20_000):
        assert seen.add_all(number * 2**40 + 1, array("Q", [5, 6]))
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used < 20 << 20
    assert not seen.add_all(2**40, array("Q", [7, 7]))
    assert (seen.add(2**40 + 1, 9), seen.add(2**40 + 2, 9), seen.add(2**40, 9)) == (5, 6, 0)
    assert len(list(seen.ranges())) == 20_000


@given(_ranges, _ranges)
def test_without(gaps: list[tuple[int, int]], declared: list[tuple[int, int]]) -> None:
    """What is declared is taken out of the gaps and nothing else, however the declared stretches overlap."""
    ordered = sorted(set(spread(gaps)))
    stretches = Fingerprints()
    for number in ordered:
        stretches.add(number, 1)
    left = without(stretches.ranges(), declared)
    assert spread(list(left)) == [number for number in ordered if number not in set(spread(declared))]


@given(_numbers)
def test_new_numbers(numbers: list[int]) -> None:
    """A number is new once."""
    seen, plain = NumberSet(), set[int]()
    for number in numbers:
        assert seen.add(number) == (number not in plain)
        plain.add(number)


@given(st.lists(st.integers(0, 40) | st.integers(2**64 - 9, 2**64 - 1)))
def test_twice(fingerprints: list[int]) -> None:
    """What came more than once is found, and nothing else."""
    once = Once()
    for fingerprint in fingerprints:
        once.add(fingerprint)
    assert once.twice() == {each for each in fingerprints if fingerprints.count(each) > 1}


def test_absurd_number_is_cheap() -> None:
    """A record with an enormous number costs a page of memory and not a list up to it."""
    seen = Fingerprints()
    seen.add(2**62, 1)
    assert list(seen.ranges()) == [(2**62, 2**62)]
