"""Large bodies are decoded in slices: the same rows and the same refusals as at once, and nobody waits for long."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.api.pattern import row_slices
from predictor.api.pattern.rows import RowDecoder
from predictor.api.slices import at_once
from predictor.core.problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.server import Here

MOST = 4


@dataclass(frozen=True)
class Feature:
    """A column of a model."""

    name: str
    datatype: str = "FP32"
    missing: bool = False


def columns(number: int, datatype: str = "FP32", *, missing: bool = False) -> list[Feature]:
    """Return features of one kind."""
    return [Feature(f"f{at}", datatype, missing) for at in range(number)]


MODELS = {
    "numbers": columns(3),
    "missing": columns(3, missing=True),
    "integers": columns(3, "INT8"),
    "texts": columns(3, "BYTES"),
    "mixed": [Feature("f0"), Feature("f1", "BYTES"), Feature("f2", "INT64", missing=True)],
    "wide": columns(70),
    "keyed": [Feature("f0"), Feature("f1", "BYTES"), Feature("f2")],
}


def decoder_of(name: str) -> RowDecoder:
    """Return a model's decoder; a keyed one's key is its second column."""
    return RowDecoder(MODELS[name], MOST, 1 if name == "keyed" else None)


texts = st.text('ab,[]{}"\\\n\ud83d\ude00'.encode("utf-16", "surrogatepass").decode("utf-16"), max_size=6)
leaves = st.none() | st.booleans() | st.integers(-200, 200) | st.floats(allow_nan=False, allow_infinity=False) | texts
rows = st.one_of(
    st.lists(leaves, max_size=4),
    st.lists(st.integers(-9, 9), min_size=3, max_size=3),
    st.dictionaries(st.sampled_from(["f0", "f1", "f2", "f3"]), leaves),
    st.fixed_dictionaries({f"f{at}": st.integers(-9, 9) for at in (2, 0, 1)}),
    st.lists(st.integers(-9, 9), min_size=70, max_size=70),
    leaves,
    st.recursive(leaves, st.lists, max_leaves=3),
)
documents = st.fixed_dictionaries(
    {"data": st.lists(rows, max_size=MOST + 1) | leaves}, optional={"more": st.lists(texts, max_size=3)}
)


@pytest.fixture(scope="module", autouse=True)
def small_slices() -> Iterator[None]:
    """Cut small bodies as large ones are cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_slices, "_SLICE", 12)
        patch.setattr(row_slices, "_STEPS", 3)
        yield


def outcome(decode: Any, body: bytes) -> Any:  # noqa: ANN401 - rows, or what is wrong with them
    """Return the rows, or the problem's kind and where it is."""
    try:
        return decode(body)
    except Problem as problem:
        return problem.kind, problem.detail


@pytest.mark.parametrize("name", MODELS)
@given(document=documents)
def test_the_same_rows(name: str, document: Any) -> None:  # noqa: ANN401 - any JSON
    """Whatever the rows are, the slices give those of the whole, or refuse them as the whole is refused."""
    decoder = decoder_of(name)
    body = json.dumps(document).encode()
    whole = outcome(decoder.rows, body)
    sliced = outcome(lambda body: at_once(decoder.in_slices(body)), body)
    if isinstance(whole, list):
        assert sliced == whole
        return
    kinds = {Kind.CONTENT_TOO_LARGE, Kind.INVALID_DATA}  # which fault is found first may differ
    assert {whole[0], sliced[0]} <= kinds


@pytest.mark.parametrize(
    ("name", "row", "detail"),
    [
        ("numbers", "[1,2,true]", "Expected `float`, got `bool` - at `$.data[2][2]`"),
        ("numbers", "[1,2]", "data[2] has 2 numbers, wanted 3"),
        ("numbers", "[1,2,1e39]", "data[2][2] is 1e+39, which is not finite as float32"),
        ("numbers", "[111111.0,222222.0,33333333.0,true]", "Expected `float`, got `bool` - at `$.data[2][3]`"),
        (
            "numbers",
            "[1111111111.0,2222222222.0,[1111111111111.0,2]]",
            "Expected `float`, got `array` - at `$.data[2][2]`",
        ),
        ("numbers", '{"f0":1,"f1":2}', "Object missing required field `f2` - at `$.data[2]`"),
        ("numbers", '["a long text, cut at its comma",2,3]', "Expected `float`, got `str` - at `$.data[2][0]`"),
        ("numbers", '[1111111111.0,2,"a long text, with a comma"]', "Expected `float`, got `str` - at `$.data[2][2]`"),
        ("texts", '["a","b",1]', "Expected `str`, got `int` - at `$.data[2][2]`"),
        ("texts", '["a","b","\udcff"]', "the body is not UTF-8"),
        ("numbers", "[1,2,1e999]", "Number out of range - at `$.data[2][2]`"),
        ("numbers", "[11111111.0,22222222.0,1e999]", "Number out of range - at `$.data[2][2]`"),
        ("wide", '{"f0":1,"g":2}', "Object contains unknown field `g` - at `$.data[2]`"),
        ("wide", '{"f0":1}', "Object missing required field `f1` - at `$.data[2]`"),
    ],
)
def test_places(name: str, row: str, detail: str) -> None:
    """What is wrong is said with its place in the whole body."""
    decoder = decoder_of(name)
    good = json.dumps(["x" if each.datatype == "BYTES" else 1 for each in MODELS[name]])
    body = f'{{"data":[{good},{good},{row}]}}'.encode("utf-8", "surrogateescape")
    assert detail in outcome(lambda body: at_once(decoder.in_slices(body)), body)[1]


@pytest.mark.parametrize(
    ("name", "body", "kind"),
    [
        ("texts", b'{"data":[%b]}' % b",".join([b'["[","{",","]'] * MOST), None),
        ("texts", b'{"data":[%b]}' % b",".join([b'["a","b","c"]'] * (MOST + 1)), Kind.CONTENT_TOO_LARGE),
        ("texts", b'{"data":[%b]}' % b",".join([b"{}"] * (MOST + 1)), Kind.CONTENT_TOO_LARGE),
        ("texts", b'{"data":[[%b]]}' % b",".join([b'"a"'] * 50), Kind.INVALID_DATA),
        ("mixed", b'{"data":[[%b]]}' % b",".join([b'"\\\\\\""'] * 50), Kind.INVALID_DATA),
        ("mixed", b'{"data":[%b]}' % b",".join([b'{"f0":1,"f1":"]}[{,","f2":3}'] * MOST), None),
    ],
)
def test_texts_and_objects_are_counted(
    name: str, body: bytes, kind: Kind | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and values are counted before any is made, where texts and objects are too; what texts hold is none."""
    decoder = decoder_of(name)
    if kind is None:
        assert len(at_once(decoder.in_slices(body))) == MOST
        return
    monkeypatch.setattr(row_slices, "_decode_parts", None)
    with pytest.raises(Problem) as refused:
        at_once(decoder.in_slices(body))
    assert refused.value.kind is kind


def test_no_slice_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two turns of others no more is decoded than a slice has, in many rows and in one that is long."""
    monkeypatch.setattr(row_slices, "_SLICE", 1000)
    for body, number in (
        (b'{"data":[%b]}' % b",".join([b"[1.5,2.5,3.5]"] * 256), 256),
        (b'{"data":[[%b]]}' % b",".join([b"1.5"] * 3000), 3000),
        (b'{"data":[{%b}]}' % b",".join(b'"f%d":1.5' % at for at in range(3000)), 3000),
    ):
        decoder = RowDecoder(columns(3 if number == 256 else number), 256)
        sizes: list[int] = []
        decode = decoder.decoded
        monkeypatch.setattr(
            decoder, "decoded", lambda part, decode=decode, sizes=sizes: sizes.append(len(part)) or decode(part)
        )
        turns = sum(1 for _ in decoder.in_slices(body))
        assert max(sizes) < 1100
        assert turns >= len(sizes) > 3


def test_names_in_any_order_take_no_longer() -> None:
    """An object's names are found at once, in whatever order they come: their number does not count twice."""
    features = columns(8000)
    decoder = RowDecoder(features, 256)
    taken = []
    for names in ([each.name for each in features], [each.name for each in reversed(features)]):
        body = json.dumps({"data": [dict.fromkeys(names, 1)]}).encode()
        begin = time.thread_time()
        assert decoder.rows(body) == [[1.0] * 8000]
        taken.append(time.thread_time() - begin)
    assert taken[1] < 5 * taken[0] + 0.01


async def test_others_are_answered_meanwhile(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a large body is decoded the loop turns, so that others have their answers."""
    turns: list[int] = []
    decode, answered = RowDecoder.decoded, 0

    def counted(self: RowDecoder, body: bytes) -> Any:  # noqa: ANN401 - handed on
        turns.append(answered)
        return decode(self, body)

    monkeypatch.setattr(RowDecoder, "decoded", counted)
    row = b"[%b]" % b",".join([b"1.25".ljust(1000)] * 4)
    body = b'{"data":[%b]}' % b",".join([row] * 200)

    async def ask() -> None:
        nonlocal answered
        while True:
            assert (await here.get("/livez")).status == 200
            answered += 1

    asking = asyncio.create_task(ask())
    answer = await here.post("/predict/batch", data=body, headers={"Content-Type": "application/json"})
    asking.cancel()
    assert answer.status == 200
    assert len(answer.json["predictions"]) == 200
    assert turns[-1] > turns[0] + 10
