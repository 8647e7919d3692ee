"""The rows about the fast lane and nginx, and the comparison of two checkouts: each measures what it says."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections import Counter
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from bench import against, nginx, programs, rounds, running, tables, wrk
from bench.pinned import BenchError
from bench.setting import Setting
from bench.variants import ROOT, VARIANTS, Variant
from tests.support.external_programs import on_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONE = Setting(8, 1)
CORE = min(os.sched_getaffinity(0))


def variant(name: str) -> Variant:
    """Return a variant by its name."""
    return next(each for each in VARIANTS if each.name == name)


def measured(rate: float, cpu: float = 100.0, lane: float | None = None) -> running.Measured:
    """Return a measurement."""
    return running.Measured(rate, cpu, 1000.0, 2000.0, 0.0, 0.5, 1.0, 0.0, 100, 100, lane)


class Seen(ThreadingHTTPServer):
    """Answers everything with 200 and keeps what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), SeenHandler)
        self.asked: list[tuple[str, str | None, bytes]] = []

    def handle_error(self, *_: object) -> None:
        """Say nothing of connections that wrk leaves."""


class SeenHandler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Seen

    def do_GET(self) -> None:
        """Answer."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.asked.append((f"{self.command} {self.path}", self.headers["traceparent"], body))
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    do_POST = do_GET  # noqa: N815 - the standard library's name

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def seen() -> Iterator[Seen]:
    """Yield a server that keeps what was asked."""
    server = Seen()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("kind", ["", "traceparent", "livez"])
def test_wrk_sends_what_the_row_says(kind: wrk.Kind, seen: Seen, tmp_path: Path) -> None:
    """Each head has another trace, or some requests are GET /livez and are not taken for predictions."""
    on_path("wrk")
    bodies = tmp_path / "bodies"
    bodies.write_text("one\ntwo\n")
    load = wrk.run(f"http://127.0.0.1:{seen.server_port}/predict", bodies, 4, 1, CORE, kind)
    asked = Counter(line for line, _, _ in seen.asked)
    assert {body for line, _, body in seen.asked if line == "POST /predict"} == {b"one", b"two"}
    assert sum(asked.values()) - 4 <= load.requests <= sum(asked.values())
    assert asked["POST /predict"] - 4 <= load.predictions <= asked["POST /predict"]
    assert (asked["GET /livez"] > 0) == (kind == "livez")
    traces = [trace for _, trace, _ in seen.asked if trace is not None]
    assert len(set(traces)) == len(traces) == (asked["POST /predict"] if kind == "traceparent" else 0)
    assert all(re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", trace) for trace in traces)


@pytest.mark.parametrize("name", ["heads", "odd", "lane-off", "nginx"])
def test_the_lanes_answers_are_counted_in_the_server_itself(name: str, tmp_path: Path) -> None:
    """A real load goes the way of its row, also through nginx; a request that closes its connection is not counted."""
    each = replace(variant(name), sink="")
    if each.nginx:
        try:
            nginx.command()
        except nginx.NotInstalledError as missing:
            pytest.skip(str(missing))
    server = running.Running(each, tmp_path, running.Cores(CORE, CORE), None)
    try:
        server.server.go_on()
        before = server.answered_by_lane()
        load = server.load(Setting(4, 1), 1)
        after = server.answered_by_lane()
    finally:
        server.end()
    assert before == (1 if each.nginx else 0), "the first answer was asked for without keeping the connection"
    assert after is not None
    share = running.lane_share(each, after - before, load.predictions, 4)
    assert share == 0 if name == "lane-off" else share >= 0.99


@pytest.mark.parametrize(
    ("name", "counted"),
    [("nginx", 989), ("nginx", 1009), ("heads", 0), ("lane-off", 1)],
    ids=["too few through the lane", "more than predictions", "lane not there", "lane not off"],
)
def test_a_row_that_goes_the_other_way_ends_the_run(name: str, counted: int) -> None:
    """A row whose predictions are answered by another door than it says is no result."""
    with pytest.raises(BenchError, match=f"{name}: the fast lane answered {counted} of 1000 predictions"):
        running.lane_share(variant(name), counted, 1000, 8)


def test_a_row_that_goes_its_way_has_its_share() -> None:
    """99 % of the predictions are enough; what is under way at the end may be counted too."""
    assert running.lane_share(variant("nginx"), 990, 1000, 8) == 0.99
    assert running.lane_share(variant("nginx"), 1008, 1000, 8) == 1.0
    assert running.lane_share(variant("lane-off"), 0, 1000, 8) == 0.0


def test_a_row_says_what_it_costs_beside_the_one_it_differs_from() -> None:
    """Processor time is compared with the same round's, and the least share of the lane is said."""
    results = rounds.Results(
        {
            ("traced5", ONE): [measured(5, 50.0), measured(5, 100.0)],
            ("nginx", ONE): [measured(5, 100.0, 1.0), measured(5, 200.0, 0.995)],
            ("lane-off", ONE): [measured(5, 150.0, 0.0), measured(5, 300.0, 0.0)],
        },
        {},
    )
    chosen = [variant(name) for name in ("traced5", "lane-off", "nginx")]
    text = "\n".join(tables.side_by_side(chosen, ONE, results))
    assert "lane-off: **3.00** (3.00-3.00) of traced5's processor time a request.\n" in text
    assert "nginx: **2.00** (2.00-2.00) of traced5's processor time a request; at least 99.5% of each" in text


def test_without_nginx_its_row_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nginx is not installed the other rows are measured, and its own has a word in place of figures."""
    monkeypatch.setattr(nginx, "_PATH", str(tmp_path))
    each = replace(variant("nginx"), sink="")
    said: list[str] = []
    side_by_side = rounds.Rounds(tmp_path, running.Cores(CORE, CORE), said.append)
    results = side_by_side.run([each], [ONE], rounds=1, seconds=1)
    assert "nginx is not installed" in tables.side_by_side([each], ONE, results)[-1]


def test_only_servers_of_this_project_are_compared_with_another_checkout(tmp_path: Path) -> None:
    """Each is there twice, as it is and with the other checkout's server; bare aiohttp and peers are left out."""
    found = against.pairs(VARIANTS, tmp_path)
    assert {each.program for each in found} == {"predictor"}
    assert [each.tree for each in found] == [ROOT, tmp_path] * (len(found) // 2)
    assert len({each.name for each in found}) == len(found)
    assert all(
        against.pair_of(here) == against.pair_of(there) for here, there in zip(found[::2], found[1::2], strict=True)
    )


def test_both_of_a_pair_are_measured_one_after_the_other(tmp_path: Path) -> None:
    """Whatever the order of a round, nothing comes between the two checkouts' servers of a variant."""
    servers: list[Any] = [SimpleNamespace(variant=each) for each in against.pairs(VARIANTS, tmp_path)]
    for _ in range(20):
        order = [against.pair_of(server.variant) for server in rounds.shuffled(servers)]
        assert order[::2] == order[1::2]
        assert len(set(order)) == len(servers) // 2


def test_two_checkouts_are_compared_round_by_round(tmp_path: Path) -> None:
    """The ratio is the median of the rounds' own; where the other checkout fails, its row says why."""
    on_path("wrk")
    chosen = against.pairs([variant("on"), variant("off")], tmp_path)
    results = rounds.Results(
        {
            ("on", ONE): [measured(100, 10.0), measured(300, 40.0)],
            ("on@there", ONE): [measured(50, 20.0), measured(100, 80.0)],
            ("off", ONE): [measured(100)],
        },
        {"off@there": "it knows | no such setting"},
    )
    text = "\n".join(against.page(chosen, [ONE], results, tmp_path))
    assert "| on | 200 | 75 | **2.50** (2.25-2.75) | 25.0 | 50.0 | **0.50** (0.50-0.50) |" in text
    assert "| off | there: it knows / no such setting |" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1


@pytest.mark.parametrize(("runs", "wanted"), [(True, "runs the server of another place"), (False, "has no .venv")])
def test_another_checkouts_server_must_be_its_own(runs: bool, wanted: str, tmp_path: Path) -> None:  # noqa: FBT001
    """A .venv that is missing, or that holds this checkout's server, is refused: both rows would be the same."""
    python = tmp_path / ".venv" / "bin" / "python"
    if runs:
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
    _, there = against.pairs([variant("on")], tmp_path)
    with pytest.raises(BenchError, match=wanted):
        programs.start(there, 1, tmp_path, None)
