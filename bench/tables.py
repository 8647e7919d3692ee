"""Rows of the tables: medians, and ratios within the same round with their quartiles."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

from bench.variants import BARE, OFF

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.alone import Costs
    from bench.rounds import Results
    from bench.running import Measured
    from bench.setting import Setting
    from bench.variants import Variant


class Bases(NamedTuple):
    """What the rows of a table are compared with: two variants, each with its word in the head."""

    first: tuple[str, str] = (BARE, "bare")
    second: tuple[str, str] = (OFF, "logging off")

    def columns(self) -> tuple[str, ...]:
        """Return the head of the table."""
        first, second = self.first[1], self.second[1]
        return (
            *("", "`--only`", "requests/s", f"÷ {first}", f"÷ {second}"),
            *("CPU µs a request", f"CPU ÷ {first}", "p50 ms", "p99 ms", f"p99 ÷ {first}", "recorded"),
        )


_COSTS = (
    "",
    "`--only`",
    "requests/s",
    "p99 ms",
    "CPU s per 1,000",
    "MiB at rest",
    "under load",
    "after",
    "B on disk",
    "B on the wire",
    "recorded",
)
_OURS = ("traced5", "v2-traced5")
"""The variants that are compared with the peers: everything on."""
_BARE_AND_OFF = Bases()


def side_by_side(
    variants: Sequence[Variant], setting: Setting, results: Results, bases: Bases = _BARE_AND_OFF
) -> list[str]:
    """Return the table of one setting, and what it says of the peers."""
    found = [variant for variant in variants if variant.has_row(setting)]
    lines = [*head(bases.columns()), *(_row(variant, setting, results, bases) for variant in found)]
    return [*lines, *_beside(variants, setting, results), *_against_peers(variants, setting, results)]


def costs(variants: Sequence[Variant], found: Costs) -> list[str]:
    """Return the table of what each server takes by itself."""
    lines = head(_COSTS)
    for variant in variants:
        begin = f"| {variant.title} | {variant.name} |"
        if variant.name in found.failed:
            lines.append(f"{begin} {sentence(found.failed[variant.name])} {'|' * 9}")
            continue
        several = found.measured[variant.name]
        logs = variant.records != "none"
        cells = (
            format(statistics.median(cost.rate for cost in several), ",.0f"),
            spread([cost.p99 / 1000 for cost in several]),
            spread([cost.cpu for cost in several], ".3f"),
            *(
                format(statistics.median(getattr(cost, name) for cost in several) / (1 << 20), ".0f")
                for name in ("rest", "peak", "after")
            ),
            format(statistics.median(cost.disk for cost in several), ",.0f"),
            format(statistics.median(cost.wire for cost in several), ",.0f") if variant.sink == "up" else "",
            f"{min(cost.recorded for cost in several):.1%}" if logs else "",
        )
        lines.append(f"{begin} {' | '.join(cells)} |")
    return lines


def head(columns: Sequence[str]) -> list[str]:
    """Return the first two lines of a table: a name, what `--only` takes, and numbers."""
    return [f"| {' | '.join(columns)} |", f"|---|---{'|---:' * (len(columns) - 2)}|"]


def middle(values: Sequence[float], form: str) -> str:
    """Return the median."""
    return format(statistics.median(values), form)


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Return the median with the quartiles in brackets."""
    if len(values) < 2:
        return format(values[0], form)
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"**{middle:{form}}** ({low:{form}}-{high:{form}})"


def _row(variant: Variant, setting: Setting, results: Results, against: Bases) -> str:
    begin = f"| {variant.title} | {variant.name} |"
    if variant.name in results.failed:
        return f"{begin} {sentence(results.failed[variant.name])} {'|' * 9}"
    if setting.form in variant.lacks:
        return f"{begin} {variant.lacks[setting.form]} {'|' * 9}"
    mine = results.measured[variant.name, setting]
    first, second = against.first[0], against.second[0]

    def median(value: Callable[[Measured], float], form: str) -> str:
        return format(statistics.median(map(value, mine)), form)

    def ratio(value: Callable[[Measured], float], base: str) -> str:
        bases = results.measured.get((base, setting))
        if variant.name == base or (base == second and variant.name == first) or not bases:
            return ""
        return spread([value(m) / value(b) for m, b in zip(mine, bases, strict=True)])

    cells = (
        median(lambda m: m.rate, ",.0f"),
        ratio(lambda m: m.rate, first),
        ratio(lambda m: m.rate, second),
        spread([m.cpu for m in mine], ".0f"),
        ratio(lambda m: m.cpu, first),
        median(lambda m: m.p50 / 1000, ".2f"),
        median(lambda m: m.p99 / 1000, ".2f"),
        ratio(lambda m: m.p99, first),
        _recorded(variant, mine),
    )
    return f"{begin} {' | '.join(cells)} |"


def _recorded(variant: Variant, series: Sequence[Measured]) -> str:
    """Return the share of all acknowledged predictions that have a record, and how many have none."""
    if variant.records == "none":
        return ""
    acknowledged = sum(measured.acknowledged for measured in series)
    # Late ones of one round may come in the next, so only the sum says something.
    missing = max(0, acknowledged - sum(measured.recorded for measured in series))
    return f"{missing:,} of {acknowledged:,} missing" if missing else "all"


def _beside(variants: Sequence[Variant], setting: Setting, results: Results) -> Iterator[str]:
    """Yield what the rows cost beside the one that they differ from in one thing, in the same round."""
    several = [variant for variant in variants if (variant.name, setting) in results.measured and variant.beside]
    for variant in several:
        mine, bases = results.measured[variant.name, setting], results.measured.get((variant.beside, setting))
        lanes = [measured.lane for measured in mine if measured.lane is not None]
        parts = []
        if bases:
            times = spread([m.cpu / b.cpu for m, b in zip(mine, bases, strict=True)])
            parts.append(f"{times} of {variant.beside}'s processor time a request")
        if lanes and variant.lane == "on":
            parts.append(f"at least {min(lanes):.1%} of each round's predictions went through the fast lane")
        if parts:
            yield ""
            yield f"{variant.name}: {'; '.join(parts)}."


def _against_peers(variants: Sequence[Variant], setting: Setting, results: Results) -> Iterator[str]:
    """Yield how many times the requests of the best peer, in the same round, our server answers."""
    ours = next((results.measured[name, setting] for name in _OURS if (name, setting) in results.measured), [])
    logging = [variant.name for variant in variants if variant.peer and variant.records != "none"]
    peers = {name: results.measured[name, setting] for name in logging if (name, setting) in results.measured}
    if not ours or not peers:
        return
    best = max(peers, key=lambda name: statistics.median(measured.rate for measured in peers[name]))
    times = [mine.rate / theirs.rate for mine, theirs in zip(ours, peers[best], strict=True)]
    yield ""
    yield f"With 5 % traced it answers {spread(times, '.1f')} times the requests of the fastest peer that logs, {best}."


def sentence(reason: str) -> str:
    """Return a reason as it can stand in a cell."""
    return " ".join(reason.replace("|", "/").split())[:300]
