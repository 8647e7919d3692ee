"""Two checkouts side by side: each variant's server from both, measured one after the other in every round."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from bench import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from bench.rounds import Results
    from bench.running import Measured
    from bench.setting import Setting
    from bench.variants import Variant

_THERE = "@there"
_COLUMNS = (
    *("", "`--only`", "requests/s here", "there", "requests/s here ÷ there"),
    *("CPU µs a request here", "there", "CPU here ÷ there", "p50 here ÷ there", "p99 here ÷ there"),
)


def pairs(variants: Iterable[Variant], tree: Path) -> list[Variant]:
    """Return each variant that is a server of this project, and behind it the same of another checkout."""
    found: list[Variant] = []
    for variant in variants:
        if variant.program == "predictor":
            found += [variant, replace(variant, name=variant.name + _THERE, title=f"{variant.title}, there", tree=tree)]
    return found


def pair_of(variant: Variant) -> str:
    """Return what both of a pair have in common."""
    return variant.name.removesuffix(_THERE)


def page(variants: Sequence[Variant], settings: Sequence[Setting], results: Results, tree: Path) -> list[str]:
    """Return a table for each setting: medians, and the ratios within the same round with their quartiles."""
    lines = [f"Here ÷ there, medians of the ratios within a round (quartiles); there is {_revision(tree)}."]
    for setting in settings:
        lines += ["", f"### Connections: {setting.connections}, rows a request: {setting.rows}", ""]
        lines += tables.head(_COLUMNS)
        here = (variant for variant in variants if variant.name == pair_of(variant))
        lines += [_row(variant, setting, results) for variant in here]
    return lines


def _row(variant: Variant, setting: Setting, results: Results) -> str:
    begin = f"| {variant.title} | {variant.name} |"
    there_name = variant.name + _THERE
    for name, where in ((variant.name, "here"), (there_name, "there")):
        if name in results.failed:
            return f"{begin} {where}: {tables.sentence(results.failed[name])} {'|' * (len(_COLUMNS) - 2)}"
    here, there = results.measured[variant.name, setting], results.measured[there_name, setting]

    def ratio(value: Callable[[Measured], float]) -> str:
        return tables.spread([value(mine) / value(theirs) for mine, theirs in zip(here, there, strict=True)])

    cells = (
        tables.middle([m.rate for m in here], ",.0f"),
        tables.middle([m.rate for m in there], ",.0f"),
        ratio(lambda m: m.rate),
        tables.middle([m.cpu for m in here], ".1f"),
        tables.middle([m.cpu for m in there], ".1f"),
        ratio(lambda m: m.cpu),
        ratio(lambda m: m.p50),
        ratio(lambda m: m.p99),
    )
    return f"{begin} {' | '.join(cells)} |"


def _revision(tree: Path) -> str:
    """Return the checkout's folder and commit."""
    asked = ["git", "-C", str(tree), "rev-parse", "--short", "HEAD"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return f"`{tree.name}` at {said}" if said else f"`{tree.name}`"
