"""Rounds: every variant once in random order, so that each is compared with its neighbours in time."""

from __future__ import annotations

import contextlib
import random
import time
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bench import against
from bench.alone_in_a_loop import RuntimeLoop
from bench.nginx import NotInstalledError
from bench.pinned import BenchError
from bench.running import Running
from bench.setting import IMAGES
from bench.sinks import Sinks
from bench.variants import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from bench.running import Cores, Measured
    from bench.setting import Setting
    from bench.variants import Variant

Server = Running | RuntimeLoop
_TRIES = 3
_LONGER = 3
"""Times as long as with rows: slow peers answer eight images a second."""
_PAUSE = 5.0  # s: a disk that was too slow has caught up
_WARM_UP = 1  # s of load before the first round, at most


class Results(NamedTuple):
    """What the rounds gave."""

    measured: dict[tuple[str, Setting], list[Measured]]
    """By (variant's name, setting): one measurement a round."""
    failed: dict[str, str]
    """Why a variant has no figures, by its name: a peer's fault, another checkout's, or what is not installed."""


class Rounds:
    """Servers side by side, each paused while another is measured."""

    def __init__(self, folder: Path, cores: Cores, say: Callable[[str], None], done: Results | None = None) -> None:
        """Start nothing yet; `done` has rounds that were measured before."""
        self._folder, self._cores, self._say = folder, cores, say
        self._servers: list[Server] = []
        self.results = done or Results(defaultdict(list), {})

    def run(
        self,
        variants: Sequence[Variant],
        settings: Sequence[Setting],
        *,
        rounds: int,
        seconds: int,
        keep: Callable[[Results], None] | None = None,
    ) -> Results:
        """Measure every variant in every setting in each round; raises BenchError if one of ours fails.

        `keep` gets all rounds so far after each. Rounds that are in `results` already are not measured again.
        """
        done = min(map(len, self.results.measured.values()), default=0)
        for series in self.results.measured.values():
            del series[done:]
        variants = [variant for variant in variants if variant.name not in self.results.failed]
        with contextlib.ExitStack() as stack:
            sinks = Sinks(self._folder, self._cores.load)
            stack.callback(sinks.end)
            for variant in variants:
                self._start(variant, sinks, stack)
            _check_alike(self._servers)
            for server in list(self._servers):
                self._attempt(server, partial(self._warm, server, settings, min(seconds, _WARM_UP)))
            for number in range(done + 1, rounds + 1):
                for setting in settings:
                    for server in shuffled([each for each in self._servers if each.variant.answers(setting)]):
                        self._attempt(server, partial(self._measure, server, setting, seconds, f"{number}/{rounds}"))
                if keep:
                    keep(self.results)
        for name in self.results.failed:  # what failed half-way has no row of its own
            for key in [key for key in self.results.measured if key[0] == name]:
                del self.results.measured[key]
        return self.results

    def _start(self, variant: Variant, sinks: Sinks, stack: contextlib.ExitStack) -> None:
        self._say(f"starting: {variant.title}")
        try:
            server = (
                RuntimeLoop(variant, self._folder, self._cores)
                if variant.program == "runtime"
                else Running(variant, self._folder, self._cores, sinks.of(variant))
            )
        except BenchError as error:
            self._fail(variant, error)
        else:
            stack.callback(server.end)
            self._servers.append(server)

    def _warm(self, server: Server, settings: Iterable[Setting], seconds: int) -> None:
        asked = {
            setting._replace(connections=0, client="wrk") for setting in settings if server.variant.answers(setting)
        }
        for each in sorted(asked):
            server.check(each)
            most = max(
                setting.connections for setting in settings if setting._replace(connections=0, client="wrk") == each
            )
            server.measure(each._replace(connections=most), seconds)

    def _measure(self, server: Server, setting: Setting, seconds: int, number: str) -> None:
        measured = self._measured(server, setting, seconds)
        self.results.measured[server.variant.name, setting].append(measured)
        self._say(_progress(number, setting, server.variant, measured))

    def _measured(self, server: Server, setting: Setting, seconds: int) -> Measured:
        """Return a measurement; a server that could not be measured has another try, one of ours a third.

        A pause of the machine, or another's writing to its disk, must not end a run of an hour.
        """
        seconds *= _LONGER if setting.model in IMAGES else 1
        for _ in range(_TRIES - 1 if server.variant.ours else 1):
            try:
                return server.measure(setting, seconds)
            except BenchError as error:
                self._say(f"once more: {error}")
                time.sleep(_PAUSE)
        return server.measure(setting, seconds)

    def _attempt(self, server: Server, what: Callable[[], None]) -> None:
        if server not in self._servers:
            return
        try:
            what()
        except BenchError as error:
            server.pause()
            self._fail(server.variant, error)

    def _fail(self, variant: Variant, error: BenchError) -> None:
        """Keep why a peer failed, or the server of another checkout; one of ours ends the run."""
        ours = not variant.peer and variant.tree == ROOT
        if ours and not isinstance(error, NotInstalledError):
            raise error
        self._say(f"{variant.title}: {error}")
        self.results.failed[variant.name] = str(error)
        pair = against.pair_of(variant)
        self._servers = [server for server in self._servers if against.pair_of(server.variant) != pair]


def shuffled(servers: Sequence[Server]) -> list[Server]:
    """Return the servers in random order; those of a pair stay together, so that both see the same machine."""
    pairs: dict[str, list[Server]] = {}
    for server in random.sample(servers, len(servers)):
        pairs.setdefault(against.pair_of(server.variant), []).append(server)
    return [server for pair in random.sample(list(pairs.values()), len(pairs)) for server in pair]


def _check_alike(servers: Sequence[Server]) -> None:
    """Raise BenchError unless all that are no peers answer in the same form: all encode as much."""
    forms = {s.variant.name: _form(msgspec.json.decode(s.answer)) for s in servers if s.answer and not s.variant.peer}
    for name, form in forms.items():
        first = next(iter(forms))
        if form != forms[first]:
            msg = f"{name} answers with {form}, {first} with {forms[first]}"
            raise BenchError(msg)


def _form(value: object) -> object:
    match value:
        case dict():
            return {key: _form(item) for key, item in value.items()}
        case list():
            return [_form(item) for item in value]
        case str():
            return f"text of {len(value)}"
    return type(value).__name__


def _progress(number: str, setting: Setting, variant: Variant, measured: Measured) -> str:
    return (
        f"{number:>5}  {setting.title}  {variant.name:15s} "
        f"{measured.rate:7.0f}/s  {measured.cpu:7.1f} µs CPU  "
        f"p50 {measured.p50 / 1000:.2f}  p99 {measured.p99 / 1000:.2f} ms  "
        f"others {measured.others:.0%}  recorded {measured.recorded} of {measured.acknowledged}"
    )
