"""Everything arrives at full rate, on stdout and in Loki."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from tests.stack.stack import every_overlay, ship_out
from tests.support import loki_client
from tests.support.ledger import Load, Record, check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.stack.stack import Stack

_ROWS = 20_000
_ATTRIBUTE = re.compile(r" (?=(?:(?:prediction|http|error|event)\.[a-z_.]+|trace_id|span_id)=)")
_IDS = {"trace_id": 32, "span_id": 16}  # hexadecimal digits; every prediction has both, at the line's end


@every_overlay
async def test_every_record_is_printed_and_stored(stack: Stack, outbox: Path, namespace: str) -> None:
    """Of 20,000 predictions as fast as they can be asked for, the Collector's stdout has 20,000, and Loki too.

    Both whole: each number of the stream from 1 to its closing record, each answer as it was given.
    """
    server = await asyncio.to_thread(stack.server(outbox, namespace).start)
    try:
        async with Load(server.url, clients=8, rows=200, limit=_ROWS) as load:
            await load.more(_ROWS)
    finally:
        await asyncio.to_thread(ship_out, server)
    answers = len(load.ledger.answers)
    assert answers >= _ROWS
    assert not load.ledger.refusals
    shown = check(load.ledger, _printed(stack.collector.stdout, namespace))
    entries = stack.stored(namespace)
    stored = check(load.ledger, loki_client.records(entries))
    assert stored.copies == 0
    assert stored.records == shown.records > answers
    assert list(stored.streams.values()) == ["shutdown"]
    # Loki parts a busy stream if it may, and then stores what is sent again twice.
    assert stack.series(namespace, entries[0].time) == [entries[0].labels]


def _printed(stdout: Path, namespace: str) -> Iterator[Record]:
    """Yield what a person reads in `kubectl logs` as records: one on a line, the display line, attributes, ids."""
    published = dict(loki_client.published().values())
    ours, stream = False, ""
    with stdout.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("ResourceLog #"):
                ours = f" k8s.namespace.name={namespace} " in line
            elif line.startswith("ScopeLog #"):
                stream = line.partition("prediction.stream.id=")[2].split()[0]
            elif ours and line.strip() and not line.startswith("Logs\t"):
                _, *pairs = _ATTRIBUTE.split(line.rstrip("\n"))
                texts = dict(pair.split("=", 1) for pair in pairs)
                ids = {name: len(texts.pop(name)) for name in _IDS if name in texts}
                assert ids == (_IDS if texts["event.name"] == "prediction" else {})
                values = {name: published.get(name, float)(text) for name, text in texts.items()}
                yield Record(stream, values["prediction.stream.sequence"], values, line)
