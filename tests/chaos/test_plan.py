"""What a seed draws for `make chaos`."""

from __future__ import annotations

from collections import Counter

import pytest

from chaos.plan import KILLS, LASTING, Fault, Step, plan


def struck(steps: list[Step]) -> Counter[Fault]:
    """Count the faults of some steps, those that come in the middle of another included."""
    return Counter([step.fault for step in steps] + [step.meanwhile for step in steps if step.meanwhile])


@pytest.mark.parametrize("seed", range(5))
def test_every_kind_comes(seed: int) -> None:
    """The shortest run has each kind of fault at least once, and some kill while another fault lasts."""
    steps = plan(seed, 0)
    assert set(struck(steps)) == set(Fault)
    assert any(step.meanwhile for step in steps)


@pytest.mark.parametrize("kills", [20, 100])
def test_kills_are_as_many_as_asked_for(kills: int) -> None:
    """`--kills` is the number of kills, spread over their kinds; all other faults come once for each ten."""
    found = struck(plan(1, kills))
    counts = [found[kill] for kill in KILLS]
    assert sum(counts) == kills
    assert max(counts) - min(counts) <= 1
    assert {found[fault] for fault in Fault if fault not in KILLS} == {kills // 10}


def test_a_seed_is_a_plan() -> None:
    """The same seed draws the same steps with the same moments, another seed others."""
    assert plan(7, 30) == plan(7, 30)
    assert plan(7, 30) != plan(8, 30)


def test_what_cannot_be_had_does_not_come() -> None:
    """Where there is no Loki, nothing strikes it, alone or meanwhile, and the number of kills is the same."""
    found = struck(plan(3, 50, {Fault.KILL_LOKI, Fault.STOP_LOKI}))
    assert found[Fault.KILL_LOKI] == found[Fault.STOP_LOKI] == 0
    assert sum(found[kill] for kill in KILLS) == 50
    assert [step.fault for step in plan(3, 1, set(Fault) - {Fault.BUSY})] == [Fault.BUSY]
    assert plan(3, 9, set(Fault)) == []


def test_what_lasts_lasts() -> None:
    """A fault that lasts has its seconds, and a clock that steps back has its distance."""
    for step in plan(1, 100):
        assert bool(step.lasts) >= (step.fault in LASTING)
        assert bool(step.back) == (step.fault is Fault.CLOCK_BACK)
        assert step.meanwhile is None or (step.fault in LASTING and step.meanwhile in KILLS)
