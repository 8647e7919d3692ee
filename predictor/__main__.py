"""The command line: verbs only; each imports what it needs."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from predictor import __version__
from predictor.settings import Settings, SettingsError, load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_FAILED_TO_START = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return its exit status; what keeps it from starting is one sentence and status 2."""
    parser = argparse.ArgumentParser(
        prog="predictor",
        description="A prediction server whose prediction log can be trusted. Settings are environment variables.",
    )
    parser.add_argument("--version", action="version", version=f"predictor {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="serve | check")
    verbs.add_parser("serve", help="serve predictions until a signal ends it (the default)")
    verbs.add_parser("check", help="load the model, try the outbox, reach the Collector; say what is wrong")
    verb = parser.parse_args(arguments).verb or "serve"
    try:
        return _VERBS[verb](load())
    except (SettingsError, OSError, ValueError) as error:
        print(f"predictor: {_sentence(error)}", file=sys.stderr)  # noqa: T201 - the one sentence
        return _FAILED_TO_START


def _serve(settings: Settings) -> int:
    from predictor.serve import serve  # noqa: PLC0415 - a verb imports its own

    return serve(settings)


def _check(settings: Settings) -> int:
    from predictor.check import check  # noqa: PLC0415 - a verb imports its own

    return check(settings)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return str(error)


_VERBS: dict[str, Callable[[Settings], int]] = {"serve": _serve, "check": _check}

if __name__ == "__main__":
    sys.exit(main())
