"""The command line: verbs only; each imports what it needs.

Nothing but the standard library is imported before signals are heeded: that takes a tenth of a second, in which the
first process of a container would not hear a SIGTERM at all.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from predictor.server import early_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from predictor.config.settings import SettingRow, Settings

_FAILED_TO_START = 2
_EXAMPLES = """examples:
  predictor serve                    the demo, iris, at http://127.0.0.1:8000/
  predictor serve model.onnx         your own model
  PREDICTOR_PORT=8080 predictor      a setting is an environment variable;
                                     predictor serve --help lists them
  predictor log verify               is anything missing in the log in ./outbox?"""
_SETTINGS = """settings, by their defaults, all of them environment variables beside
OpenTelemetry's own (OTEL_EXPORTER_OTLP_ENDPOINT ships the log to a Collector):"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return its exit status; what keeps it from starting is one sentence and status 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] == "serve":
        early_signals.take()
    from predictor import __version__  # noqa: PLC0415 - after the signals
    from predictor.config.settings import SettingsError, load, table  # noqa: PLC0415 - as above
    from predictor.core import operator_log  # noqa: PLC0415 - after the signals

    operator_log.occupy()
    if arguments and arguments[0] in {"log", "load"}:
        return (_log if arguments[0] == "log" else _load)(arguments[1:])
    parser, verbs = _parser(__version__, table())
    if arguments and not arguments[0].startswith("-") and arguments[0] not in verbs:
        operator_log.show(f"predictor: {_no_verb(arguments[0], verbs)}")
        raise SystemExit(_FAILED_TO_START)  # as the parser does for what it does not know
    options = parser.parse_args(arguments)
    if options.verb == "completion":
        return _complete(options.shell, verbs)
    settings = None
    try:
        if options.verb == "init":
            return _init(options.file, options.folder)
        settings = load()
        if getattr(options, "model", None):
            settings = replace(settings, model=options.model)
        if options.verb == "check" and (options.rows or options.expected):
            return _compare(settings, options)
        return _VERBS[options.verb or "serve"](settings)
    except (SettingsError, OSError, ValueError) as error:
        operator_log.show(f"predictor: {_sentence(error, settings)}")
        return _FAILED_TO_START


def _parser(version: str, settings: Sequence[SettingRow]) -> tuple[argparse.ArgumentParser, list[str]]:
    """Return the parser of all verbs but `log` and `load`, which have their own, and the verbs' names."""
    parser = argparse.ArgumentParser(
        prog="predictor",
        description="A prediction server whose prediction log can be trusted: an acknowledged prediction is a logged "
        "prediction. Without a verb it serves.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"predictor {version}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")

    def verb(name: str, does: str, epilog: str | None = None) -> argparse.ArgumentParser:
        raw = argparse.RawDescriptionHelpFormatter
        description = textwrap.fill(f"{does[0].upper()}{does[1:]}.", 80)
        return verbs.add_parser(name, help=does, description=description, epilog=epilog, formatter_class=raw)

    serving = verb("serve", "serve predictions until a signal ends it (the default)", _listed(settings))
    checking = verb(
        "check", "load the model, try the outbox, send a record through the Collector to the sink; say what is wrong"
    )
    beginning = verb("init", "write the folder of a model from its ONNX file")
    beginning.add_argument("file", type=Path, metavar="FILE.onnx")
    beginning.add_argument(
        "folder", type=Path, nargs="?", metavar="FOLDER", help="where to; named after the file if it is left out"
    )
    verb("load", "send predictions to a server at a fixed rate; see `predictor load --help`")
    verb(
        "log",
        "read the prediction log (list, tail, show, verify, export, replay, score) and look after what the sink "
        "refused (rejected, resend); see `predictor log --help`",
    )
    describing = verb("openapi", "print the OpenAPI document of the server's calls, and start none")
    for each in (serving, checking, describing):
        each.add_argument(
            "model",
            type=Path,
            nargs="?",
            metavar="MODEL",
            help="an ONNX file, or the folder of a model, of its versions or of several models, before "
            "PREDICTOR_MODEL; without either it is the demo, iris",
        )
    _comparing(checking)
    verb("healthcheck", "ask the server that listens by these settings whether it lives")
    completing = verb("completion", "print what a shell needs: source <(predictor completion bash)")
    completing.add_argument("shell", choices=("bash", "zsh", "fish"))
    return parser, list(verbs.choices)


def _listed(settings: Sequence[SettingRow]) -> str:
    """Return the settings as `predictor serve --help` shows them: whoever has the package alone has no other list."""
    rows = [f"  {row.variable}={row.default}\n{_indented(row.meaning)}" for row in settings]
    return "\n".join([_SETTINGS, *rows])


def _indented(text: str) -> str:
    return textwrap.fill(text.replace("`", ""), 80, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _no_verb(given: str, verbs: Sequence[str]) -> str:
    if given.endswith(".onnx") or Path(given).exists():
        return f"{given!r} is not a verb; to serve it: predictor serve {shlex.quote(given)}"
    return f"{given!r} is not a verb; wanted one of {', '.join(verbs)}; see predictor --help"


def _serve(settings: Settings) -> int:
    from predictor.server.lifecycle import serve  # noqa: PLC0415 - a verb imports its own

    return serve(settings)


def _check(settings: Settings) -> int:
    from predictor.server.check import check  # noqa: PLC0415 - a verb imports its own

    return check(settings)


def _comparing(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a converted model beside the original's own predictions, instead of all that")
    group.add_argument("--rows", type=Path, metavar="FILE", help="rows as .parquet, .csv or .jsonl")
    group.add_argument(
        "--expected",
        action="append",
        metavar="COLUMN",
        help="the column of what the original predicted: the label or the number; given again for several numbers "
        "in the model's order, or a label and then its numbers",
    )
    group.add_argument(
        "--tolerance",
        type=float,
        default=1e-5,
        help="by how much a number may differ, of 1 or of the number if that is more (default: %(default)s)",
    )
    group.add_argument("--changed", type=int, default=0, metavar="N", help="so many labels may change (default: 0)")
    group.add_argument("--json", action="store_true", help="one object for machines")


def _compare(settings: Settings, options: argparse.Namespace) -> int:
    from predictor.conversion.command import Wanted, check_rows  # noqa: PLC0415 - a verb imports its own
    from predictor.inference.model import load  # noqa: PLC0415
    from predictor.inference.repository import one  # noqa: PLC0415

    if not (options.rows and options.expected):
        msg = "--rows and --expected belong together"
        raise ValueError(msg)
    source = one(settings.model)
    model = load(source.path, settings.batch_rows, name=source.name, version=source.version)
    wanted = Wanted(options.rows, options.expected, options.tolerance, options.changed, options.json)
    return check_rows(model, wanted)


def _init(file: Path, folder: Path | None) -> int:
    from predictor.inference.manifest_template import init  # noqa: PLC0415 - a verb imports its own

    sys.stderr.write(f"wrote {init(file, folder)}\n")
    return 0


def _healthcheck(settings: Settings) -> int:
    from predictor.server.healthcheck import healthcheck  # noqa: PLC0415 - a verb imports its own

    return healthcheck(settings)


def _openapi(settings: Settings) -> int:
    from predictor.server.openapi import print_document  # noqa: PLC0415 - a verb imports its own

    return print_document(settings)


def _log(arguments: Sequence[str]) -> int:
    from predictor.reader.cli import main as log  # noqa: PLC0415 - a verb imports its own

    return log(arguments)


def _complete(shell: str, verbs: Sequence[str]) -> int:
    from predictor.reader.cli import words  # noqa: PLC0415 - a verb imports its own
    from predictor.reader.completion import script  # noqa: PLC0415

    sys.stdout.write(script(shell, verbs, words()))
    return 0


def _load(arguments: Sequence[str]) -> int:
    from predictor.load.cli import main as load  # noqa: PLC0415 - a verb imports its own

    return load(arguments)


def _sentence(error: Exception, settings: Settings | None) -> str:
    if not (isinstance(error, OSError) and error.strerror):
        sentence = str(error).removesuffix(".")
        if settings and sentence.startswith((f"{settings.model}{os.sep}", f"{settings.model} ", f"{settings.model}:")):
            return f"PREDICTOR_MODEL is {str(settings.model)!r}, wanted an ONNX file or a folder of models: {sentence}"
        return sentence
    if not error.filename:
        return error.strerror
    where = Path(os.fsdecode(error.filename))
    if settings and (where.is_relative_to(settings.outbox) or settings.outbox.is_relative_to(where)):
        outbox = str(settings.outbox)
        return f"PREDICTOR_OUTBOX is {outbox!r}, wanted a folder that can be written: {where}: {error.strerror}"
    return f"{where}: {error.strerror}"


_VERBS: dict[str, Callable[[Settings], int]] = {
    "serve": _serve,
    "check": _check,
    "healthcheck": _healthcheck,
    "openapi": _openapi,
}

if __name__ == "__main__":
    raise SystemExit(main())
