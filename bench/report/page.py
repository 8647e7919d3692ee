"""Writes docs/benchmarks.md: the text of `page.md` beside this file, with the tables of all results in their places."""

from __future__ import annotations

import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from bench import protocol, tables
from bench.report import goals, sizing, store
from bench.variants import ROOT, VARIANTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.report.store import PartResult
    from bench.rounds import Results
    from bench.setting import Setting
    from bench.variants import Variant

PAGE = ROOT / "docs" / "benchmarks.md"
_TEMPLATE = Path(__file__).with_name("page.md")
_PLACE = re.compile(r"^\{\{(.+)\}\}$", re.MULTILINE)
PARTS = ("connections", "rows", "protocol", "alone", "scale", "where", "reading")
EVERY = (*VARIANTS, *protocol.VARIANTS)
BASES = {"protocol": tables.Bases((protocol.OFF, "logging off"), (protocol.LOOP, "ONNX Runtime alone"))}
_OURS = ("traced5", "per-request", "v2-traced5", "v2-per-request")
_NOT_ALL = 0.999


def text(results: Mapping[str, PartResult]) -> str:
    """Return the whole page."""
    return _PLACE.sub(lambda place: "\n".join(_in_place(place[1], results)), _TEMPLATE.read_text(encoding="utf-8"))


def results() -> dict[str, PartResult]:
    """Return what was measured of each part."""
    found = {part: store.read(part) for part in PARTS}
    return {part: each for part, each in found.items() if each}


def of_part(result: PartResult) -> list[str]:
    """Return the lines about one part."""
    lines = head(result.command, result.date, result.rounds, result.circumstances)
    match result.part:
        case "alone":
            shown = [variant for variant in EVERY if variant.name in {**result.costs, **result.failed}]
            return [*lines, "", "### Each alone, 32 connections", "", *tables.costs(shown, result.alone)]
        case "where":
            return [*lines, *_ways(result)]
        case "scale":
            return [*lines, "", *_scale(result)]
        case "reading":
            return [*lines, "", *_reading(result)]
    return [*lines, *_rounds(result)]


def head(command: str, date: str, rounds: int, circumstances: Sequence[str]) -> list[str]:
    """Return the lines that say by which command, when and on what something was measured."""
    many = f", {rounds} round{'s' if rounds > 1 else ''}" if rounds else ""
    return [f"`{command}`, {date}{many}.", *circumstances]


def noise(results: Results) -> float:
    """Return the share of the server's core that something else took, in the median measurement."""
    return statistics.median(measured.others for series in results.measured.values() for measured in series)


def others(results: Results) -> str:
    """Return a sentence about what else ran on the server's core."""
    worst = max(measured.others for series in results.measured.values() for measured in series)
    return f"Other processes took {noise(results):.1%} of the server's core in the median, {worst:.1%} at worst."


def _in_place(name: str, results: Mapping[str, PartResult]) -> list[str]:
    if name == "goals":
        return goals.table(results)
    if name == "better":
        return _better(results)
    if name == "sizing":
        return sizing.inputs(results)
    result = results.get(name)
    return of_part(result) if result else [f"Not measured yet: `python -m bench --parts {name}`."]


def _rounds(result: PartResult) -> Iterator[str]:
    """Yield the tables of servers that ran side by side, and what a reader needs to judge them."""
    results, bases = result.results, BASES.get(result.part, tables.Bases())
    settings = list(dict.fromkeys(setting for _, setting in results.measured))
    names = {name for name, _ in results.measured} | {*results.failed}
    variants = [variant for variant in EVERY if variant.name in names]
    for setting in settings:
        yield from ("", f"### {'V2, ' if result.part == 'protocol' else ''}{setting.title}", "")
        yield from tables.side_by_side(variants, setting, results, bases)
    yield ""
    yield others(results)
    yield from _sinks(variants, settings[-1], results)


def _sinks(variants: Sequence[Variant], setting: Setting, results: Results) -> Iterator[str]:
    """Yield whether wrk or the shipper was the limit."""
    series = {name: several for (name, at), several in results.measured.items() if at == setting}
    loaded = max(statistics.median(m.load_core for m in several) for several in series.values())
    yield f"The core of wrk and the sinks was in use {loaded:.0%} of the time at the most, in the last table."
    for variant in variants:
        if variant.sink == "up" and variant.ours and variant.name in series:
            shipped = statistics.median(m.shipped for m in series[variant.name])
            collector = statistics.median(m.collector_cpu for m in series[variant.name])
            yield (
                f"{variant.title}: {shipped:.0%} was at the Collector when the load ended; "
                f"the Collector took {collector:.0f} µs a request."
            )


def _better(results: Mapping[str, PartResult]) -> list[str]:
    """Return where another server answers more requests than this one with all of its log on."""
    lines = []
    for part in ("connections", "rows", "protocol"):
        measured = results[part].results.measured if part in results else {}
        for setting in dict.fromkeys(setting for _, setting in measured):
            for variant in EVERY:
                theirs = measured.get((variant.name, setting))
                ours = next(((n, measured[n, setting]) for n in _OURS if (n, setting) in measured), None)
                if not variant.peer or not theirs or not ours:
                    continue
                times = [a.rate / b.rate for a, b in zip(theirs, ours[1], strict=False)]
                if statistics.median(times) > 1:
                    lines.append(
                        f"- {setting.title}: {variant.title} answers {tables.spread(times)} times the requests "
                        f"of this server (`{ours[0]}`)."
                    )
    return lines or ["Nowhere in these tables does another server answer more requests than this one with its log on."]


def _ways(result: PartResult) -> Iterator[str]:
    names = {variant.name: variant.title for variant in EVERY}
    for way in result.ways:
        yield from ("", f"### {way.setting.title}: {names.get(way.variant, way.variant)}", "")
        yield f"{way.whole:,.0f} µs of processor time a request."
        yield from ("", "| step | µs a request |", "|---|---:|")
        yield from (f"| {step.name} | {step.microseconds:,.1f} |" for step in way.steps)


def _scale(result: PartResult) -> Iterator[str]:
    measured = result.results.measured
    yield "| | workers | requests/s | ÷ one worker | CPU µs a request | p50 ms | p99 ms |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for (name, setting), rounds in measured.items():
        ones = measured["workers-1", setting]
        times = [a.rate / b.rate for a, b in zip(rounds, ones, strict=False)]
        cells = (
            name.rpartition("-")[2],
            tables.middle([m.rate for m in rounds], ",.0f"),
            "" if rounds is ones else tables.spread(times),
            tables.spread([m.cpu for m in rounds], ",.0f"),
            tables.middle([m.p50 / 1000 for m in rounds], ".2f"),
            tables.middle([m.p99 / 1000 for m in rounds], ".2f"),
        )
        yield f"| {setting.title} | {' | '.join(cells)} |"


def _reading(result: PartResult) -> Iterator[str]:
    yield "| | time | records a second | in each second of processor time | memory at most |"
    yield "|---|---:|---:|---:|---:|"
    for each in result.readings:
        rates = [f"{each.records / time:,.0f}" if each.records else "" for time in (each.seconds, each.processor)]
        yield f"| {each.name} | {each.seconds:.1f} s | {' | '.join(rates)} | {each.memory >> 20} MiB |"
