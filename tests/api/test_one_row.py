"""A body of one row: the short way of decoding it gives what the long way gives, and refuses what that refuses."""

from __future__ import annotations

import pytest

from predictor.api.pattern.rows import RowDecoder
from predictor.core.features import Feature
from predictor.core.problems import Problem

_FEATURES = [Feature(name, "1", 0.0) for name in ("a", "b")]


def _outcome(decoder: RowDecoder, body: bytes, *, long: bool) -> object:
    """Return the rows, or status and words of the problem; `long` has the short way find nothing."""
    if long:
        body = body + b" " * (1 << 16)
    try:
        return decoder.row(body)
    except Problem as problem:
        return problem.kind, str(problem)


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[[1.5,-2]]}',
        b'{"data":[[3.4028235e38,-3.4028235e38]]}',
        b'{"data":[[3.5e38,0]]}',
        b'{"data":[[0,-3.5e38]]}',
        b'{"data":[[0,1e999]]}',
        b'{"data":[[1]]}',
        b'{"data":[[1,2,3]]}',
        b'{"data":[[]]}',
        b'{"data":[]}',
        b'{"data":[[1,2],[3,4]]}',
        b'{"data":[{"a":1,"b":2}]}',
        b'{"data":[{"a":1}]}',
        b'{"data":[["1",2]]}',
        b'{"data":[[null,2]]}',
        b'{"data":[[NaN,2]]}',
        b'{"data":[[1,2]',
        b'{"rows":[[1,2]]}',
        b"[[1,2]]",
        b"\xff",
        b"",
        b"[" * 5000,
    ],
)
def test_one_row_by_either_way(body: bytes) -> None:
    """Whatever a body holds, how long it is decides nothing."""
    decoder = RowDecoder(_FEATURES, 10)
    short, long = (_outcome(decoder, body, long=each) for each in (False, True))
    assert short == long or (isinstance(short, tuple) and isinstance(long, tuple) and short[0] is long[0])
    if body.startswith(b'{"data":[[1.5'):
        assert short == [[1.5, -2.0]]
