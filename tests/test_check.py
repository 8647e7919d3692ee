"""`predictor check`: says what works, what is wrong and how to mend it, before a server starts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import sink
from server import run

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess


def lines(ended: CompletedProcess[str]) -> dict[str, tuple[bool, str]]:
    """Return by subject whether it is well and what is said of it."""
    assert ended.stdout == ""
    found = {}
    for line in ended.stderr.splitlines():
        verdict, rest = line.split(maxsplit=1)
        subject, _, words = rest.partition(": ")
        assert verdict in {"ok", "WRONG"}
        found[subject] = (verdict == "ok", words)
    assert ended.returncode == (0 if all(well for well, _ in found.values()) else 1)
    assert list(found) == ["model", "outbox", "logs", "traces"]
    return found


def test_all_is_well(outbox: Path) -> None:
    """A server that would start is told so with the model, the outbox and that nothing leaves; nothing is left over."""
    found = lines(run("check", outbox=outbox))
    assert all(well for well, _ in found.values())
    assert "iris@" in found["model"][1]
    assert "4 features and 3 labels" in found["model"][1]
    assert str(outbox) in found["outbox"][1]
    assert found["logs"][1] == found["traces"][1] == "not shipped (no endpoint)"
    assert list(outbox.iterdir()) == []


def test_wrong_model(outbox: Path, tmp_path: Path) -> None:
    """A model that does not load is said with its setting, and the rest is looked at all the same."""
    found = lines(run("check", outbox=outbox, PREDICTOR_MODEL=str(tmp_path)))
    assert not found["model"][0]
    assert f"{tmp_path}/model.toml cannot be read" in found["model"][1]
    assert "PREDICTOR_MODEL" in found["model"][1]
    assert found["outbox"][0]


def test_outbox_that_cannot_be(tmp_path: Path) -> None:
    """An outbox that cannot be a folder is said with its setting."""
    (tmp_path / "file").touch()
    well, words = lines(run("check", outbox=tmp_path / "file"))["outbox"]
    assert not well
    assert f"{tmp_path}/file" in words
    assert "PREDICTOR_OUTBOX" in words


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({"PREDICTOR_KEEP_BYTES": "9000000GiB"}, "PREDICTOR_KEEP_BYTES"),
        (
            {"PREDICTOR_OUTBOX_BYTES": "9000000GiB", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://127.0.0.1:9"},
            "PREDICTOR_OUTBOX_BYTES",
        ),
    ],
)
def test_too_little_room(outbox: Path, settings: dict[str, str], variable: str) -> None:
    """A bound that the disk has no room for is wrong: the setting to lower is named."""
    well, words = lines(run("check", outbox=outbox, **settings))["outbox"]
    assert not well
    assert "MiB free, less than its bound of" in words
    assert variable in words


def test_collector_is_gone(outbox: Path) -> None:
    """A Collector that does not answer is said for each signal with its URL and what is wanted there."""
    found = lines(run("check", outbox=outbox, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9"))
    for signal in ("logs", "traces"):
        well, words = found[signal]
        assert not well
        assert f"http://127.0.0.1:9/v1/{signal}: " in words
        assert "Connection refused" in words
        assert f"wanted a Collector with an otlp receiver (http) and a {signal} pipeline" in words


async def test_collector_answers(outbox: Path) -> None:
    """A Collector is asked with the real headers and an empty request, so that nothing is stored; no value is shown."""
    async with sink.serve() as collector:
        ended = await asyncio.to_thread(
            run,
            "check",
            outbox=outbox,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_EXPORTER_OTLP_HEADERS="authorization=s3cret",
        )
    found = lines(ended)
    assert all(well for well, _ in found.values())
    assert "s3cret" not in ended.stderr
    assert [request.path for request in collector.requests] == ["/v1/logs", "/v1/traces"]
    for request in collector.requests:
        assert {name.lower(): value for name, value in request.headers.items()}["authorization"] == "s3cret"
    assert all(b"logRecords" not in request.body or request.sequences == [] for request in collector.requests[:1])


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
async def test_collector_refuses(outbox: Path, status: int) -> None:
    """An answer that accepts nothing is said with its status, for the signal that it is given to."""
    async with sink.serve() as collector:
        collector.script = lambda request: sink.OK if request.path == "/v1/logs" else sink.Answer(status, b"no\x1b[31m")
        ended = await asyncio.to_thread(run, "check", outbox=outbox, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    found = lines(ended)
    assert found["logs"][0]
    assert not found["traces"][0]
    assert str(status) in found["traces"][1]
    assert "\x1b" not in ended.stderr
