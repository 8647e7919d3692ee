"""`predictor log rejected`: lists what the sink refused, and takes an operator's word to believe refusals."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from predictor.outbox.layout import file_size
from predictor.outbox.modes import open_file
from predictor.reader import time_range
from predictor.reader.command import FINE, FOUND, OutboxVerb
from predictor.reader.output import TextColumn
from predictor.reader.rejected.files import chosen, items

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from predictor.outbox.layout import StreamFiles
    from predictor.reader.command import AskedOutbox
    from predictor.reader.rejected.files import RejectedItem, RejectionReason

_COLUMNS = (
    TextColumn("stream"),
    TextColumn("item"),
    TextColumn("refused"),
    TextColumn("status", right=True),
    TextColumn("the sink's words"),
)


def as_json(item: RejectedItem, reason: RejectionReason) -> dict[str, Any]:
    """Return what `--json` prints of an item; docs/reading.md describes it."""
    return {
        "stream": item.stream.stream_id,
        "name": item.name,
        "signal": item.signal,
        "sequence": item.sequence,
        "time": time_range.shown(reason.time_unix_ns, digits=9) if reason.time_unix_ns else None,
        "status": reason.status or None,
        "words": reason.words,
        "endpoint": reason.endpoint or None,
        "bytes": file_size(item.path),
        "file": str(item.path),
    }


def _row(item: RejectedItem, reason: RejectionReason) -> list[str]:
    when = time_range.shown(reason.time_unix_ns) if reason.time_unix_ns else ""
    return [item.stream.stream_id, item.name, when, str(reason.status or ""), reason.words]


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--accept", action="store_true", help="have a running server believe the refusals that hold up its streams"
    )


def _run(asked: AskedOutbox) -> int:
    found = chosen(asked.outbox, asked.options.stream)
    if asked.options.accept:
        return _accept(asked, found)
    kept = [item for files in found for item in items(files)]
    output = asked.output
    if output.as_json:
        for item in kept:
            output.json(as_json(item, item.reason()))
    elif kept:
        output.listing(_COLUMNS, [_row(item, item.reason()) for item in kept])
    else:
        output.note(f"nothing that the sink refused is in {asked.outbox}")
    return FINE


def _accept(asked: AskedOutbox, found: list[StreamFiles]) -> int:
    output = asked.output
    waiting = [files for files in found if files.lock.exists()]  # of the others only rejected/ is left
    for files in waiting:
        path = _touch(files)
        if output.as_json:
            output.json({"stream": files.stream_id, "accept": str(path)})
        else:
            output.line(f"stream {files.stream_id}: {path} is made")
    if not waiting:
        output.note(f"nothing in {asked.outbox} is still to be shipped, so no refusal holds it up")
        return FOUND
    output.note(
        "a server that ships these streams believes each refusal of what they hold at this moment: it puts such "
        "records into rejected/, removes the file and goes on; `predictor log resend` sends them again"
    )
    return FINE


def _touch(files: StreamFiles) -> Path:
    path = files.accept_rejections
    os.close(open_file(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW))
    return path


VERB = OutboxVerb(
    "what the sink refused and the outbox keeps; --accept: believe refusals that hold up", _options, _run, lists=True
)
