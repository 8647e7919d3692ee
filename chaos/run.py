"""The command: starts everything, lets the plan happen, compares, and reports."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from chaos import campaign, digests, evidence, judge, machine, plan, report, sinks
from chaos.plan import Fault
from scripts import results
from tests.support import collector, thread_limit
from tests.support.ledger import Ledger, check

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.campaign import Campaign
    from chaos.judge import Verdict
    from chaos.machine import Machine
    from chaos.plan import Step
    from tests.support.ledger import Key

_LAST_SECOND = 2.0  # s: a second between two syncs, and a sync on a busy machine
_ROOT = Path(__file__).parent.parent


def main(arguments: Sequence[str]) -> int:
    """Run; 0 if nothing is wrong, 1 if something is, 2 if the harness itself could not go on."""
    options = _parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=options.folder))
    try:
        return asyncio.run(_run(options, folder))
    except (asyncio.CancelledError, KeyboardInterrupt):
        print(f"chaos: ended early; what there is of it is in {folder}", file=sys.stderr)
        return 2
    except (pytest.fail.Exception, pytest.skip.Exception, RuntimeError, OSError, ValueError) as error:
        print(f"chaos: {error}\nchaos: what there is of it is in {folder}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make chaos ARGS='…'", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="draws order, moments and rows (%(default)s)")
    parser.add_argument("--kills", type=int, default=6, help="the other faults come once for each ten (%(default)s)")
    parser.add_argument(
        "--only",
        type=_fault,
        nargs="+",
        metavar="FAULT",
        help=f"just these: {', '.join(fault.name for fault in Fault)}",
    )
    parser.add_argument(
        "--sink",
        choices=["auto", "loki", "files"],
        default="auto",
        help="auto: Loki where a program of it is (LOKI, PATH)",
    )
    parser.add_argument("--rest", type=float, default=0.03, help="seconds of a client between requests (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where the run's own folder is made (default: TMPDIR)")
    parser.add_argument("--keep", action="store_true", help="keep that folder even if nothing is wrong")
    parser.add_argument("--write", type=Path, help="put the report into this page, between its marks")
    return parser


def _fault(name: str) -> Fault:
    try:
        return Fault[name]
    except KeyError:
        msg = f"{name} is no fault; one of them is {Fault.KILL_SERVER.name}"
        raise argparse.ArgumentTypeError(msg) from None


async def _run(options: argparse.Namespace, folder: Path) -> int:
    began = time.monotonic()

    def say(line: str) -> None:
        told = f"{time.monotonic() - began:6.1f} s  {line}"
        print(told, file=sys.stderr, flush=True)
        with (folder / "progress.txt").open("a") as file:
            file.write(told + "\n")

    _end_at_sigterm()
    collector.binary()
    loki = sinks.has_loki() if options.sink == "auto" else options.sink == "loki"
    say(f"seed {options.seed}, {options.kills} kills, {'Loki' if loki else 'files'} as the sink, in {folder}")
    async with machine.build(folder, options.seed, loki=loki, rest=options.rest) as stand:
        without = _without(stand)
        steps = plan.plan(options.seed, options.kills, {*without, *(set(Fault) - set(options.only or Fault))})
        happening = campaign.Campaign(stand, options.seed, say)
        await _under_load(stand, happening, steps)
        say("no more faults; the servers ship what is left")
        await happening.finish()
        say("comparing")
        verdict = await asyncio.to_thread(_compare, stand, happening)
        findings = verdict.findings | {kind: happening.findings[kind] for kind in campaign.OWN_KINDS}
        wrong = sum(map(len, findings.values()))
        if wrong or options.keep:
            evidence.keep(stand, folder, findings)
        seconds = time.monotonic() - began
        head = _head(options, stand.sink.title, seconds)
    counted = report.counts(verdict, stand.ledgers)
    counted["times gunicorn ended since a worker could not start"] = happening.restarts
    text = report.lines(head, happening, without, counted, findings)
    print("\n".join(text))
    if options.write:  # what is wrong is kept too: docs/promises.md shows it, and the page keeps its last good run
        figures = report.figures(happening, without, counted, findings)
        results.write("chaos", _command(options, f"--write {options.write}"), seconds, figures)
        if not wrong:
            report.write(_ROOT / options.write, text)
    if wrong:
        print(f"chaos: {wrong} findings; all that shows them is in {folder}", file=sys.stderr)
    elif options.keep:
        print(f"chaos: nothing is wrong; kept in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return 1 if wrong else 0


def _end_at_sigterm() -> None:
    """Have SIGTERM, a time limit's say, end this as Ctrl-C does: no server and no mount is left."""
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


async def _under_load(stand: Machine, happening: Campaign, steps: Sequence[Step]) -> None:
    """Let the steps happen while all clients ask; they end, whatever becomes of the steps."""
    for load in stand.loads:
        await load.__aenter__()
    try:
        await happening.run(steps)
    finally:
        for load in stand.loads:
            try:
                await load.__aexit__(None, None, None)
            except (AssertionError, KeyError, ValueError) as error:  # an answer that is none, or comes twice
                happening.find(campaign.CLIENTS, repr(error))


def _compare(stand: Machine, happening: Campaign) -> Verdict:
    """Return the judge's verdict; that of the tests' own check must be the same."""
    arrived, kept = list(stand.sink.records()), list(stand.kept())
    verdict = judge.judge(stand.answers, arrived, kept, stand.gate.refused, _may_miss(stand, happening))
    rejected = {record[:2] for record in kept}
    gone = {(record.attributes["prediction.job_id"], record.attributes["prediction.index"]) for record in kept}
    told = Ledger({key: answer for key, answer in stand.answers.items() if key not in gone | verdict.cut})
    try:
        check(told, arrived, rejected=rejected)
        other = ""
    except AssertionError as error:
        other = str(error)
    if bool(other) == verdict.whole:
        happening.find(campaign.DISAGREE, other or "it finds nothing")
    for accused in digests.wrong(stand.sink.source()):
        happening.find(campaign.DIGESTS, accused)
    return verdict


def _may_miss(stand: Machine, happening: Campaign) -> set[Key]:
    """Return the rows that were asked for in the last second before a power cut of the server that syncs once a second.

    The workers sync before each answer: nothing of theirs may go.
    """
    rows = stand.loads[0].ledger.answers
    return {key for key in rows if any(-_LAST_SECOND < _asked(key[0]) - cut < 1.0 for cut in happening.cuts)}


def _asked(job_id: str) -> float:
    """Return when a job began, as time.time: a UUIDv7 begins with its milliseconds."""
    return (UUID(job_id).int >> 80) / 1000


def _without(stand: Machine) -> dict[Fault, str]:
    """Return the faults that cannot be had here, and why."""
    without: dict[Fault, str] = {}
    if stand.sink.loki is None:
        without |= dict.fromkeys((Fault.KILL_LOKI, Fault.STOP_LOKI), "no Loki here")
    if reason := thread_limit.unavailable():
        without[Fault.NO_THREADS] = reason
    if stand.disk.without_power:
        without |= dict.fromkeys(plan.POWER, stand.disk.without_power)
    if not stand.disk.mounted:
        without[Fault.DISK_FULL] = "mounting a small tmpfs is not permitted here"
    return without


def _command(options: argparse.Namespace, *more: str) -> str:
    given = [f"--seed {options.seed}", f"--kills {options.kills}"]
    if options.sink != "auto":
        given.append(f"--sink {options.sink}")
    if options.only:
        given.append(f"--only {' '.join(fault.name for fault in options.only)}")
    return f"make chaos ARGS='{' '.join([*given, *more])}'"


def _head(options: argparse.Namespace, sink: str, seconds: float) -> list[str]:
    return [
        f"`{_command(options)}`, {datetime.now(UTC):%Y-%m-%d}, {seconds / 60:.1f} minutes.",
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}.",
        f"The sink: {sink}.",
    ]
