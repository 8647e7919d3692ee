"""`predictor log list`: the newest records, the newest last."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from predictor.config.parsers import count
from predictor.reader.command import FAILED, FINE, Verb
from predictor.reader.record_view import COLUMNS, Filter, add_filters, as_json, as_row, attribute_columns
from predictor.reader.rows import rows_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from predictor.reader.command import Asked
    from predictor.reader.record import Entry
    from predictor.reader.sources.source import Source
    from predictor.reader.time_range import TimeRange

    _Identity = tuple[str, int, int]


def newest(
    source: Source, window: TimeRange, limit: int, wants: Callable[[Entry], bool], progress: Callable[[Entry], object]
) -> list[Entry]:
    """Return the newest records of a window that are wanted, oldest first, copies dropped; raises SourceError."""
    kept: dict[_Identity, Entry] = {}
    for place in source.backwards(window):
        for part in place:
            for entry in part.entries:
                progress(entry)
                for row in rows_of(entry):
                    if wants(row):
                        kept.setdefault(_identity(row), row)
            if len(kept) >= limit:
                latest = _latest(kept, limit)
                kept = {_identity(each): each for each in latest}
                if part.before <= latest[0].time_ns:
                    break
    return _latest(kept, limit)


def _identity(entry: Entry) -> _Identity:
    return (*entry[:2], entry.row or 0)


def _latest(kept: dict[_Identity, Entry], limit: int) -> list[Entry]:
    return sorted(kept.values(), key=lambda entry: (entry.time_ns, *_identity(entry)))[-limit:]


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=_limit, default=20, metavar="N", help="so many (default: %(default)s)")
    add_filters(parser)


def _limit(text: str) -> int:
    try:
        return count(1)(text)
    except ValueError as error:
        msg = f"{text!r}; wanted {error}"
        raise argparse.ArgumentTypeError(msg) from error


def _run(asked: Asked) -> int:
    output = asked.output
    with output.progress("reading", asked.source) as tick:
        wants = Filter(asked.options).wants
        found = newest(asked.source, asked.window, asked.options.limit, wants, lambda _: tick())
    if output.as_json:
        for entry in found:
            output.json(as_json(entry))
    elif found:
        more = attribute_columns(dict.fromkeys(output.layout.names))
        names = [column.title for column in more]
        output.listing((*COLUMNS, *more), [as_row(entry, names) for entry in found])
    else:
        output.note(f"nothing of the kind in {asked.source.name}")
    return FAILED if asked.source.damaged and not found else FINE  # it may be no log at all


VERB = Verb("the newest predictions, the newest last", _options, _run, place=True, lists=True)
