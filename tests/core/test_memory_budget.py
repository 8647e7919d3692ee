"""The budget of memory that all requests share."""

from __future__ import annotations

import pytest

from predictor.core.memory_budget import MemoryBudget
from predictor.core.problems import Kind, Problem


def test_no_more_than_there_is() -> None:
    """What fits is held, what does not changes nothing, and what is given back may be held again."""
    budget = MemoryBudget(100)
    assert budget.take(60)
    assert not budget.take(41)
    assert budget.take(40)
    budget.give(60)
    assert budget.used == 40
    assert budget.take(60)


def test_a_share_is_given_back() -> None:
    """A request's share grows up to what is left, refuses with 503 beyond it, and goes with the request."""
    budget = MemoryBudget(100)
    with budget.share() as share:
        share.grow(30)
        share.grow(70)
        with pytest.raises(Problem) as refused:
            share.grow(1)
        assert refused.value.kind is Kind.BODIES_FULL
        assert refused.value.retry_after
        share.resize(20)
        assert budget.used == 20
    assert budget.used == 0


def test_the_first_bytes_are_free() -> None:
    """A small body needs no room: it is held while others fill the budget, and only what it has more is charged."""
    budget = MemoryBudget(100)
    assert budget.take(100)
    with budget.share(free=10) as share:
        share.grow(10)
        assert not share.fit(11)
        budget.give(5)
        assert share.fit(15)
        assert budget.used == 100
        share.resize(3)
        assert budget.used == 95
    assert budget.used == 95
