"""The bounds on how often something is done a second."""

from __future__ import annotations

import pytest

from predictor.core.rate_limit import TokenBucket


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        """Begin anywhere."""
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now


def test_burst_then_rate() -> None:
    """A full bucket gives its burst at once, then tokens as they come, and says when there will be enough."""
    clock = Clock()
    bucket = TokenBucket(10, 20, clock)
    assert bucket.take(20) == 0
    assert bucket.take(5) == pytest.approx(0.5)
    clock.now += 0.25
    assert bucket.take(5) == pytest.approx(0.25)
    assert bucket.take(2) == 0  # what was refused took nothing
    clock.now += 0.46
    assert bucket.wait(5) == bucket.take(5) == 0


def test_quiet_time_fills_no_more_than_the_burst() -> None:
    """However long nothing came, no more than the burst may come at once."""
    clock = Clock()
    bucket = TokenBucket(10, 20, clock)
    clock.now += 86_400
    assert bucket.take(20) == 0
    assert bucket.take(1) == pytest.approx(0.1)
