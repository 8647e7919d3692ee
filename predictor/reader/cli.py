"""`predictor log VERB`: the parser, and what all verbs have in common. docs/reading.md shows each at work."""

from __future__ import annotations

import argparse
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from predictor.config.settings import SettingsError, load
from predictor.core import extras
from predictor.core.operator_log import show
from predictor.reader.command import FAILED, Asked, AskedOutbox, OutboxVerb, Verb
from predictor.reader.output import Layout, Output
from predictor.reader.sources.errors import SourceError
from predictor.reader.sources.source import Access, source
from predictor.reader.time_range import TimeRange, moment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_INTERRUPTED, _PIPE_CLOSED = 130, 141
"""As shells count: 128 and the number of SIGINT, of SIGPIPE."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say in one sentence what is wrong, without the usage."""
        show(f"{self.prog}: {message}")
        raise SystemExit(FAILED)


def main(arguments: Sequence[str]) -> int:
    """Run a verb and return its exit status; what keeps it from its work is one sentence and status 2."""
    name = arguments[0] if arguments else ""
    if name not in _VERBS:
        _overview(name).parse_args(arguments)
        return FAILED
    verb = _VERBS[name]()
    options = _parser(name, verb).parse_args(arguments[1:])
    try:
        status = _look_after(verb, options) if isinstance(verb, OutboxVerb) else _run(verb, options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what Python still flushes at its end
        return _PIPE_CLOSED
    except (SourceError, SettingsError, ValueError) as error:
        show(f"predictor: {error}")
        return FAILED
    except OSError as error:
        show(f"predictor: {error.filename}: {error.strerror}" if error.filename else f"predictor: {error}")
        return FAILED
    return status


def _run(verb: Verb, options: argparse.Namespace) -> int:
    window = TimeRange(options.since, getattr(options, "until", None))
    if None not in window and window.start >= window.end:  # type: ignore[operator]
        msg = "--since is not before --until"
        raise ValueError(msg)
    token = _token(options.token_file) if options.token_file else None
    if options.source and getattr(options, "place", None):
        msg = "two places to read from, wanted one: SOURCE or --from SOURCE"
        raise ValueError(msg)
    where = options.source or getattr(options, "place", None) or str(load().outbox)
    found = source(where, Access(options.tenant, token, options.selector))
    output = _output(options)
    try:
        return verb.run(Asked(options, found, window, output))
    finally:
        passed_over = found.passed_over if options.verb == "export" else []
        for sentence in () if options.verb == "verify" else dict.fromkeys([*found.damaged, *passed_over]):
            output.note(sentence)


def _look_after(verb: OutboxVerb, options: argparse.Namespace) -> int:
    outbox = options.outbox or load().outbox
    return verb.run(AskedOutbox(options, outbox, _output(options), lambda: load().export))


def _output(options: argparse.Namespace) -> Output:
    form = getattr(options, "form", None) or "table"
    columns = getattr(options, "columns", None) or ()
    sort = getattr(options, "sort", None) or ""
    return Output(as_json=options.json or form == "json", layout=Layout(form, columns, sort))


def _token(path: Path) -> str:
    place, wanted = f"--token-file {path}", "wanted one line of printable ASCII"
    try:
        token = path.read_bytes().strip().decode("ascii", "replace")
    except OSError as error:
        raise SourceError(place, f"{error.strerror}; {wanted}") from error
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise SourceError(place, f"it holds no token; {wanted}")  # never the token itself
    return token


def _parser(name: str, verb: Verb | OutboxVerb) -> _Parser:
    parser = _Parser(prog=f"predictor log {name}", description=verb.sentence, allow_abbrev=False)
    verb.options(parser)
    parser.set_defaults(verb=name)
    if isinstance(verb, Verb) and verb.place:
        parser.add_argument("place", nargs="?", metavar="SOURCE", help="the same as --from SOURCE")
    common = parser.add_argument_group("where" if isinstance(verb, OutboxVerb) else "where and when")
    if isinstance(verb, OutboxVerb):
        common.add_argument("--outbox", type=Path, metavar="DIR", help="an outbox folder (default: PREDICTOR_OUTBOX)")
        common.add_argument("--stream", metavar="ID", help="only this stream")
    else:
        common.add_argument(
            "--from",
            dest="source",
            metavar="SOURCE",
            help="an outbox folder, a file or folder of OTLP JSON lines, or a URL of Loki (default: PREDICTOR_OUTBOX)",
        )
        common.add_argument(
            "--since", type=_moment, metavar="TIME", help="RFC 3339, a date, or an age such as 15m, 1h30m, 1w"
        )
        if verb.ends:
            common.add_argument("--until", type=_moment, metavar="TIME", help="the same")
        common.add_argument("--tenant", help="Loki's X-Scope-OrgID")
        common.add_argument("--token-file", type=Path, metavar="FILE", help="holds a bearer token for Loki")
        common.add_argument(
            "--selector", default=Access().selector, help="Loki's stream selector (default: %(default)s)"
        )
    if verb.lists:
        table = parser.add_argument_group("how it looks")
        table.add_argument(
            "-o", "--output", dest="form", choices=("table", "wide", "json", "csv"), help="(default: table)"
        )
        table.add_argument("--columns", type=_names, metavar="A,B,C", help="only these, in this order")
        table.add_argument("--sort", metavar="COLUMN", help="by this one; `--sort=-COLUMN` the other way")
        common = table
    common.add_argument("--json", action="store_true", help="for machines: JSON lines, see docs/reading.md")
    return parser


def words() -> dict[str, list[str]]:
    """Return what may be typed after `predictor log`: the options of each verb; for completion."""
    found = {}
    for name, verb in _VERBS.items():
        parser = _parser(name, verb())
        found[name] = sorted(set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", parser.format_usage())))
    return found


def _overview(name: str) -> _Parser:
    missing = [name for name in ("pyarrow", "rich") if find_spec(name) is None]
    brought = f"{' and '.join(missing)}, for terminals and Parquet, can be had by: {extras.command('log')}"
    about = "Reads the prediction log. Each verb explains itself by --help."
    parser = _Parser(prog="predictor log", description=about, epilog=brought if missing else "")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for each, verb in _VERBS.items():
        if not name or name.startswith("-"):
            verbs.add_parser(each, help=verb().sentence)
        else:
            verbs.add_parser(each)
    return parser


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _moment(text: str) -> int:
    try:
        return moment(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _export() -> Verb:
    from predictor.reader.export.command import VERB  # noqa: PLC0415 - a verb imports its own

    return VERB


def _list() -> Verb:
    from predictor.reader.list import VERB  # noqa: PLC0415

    return VERB


def _rejected() -> OutboxVerb:
    from predictor.reader.rejected.command import VERB  # noqa: PLC0415

    return VERB


def _resend() -> OutboxVerb:
    from predictor.reader.rejected.resend import VERB  # noqa: PLC0415

    return VERB


def _replay() -> Verb:
    from predictor.reader.replay.command import VERB  # noqa: PLC0415

    return VERB


def _score() -> Verb:
    from predictor.reader.score.command import VERB  # noqa: PLC0415

    return VERB


def _show() -> Verb:
    from predictor.reader.show import VERB  # noqa: PLC0415

    return VERB


def _tail() -> Verb:
    from predictor.reader.tail import VERB  # noqa: PLC0415

    return VERB


def _verify() -> Verb:
    from predictor.reader.verify.command import VERB  # noqa: PLC0415

    return VERB


_VERBS: dict[str, Callable[[], Verb | OutboxVerb]] = {
    "list": _list,
    "tail": _tail,
    "show": _show,
    "verify": _verify,
    "export": _export,
    "replay": _replay,
    "score": _score,
    "rejected": _rejected,
    "resend": _resend,
}
