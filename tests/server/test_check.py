"""`predictor check`: says what works, what is wrong and how to mend it, before a server starts."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from predictor.config.settings import load
from predictor.reader.verify.keys import PublicKeys
from predictor.server import check
from tests.recording.test_published_schema import SCHEMA
from tests.support import model_folders, scripted_sink
from tests.support.collector import free_port, start, to_sink
from tests.support.server import IRIS, run
from tests.support.signing_keys import key_pair

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

ELSEWHERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
REASON = b"entry too far behind, " * 20 + b"and the reason is at the end"
WORDS = b'{"code":3,"message":"' + REASON + b'"}'


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
    assert [each for each in found if each != "signing key"] == ["model", "outbox", "resource", "logs", "traces"]
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


def test_what_to_know_of_a_model(outbox: Path, tmp_path: Path) -> None:
    """A model whose rows run one by one, or whose label is not always the most probable class, is said to be so."""
    quantized = lines(run("check", outbox=outbox, PREDICTOR_MODEL=str(model_folders.quantized(tmp_path / "1"))))[
        "model"
    ][1]
    assert "; classifier.onnx: a row's numbers change with its neighbours, so rows run one by one" in quantized
    threshold = lines(run("check", outbox=outbox, PREDICTOR_MODEL=str(model_folders.with_threshold(tmp_path / "2"))))[
        "model"
    ][1]
    assert "is not the most probable class; its 'label' is the answer" in threshold


def test_wrong_model(outbox: Path, tmp_path: Path) -> None:
    """A model that does not load is said with its setting, and the rest is looked at all the same."""
    found = lines(run("check", outbox=outbox, PREDICTOR_MODEL=str(tmp_path)))
    assert not found["model"][0]
    assert f"{tmp_path} has no model; wanted a model.toml" in found["model"][1]
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
    found = lines(run("check", outbox=outbox, **ELSEWHERE))
    for signal in ("logs", "traces"):
        well, words = found[signal]
        assert not well
        assert f"http://127.0.0.1:9/v1/{signal}: " in words
        assert "Connection refused" in words
        assert f"wanted a Collector with an otlp receiver (http) and a {signal} pipeline" in words


def attributes(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return OTLP JSON attributes by their names."""
    return {pair["key"]: next(iter(pair["value"].values())) for pair in pairs}


async def test_collector_answers(outbox: Path) -> None:
    """A Collector gets one record and one span of an own event, with the real headers; no header's value is shown."""
    async with scripted_sink.serve() as collector:
        ended = await asyncio.to_thread(
            run,
            "check",
            outbox=outbox,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_EXPORTER_OTLP_HEADERS="authorization=s3cret",
            OTEL_RESOURCE_ATTRIBUTES="service.instance.id=mine,team=a",
        )
    found = lines(ended)
    assert all(well for well, _ in found.values())
    assert "s3cret" not in ended.stderr
    logs, traces = collector.requests
    assert (logs.path, traces.path) == ("/v1/logs", "/v1/traces")
    for request in collector.requests:
        assert {name.lower(): value for name, value in request.headers.items()}["authorization"] == "s3cret"
    assert Draft202012Validator(SCHEMA).is_valid(logs.parsed)
    ((group,), (spans,)) = (logs.parsed["resourceLogs"], traces.parsed["resourceSpans"])
    (scoped,), (spanned,) = group["scopeLogs"], spans["scopeSpans"]
    (record,), (span,) = scoped["logRecords"], spanned["spans"]
    assert (record["eventName"], span["name"]) == ("prediction.check", "prediction.check")
    assert attributes(record["attributes"]) == {"event.name": "prediction.check"}
    assert attributes(scoped["scope"]["attributes"]) == {"prediction.schema_version": "1"}
    assert (record["traceId"], record["spanId"]) == (span["traceId"], span["spanId"])
    assert f"prediction.check, trace id {span['traceId']}" in found["logs"][1]
    resource = attributes(group["resource"]["attributes"])
    assert resource["team"] == "a"
    assert resource["service.instance.id"] != "mine"  # a sink would take it for a record of that server
    assert attributes(spans["resource"]["attributes"]) == resource


async def test_without_traces_no_span_is_promised(outbox: Path) -> None:
    """Where no span is sent the record does not say that there is one."""
    async with scripted_sink.serve() as collector:
        settings = {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{collector.url}/v1/logs"}
        found = lines(await asyncio.to_thread(run, "check", outbox=outbox, **settings))
    assert found["traces"] == (True, "not shipped (no endpoint)")
    (request,) = collector.requests
    assert "flags" not in request.parsed["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]


async def test_the_sink_behind_the_collector_is_asked(outbox: Path, tmp_path: Path) -> None:
    """A sink behind a Collector that refuses everything is wrong, though the Collector answers 200 to what is empty."""
    async with scripted_sink.serve() as behind:
        # As Loki answers: a google.rpc.Status in protobuf, of which 2 is the message.
        status = b"\x08\x03\x12" + bytes([len(REASON) & 127 | 128, len(REASON) >> 7]) + REASON
        refusal = scripted_sink.Answer(400, status, {"Content-Type": "application/x-protobuf"})
        behind.script = lambda request: refusal if request.path == "/v1/logs" else scripted_sink.OK
        port = free_port()
        collector = await asyncio.to_thread(start, to_sink(port, behind.url), tmp_path, port)
        try:
            found = lines(
                await asyncio.to_thread(run, "check", outbox=outbox, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
            )
        finally:
            await asyncio.to_thread(collector.stop)
    assert found["traces"][0]
    well, words = found["logs"]
    assert not well
    assert "400" in words
    assert "the reason is at the end" in words


@pytest.mark.parametrize("status", [400, 401, 503])
async def test_the_sinks_own_words(outbox: Path, status: int) -> None:
    """All that a sink says, beyond a line's length too, is said again, whatever its status is."""
    async with scripted_sink.serve() as collector:
        collector.script = lambda _: scripted_sink.Answer(status, WORDS)
        found = lines(await asyncio.to_thread(run, "check", outbox=outbox, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url))
    for signal in ("logs", "traces"):
        assert "entry too far behind" in found[signal][1]
        assert "the reason is at the end" in found[signal][1]


async def _drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Begin an answer and never end it."""
    with contextlib.suppress(OSError):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)


async def test_a_sink_without_an_end(outbox: Path) -> None:
    """A sink that is silent, or that drips its answer, is waited for no longer than the time-out, and that is said."""
    dripping = await asyncio.start_server(_drip, "127.0.0.1")
    async with scripted_sink.serve() as silent, dripping:
        silent.script = lambda _: scripted_sink.Answer(silent=True)
        found = lines(
            await asyncio.to_thread(
                run,
                "check",
                outbox=outbox,
                OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=f"http://127.0.0.1:{dripping.sockets[0].getsockname()[1]}",
                OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=silent.url,
                OTEL_EXPORTER_OTLP_TIMEOUT="0.3",
            )
        )
    for signal in ("logs", "traces"):
        assert not found[signal][0]
        assert "no answer in 0.3 s" in found[signal][1]


async def test_check_waits_no_longer_than_a_person(
    outbox: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However long a server may wait for its sink, check has a bound of its own."""
    monkeypatch.setattr(check, "_LONGEST", 0.2)
    async with scripted_sink.serve() as silent:
        silent.script = lambda _: scripted_sink.Answer(silent=True)
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": silent.url, "OTEL_EXPORTER_OTLP_TIMEOUT": "500"}
        settings = load({"PREDICTOR_OUTBOX": str(outbox), "PREDICTOR_MODEL": str(IRIS)} | environ)
        assert await asyncio.to_thread(check.check, settings) == 1
    assert capsys.readouterr().err.count("no answer in 0.2 s") == 2


def test_an_attribute_that_hides_ours(outbox: Path) -> None:
    """A resource attribute that stops the start is said as the start says it, and nothing is sent with it."""
    found = lines(run("check", outbox=outbox, OTEL_RESOURCE_ATTRIBUTES="prediction.label=x", **ELSEWHERE))
    assert not found["resource"][0]
    assert "'prediction.label' (OTEL_RESOURCE_ATTRIBUTES)" in found["resource"][1]
    assert found["logs"] == found["traces"] == (False, "not tried, since the resource is refused")


def test_the_key_of_the_log(outbox: Path, tmp_path: Path) -> None:
    """A key that signs is named by its id, one that cannot be used is wrong, and without one nothing is said."""
    private, public = key_pair(tmp_path)
    found = lines(run("check", outbox=outbox, PREDICTOR_SIGNING_KEY_FILE=str(private)))
    assert found["signing key"] == (True, f"checkpoints are signed by {PublicKeys([public]).ids[0]}")
    found = lines(run("check", outbox=outbox, PREDICTOR_SIGNING_KEY_FILE=str(public)))
    assert not found["signing key"][0]
    assert "openssl genpkey -algorithm ed25519" in found["signing key"][1]
    assert "signing key" not in lines(run("check", outbox=outbox))


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
async def test_collector_refuses(outbox: Path, status: int) -> None:
    """An answer that accepts nothing is said with its status, for the signal that it is given to."""
    async with scripted_sink.serve() as collector:
        collector.script = lambda request: (
            scripted_sink.OK if request.path == "/v1/logs" else scripted_sink.Answer(status, b"no\x1b[31m")
        )
        ended = await asyncio.to_thread(run, "check", outbox=outbox, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    found = lines(ended)
    assert found["logs"][0]
    assert not found["traces"][0]
    assert str(status) in found["traces"][1]
    assert "\x1b" not in ended.stderr
