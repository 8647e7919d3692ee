"""How each fault is brought about: what is killed and started again, and what is switched on and off again."""

from __future__ import annotations

import asyncio
import fcntl
import random
import shutil
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from chaos import switch
from chaos.plan import Fault
from chaos.servers import send
from tests.support.thread_limit import ThreadLimit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chaos.machine import Machine
    from chaos.plan import Step

PATIENCE = 90.0
"""Seconds for a fact; a server waits up to 30 between two tries, and the machine may be busy."""

UNWRITTEN = 3  # the exit status of a server that had to leave acknowledged rows in another folder
_LOOK = 0.05  # s between two looks at a fact that nobody announces
_DISK = {
    Fault.WRITE_NO_SPACE: switch.NO_SPACE,
    Fault.WRITE_EIO: switch.EIO_WRITE,
    Fault.WRITE_TORN: switch.EIO_TORN,
    Fault.SYNC_EIO: switch.EIO_SYNC,
}


class Lasting(NamedTuple):
    """A fault that is on."""

    bitten: Callable[[], bool]
    """Whether somebody has met it."""
    end: Callable[[], None]


class Strikes:
    """Strikes a machine."""

    def __init__(self, machine: Machine, seed: int) -> None:
        """Nothing is broken yet; the seed draws which of the workers it meets."""
        self.cuts: list[float] = []
        """When the power was cut, as time.time."""
        self.met: Counter[Fault] = Counter()
        """How often somebody met a fault that can be met many times."""
        self._machine = machine
        self._chance = random.Random(seed)

    async def blow(self, fault: Fault, moment: float) -> int | None:
        """Kill or end something and start it again; return the exit status of what was ended politely."""
        machine = self._machine
        match fault:
            case Fault.KILL_SERVER | Fault.KILL_STARTING:
                await machine.server.kill()
                if fault is Fault.KILL_STARTING:
                    await machine.server.die_starting(moment)
                await machine.server.start()
            case Fault.KILL_WORKER:
                worker = await self._worker()
                before = len(machine.gunicorn.workers())
                send(worker, signal.SIGKILL)
                await machine.gunicorn.replaced(before)
            case Fault.KILL_MASTER:
                await machine.gunicorn.kill()
                await machine.gunicorn.start()
            case Fault.TERM_SERVER | Fault.TERM_GUNICORN:
                post = machine.server if fault is Fault.TERM_SERVER else machine.gunicorn
                status = await post.terminate()
                await post.start()
                return status
            case Fault.POWER_CUT:
                await self._all_write()
                await asyncio.to_thread(machine.disk.cut, machine.server.pid, *machine.gunicorn.living())
                self.cuts.append(time.time())
                await self._all_again()
            case Fault.READ_ONLY:
                return await self._read_only()
            case Fault.SEGMENT_REMOVED | Fault.FOLDER_REMOVED:
                await self._remove(folder=fault is Fault.FOLDER_REMOVED)
            case _:
                part = machine.sink.loki if fault is Fault.KILL_LOKI else machine.sink.collector
                assert part
                await asyncio.to_thread(part.kill)
                await asyncio.to_thread(part.start)
        return None

    async def _all_write(self) -> None:
        """Wait until every process has its stream: gunicorn shows a traceback of each worker that cannot start."""
        machine = self._machine
        await until(lambda: len(machine.gunicorn.living()) > 1 and len([*machine.outbox.glob("v1/*/reserve")]) > 2)

    async def _all_again(self) -> None:
        """Kill every server, bring the disk back, and start them."""
        machine = self._machine
        if machine.gunicorn.running:  # workers that were stopped would hold its stderr open
            for process in (machine.gunicorn.pid, *machine.gunicorn.living()):
                send(process, signal.SIGKILL)
        for post in machine.posts:
            await post.end()
        await asyncio.to_thread(machine.disk.restore)
        for post in machine.posts:
            await post.start()

    async def _read_only(self) -> int | None:
        """Let the disk fail until rows were refused for it, and end both servers politely before it is mended."""
        machine = self._machine
        await self._all_write()
        before = machine.troubled()
        machine.disk.fail()
        await until(lambda: machine.troubled() > before)
        statuses = {await post.terminate() for post in machine.posts}
        await self._all_again()
        # Rows that the disk no longer took are in another folder, and that is said with this status.
        return max(statuses - {UNWRITTEN}, default=None)

    async def _remove(self, *, folder: bool) -> None:
        """Remove what a server is writing, and wait until it goes on in another segment."""
        victims: list[Path] = []

        def found() -> bool:
            # With what the sink refused its only copy would go, and with complete segments what nobody can have back.
            streams = [path.parent for path in self._machine.outbox.glob("v1/*/reserve") if _is_held(path.parent)]
            whole = [path for path in streams if len([*path.glob("logs/*.jsonl")]) == 1]
            victims[:] = [path for path in whole if not (path / "rejected").exists()]
            return bool(victims)

        await until(found)
        stream = self._chance.choice(sorted(victims))
        (segment,) = stream.glob("logs/*.jsonl")
        if folder:
            await asyncio.to_thread(shutil.rmtree, stream)
        else:
            segment.unlink()
        await until(lambda: any(path > segment for path in stream.glob("logs/*.jsonl")))

    async def begin(self, step: Step) -> Lasting:
        """Switch on what lasts."""
        match step.fault:
            case Fault.STOP_SERVER | Fault.STOP_WORKER | Fault.STOP_COLLECTOR | Fault.STOP_LOKI:
                return _stop(await self._victim(step.fault))
            case Fault.NO_THREADS:
                return _limit_threads(self._machine.server.pid)
            case Fault.DISK_FULL:
                return self._fill()
            case Fault.CLOCK_BACK:
                self._machine.switch.clock_ns = -int(step.back * 1e9)
                return self._switched(step.fault)
        if step.fault in _DISK:
            self._machine.switch.fault = _DISK[step.fault]
            return self._switched(step.fault)
        return self._gate(step.fault)

    def _switched(self, fault: Fault) -> Lasting:
        switched = self._machine.switch
        before = switched.met

        def end() -> None:
            switched.fault, switched.clock_ns = switch.NONE, 0
            self.met[fault] += switched.met - before

        return Lasting(lambda: switched.met > before, end)

    def _gate(self, fault: Fault) -> Lasting:
        gate = self._machine.gate
        before = gate.met[fault]
        gate.begin(fault)

        def end() -> None:
            gate.end()
            self.met[fault] += gate.met[fault] - before

        return Lasting(lambda: gate.met[fault] > before, end)

    def _fill(self) -> Lasting:
        machine = self._machine
        before = machine.troubled()

        def full() -> bool:
            machine.disk.fill()  # again, as long as shipping makes room
            return machine.troubled() > before

        def end() -> None:
            machine.disk.empty()
            self.met[Fault.DISK_FULL] += machine.troubled() - before

        return Lasting(full, end)

    async def _victim(self, fault: Fault) -> int:
        machine = self._machine
        match fault:
            case Fault.STOP_SERVER:
                return machine.server.pid
            case Fault.STOP_WORKER:
                return await self._worker()
            case Fault.STOP_LOKI:
                assert machine.sink.loki
                return machine.sink.loki.pid
        return machine.sink.collector.pid

    async def _worker(self) -> int:
        await until(lambda: bool(self._machine.gunicorn.living()))
        return self._chance.choice(self._machine.gunicorn.living())


async def until(fact: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until a fact holds; raises TimeoutError."""
    end = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > end:
            msg = f"not within {seconds:g} s"
            raise TimeoutError(msg)
        await asyncio.sleep(_LOOK)


def _is_held(stream: Path) -> bool:
    """Tell whether a living process owns a stream; one that was killed a moment ago does not."""
    try:
        with (stream / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _limit_threads(*pids: int) -> Lasting:
    """Let every further thread of some processes fail; one that is started meanwhile has no limit."""
    group = ThreadLimit()
    for pid in pids:
        group.take(pid)
    return Lasting(lambda: True, group.end)


def _stop(pid: int) -> Lasting:
    send(pid, signal.SIGSTOP)
    return Lasting(lambda: True, lambda: send(pid, signal.SIGCONT))
