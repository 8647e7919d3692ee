"""The goals, what was reached of each, and by how much one is missed."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

from bench.setting import Setting
from bench.tables import spread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.report.store import PartResult
    from bench.running import Measured

_CONNECTIONS = Setting(32, 1)
_ROWS = Setting(32, 256)
_WHOLE = 0.01
"""What is less is said with a decimal: 0 % would be no miss."""


class Goal(NamedTuple):
    """One figure that is to be reached."""

    text: str
    wanted: float
    at_least: bool
    part: str
    reached: Callable[[PartResult], list[float]]
    """Returns the figure of each round."""
    form: str = ".2f"


def _ratio(value: Callable[[Measured], float], of: str, to: str, at: Setting) -> Callable[[PartResult], list[float]]:
    def reached(result: PartResult) -> list[float]:
        measured = result.results.measured
        return [value(a) / value(b) for a, b in zip(measured[of, at], measured[to, at], strict=False)]

    return reached


def _processor(text: str, most: float, of: str, to: str = "bare", at: Setting = _CONNECTIONS) -> Goal:
    return Goal(text, most, at_least=False, part="connections", reached=_ratio(lambda m: m.cpu, of, to, at))


def _requests(text: str, least: float, part: str, of: str, to: str, at: Setting) -> Goal:
    return Goal(text, least, at_least=True, part=part, reached=_ratio(lambda m: m.rate, of, to, at))


def _records(verb: str) -> Goal:
    def reached(result: PartResult) -> list[float]:
        return [each.records / each.seconds for each in result.readings if each.name.startswith(verb)][:1]

    text = f"`predictor log {verb}`: records a second"
    return Goal(text, 100_000, at_least=True, part="reading", reached=reached, form=",.0f")


_COST = "processor time of a request ÷ bare aiohttp's, "
GOALS = (
    _processor(f"{_COST}one row, 32 connections: logged", 0.75, "on"),
    _processor("… shipped", 0.8, "shipped"),
    _processor("… shipped, 5 % traced", 0.83, "traced5"),
    _processor("… shipped, every request traced", 1.25, "traced100"),
    _processor(f"{_COST}one connection: shipped, 5 % traced", 2.4, "traced5", at=Setting(1, 1)),
    _processor("one odd request in 100 on each connection ÷ none", 1.1, "odd", "traced5"),
    _processor("every head new ÷ every head known", 1.1, "heads", "traced5"),
    _requests(
        "requests of 256 rows ÷ those of KServe's agent: a record a row", 1, "rows", "traced5", "kserve-agent", _ROWS
    ),
    _requests("… a record a request", 2, "rows", "per-request", "kserve-agent", _ROWS),
    *(
        _requests(
            f"V2 binary, {model}, shipped, 5 % traced: requests ÷ ONNX Runtime alone in a loop",
            *(0.85, "protocol", "v2-traced5", "runtime"),
            Setting(8, 1, model, "binary"),
        )
        for model in ("image-20ms", "image-5ms")
    ),
    _records("verify"),
    _records("export"),
)


def table(results: Mapping[str, PartResult]) -> list[str]:
    """Return the table of goals: the missed ones first, by how much."""
    rows = [(_missed(goal, reached), goal, reached) for goal in GOALS if (reached := _reached(goal, results))]
    lines = ["| goal | wanted | reached | missed by |", "|---|---:|---:|---:|"]
    for missed, goal, reached in sorted(rows, key=lambda row: -max(0.0, row[0])):
        bound = f"at {'least' if goal.at_least else 'most'} {goal.wanted:{',.0f' if goal.wanted > 100 else 'g'}}"
        said = (f"{missed:.0%}" if missed >= _WHOLE else f"{missed:.1%}") if missed > 0 else ""
        lines.append(f"| {_full(goal)} | {bound} | {spread(reached, goal.form)} | {said} |")
    met = sum(missed <= 0 for missed, *_ in rows)
    unmeasured = [f"“{_full(goal)}”" for goal in GOALS if not _reached(goal, results)]
    lines += ["", f"{met} of {len(rows)} goals are reached."]
    return [*lines, f"Not measured: {', '.join(unmeasured)}."] if unmeasured else lines


def _full(goal: Goal) -> str:
    """Return a goal's words, with those that it shares with the one before."""
    if not goal.text.startswith("… "):
        return goal.text
    before = GOALS[: GOALS.index(goal)]
    start = next(each.text for each in reversed(before) if not each.text.startswith("… "))
    return f"{start.rpartition(':')[0]}: {goal.text[2:]}"


def _reached(goal: Goal, results: Mapping[str, PartResult]) -> list[float]:
    result = results.get(goal.part)
    return goal.reached(result) if result else []


def _missed(goal: Goal, reached: Sequence[float]) -> float:
    """Return by which share of it a goal is missed; not above 0 if it is reached."""
    found = statistics.median(reached)
    return 1 - found / goal.wanted if goal.at_least else found / goal.wanted - 1
