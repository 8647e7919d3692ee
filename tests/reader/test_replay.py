"""`predictor log replay`: the same model must say the same, another one is compared, what cannot be is counted."""

from __future__ import annotations

import asyncio
import json
import math
import re
import shutil
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from predictor.inference.row_answers import RowAnswer
from predictor.reader import cli
from predictor.reader.replay.difference import Change
from predictor.reader.replay.histograms import CELLS, Pictures
from predictor.reader.replay.rows import Logged
from predictor.reader.replay.statistics import Largest
from tests.project.test_guides import blocks
from tests.support import bare_models, model_repository
from tests.support.fake_loki import Loki
from tests.support.log_files import Stream, changed, lay_out, line, lines
from tests.support.model_folders import failing, giving_nan, wide, with_threshold
from tests.support.onnx_graphs import detector, graph, identity, tensor, write
from tests.support.server import IRIS, ROOT, serve, serve_models

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.server import Here

Rows = list[list[float]]


def replay(capsys: pytest.CaptureFixture[str], where: Path | str, model: Path, *arguments: str) -> tuple[int, str, str]:
    """Return the exit status of a replay, what it printed, and what it said beside."""
    status = cli.main(["replay", "--from", str(where), "--model", str(model), *arguments])
    return status, *capsys.readouterr()


def found(capsys: pytest.CaptureFixture[str], where: Path | str, model: Path, *arguments: str) -> dict[str, Any]:
    """Return what a replay that works prints for a machine."""
    status, out, _ = replay(capsys, where, model, "--json", *arguments)
    result: dict[str, Any] = json.loads(out)
    assert status == (1 if result["equal"] is False else 0)
    return result


async def ask(here: Here, *requests: Rows) -> list[str]:
    """Send one request for each list of rows, all at once, and return their job ids."""
    sent = [
        here.post("/predict" if len(rows) == 1 else "/predict/batch", json={"data": rows}, raise_for_status=True)
        for rows in requests
    ]
    return [answer.json["job_id"] for answer in await asyncio.gather(*sent)]


def irises(count: int, seed: int = 0) -> Rows:
    """Return rows with all bits of a float64, some of them far from any iris."""
    rows: Rows = np.random.default_rng(seed).uniform([3, 1, 0, 0], [9, 6, 8, 3], (count, 4)).tolist()
    return rows


def logged_lines(outbox: Path) -> list[bytes]:
    """Return the lines of an outbox."""
    return [text for path in outbox.glob("v1/*/logs/*.jsonl") for text in path.read_bytes().splitlines(keepends=True)]


def edit(outbox: Path, old: str, new: str) -> None:
    """Replace the first place of a text in an outbox."""
    (path,) = outbox.glob("v1/*/logs/*.jsonl")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.fixture
async def iris(outbox: Path) -> Path:
    """An outbox with 200 predictions of iris: lone rows and batches of many sizes, mixed as they came in."""
    async with serve(outbox) as here:
        rows = irises(200)
        sizes = [1] * 40 + [2, 3, 5, 7, 11, 13, 19, 100]
        ends = np.cumsum(sizes)
        await ask(here, *(rows[end - size : end] for end, size in zip(ends, sizes, strict=True)))
    return outbox


@pytest.mark.parametrize("kind", ["outbox", "files", "loki"])
def test_same_model_is_equal(capsys: pytest.CaptureFixture[str], iris: Path, tmp_path: Path, kind: str) -> None:
    """What a model has logged it says again, every number, however the rows ran together; copies count once."""
    texts = logged_lines(iris)
    with Loki() as loki:
        loki.add(*texts)
        where = loki.url if kind == "loki" else str(iris) if kind == "outbox" else lay_out(kind, tmp_path, texts * 2)
        result = found(capsys, where, IRIS)
        assert (result["equal"], result["predictions"], result["replayed"]) == (True, 200, 200)
        (by,) = result["logged_by"]
        assert (by["replayed"], by["unequal"], by["distance"]) == (200, 0, 0.0)
        assert result["largest_changes"] == result["unequal"] == []
        assert result["seconds"]["logged"] > 0
        assert result["seconds"]["replayed"] > 0
        status, out, err = replay(capsys, where, IRIS)
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == "all 200 that this very model has logged come out equal in every number"


async def test_a_label_of_the_models_own(capsys: pytest.CaptureFixture[str], outbox: Path, tmp_path: Path) -> None:
    """A model whose label is not the most probable class says the same label again."""
    folder = with_threshold(tmp_path / "m")
    async with serve(outbox, folder) as here:
        await ask(here, [[0.75, 0.25]], [[1.0, 0.0], [2.0, -3.0], [0.0, 1.0]])
    result = found(capsys, outbox, folder)
    assert (result["equal"], result["replayed"]) == (True, 4)
    assert sorted((each["from"], each["to"]) for each in result["labels"]) == [("no", "no"), ("yes", "yes")]


def test_one_bit(capsys: pytest.CaptureFixture[str], iris: Path) -> None:
    """One number of one prediction that is off by its last bit is found and named, unless a tolerance allows it."""
    text = logged_lines(iris)[1].decode()
    score = re.search(r'"prediction.outlier_score","value":\{"doubleValue":([^}]+)', text)
    job = re.search(r'"prediction.job_id","value":\{"stringValue":"([^"]+)', text)
    assert score
    assert job
    other = float(np.nextafter(np.float32(score[1]), np.float32(np.inf)))
    edit(iris, f'{{"doubleValue":{score[1]}}}', f'{{"doubleValue":{other!r}}}')
    result = found(capsys, iris, IRIS)
    (one,) = result["unequal"]
    assert (result["equal"], one["job_id"], one["label"]["now"]) == (False, job[1], one["label"]["logged"])
    assert one["largest_difference"] == abs(other - float(score[1]))
    status, out, _ = replay(capsys, iris, IRIS)
    assert (status, job[1] in out) == (1, True)
    (accepted,) = re.findall(r"1 of 200 .* --tolerance (\S+) accepts it$", out, re.MULTILINE)
    assert replay(capsys, iris, IRIS, "--tolerance", accepted)[0] == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            '"prediction.label","value":{"stringValue":"setosa"}',
            '"prediction.label","value":{"stringValue":"virginica"}',
        ),
        ('"prediction.outlier","value":{"boolValue":true}', '"prediction.outlier","value":{"boolValue":false}'),
    ],
)
def test_verdicts_know_no_tolerance(capsys: pytest.CaptureFixture[str], iris: Path, old: str, new: str) -> None:
    """Another label or another outlier verdict is a difference whatever the tolerance."""
    edit(iris, old, new)
    result = found(capsys, iris, IRIS, "--tolerance", "0.9")
    assert (result["equal"], len(result["unequal"])) == (False, 1)
    assert "accepts it" not in result["verdict"]


async def two_features(outbox: Path, folder: Path, *requests: Rows) -> list[str]:
    """Log rows by a model whose probabilities are the softmax of its two features, and whose score is the first."""
    features = ("first", "second")
    async with serve(outbox, write(folder, identity(), name="old", features=features, detector=detector())) as here:
        return await ask(here, *requests)


def flipped(folder: Path, labels: Sequence[str] = ("no", "yes"), version: str = "1") -> Path:
    """Write a model whose probabilities are the softmax of its features the other way round; no detector."""
    nodes = [("MatMul", ["rows", "w"], ["l"], {}), ("Softmax", ["l"], ["p"], {"axis": 1})]
    model = graph(nodes, {"w": np.array([[0.0, 1.0], [1.0, 0.0]])}, {"p": tensor(["N", 2])}, ["N", 2])
    write(folder, model, name="new", features=("first", "second"), labels=labels)
    text = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(text.replace('version = "1"', f'version = "{version}"'))
    return folder


async def test_another_model(capsys: pytest.CaptureFixture[str], outbox: Path, tmp_path: Path) -> None:
    """Of another model one learns which labels, outliers and probabilities change, the largest changes first."""
    rows = [[0.0, 1.0], [0.0, 3.0], [4.0, 0.0], [2.0, 2.0]]
    jobs = await two_features(outbox, tmp_path / "old", *([row] for row in rows))
    result = found(capsys, outbox, flipped(tmp_path / "new"), "--largest", "2")
    assert result["equal"] is None
    assert result["model"]["name"] == "new"
    assert sorted((each["from"], each["to"], each["predictions"]) for each in result["labels"]) == [
        ("no", "no", 1),  # the tie, whose first label counts
        ("no", "yes", 1),
        ("yes", "no", 2),
    ]
    assert sorted((each["from"], each["to"], each["predictions"]) for each in result["outliers"]) == [
        (False, None, 2),
        (True, None, 2),
    ]
    first, second = result["largest_changes"]
    assert [first["job_id"], second["job_id"]] == [jobs[2], jobs[1]]
    assert (first["label"], first["index"]) == ({"logged": "no", "now": "yes"}, 0)
    sure = 1 / (1 + math.exp(-4))
    assert first["confidence"] == pytest.approx({"logged": sure, "now": 1 - sure}, rel=1e-5)
    assert first["outlier"] == {"logged": False, "now": None}
    status, out, _ = replay(capsys, outbox, tmp_path / "new", "--largest", "2")
    assert status == 0
    assert re.search(r"^yes +no +2$", out, re.MULTILINE)
    assert re.search(r"^outlier +\(no detector\) +2$", out, re.MULTILINE)
    assert out.splitlines()[-1] == "all were logged by other models: 3 of 4 labels are not the same now"


async def test_label_that_is_unknown_now(capsys: pytest.CaptureFixture[str], outbox: Path, tmp_path: Path) -> None:
    """A label that the other model does not have has become impossible, and that is the largest change."""
    await two_features(outbox, tmp_path / "old", [[0.0, 1.0]])
    result = found(capsys, outbox, flipped(tmp_path / "new", labels=["maybe", "certainly"]))
    assert result["labels"] == [{"from": "yes", "to": "maybe", "predictions": 1}]
    assert result["largest_changes"][0]["confidence"]["now"] == 0.0


async def test_several_models_in_the_log(capsys: pytest.CaptureFixture[str], outbox: Path, tmp_path: Path) -> None:
    """Only what the very same model has logged must be equal, and `--logged-by` chooses."""
    await two_features(outbox, tmp_path / "old", [[0.0, 1.0]])
    new = flipped(tmp_path / "new")
    async with serve(outbox, new) as here:
        await ask(here, [[0.0, 1.0], [3.0, 0.0]])
    result = found(capsys, outbox, new)
    assert (result["equal"], result["replayed"]) == (True, 3)
    assert {by["name"]: (by["replayed"], by["unequal"], by["labels"]) for by in result["logged_by"]} == {
        "old": (1, 1, 1),
        "new": (2, 0, 0),
    }
    assert found(capsys, outbox, new, "--logged-by", "old")["equal"] is None
    assert found(capsys, outbox, new, "--logged-by", "new@1")["replayed"] == 2
    status, out, _ = replay(capsys, outbox, new, "--logged-by", "new@2")
    assert (status, out) == (0, "no predictions there: nothing to replay\n")


async def test_versions_by_number(capsys: pytest.CaptureFixture[str], outbox: Path, tmp_path: Path) -> None:
    """Of a folder of versions the highest is replayed, under the name and number that its records have."""
    root = tmp_path / "models" / "price"
    for number in (1, 2):
        model_repository.version(root.parent, "price", number, float(number))
    async with serve_models(outbox, root) as here:
        await ask(here, [model_repository.ROW])
    result = found(capsys, outbox, root)
    assert (result["equal"], result["model"]["name"], result["model"]["version"]) == (True, "price", "2")
    assert found(capsys, outbox, root / "1" / "model.onnx")["equal"] is None
    bare_models.churn(root.parent / "churn.onnx")
    assert "has several models" in replay(capsys, outbox, root.parent)[2]


@pytest.mark.parametrize("make", [failing, giving_nan])
async def test_rows_that_fail_now(capsys: pytest.CaptureFixture[str], outbox: Path, tmp_path: Path, make: Any) -> None:  # noqa: ANN401
    """A row on which the model fails takes no other with it, and counts as changed."""
    rows = [[float(at), 0.5] for at in range(300)]
    rows[17][0], rows[271][0] = 2000.0, -2000.0
    jobs = await two_features(outbox, tmp_path / "old", rows[:200], rows[200:])
    result = found(capsys, outbox, make(tmp_path / "new"))
    (by,) = result["logged_by"]
    assert (result["replayed"], by["failed"]) == (300, 1)
    assert sum(each["predictions"] for each in result["labels"] if each["to"] is None) == 1
    failed = [each for each in result["largest_changes"] if each["label"]["now"] is None]
    assert [(each["job_id"], each["index"]) for each in failed] == [(jobs[0], 17) if make is failing else (jobs[1], 71)]
    assert "(fails)" in replay(capsys, outbox, tmp_path / "new")[1]


async def test_same_model_that_fails_now(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A row that a model has answered and fails on now is a difference."""
    model = failing(tmp_path / "model")
    async with serve(tmp_path / "outbox", model) as here:
        await ask(here, [[1.5, 0.5]])
    edit(tmp_path / "outbox", '"prediction.input.first","value":{"doubleValue":1.5}', _FIRST)
    result = found(capsys, tmp_path / "outbox", model)
    assert (result["equal"], result["unequal"][0]["largest_difference"]) == (False, None)


_FIRST = '"prediction.input.first","value":{"doubleValue":1500.0}'


async def test_wide_model(capsys: pytest.CaptureFixture[str], outbox: Path, tmp_path: Path) -> None:
    """Rows that are logged as one JSON text are replayed like others, through models of as many features."""
    model = wide(tmp_path / "wide")
    async with serve(outbox, model) as here:
        await ask(here, np.random.default_rng(1).normal(size=(9, 40)).tolist())
    assert found(capsys, outbox, model)["equal"] is True
    status, _, err = replay(capsys, outbox, wide(tmp_path / "wider", 41))
    assert (status, "none of 9 predictions can be replayed through wide@1: 9 has no feature" in err) == (2, True)


def redacting(folder: Path, **logs: str) -> Path:
    """Write iris with features that stay out of the log."""
    shutil.copytree(IRIS, folder)
    text = (folder / "model.toml").read_text()
    for name, log in logs.items():
        text = text.replace(f'name = "{name}"\n', f'name = "{name}"\nlog = "{log}"\n')
    (folder / "model.toml").write_text(text)
    return folder


async def test_redacted(capsys: pytest.CaptureFixture[str], outbox: Path, tmp_path: Path) -> None:
    """Without its features a row cannot be replayed, which is said; a model that does without them can."""
    key = tmp_path / "key"
    key.write_text("0123456789abcdef")
    model = redacting(tmp_path / "secret", sepal_length="drop", sepal_width="hash")
    async with serve(outbox, model, PREDICTOR_HASH_KEY_FILE=str(key)) as here:
        await ask(here, irises(3))
    status, out, err = replay(capsys, outbox, model)
    assert (status, out) == (2, "")
    assert "3 a feature that the model needs is dropped or hashed in the log" in err
    features = ("petal_length", "petal_width")
    other = write(tmp_path / "petals", identity(), features=features)
    assert found(capsys, outbox, other)["replayed"] == 3
    async with serve(outbox) as here:
        await ask(here, irises(2))
    result = found(capsys, outbox, IRIS)
    assert (result["replayed"], result["not_replayed"]) == (2, {"redacted": 3})


@pytest.mark.parametrize("log", ['outputs = "drop"', 'outputs = "hash"', 'outputs = "round"\ndecimals = 2'])
async def test_redacted_outputs(capsys: pytest.CaptureFixture[str], outbox: Path, tmp_path: Path, log: str) -> None:
    """Without the outputs as they were there is nothing to compare with, which is said."""
    key = tmp_path / "key"
    key.write_text("0123456789abcdef")
    model = redacting(tmp_path / "secret")
    text = (model / "model.toml").read_text()
    (model / "model.toml").write_text(text.replace("[[features]]", f"[log]\n{log}\n\n[[features]]", 1))
    async with serve(outbox, model, PREDICTOR_HASH_KEY_FILE=str(key)) as here:
        await ask(here, irises(3))
    status, out, err = replay(capsys, outbox, model)
    assert (status, out) == (2, "")
    assert "3 the model's outputs are dropped, hashed or rounded in the log" in err


def test_what_cannot_be_replayed_is_counted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Failures, rows that are cut, other features, numbers that are none: each has its count and its sentence."""
    stream = Stream()
    gone: dict[str, Any] = {
        f"input__{name}": None for name in ("sepal_length", "sepal_width", "petal_length", "petal_width")
    }
    records = [
        *stream.predictions(2),
        stream.failure(),
        stream.failure("model-failed"),
        stream.prediction(**gone, input_json="[1.0,2.0", input_truncated=True, input_sha256="0" * 64),
        stream.prediction(**gone, input_json="[1.0,2.0]"),
        stream.prediction(input__petal_width=None, input__petal_breadth=0.2),
        stream.prediction(output="[0.1,"),
    ]
    where = lay_out("files", tmp_path, [*lines(stream, records), line(stream.id, records[:1])])
    result = found(capsys, where, IRIS)
    assert (result["predictions"], result["replayed"]) == (8, 2)
    assert result["not_replayed"] == {"failed": 2, "truncated": 1, "features": 2, "unreadable": 1}
    status, out, _ = replay(capsys, where, IRIS)
    assert status == 0
    assert re.search(r"^ +1 +the row, or a tensor, was too long for its record and is cut$", out, re.MULTILINE)


def test_other_features(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A model with features that the log does not have is refused with a sentence that names them."""
    stream = Stream()
    where = lay_out("files", tmp_path, lines(stream, stream.predictions(3)))
    model = write(tmp_path / "other", identity(), features=("petal_length", "age"))
    page = tmp_path / "page.html"
    status, out, err = replay(capsys, where, model, "--html", str(page))
    assert (status, out, page.exists()) == (2, "", False)
    assert err.startswith("predictor: none of 3 predictions can be replayed through test@1: 3 has no feature of a name")
    assert err.endswith("; the log lacks age\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--model", "/nowhere"), "predictor: /nowhere/model.toml cannot be read: No such file or directory."),
        (("--model", str(IRIS), "--tolerance", "-1"), "argument --tolerance: '-1', wanted a number from 0 to below 1"),
        (("--model", str(IRIS), "--tolerance", "nan"), "argument --tolerance: 'nan', wanted a number"),
        (("--model", str(IRIS), "--html", "/nowhere/page.html"), "predictor: /nowhere/.page.html.partial: No such"),
        ((), "the following arguments are required: --model"),
    ],
)
def test_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    """What keeps it from its work is one sentence and status 2."""
    where = lay_out("files", tmp_path, lines(stream := Stream(), stream.predictions(1)))
    try:
        status = cli.main(["replay", "--from", where, *arguments])
    except SystemExit as ended:
        status = int(ended.code or 0)
    out, err = capsys.readouterr()
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert sentence in err


class Page(HTMLParser):
    """Reads a page: its tags, and everything that an attribute says."""

    def __init__(self, text: str) -> None:
        """Read it."""
        super().__init__()
        self.tags: list[str] = []
        self.said: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember it."""
        self.tags.append(tag)
        self.said += [name for name, _ in attrs]
        if tag not in {"meta", "rect", "line", "circle", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Hold it to the one that is open."""
        if tag in {"rect", "line", "circle"}:
            return
        assert self.open.pop() == tag


def test_page(capsys: pytest.CaptureFixture[str], iris: Path, tmp_path: Path) -> None:
    """The page is whole in itself: plots are in it, nothing is fetched, no script runs, tags are closed."""
    path = tmp_path / "page.html"
    path.write_text("an older one")
    assert replay(capsys, iris, IRIS, "--html", str(path))[0] == 0
    text = path.read_text()
    page = Page(text)
    assert page.open == []
    assert page.tags.count("svg") == 3  # nothing changed, so there is no plot of changes
    assert not {"script", "link", "img", "iframe", "object", "image", "use"} & set(page.tags)
    assert not {"src", "href"} & set(page.said)
    assert "url(" not in text
    assert "@import" not in text
    assert "All 200 that this very model has logged come out equal in every number." in text
    assert "default-src 'none'" in text
    assert list(tmp_path.glob(".page*")) == []


async def test_page_of_changes(capsys: pytest.CaptureFixture[str], outbox: Path, tmp_path: Path) -> None:
    """Labels, changes with their job ids, and plots of what changed are on the page; there may be no outlier score."""
    jobs = await two_features(outbox, tmp_path / "old", [[0.0, 1.0], [5.0, 0.1]], [[2.0, 2.0]])
    path = tmp_path / "page.html"
    replay(capsys, outbox, flipped(tmp_path / "new"), "--html", str(path))
    text = path.read_text()
    assert Page(text).tags.count("svg") == 3  # changes, probabilities, time
    assert jobs[0] in text
    assert "66.67%" in text


def test_page_escapes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What the log says cannot write on the page."""
    evil = "<script>alert(1)</script>"
    stream = Stream()
    record = changed(stream.prediction(job=evil), label=evil)
    where = lay_out("files", tmp_path, [line(stream.id, [record], scope={"prediction.model.name": evil})])
    path = tmp_path / "page.html"
    replay(capsys, where, IRIS, "--html", str(path))
    text = path.read_text()
    assert "script" not in Page(text).tags
    assert text.count("&lt;script&gt;") >= 3  # model, label, job id


def test_page_holds_no_formula(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A text that begins like a formula is marked as text, since tables of the page may be copied elsewhere."""
    evil = "=HYPERLINK(1)\x1b[2J"
    stream = Stream()
    record = changed(stream.prediction(job=evil), label=evil)
    where = lay_out("files", tmp_path, [line(stream.id, [record], scope={"prediction.model.name": evil})])
    path = tmp_path / "page.html"
    replay(capsys, where, IRIS, "--html", str(path))
    text = path.read_text()
    assert "\x1b" not in text
    assert text.count("&#x27;=HYPERLINK(1)") == text.count("=HYPERLINK(1)") >= 3


def test_page_of_many_labels(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of a model with many labels only those that changed are listed."""
    stream = Stream()
    texts = lines(stream, [changed(stream.prediction(), label=f"l{at}") for at in range(20)])
    path = tmp_path / "page.html"
    replay(capsys, lay_out("files", tmp_path, texts), IRIS, "--html", str(path))
    text = path.read_text()
    assert 'class="matrix"' not in text
    assert "<td>l19</td>" in text


def logged(time_ns: int = 0, probability: float = 0.5) -> Logged:
    """Return a row that was logged."""
    return Logged("job", 0, time_ns, None, [0.0], [probability, 1 - probability], "a", probability, None, 0.5, 1e-6, 1)


def test_memory_does_not_grow() -> None:
    """However many rows there are, bins, grid, sample and the largest changes stay few, and no row is lost in them."""
    pictures, largest = Pictures(), Largest(3)
    now = RowAnswer([0.5, 0.5], "a", outlier=None, score=0.5)
    for at in range(20_000):
        probability = at / 20_000
        change = Change(logged(at * 3_600_000_000_000, 0.5), now, probability, 0.0)
        pictures.add(change)
        largest.add(abs(change.change), change)
    assert len(pictures.bins) <= 120
    assert sum(each.rows for each in pictures.bins.values()) == 20_000
    assert len(pictures.scores) == 1500
    assert pictures.scored == 20_000
    assert sum(pictures.confidence.values()) == 20_000
    assert set(pictures.confidence) == {(CELLS // 2, at) for at in range(CELLS)}
    assert sum(pictures.changes.values()) + pictures.equal == 20_000
    assert pictures.changes[-1] == 8001  # less probable by 0.1 to 0.5
    assert [change.probability for change in largest.sorted()] == [0.0, 1 / 20_000, 19_999 / 20_000]


def test_commands(
    capsys: pytest.CaptureFixture[str], iris: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of docs/replay.md work as they stand there."""
    (tmp_path / "models").mkdir()
    for name in ("iris", "iris-next"):
        shutil.copytree(IRIS, tmp_path / "models" / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREDICTOR_OUTBOX", str(iris))
    (shown,) = blocks("replay.md", "sh")
    for text in shown.splitlines():
        program, log, *arguments = text.split("#")[0].split()
        assert (program, log, cli.main(arguments)) == ("predictor", "log", 0)
        out, err = capsys.readouterr()
        assert (bool(out), err) == (True, "")
    assert (tmp_path / "page.html").exists()


def test_documented() -> None:
    """Every key that `--json` prints is in the documentation."""
    page = (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")
    source = "".join(
        (ROOT / "predictor" / "reader" / name).read_text() for name in ("replay/report_text.py", "score/command.py")
    )
    keys = set(re.findall(r'^ +"([a-z_0-9]+)": ', source, re.MULTILINE))
    assert len(keys) > 30
    assert not {key for key in keys if f"`{key}`" not in page}
