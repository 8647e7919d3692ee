"""Output of the verbs: tables and lines for a person, JSON lines for a machine, on stdout; all else on stderr.

On a terminal tables are drawn by rich if it is installed (the extra `log`); into a pipe they are plain columns.
"""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from predictor.core.operator_log import printable, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_EVERY = 256  # records between two looks at the progress bar: drawing it costs as much as reading a record
_encode = msgspec.json.encode
_C1 = re.compile("[\x7f-\x9f]")  # JSON leaves them as they are, and terminals obey them


class Progress(Protocol):
    """What tells how far it is."""

    @property
    def fraction(self) -> float:
        """How much is done, about: 0 to 1."""


class TextColumn(NamedTuple):
    """One column of a table."""

    title: str
    right: bool = False
    """Whether it holds numbers."""


class Output:
    """Where a verb's result goes."""

    def __init__(self, *, as_json: bool) -> None:
        """Take whether the result is for a machine."""
        self.as_json = as_json
        self._uses_rich = sys.stdout.isatty() and find_spec("rich") is not None

    def json(self, value: object) -> None:
        """Print one line of JSON."""
        self.line(_C1.sub(lambda found: f"\\u{ord(found[0]):04x}", _encode(value).decode()), escape=False)

    def line(self, text: str, *, escape: bool = True) -> None:
        """Print one line; what callers of the server have sent cannot draw on the terminal."""
        print(printable(text) if escape else text)  # noqa: T201 - its purpose

    def note(self, text: str) -> None:
        """Say something beside the result: a line on stderr."""
        show(f"predictor: {text}")

    def flush(self) -> None:
        """Hand everything on now; raises BrokenPipeError if nobody reads it."""
        sys.stdout.flush()

    def table(self, columns: Sequence[TextColumn], rows: Sequence[Sequence[str]]) -> None:
        """Print a table; nothing if it has no rows."""
        rows = [[printable(cell) for cell in row] for row in rows]
        if not rows:
            return
        if self._uses_rich:
            _draw(columns, rows)
            return
        titles = [column.title for column in columns]
        widths = [max(map(len, cells)) for cells in zip(titles, *rows, strict=True)]
        for row in (titles, *rows):
            cells = [
                cell.rjust(width) if column.right else cell.ljust(width)
                for cell, width, column in zip(row, widths, columns, strict=True)
            ]
            self.line("  ".join(cells).rstrip())

    @contextmanager
    def progress(self, what: str, of: Progress | None = None, every: int = _EVERY) -> Iterator[Callable[..., None]]:
        """Show a bar on stderr, if that is a terminal, while something is done; call what this yields once a record.

        The bar is drawn anew each `every` calls.
        """
        if not sys.stderr.isatty() or find_spec("rich") is None:
            yield lambda *_: None
            return
        from rich import progress  # noqa: PLC0415
        from rich.console import Console  # noqa: PLC0415 - only for who sees it

        looks = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TextColumn("{task.fields[done]:,}"),
            progress.TimeElapsedColumn(),
        )
        with progress.Progress(*looks, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=None if of is None else 1.0, done=0)
            done = 0

            def tick(*_: object) -> None:
                nonlocal done
                done += 1
                if done % every == 0:
                    bar.update(task, completed=0.0 if of is None else of.fraction, done=done)

            yield tick


def number(value: Any, digits: int) -> str:  # noqa: ANN401 - whatever an attribute holds
    """Return a number with so many digits after the point, nothing for None."""
    return "" if value is None else f"{value:.{digits}f}"


def _draw(columns: Sequence[TextColumn], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only for who sees it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # Text: brackets in what callers have sent are no markup
    Console().print(table)
