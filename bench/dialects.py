"""How each server is asked and answers: the same rows in the form that each one wants, and the numbers back out."""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from bench.peers.iris import Iris
from bench.pinned import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bench.setting import Setting

Row = list[float]
Numbers = dict[str, list[float]]
"""What an answer has, flat, by name."""
# None of them an outlier, so that every answer and every record is of the same kind.
ROWS: tuple[Row, ...] = (
    [5.1, 3.5, 1.4, 0.2],
    [4.9, 3.0, 1.4, 0.2],
    [5.0, 3.4, 1.5, 0.2],
    [5.4, 3.7, 1.5, 0.2],
    [6.4, 3.2, 4.5, 1.5],
    [5.7, 2.8, 4.5, 1.3],
    [6.1, 2.9, 4.7, 1.4],
    [5.6, 2.9, 3.6, 1.3],
    [6.7, 3.0, 5.2, 2.3],
    [6.5, 3.0, 5.8, 2.2],
    [6.3, 2.8, 5.1, 1.5],
    [6.9, 3.1, 5.4, 2.1],
)
PROBABILITIES, SCORE = "probabilities", "outlier_score"
_TOLERANCE = 1e-4  # float32, and a single row may take another path through a matrix product than many
_SHOWN = 200
_iris = Iris()


class Body(NamedTuple):
    """What a request carries."""

    json: bytes
    binary: bytes = b""
    """Data of tensors behind the JSON."""


class Dialect(Protocol):
    """One protocol."""

    def __hash__(self) -> int:
        """Be a key: what is asked is made once."""

    def path(self, setting: Setting) -> str:
        """Return where it is asked."""

    def bodies(self, setting: Setting) -> tuple[Body, ...]:
        """Return the different requests that are sent in turn."""

    def numbers(self, answer: bytes) -> Numbers:
        """Return what an answer has."""

    def expected(self, setting: Setting) -> Numbers:
        """Return the model's own numbers for the first request."""


class RowsDialect(NamedTuple):
    """Rows of iris as JSON."""

    one: str
    """The path for one row."""
    many: str
    ask: Callable[[Sequence[Row]], Any]
    """Returns the request's JSON."""

    def path(self, setting: Setting) -> str:
        """Return where it is asked."""
        return self.one if setting.rows == 1 else self.many

    def bodies(self, setting: Setting) -> tuple[Body, ...]:
        """Return as many different requests as there are rows."""
        return tuple(Body(msgspec.json.encode(self.ask(rows_of(turn, setting.rows)))) for turn in range(len(ROWS)))

    def numbers(self, answer: bytes) -> Numbers:
        """Return probabilities and scores."""
        found = msgspec.json.decode(answer)
        items = found.get("predictions", [found])
        return {
            PROBABILITIES: [*chain(*(item["prediction"] for item in items))],
            SCORE: [item["outlier_score"] for item in items],
        }

    def expected(self, setting: Setting) -> Numbers:
        """Return the model's own numbers for the first request."""
        return expected_of_iris(setting.rows)


def expected_of_iris(rows: int) -> Numbers:
    """Return what both files of iris give for the first request of so many rows."""
    probabilities, scores = _iris.run(rows_of(0, rows))
    return {PROBABILITIES: probabilities.reshape(-1).tolist(), SCORE: scores.tolist()}


OURS = RowsDialect("/predict", "/predict/batch", lambda rows: {"data": rows})
DATA = RowsDialect("/predict", "/predict", lambda rows: {"data": rows})
V1 = RowsDialect("/v1/models/iris:predict", "/v1/models/iris:predict", lambda rows: {"instances": rows})


class Questions(NamedTuple):
    """What is sent in turn, and where."""

    path: str
    bodies: tuple[Body, ...]
    file: Path
    """The same for wrk and tritonclient: see `_written`."""


def check(
    name: str, found: Mapping[str, Sequence[float]], expected: Mapping[str, Sequence[float]], said: bytes
) -> None:
    """Raise BenchError unless an answer has the model's own numbers: the probabilities at least, and nothing else."""
    wrong = not found or next(iter(expected)) not in found
    for each, numbers in found.items():
        wanted = expected.get(each, ())
        wrong = wrong or len(numbers) != len(wanted)
        wrong = wrong or any(abs(a - b) > _TOLERANCE for a, b in zip(numbers, wanted, strict=False))
    if wrong:
        beginning = {each: numbers[:3] for each, numbers in expected.items()}
        msg = f"{name} answers {said[:_SHOWN]!r}, wanted {beginning}"
        raise BenchError(msg)


def rows_of(turn: int, rows: int) -> list[Row]:
    """Return the rows of the request that is sent in this turn."""
    return [ROWS[(turn + at) % len(ROWS)] for at in range(rows)]


def questions(dialect: Dialect, setting: Setting, folder: Path) -> Questions:
    """Return what is sent, and write it into a folder, for those who send it."""
    bodies = _bodies(dialect, setting)
    file = folder / f"requests-{setting.model}-{setting.rows}-{setting.form}"
    if not file.exists():
        file.write_bytes(b"".join(map(_written, bodies)))
    return Questions(dialect.path(setting), bodies, file)


@cache
def _bodies(dialect: Dialect, setting: Setting) -> tuple[Body, ...]:
    return dialect.bodies(setting._replace(connections=0, client="wrk"))


def _written(body: Body) -> bytes:
    """Return a request as `predict.lua` reads it: JSON is a line; where data follows, a line has both lengths."""
    if not body.binary:
        return body.json + b"\n"
    return b"%d %d\n%b%b\n" % (len(body.json), len(body.binary), *body)
