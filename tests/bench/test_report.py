"""From measurements to pages: results are kept and gone on with, goals are judged, and the guide's sums are right."""

from __future__ import annotations

import re
from collections import defaultdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from bench import protocol, rounds, running, sinks, ways
from bench.alone import Cost, Costs
from bench.pinned import BenchError
from bench.report import goals, page, sizing, store
from bench.setting import Setting
from bench.variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.report.store import PartResult
    from bench.variants import Variant

CORE = running.Cores(0, 0)


def measured(rate: float, cpu: float = 100.0) -> running.Measured:
    """Return a measurement."""
    return running.Measured(rate, cpu, 1000.0, 2000.0, 0.0, 0.5, 1.0, 0.0, 100, 100)


def result(part: str, **more: Any) -> PartResult:  # noqa: ANN401 - fields of a result
    """Return the result of a part."""
    return store.PartResult(
        part, f"python -m bench --parts {part}", "2026-01-01", "abc", ["A machine.", "x 1."], **more
    )


def of_rounds(part: str, series: Mapping[tuple[str, Setting], list[running.Measured]]) -> PartResult:
    """Return the result of a part whose servers ran side by side."""
    return store.with_rounds(result(part), rounds.Results(dict(series), {}))


def everything() -> dict[str, PartResult]:
    """Return a result of every part, each with its own figures."""
    lone, one, many = Setting(1, 1), Setting(32, 1), Setting(32, 256)
    image = Setting(8, 1, "image-20ms", "binary")
    return {
        "connections": of_rounds(
            "connections",
            {
                ("bare", lone): [measured(60, 200.0)] * 3,
                ("on", lone): [measured(35, 350.0)] * 3,
                ("traced5", lone): [measured(30, each) for each in (380.0, 400.0, 390.0)],
                ("bare", one): [measured(100, 100.0)] * 5,
                ("on", one): [measured(100, each) for each in (60.0, 70.0, 75.0, 80.0, 90.0)],
                ("traced5", one): [measured(100, 90.0)] * 5,
            },
        ),
        "rows": of_rounds(
            "rows",
            {
                ("traced5", many): [measured(50)],
                ("per-request", many): [measured(210)],
                ("kserve-agent", many): [measured(100)],
            },
        ),
        "protocol": of_rounds("protocol", {("v2-traced5", image): [measured(45)], ("runtime", image): [measured(50)]}),
        "alone": store.with_costs(
            result("alone"),
            Costs({"traced5": [Cost(1000.0, 2.0, 0.04, 1 << 20, 1 << 21, 1 << 20, 1800.0, 1900.0, 1.0)]}, {}),
        ),
        "scale": of_rounds("scale", {("workers-1", one): [measured(100)], ("workers-2", one): [measured(150)]}),
        "where": result("where", ways=[store.Way("traced5", one, 33.0, [store.Step("shipping", 4.0)])]),
        "reading": result("reading", readings=[store.Reading("verify", 200_000, 4.0, 5.0, 45 << 20)]),
    }


def test_the_page_is_written_from_every_part() -> None:
    """Each part has its place with command, date and figures; nothing of the template is left over."""
    found = everything()
    text = page.text(found)
    assert "{{" not in text
    assert "Not measured yet" not in text
    for part, each in found.items():
        assert f"`{each.command}`, 2026-01-01" in text, part
    assert "| shipping | 4.0 |" in text
    assert re.search(r"\| 32 connections \| 2 \| 150 \| 1.50 \|", text)
    assert "| verify | 4.0 s | 50,000 | 40,000 | 45 MiB |" in text
    assert text.index("Where others are faster") < text.index("What is measured")
    assert (
        "KServe 0.21.0, its agent 0.20.0 logs payloads answers 2.00 times the requests of this server (`traced5`)"
        in text
    )


def test_a_part_without_a_result_says_how_to_measure_it() -> None:
    """A page can be written at any time: what is not measured yet has the command that does it."""
    text = page.text({})
    for part in page.PARTS:
        assert f"`python -m bench --parts {part}`" in text
    assert "0 of 0 goals are reached." in text


def test_the_committed_page_is_that_of_the_committed_results() -> None:
    """Nobody edits a figure: the page is what the kept results and the template give."""
    found = page.results()
    if not found:
        pytest.skip("no results are kept")
    assert page.PAGE.read_text(encoding="utf-8") == page.text(found)


def test_missed_goals_come_first_with_how_much() -> None:
    """A goal is judged by the median of its rounds; what is missed stands first, by its share."""
    lines = goals.table(everything())
    assert "a record a row | at least 1 | 0.50 | 50% |" in lines[2]
    assert "| at least 100,000 | 50,000 | 50% |" in lines[3]
    assert "| 8% |" in lines[4]
    assert any("32 connections: logged | at most 0.75 | **0.75** (0.70-0.80) |  |" in line for line in lines)
    assert any("shipped, 5 % traced | at most 0.83 | **0.90** (0.90-0.90) | 8% |" in line for line in lines)
    assert any("a record a request | at least 2 | 2.10 |  |" in line for line in lines)
    assert any("image-20ms" in line and "| at least 0.85 | 0.90 |  |" in line for line in lines)
    assert "4 of 7 goals are reached." in lines
    assert "every head new" in lines[-1]
    assert lines[-1].startswith("Not measured: ")


def test_goals_are_about_variants_and_settings_that_are_measured() -> None:
    """Each goal's rows are those that its part measures: a renamed variant must not leave a goal unmeasured."""
    settings = [Setting(n, 1) for n in (1, 8, 32)] + [Setting(32, n) for n in (16, 256)] + [*protocol.SETTINGS]
    names = [each.name for each in (*VARIANTS, *protocol.VARIANTS)]
    whole = {(name, setting): [measured(1)] for name in names for setting in settings}
    for goal in goals.GOALS:
        if goal.part != "reading":
            assert goal.reached(of_rounds(goal.part, whole)) == [1.0], goal.text


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    """Every part survives its file, in as many digits as mean anything."""
    for part, each in everything().items():
        store.write(each, tmp_path)
        assert store.read(part, tmp_path) == each
    assert store.read("nothing", tmp_path) is None
    (exact,) = of_rounds("rows", {("on", Setting(1, 1)): [measured(1234.56789, 0.000123456)]}).series
    assert (exact.rounds[0].rate, exact.rounds[0].cpu) == (1234.6, 0.00012346)


def test_a_run_goes_on_only_with_rounds_of_the_same_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of other code or another length are no rounds of this run."""
    monkeypatch.setattr(store, "UNDER_WAY", tmp_path)
    kept = of_rounds("rows", {("on", Setting(1, 1)): [measured(1)]})
    store.write(kept, tmp_path)
    assert store.under_way(result("rows")) == kept
    assert store.under_way(result("rows", seconds=2)) is None
    other = result("rows")
    other.revision = "another"
    assert store.under_way(other) is None
    store.finish("rows")
    assert store.under_way(result("rows")) is None


class FakeServer:
    """Measures what it is told to, or fails."""

    answer = b"{}"

    def __init__(self, variant: Variant, *outcomes: running.Measured | BenchError) -> None:
        """Take what comes of each measurement; the last one comes again."""
        self.variant = variant
        self.outcomes = [*outcomes]
        self.asked = 0
        self.seconds: list[int] = []

    def check(self, _: Setting) -> bytes:
        """Be right."""
        return b"{}"

    def measure(self, _setting: Setting, seconds: int) -> running.Measured:
        """Return or raise the next."""
        self.asked += 1
        self.seconds.append(seconds)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, BenchError):
            raise outcome
        return outcome

    def pause(self) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


def side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *servers: FakeServer, done: Any = None) -> Any:  # noqa: ANN401
    """Return rounds over servers that are there already."""
    by_name = {each.variant.name: each for each in servers}
    monkeypatch.setattr(rounds, "_PAUSE", 0.0)
    monkeypatch.setattr(rounds, "Sinks", lambda *_: SimpleNamespace(of=lambda _: None, end=lambda: None))
    monkeypatch.setattr(rounds, "Running", lambda variant, *_: by_name[variant.name])
    return rounds.Rounds(tmp_path, CORE, lambda _: None, done)


def variant(name: str) -> Variant:
    """Return a variant by its name."""
    return next(each for each in VARIANTS if each.name == name)


def test_a_run_goes_on_after_its_last_whole_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds that are there are kept, one that was broken off is measured anew, and each new one is handed out."""
    at = Setting(1, 1)
    before = rounds.Results(defaultdict(list), {})
    before.measured["bare", at] = [measured(1), measured(2)]
    before.measured["on", at] = [measured(1)]
    servers = FakeServer(variant("bare"), measured(9)), FakeServer(variant("on"), measured(9))
    kept: list[int] = []
    run = side_by_side(tmp_path, monkeypatch, *servers, done=before)
    chosen = [each.variant for each in servers]
    found = run.run(
        chosen, [at], rounds=3, seconds=1, keep=lambda results: kept.append(len(results.measured["on", at]))
    )
    assert [each.rate for each in found.measured["bare", at]] == [1, 9, 9]
    assert [each.rate for each in found.measured["on", at]] == [1, 9, 9]
    assert kept == [2, 3]


def test_a_server_of_ours_has_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause of the machine does not end a run of an hour; a fault that stays does, and a peer's is its row."""
    at = Setting(1, 1)
    hiccup = FakeServer(variant("on"), measured(1), BenchError("a pause"), BenchError("another"), measured(5))
    found = side_by_side(tmp_path, monkeypatch, hiccup).run([hiccup.variant], [at], rounds=1, seconds=1)
    assert [each.rate for each in found.measured["on", at]] == [5]
    broken = FakeServer(variant("on"), measured(1), BenchError("records are missing"))
    with pytest.raises(BenchError, match="records are missing"):
        side_by_side(tmp_path, monkeypatch, broken).run([broken.variant], [at], rounds=1, seconds=1)
    peer = FakeServer(variant("litserve"), measured(1), BenchError("it fell over"))
    found = side_by_side(tmp_path, monkeypatch, peer).run([peer.variant], [at], rounds=1, seconds=1)
    assert found.failed == {"litserve": "it fell over"}
    assert peer.asked == 3, "the warm-up, and two tries"


def test_images_are_asked_for_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second is too short for servers that take a tenth of it for one image."""
    server = FakeServer(variant("on"), measured(1))
    settings = [Setting(1, 1), Setting(1, 1, "image-5ms", "binary")]
    side_by_side(tmp_path, monkeypatch, server).run([server.variant], settings, rounds=1, seconds=2)
    assert server.seconds[-2:] == [2, 6]


def test_samples_fall_on_the_innermost_part_of_the_server() -> None:
    """A sample counts for the server's own frame that is nearest to what ran; threads of the pool are told apart."""
    loop = (
        "main (predictor/__main__.py:64);serve (predictor/server/lifecycle.py:53);Runner.run (asyncio/runners.py:118)"
    )
    found = ways.steps_of(
        [
            f"{loop} 5",
            f"{loop};_commit (predictor/serving/pipeline.py:1);write (predictor/recording/stream.py:2) 7",
            f"{loop};add (predictor/recording/checkpoints.py:2);digests (predictor/recording/canonical.py:9) 3",
            f"{loop};start (aiohttp/web_protocol.py:682) 2",
            f"{loop};start (aiohttp/web_protocol.py:682);predict (predictor/http/handlers.py:3);encode (json/x.py:1) 4",
            "Thread._bootstrap (threading.py:1012);_worker (concurrent/futures/thread.py:92);run (predictor/x.py:1) 99",
        ]
    )
    assert found == {
        "the event loop and what it calls in the kernel": 5,
        "encoding and numbering records": 7,
        "digests of records": 3,
        "aiohttp, for what the fast lane leaves to it and for shipping": 2,
        "HTTP: heads, bodies, answers, sockets": 4,
    }


def test_the_guide_reckons_with_the_pages_figures() -> None:
    """The sizing of docs/operations.md is what the figures of docs/benchmarks.md give."""
    guide, text = sizing.GUIDE.read_text(encoding="utf-8"), page.PAGE.read_text(encoding="utf-8")
    assert sizing.rewritten(guide, text) == guide
    other = re.sub(r"(\| server: processor time.*?\| )[\d,]+", r"\g<1>9,999", text)
    assert sizing.rewritten(guide, other) != guide


def test_the_arithmetic_of_sizing() -> None:
    """Cores are rate times microseconds, pods have room for peaks and catching up, and bytes are rate times bytes."""
    found = sizing.Figures(60.0, 400.0, 50.0, 80.0, outbox=1700.0, wire=1700.0, line=3100.0, chunks=300.0)
    small, medium, large = (sizing.need(found, rate) for rate in sizing.RATES)
    assert (small.pods, medium.pods, large.pods) == (2, 4, 334), "each has 3,000 a second of the 5,000 that it ships"
    assert sizing.need(found._replace(server=600.0), 1_000_000).pods == 1_000, "each is 60 % busy"
    assert large.bridged == pytest.approx(334 * 2**32 / 3.1e9)
    assert medium.server == pytest.approx((0.6, 4.0)), "with many callers at once, and with one at a time"
    assert (medium.collector, medium.loki) == pytest.approx((0.5, 0.8))
    assert large.wire == pytest.approx((1.7e9, 3.1e9))
    assert large.chunks == pytest.approx(300e6 * 86_400)
    assert small.outbox == pytest.approx((1700 * 100 * 3600, 3100 * 100 * 3600))
    assert sizing.read("\n".join(sizing.table(found))) == found


@pytest.mark.parametrize("rate", sizing.RATES)
def test_pods_can_catch_up(rate: int) -> None:
    """The pods of a rate ship at least half as much again as comes, so that a backlog becomes smaller."""
    found = sizing.Figures(60.0, 400.0, 50.0, 80.0, outbox=1700.0, wire=1700.0, line=3100.0, chunks=300.0)
    assert sizing.need(found, rate).pods * 5_000 >= 1.5 * rate


def test_the_figures_of_sizing_are_measured() -> None:
    """What a record takes of server, disk and wire is the median of the parts `alone` and `connections`."""
    found = sizing.figures(everything())
    assert found is not None
    assert (found.server, found.lone, found.outbox, found.wire) == pytest.approx((40.0, 390.0, 1800.0, 1900.0))
    for part in ("alone", "connections"):
        assert sizing.figures({name: each for name, each in everything().items() if name != part}) is None


def test_what_sinks_write_is_in_memory_if_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is left to the servers; without room for it the sinks write where everything else is."""
    monkeypatch.setattr(sinks, "_MEMORY", tmp_path)
    monkeypatch.setattr(sinks, "_ROOM", 1)
    there = sinks.Sinks(tmp_path / "run", CORE.load)
    assert [each.name.startswith("bench-sinks-") for each in tmp_path.iterdir()] == [True]
    there.end()
    assert not [*tmp_path.iterdir()]
    monkeypatch.setattr(sinks, "_ROOM", 1 << 60)
    sinks.Sinks(tmp_path / "run", CORE.load).end()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", sorted({name for name, _ in ways.WAYS}))
def test_where_looks_at_the_server_as_it_is_by_default(name: str) -> None:
    """The rows of the part `where` do not set PREDICTOR_FAST_LANE, so the lane is on as by default."""
    (variant,) = (each for each in (*VARIANTS, *protocol.VARIANTS) if each.name == name)
    assert "PREDICTOR_FAST_LANE" not in variant.environ
