"""Sends requests at their time, however fast the server answers: a slow server is seen, not spared."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import msgspec

from predictor.core.operator_log import Throttle, show
from predictor.load.rows import keyed
from predictor.load.tally import ANSWERED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from predictor.load.tally import LoadTally

CALLS = {"predict": ("/predict", 1), "label": ("/predict/label", 1), "batch": ("/predict/batch", 8)}
"""Path and rows of what can be asked for."""
_MIX = ("predict",) * 7 + ("label",) * 2 + ("batch",)
_LEAST_WAITING = 64
"""Requests that may wait for their answer at a low rate; at a higher one as many as are sent in a second."""
_TIMEOUT = 30.0  # s, for an answer
_GRACE = 15.0  # s, at the end; longer than PREDICTOR_DEADLINE, so that every request that was begun has its answer
_PAUSE = 0.5  # s, between two looks at a server that is not ready
_HEADERS = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to send, where and for how long."""

    url: str
    """Of the server, without a slash at its end."""
    rate: float
    seconds: float
    """Infinite for a load without an end."""
    count: int | None
    call: str
    """One of CALLS, or `mix`."""
    every: float
    wait: float
    keep_connections: bool


async def send(plan: Plan, source: Callable[[list[Any]], Callable[[], Sequence[Any]]], tally: LoadTally) -> None:
    """Send a load until its end or a signal, and count in `tally` what was answered.

    `source` makes what draws rows, given the sample row of `GET /metadata`. Raises OSError and ValueError if the server
    is not ready in time or is none.
    """
    connector = aiohttp.TCPConnector(limit=0, force_close=not plan.keep_connections)
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        ended.set()
        leave()

    def leave() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):  # the next signal ends it at once
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=_HEADERS) as session:
            asked = await _served(session, plan, ended)
            if asked is not None:
                draw = keyed(source(asked.sample), asked.key)
                await _Load(session, plan, draw, tally, asked.mix).run(ended)
    finally:
        leave()


class _Served(NamedTuple):
    """What a server's default model takes."""

    sample: list[Any]
    """A row: numbers, texts, true or false."""
    key: int | None
    """Which of its values is the caller's key, if one is."""
    mix: Sequence[str]
    """What a mixed load asks for: a model without a label is asked for none."""


class _Load:
    """One load on its way."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        plan: Plan,
        draw: Callable[[], Sequence[Any]],
        tally: LoadTally,
        mix: Sequence[str],
    ) -> None:
        self._session = session
        self._plan = plan
        self._draw = draw
        self._tally = tally
        self._mix = mix
        self._waiting: set[asyncio.Task[None]] = set()
        self._throttle = Throttle()

    async def run(self, ended: asyncio.Event) -> None:
        """Send until the plan's end or `ended`, then wait for the answers that are on their way."""
        reporting = asyncio.create_task(self._report())
        try:
            await self._send(ended)
            if self._waiting:
                await asyncio.wait(self._waiting, timeout=_GRACE)
            for task in list(self._waiting):  # without an answer until now
                task.cancel()
                self._tally.count("no answer at the end", 0)
        finally:
            reporting.cancel()

    async def _send(self, ended: asyncio.Event) -> None:
        plan, loop = self._plan, asyncio.get_running_loop()
        most = max(_LEAST_WAITING, math.ceil(plan.rate))
        number, begun = 0, loop.time()
        self._tally.begin()
        while not ended.is_set() and (plan.count is None or number < plan.count) and number / plan.rate < plan.seconds:
            pause = begun + number / plan.rate - loop.time()
            # Also without a pause the answers get their turn.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), max(pause, 0.0)) if pause > 0 else await asyncio.sleep(0)
            if ended.is_set():
                return
            if len(self._waiting) < most:
                self._tally.sent += 1
                self._begin(self._mix[number % len(self._mix)] if plan.call == "mix" else plan.call)
            else:
                self._tally.left_out += 1
            number += 1

    def _begin(self, call: str) -> None:
        path, rows = CALLS[call]
        task = asyncio.create_task(self._ask(path, rows))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _ask(self, path: str, rows: int) -> None:
        body = msgspec.json.encode({"data": [self._draw() for _ in range(rows)]})
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            async with self._session.post(self._plan.url + path, data=body) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            outcome = _reason(error)
            self._tally.count(outcome, rows)
            self._say(outcome, f"POST {path}: {outcome}")
            return
        outcome = _judged(response.status, response.headers.get("X-Prediction-Logged"), content, rows)
        self._tally.count(outcome, rows, clock() - begun)
        if outcome != ANSWERED:
            self._say(outcome, f"POST {path}: {outcome}: {content[:300].decode(errors='replace')}")

    def _say(self, outcome: str, sentence: str) -> None:
        """Say of each kind of failure one a minute: a load that fails as a whole must not flood the terminal."""
        if self._throttle.due(outcome):
            show(sentence)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._plan.every)
            show(self._tally.progress())


def _judged(status: int, logged: str | None, content: bytes, rows: int) -> str:
    """Return what an answer is: ANSWERED, or in some words what it lacks."""
    if status != 200:  # noqa: PLR2004 - as HTTP has it
        return str(status)
    try:
        answer = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.MsgspecError:
        answer = {}
    predictions = answer.get("predictions") if rows > 1 else [answer["prediction"]] if "prediction" in answer else None
    if not answer.get("job_id") or not isinstance(predictions, list) or len(predictions) != rows:
        return "200, but no prediction"
    return ANSWERED if logged != "false" else "200, but not logged"


async def _served(session: aiohttp.ClientSession, plan: Plan, ended: asyncio.Event) -> _Served | None:
    """Return what a server takes as soon as it is ready, or None if the load was ended before."""
    loop = asyncio.get_running_loop()
    end, told = loop.time() + plan.wait, False
    while (reason := await _not_ready(session, plan.url)) and not ended.is_set():
        if loop.time() >= end:
            msg = f"{plan.url} is not ready: {reason}"
            raise ValueError(msg)
        if not told:
            show(f"waiting for {plan.url}: {reason}")
            told = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), _PAUSE)
    if ended.is_set():
        return None
    try:
        async with session.get(f"{plan.url}/metadata") as response:
            found = msgspec.json.decode(await response.read(), type=dict[str, Any])
        (sample,) = msgspec.convert(found["data_sample"], list[list[float | int | bool | str | None]])
        keys = [at for at, each in enumerate(found.get("features", ())) if each.get("role") == "key"]
        labelled = found.get("task", "classification") == "classification"
        mix = _MIX if labelled else [call for call in _MIX if call != "label"]
        return _Served(sample, keys[0] if keys else None, mix)
    except (aiohttp.ClientError, msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        msg = (
            f"{plan.url}/metadata gives no sample of a row: this is not a prediction server, or its model takes no rows"
        )
        raise ValueError(msg) from error


async def _not_ready(session: aiohttp.ClientSession, url: str) -> str:
    """Return why a server is not ready, or nothing."""
    try:
        async with session.get(f"{url}/readyz") as response:
            return "" if response.status == 200 else f"/readyz answers {response.status}"  # noqa: PLR2004
    except (aiohttp.ClientError, TimeoutError) as error:
        return _reason(error)


def _reason(error: Exception) -> str:
    """Return why there is no answer, in few words and without what differs from request to request."""
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno and error.os_error.errno > 0:
        return os.strerror(error.os_error.errno)
    return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
