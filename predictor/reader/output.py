"""Output of the verbs: tables and lines for a person, JSON lines for a machine, on stdout; all else on stderr.

On a terminal tables are drawn by rich if it is installed (the extra `log`); into a pipe they are plain columns.
"""

from __future__ import annotations

import csv
import re
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from predictor.core.operator_log import printable, show
from predictor.reader.spreadsheet import harmless_column

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
    wide: bool = False
    """Whether it is shown only where a person asks for more."""

    @property
    def name(self) -> str:
        """The title as `--columns` and `--sort` have it."""
        return self.title.lower().replace(" ", "_")


class Layout(NamedTuple):
    """How a person wants the table of a verb."""

    form: str = "table"
    """`table`, `wide` with all columns, `csv`."""
    columns: Sequence[str] = ()
    """Only these, in this order."""
    sort: str = ""
    """By this one; descending if `-` stands before it."""

    @property
    def names(self) -> list[str]:
        """All columns that are named."""
        return [*self.columns, *([self.sort.removeprefix("-")] if self.sort else [])]


class Output:
    """Where a verb's result goes."""

    def __init__(self, *, as_json: bool, layout: Layout | None = None) -> None:
        """Take whether the result is for a machine, or else how the table is wanted."""
        self.as_json = as_json
        self.layout = layout or Layout()
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

    def listing(
        self, columns: Sequence[TextColumn], rows: Sequence[Sequence[str]], total: Sequence[str] | None = None
    ) -> None:
        """Print the table of a verb as a person wants it, nothing if it has no rows; raises ValueError for a column.

        Into a pipe every cell holds something, so that columns can be counted.
        """
        layout = self.layout
        places = {column.name: place for place, column in enumerate(columns)}
        for name in layout.names:
            if name not in places:
                msg = f"there is no column {name!r}, wanted one of {', '.join(places)}"
                raise ValueError(msg)
        if layout.sort:
            column = columns[at := places[layout.sort.removeprefix("-")]]
            key = _by_number if column.right else str
            rows = sorted(rows, key=lambda row: key(row[at]), reverse=layout.sort.startswith("-"))
        named = [places[name] for name in layout.columns]
        chosen = named or [at for at, column in enumerate(columns) if layout.form != "table" or not column.wide]
        shown = [[row[at] for at in chosen] for row in (*rows, *((total,) if total and layout.form != "csv" else ()))]
        titles = [columns[at] for at in chosen]
        if layout.form == "csv":
            texts = [harmless_column(cells) for cells in zip(*shown, strict=True)] or [[] for _ in titles]
            csv.writer(sys.stdout, lineterminator="\n").writerows(
                [[title.name for title in titles], *zip(*texts, strict=True)]
            )
        elif sys.stdout.isatty():
            self.table(titles, shown)
        else:
            self.table(titles, [[cell or "-" for cell in row] for row in shown])

    def remark(self, text: str) -> None:
        """Say something below the table of a verb: on stdout, unless that is to be CSV."""
        if self.layout.form == "csv":
            self.note(text)
        else:
            self.line(text)

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
        """Show a bar on stderr, if that is a terminal, while something is done.

        Call what this yields with how many records were read since (1). The bar is updated every `every` of them.
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

            def tick(count: int = 1) -> None:
                nonlocal done
                before, done = done, done + count
                if done // every > before // every:
                    bar.update(task, completed=0.0 if of is None else of.fraction, done=done)

            yield tick


def _by_number(text: str) -> tuple[bool, float]:
    """Return what sorts numbers; what is none comes last."""
    try:
        return False, float(text.rstrip("%"))
    except ValueError:
        return True, 0.0


def number(value: Any, digits: int) -> str:  # noqa: ANN401 - whatever an attribute holds
    """Return a number with so many digits after the point, nothing for None."""
    return "" if value is None else f"{value:.{digits}f}"


def _draw(columns: Sequence[TextColumn], rows: Sequence[Sequence[str]]) -> None:
    from rich.cells import cell_len  # noqa: PLC0415 - only for who sees it
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))  # Text: brackets in what callers have sent are no markup
    # As wide as its cells: what is folded or cut cannot be copied, and terminals wrap by themselves.
    wide = sum(max(map(cell_len, cells)) + 2 for cells in zip([c.title for c in columns], *rows, strict=True))
    Console(width=max(wide, Console().width)).print(table)
