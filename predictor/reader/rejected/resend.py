"""`predictor log resend`: sends refused items again, and removes those that the sink accepts now.

It may run beside a server: that one only adds to `rejected/`, and a copy of a record harms nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec.structs import replace

from predictor.outbox.layout import SIGNALS, replace_file
from predictor.reader.command import FINE, FOUND, OutboxVerb
from predictor.reader.rejected.files import chosen, items
from predictor.reader.sources.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from predictor.config.otel_env import Endpoint
    from predictor.outbox.layout import Signal, StreamFiles
    from predictor.reader.command import AskedOutbox
    from predictor.reader.rejected.files import RejectedItem
    from predictor.shipping.otlp_http import Delivery, Refused, Retry

_WAITS = (0.5, 1.0, 2.0, 4.0)
"""Seconds between the tries of one item, at least; what the sink asks for goes before, up to _LONGEST."""
_LONGEST = 30.0
_INTERNAL, _SERVER_ERRORS = 500, 5
"""Answers 500 in a row after which it is the way that fails: a Collector passes on a 413 of the sink's as 500."""
_MOST = 20  # sentences; a sink that refuses everything leaves thousands


class Left(NamedTuple):
    """An item that is still there: the status, if it was refused for its content, and what was said."""

    item: RejectedItem
    status: int | None
    words: str


@dataclass
class Result:
    """What became of the items."""

    accepted: Counter[StreamFiles] = field(default_factory=Counter)
    left: list[Left] = field(default_factory=list)


class _Share:
    """How much of the items is done, for a progress bar."""

    def __init__(self, of: int) -> None:
        self.done = 0
        self._of = of

    @property
    def fraction(self) -> float:
        return self.done / self._of


async def resend(
    wanted: Sequence[RejectedItem],
    deliveries: dict[Signal, Delivery],
    done: Callable[[], object] = lambda: None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Result:
    """Post each item to the endpoint of its signal; `done` is called after each.

    An item that is accepted is removed. A signal whose endpoint does not answer is given up. Raises OSError for a
    disk that fails.
    """
    result = Result()
    for signal in SIGNALS:
        gone: str | None = None if signal in deliveries else f"no endpoint is set for {signal}"
        errors = 0
        for item in (each for each in wanted if each.signal == signal):
            if gone is not None:
                result.left.append(Left(item, None, gone))
            else:
                retry = await _try(item, deliveries[signal], result, sleep)
                errors = errors + 1 if retry else 0
                if retry and (retry.status != _INTERNAL or errors == _SERVER_ERRORS):
                    gone = f"not tried after that: {said(retry)}"
            done()
    return result


async def _try(
    item: RejectedItem, delivery: Delivery, result: Result, sleep: Callable[[float], Awaitable[None]]
) -> Retry | None:
    """Send one item until there is a word on it; return the last answer if there is none."""
    from predictor.shipping.otlp_http import Accepted, Refused  # noqa: PLC0415 - brings aiohttp

    try:
        content = item.path.read_bytes()
    except FileNotFoundError:  # somebody else has sent or removed it
        return None
    for wait in (*_WAITS, None):
        match await delivery.post(content):
            case Accepted():
                item.beside.unlink(missing_ok=True)  # first: an item without a reason is whole, not the reverse
                item.path.unlink(missing_ok=True)
                result.accepted[item.stream] += 1
                return None
            case Refused() as answer:
                _note(item, answer)
                result.left.append(Left(item, answer.status, answer.words))
                return None
            case retry if wait is None:
                result.left.append(Left(item, None, said(retry)))
                return retry
            case retry:
                await sleep(max(wait, min(retry.after, _LONGEST)))
    return None


def said(retry: Retry) -> str:
    """Return what an endpoint that is to be tried again has said."""
    return f"{retry.reason} {retry.words}".rstrip()


def _note(item: RejectedItem, answer: Refused) -> None:
    """Keep the newest answer beside the item; a disk that is full keeps the one before."""
    known = replace(item.reason(), status=answer.status, words=answer.words, time_unix_ns=time.time_ns())
    with contextlib.suppress(OSError):
        replace_file(item.beside, msgspec.json.encode(known))


def _tidy(files: StreamFiles) -> None:
    """Remove what is empty of a stream of which only `rejected/` was left."""
    with contextlib.suppress(OSError):  # not empty, or a server has made it anew
        files.rejected.rmdir()
        files.path.rmdir()


def sentences(result: Result) -> Iterator[str]:
    """Yield what became of the items: the first that are left, then how many, by stream."""
    for left in result.left[:_MOST]:
        what = f"{left.status} {left.words}".rstrip() if left.status else left.words
        yield f"stream {left.item.stream.stream_id}: {left.item.name} is left: {what}"
    if len(result.left) > _MOST:
        yield f"and {len(result.left) - _MOST} more are left"
    for files, number in sorted(result.accepted.items(), key=lambda each: each[0].stream_id):
        yield f"stream {files.stream_id}: {number} accepted and removed"
    yield f"{result.accepted.total()} accepted, {len(result.left)} left"


def as_json(result: Result) -> dict[str, Any]:
    """Return what `--json` prints; docs/reading.md describes it."""
    return {
        "accepted": result.accepted.total(),
        "left": [
            {"stream": each.item.stream.stream_id, "name": each.item.name, "status": each.status, "words": each.words}
            for each in result.left
        ],
    }


def _run(asked: AskedOutbox) -> int:
    found = chosen(asked.outbox, asked.options.stream)
    wanted = [item for files in found for item in items(files)]
    output = asked.output
    if not wanted and not output.as_json:
        output.note(f"nothing that the sink refused is in {asked.outbox}")
        return FINE
    result = asyncio.run(_resend(asked, wanted)) if wanted else Result()
    for files in result.accepted:
        _tidy(files)
    if output.as_json:
        output.json(as_json(result))
    else:
        for sentence in sentences(result):
            output.line(sentence)
    return FOUND if result.left else FINE


async def _resend(asked: AskedOutbox, wanted: Sequence[RejectedItem]) -> Result:
    from predictor.shipping.otlp_http import Delivery  # noqa: PLC0415 - brings aiohttp

    export = asked.export()
    endpoints: dict[Signal, Endpoint | None] = {"logs": export.logs, "traces": export.traces}
    deliveries = {signal: Delivery(endpoint) for signal, endpoint in endpoints.items() if endpoint}
    if not deliveries:
        where = "OTEL_EXPORTER_OTLP_ENDPOINT"
        raise SourceError(where, "it is not set; wanted the Collector's URL, such as http://127.0.0.1:4318")
    share = _Share(len(wanted))
    try:
        with asked.output.progress("sending", share, every=1) as tick:

            def done() -> None:
                share.done += 1
                tick()

            return await resend(wanted, deliveries, done)
    finally:
        for delivery in deliveries.values():
            await delivery.close()


VERB = OutboxVerb("send again what the sink refused; exit status 1 if something is left", lambda _: None, _run)
