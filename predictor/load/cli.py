"""`predictor load URL`: the command line; docs/operations.md and the component `client` show it at work."""

from __future__ import annotations

import argparse
import asyncio
import math
import random
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from predictor.config import urls
from predictor.config.parsers import count, duration
from predictor.core.operator_log import show
from predictor.load import rows, sender
from predictor.load.tally import LoadTally

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FAILED_REQUESTS, FAILED = 1, 2
INTERRUPTED = 130
"""As shells count: 128 and the number of SIGINT; a second Ctrl-C ends it at once."""
_HIGHEST_RATE = 10_000.0
"""Requests a second; one process of this client does not send more."""
_TOLERATED = 0.01
"""The share of requests that may be left out because answers came too slowly; beyond it the rate was not kept."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say in one sentence what is wrong, without the usage."""
        show(f"{self.prog}: {message}")
        raise SystemExit(FAILED)


def main(arguments: Sequence[str]) -> int:
    """Send the load and return 0 if every request was answered with a logged prediction, at the rate that was asked.

    1 stands for failed requests, 2 for a load that could not begin.
    """
    options = _parser().parse_args(arguments)
    plan = sender.Plan(
        url=options.url.rstrip("/"),
        rate=options.rate,
        seconds=options.seconds,
        count=options.count,
        call=options.call,
        every=options.every,
        wait=options.wait,
        keep_connections=not options.new_connections,
    )
    tally = LoadTally()
    try:
        asyncio.run(sender.send(plan, lambda width: _source(options, width), tally))
    except KeyboardInterrupt:
        return INTERRUPTED
    except (OSError, ValueError) as error:
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        show(f"predictor load: {reason}")
        return FAILED
    print(tally.as_json() if options.json else tally.summary(), flush=True)  # noqa: T201 - what was asked for
    return FAILED_REQUESTS if tally.failed or tally.left_out > _TOLERATED * tally.sent else 0


def _source(options: argparse.Namespace, sample: Sequence[float]) -> Callable[[], Sequence[rows.Value]]:
    """Return what draws rows for a model with this sample row; raises OSError and ValueError for what does not fit."""
    generator = random.Random(options.seed)  # noqa: S311 - rows, not secrets
    if options.rows:
        return rows.listed(rows.read(options.rows, len(sample)), generator)
    if options.model:
        return rows.within(rows.trained(options.model, len(sample)), generator)
    return rows.around(sample, generator)


def _parser() -> _Parser:
    parser = _Parser(
        prog="predictor load",
        description="Send predictions to a server at a fixed rate, however long it takes to answer, and sum up. "
        "Ctrl-C or SIGTERM ends it with the summary. Exit status: 0 all answered, 1 some failed, 2 could not begin.",
    )
    parser.add_argument("url", metavar="URL", type=_taken(_url), help="of the server, such as http://127.0.0.1:8000")
    parser.add_argument("--rate", metavar="N", type=_taken(_rate), default=10.0, help="requests a second (10)")
    bound = parser.add_mutually_exclusive_group()
    bound.add_argument(
        "--for",
        metavar="TIME",
        dest="seconds",
        type=_taken(duration(0.001)),
        default=math.inf,
        help="end after a time such as 30s or 15m (by itself it goes on)",
    )
    bound.add_argument("--count", metavar="N", type=_taken(count(1)), help="end after so many requests")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--rows", metavar="FILE", type=Path, help="draw rows from a file of CSV (one header allowed) or JSON arrays"
    )
    source.add_argument(
        "--model",
        metavar="FOLDER",
        type=Path,
        help="draw rows from the ranges that a model saw in training (by default around the sample of GET /metadata)",
    )
    parser.add_argument(
        "--call",
        choices=("mix", *sender.CALLS),
        default="mix",
        help="what to ask for; mix: of ten requests seven predictions, two labels, one batch of eight rows (mix)",
    )
    parser.add_argument("--new-connections", action="store_true", help="open one for each request, as behind a Service")
    parser.add_argument(
        "--every", metavar="TIME", type=_taken(duration(0.1)), default=10.0, help="between lines of progress (10s)"
    )
    parser.add_argument(
        "--wait", metavar="TIME", type=_taken(duration(0.0)), default=30.0, help="for the server to be ready (30s)"
    )
    parser.add_argument("--seed", metavar="N", type=_taken(count(0)), help="draw the same rows again")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser


def _taken(parse: Callable[[str], object]) -> Callable[[str], object]:
    """Return a parser whose ValueError says what was wanted, as an argument's type."""

    def take(given: str) -> object:
        try:
            return parse(given)
        except ValueError as error:
            shown = "what is given (not shown, since it may be a password)" if "@" in given else repr(given)
            msg = f"{shown}, wanted {error}"
            raise argparse.ArgumentTypeError(msg) from None

    return take


def _rate(given: str) -> float:
    try:
        rate = float(given)
    except ValueError:
        rate = math.nan
    if not 0 < rate <= _HIGHEST_RATE:
        msg = f"a number above 0, at most {_HIGHEST_RATE:g}"
        raise ValueError(msg)
    return rate


def _url(given: str) -> str:
    if not urls.usable(given):
        msg = "a URL such as http://127.0.0.1:8000"
        raise ValueError(msg)
    return given
