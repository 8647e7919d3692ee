"""Lets the faults happen, one step after another, and waits after each until everything works again."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from chaos.plan import LASTING, Fault, Step
from chaos.servers import NO_WORKER
from chaos.strikes import PATIENCE, Strikes, until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaos.machine import Machine

STUCK = "steps after which something did not work again"
STATUS = "servers that did not end with status 0"
ENDED = "servers that ended by themselves"
WORDS = "requests answered with anything else than a prediction or a refusal"
TRACEBACKS = "tracebacks of the servers"
LEFT = "files left in the outbox after the end"
CLIENTS = "clients that could not make sense of an answer"
DISAGREE = "verdicts of the tests' own check that differ"
DIGESTS = "records that are not as their digests say"
OWN_KINDS = (STUCK, STATUS, ENDED, WORDS, TRACEBACKS, LEFT, CLIENTS, DISAGREE, DIGESTS)

_ROWS = 20  # that each server must answer as logged before it counts as working again
_REFUSALS = {"outbox-full", "draining", "queue-full", "bodies-full", "deadline-exceeded"}
_BEFORE, _AFTER = 2, 40  # lines shown around a traceback


class Campaign:
    """What has happened so far."""

    def __init__(self, machine: Machine, seed: int, say: Callable[[str], None]) -> None:
        """Nothing yet."""
        self.struck: Counter[Fault] = Counter()
        self.findings: dict[str, list[str]] = defaultdict(list)
        self._machine = machine
        self._strikes = Strikes(machine, seed)
        self._say = say
        self.restarts = 0
        """How often gunicorn ended since a worker could not start, and was started again."""

    @property
    def met(self) -> Counter[Fault]:
        """How often somebody met a fault that can be met many times."""
        return self._strikes.met

    @property
    def cuts(self) -> list[float]:
        """When the power was cut, as time.time."""
        return self._strikes.cuts

    async def run(self, steps: Sequence[Step]) -> None:
        """Let all steps happen."""
        await self._well("the start")
        for number, step in enumerate(steps, start=1):
            self._say(f"{number}/{len(steps)} {step}")
            await asyncio.sleep(step.moment)  # the random moment; nothing waits for it
            try:
                await self._happen(step)
            except (TimeoutError, RuntimeError) as error:
                self.find(STUCK, f"{step}: {error!r}")
                await self._mend()
            await self._well(str(step))

    async def finish(self) -> None:
        """Have everything shipped, and note what callers, servers and the disk say of it."""
        try:
            for status in await self._machine.finish():
                self._judge_status(status, "the end")
        except (TimeoutError, RuntimeError) as error:
            self.find(STUCK, f"the end: {error!r}")
        for load in self._machine.loads:
            for word, times in load.ledger.refusals.items():
                if word not in _REFUSALS:
                    self.find(WORDS, f"{times} times {word}")
        for post in self._machine.posts:
            for number, line in enumerate(post.said):
                if "Traceback" in line:
                    self.find(TRACEBACKS, "\n".join(post.said[max(0, number - _BEFORE) : number + _AFTER]))
        for path in self._machine.left():
            self.find(LEFT, path)

    def find(self, kind: str, what: str) -> None:
        """Note that something is wrong."""
        self.findings[kind].append(what)
        self._say(f"FOUND: {kind}: {what}")

    async def _happen(self, step: Step) -> None:
        if step.fault not in LASTING:
            await self._blow(step.fault, step.lasts)
            return
        lasting = await self._strikes.begin(step)
        blow = None
        try:
            await until(lasting.bitten)
            self.struck[step.fault] += 1
            await asyncio.sleep(step.lasts / 2)
            if step.meanwhile:
                blow = asyncio.create_task(self._blow(step.meanwhile, step.lasts / 2))
            await asyncio.sleep(step.lasts / 2)
        finally:
            lasting.end()
            if blow:
                await blow

    async def _blow(self, fault: Fault, moment: float) -> None:
        self.struck[fault] += 1
        if (status := await self._strikes.blow(fault, moment)) is not None:
            self._judge_status(status, fault.value)

    def _judge_status(self, status: int, when: str) -> None:
        if status:
            self.find(STATUS, f"{status} at {when}")

    async def _well(self, after: str) -> None:
        """Wait until both servers answer with logged rows and the Collector takes some."""
        loads, gate = self._machine.loads, self._machine.gate
        rows, passed = [load.ledger.logged[True] for load in loads], gate.passed

        def answered() -> list[int]:
            return [load.ledger.logged[True] - row for load, row in zip(loads, rows, strict=True)]

        gunicorn = self._machine.gunicorn

        def well() -> bool:
            return gate.passed > passed and min(answered()) >= _ROWS and gunicorn.all_answer()

        try:
            await until(lambda: well() or gunicorn.ended == NO_WORKER)
            if gunicorn.ended == NO_WORKER:  # its own rule; whoever watches over it starts it again, and so does this
                self._say(f"gunicorn ended since a worker could not start after {after}; it is started again")
                self.restarts += 1
                await gunicorn.end()
                await gunicorn.start()
                await until(well)
        except TimeoutError:
            what = f"{answered()} rows answered and {gate.passed - passed} requests shipped"
            self.find(STUCK, f"{after}: in {PATIENCE:g} s {what}")
        for post in self._machine.posts:
            if (status := post.ended) is not None:
                self.find(ENDED, f"{post.name} with status {status} after {after}")
        await self._mend()

    async def _mend(self) -> None:
        """Start servers that are not there, so that the rest of the steps says something too."""
        for post in self._machine.posts:
            if not post.running:
                await post.start()
