"""How each server is asked and answers: the same rows in the form that each one wants, and the numbers back out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from bench.pinned import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Row = list[float]
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
_TOLERANCE = 1e-4  # float32, and a single row may take another path through a matrix product than many


class Dialect(NamedTuple):
    """One protocol."""

    path: str
    batch_path: str
    ask: Callable[[Sequence[Row]], Any]
    """Returns the request's JSON."""
    read: Callable[[Any], list[tuple[Row, float]]]
    """Returns probabilities and score of each row of an answer's JSON."""


def _data(rows: Sequence[Row]) -> Any:  # noqa: ANN401 - JSON
    return {"data": rows}


def _tensor(rows: Sequence[Row]) -> Any:  # noqa: ANN401 - JSON
    flat = [number for row in rows for number in row]
    return {"inputs": [{"name": "rows", "shape": [len(rows), len(rows[0])], "datatype": "FP32", "data": flat}]}


def _items(answer: Any) -> list[tuple[Row, float]]:  # noqa: ANN401 - JSON
    items = answer.get("predictions", [answer])
    return [(item["prediction"], item["outlier_score"]) for item in items]


def _tensors(answer: Any) -> list[tuple[Row, float]]:  # noqa: ANN401 - JSON
    found = {output["name"]: output["data"] for output in answer["outputs"]}
    flat, scores = found["probabilities"], found["outlier_score"]
    return [(flat[3 * at : 3 * at + 3], score) for at, score in enumerate(scores)]


OURS = Dialect("/predict", "/predict/batch", _data, _items)
DATA = Dialect("/predict", "/predict", _data, _items)
V1 = Dialect("/v1/models/iris:predict", "/v1/models/iris:predict", lambda rows: {"instances": rows}, _items)
V2 = Dialect("/v2/models/iris/infer", "/v2/models/iris/infer", _tensor, _tensors)


class Questions(NamedTuple):
    """What wrk sends in turn, and where."""

    path: str
    bodies: tuple[bytes, ...]
    file: Path

    def check(self, dialect: Dialect, name: str, answer: bytes, expected: list[tuple[Row, float]]) -> None:
        """Raise BenchError unless the answer to the first body has the model's own numbers."""
        found = dialect.read(msgspec.json.decode(answer))
        pairs = [
            (number, wanted)
            for (row, score), (right, right_score) in zip(found, expected, strict=False)
            for number, wanted in zip([*row, score], [*right, right_score], strict=True)
        ]
        if len(found) != len(expected) or any(abs(number - wanted) > _TOLERANCE for number, wanted in pairs):
            msg = f"{name} answers {answer[:200]!r}, wanted {expected[:2]}"
            raise BenchError(msg)


def rows_of(turn: int, rows: int) -> list[Row]:
    """Return the rows of the request that is sent in this turn."""
    return [ROWS[(turn + at) % len(ROWS)] for at in range(rows)]


def questions(dialect: Dialect, rows: int, folder: Path) -> Questions:
    """Return as many different requests as there are rows, and write them where wrk reads them."""
    bodies = tuple(msgspec.json.encode(dialect.ask(rows_of(turn, rows))) for turn in range(len(ROWS)))
    file = folder / f"requests-{rows}"
    file.write_bytes(b"\n".join(bodies) + b"\n")
    return Questions(dialect.path if rows == 1 else dialect.batch_path, bodies, file)
