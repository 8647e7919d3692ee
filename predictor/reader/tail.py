"""`predictor log tail`: prints records as they arrive, until Ctrl-C."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

from predictor.reader import time_range
from predictor.reader.command import FINE, Verb
from predictor.reader.record_view import Filter, add_filters, as_json
from predictor.reader.sequence_sets import NumberSet

if TYPE_CHECKING:
    import argparse

    from predictor.reader.command import Asked

_PAUSE = 0.5  # s between two looks: a person waits no longer, and Loki is asked no more often
_BACK_NS = 60 * 1_000_000_000


def _options(parser: argparse.ArgumentParser) -> None:
    add_filters(parser)


def _run(asked: Asked) -> int:
    output, wants = asked.output, Filter(asked.options).wants
    begin = asked.window if asked.options.since is not None else time_range.TimeRange(time.time_ns() - _BACK_NS)
    seen: defaultdict[str, NumberSet] = defaultdict(NumberSet)
    for entry in asked.source.follow(begin):
        if entry is None:
            output.flush()
            time.sleep(_PAUSE)
        elif wants(entry) and seen[entry.stream].add(entry.sequence):  # what was sent again is shown once
            if output.as_json:
                output.json(as_json(entry))
            else:
                output.line(f"{time_range.shown(entry.time_ns)} {entry.body}")
    return FINE


VERB = Verb("the last minute (or from --since on) and what comes, until Ctrl-C", _options, _run, ends=False, place=True)
