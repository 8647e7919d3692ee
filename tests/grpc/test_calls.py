"""What surrounds a call by gRPC: deadlines, callers who leave, limits, tokens, refusals, traces and metrics."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest

from predictor.api import problem_details
from predictor.api.protobuf import messages
from predictor.api.protobuf.infer import InferMessages
from predictor.core.operator_log import Throttle
from predictor.core.problems import Kind, Problem
from predictor.grpc import message_reader, statuses
from predictor.http.handlers import MEMORY
from predictor.server import app
from predictor.tracing.tracer import Tracer
from tests.api.test_open_inference import ROWS
from tests.support import model_folders, model_repository
from tests.support.gated_model import pipeline
from tests.support.grpc_client import ON, calling, outputs, port_of, request
from tests.support.server import predictions, serve, serve_models, until
from tests.support.traced_server import INTERNAL, SERVER, spans, traced

if TYPE_CHECKING:
    from pathlib import Path

    from predictor.serving.job import Job
    from tests.support.gated_model import Gate

ONE = request("iris", {"features": ROWS[:1]})
CALL = "/inference.GRPCInferenceService/ModelInfer"
TOKEN = "secret-of-sixteen-characters"
BEARER = (("authorization", f"Bearer {TOKEN}"),)
OWN_FAULT = ("INTERNAL", "the fault is the server's own; its log says more")


def test_every_problem_has_a_status() -> None:
    """Each kind of the closed list has a status of gRPC; clients ask again by themselves after what passes only."""
    assert set(statuses.STATUSES) == set(Kind)
    again = {kind for kind, status in statuses.STATUSES.items() if status is grpc.StatusCode.UNAVAILABLE}
    assert again == {kind for kind in Kind if kind.status == 503}


async def test_the_servers_deadline(outbox: Path, gate: Gate) -> None:
    """What is not predicted before PREDICTOR_DEADLINE is refused with a sentence, and recorded."""
    async with serve(outbox, PREDICTOR_DEADLINE="50ms", **ON) as here, calling(here) as client:
        pipeline(here, gate)
        refusal = await client.refused(ONE)
        gate.open()
    assert refusal[:2] == (
        "DEADLINE_EXCEEDED",
        "the rows were not predicted and logged in time (PREDICTOR_DEADLINE)",
    )
    assert refusal.metadata["problem-type"] == "urn:predictor:problem:deadline-exceeded"
    assert [row["error.type"] for row in predictions(outbox)] == ["deadline-exceeded"]


async def test_the_callers_deadline(outbox: Path, gate: Gate) -> None:
    """A caller's shorter deadline is the prediction's too: what it does not wait for is recorded as late."""
    async with serve(outbox, **ON) as here, calling(here) as client:
        pipeline(here, gate)
        refusal = await client.refused(ONE, timeout=0.5)
        await until(lambda: len(predictions(outbox)) == 1)
        gate.open()
    assert refusal.status == "DEADLINE_EXCEEDED"
    assert [row["error.type"] for row in predictions(outbox)] == ["deadline-exceeded"]


async def test_a_caller_who_leaves(outbox: Path, gate: Gate) -> None:
    """What was admitted is predicted and logged although its caller has gone, as by HTTP; its memory is given back."""
    async with serve(outbox, **ON) as here, calling(here) as client:
        pipeline(here, gate)
        call = client.begin("ModelInfer", ONE)
        await until(lambda: bool(gate.batches))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        gate.open()
        await until(lambda: len(predictions(outbox)) == 1)
        assert here.app[MEMORY].used == 0
        assert (await client.infer(ONE)).message.model_name == "iris"
    assert [row.get("error.type") for row in predictions(outbox)] == [None, None]


async def test_limits(outbox: Path) -> None:
    """Rows, messages and rates are bounded as at HTTP's calls; a client learns when to ask again."""
    many = request("iris", {"features": np.zeros((5, 4), np.float32)})
    long = request("iris", {"features": ROWS[:1]}, parameters={"hint": {"string_param": "x" * 400}})
    limits = {"PREDICTOR_BATCH_ROWS": "4", "PREDICTOR_BODY_BYTES": "400", "PREDICTOR_ROWS_PER_SECOND": "4"}
    async with serve(outbox, **limits, **ON) as here, calling(here) as client:
        too_many = await client.refused(many)
        too_long = await client.refused(long)
        answered = 0
        while await (too_fast := client.begin("ModelInfer", ONE)).code() is grpc.StatusCode.OK:
            answered += 1
        said, metadata = await too_fast.details(), dict(await too_fast.trailing_metadata())
    assert too_many.status == "RESOURCE_EXHAUSTED"
    assert "at most 4 a request (PREDICTOR_BATCH_ROWS)" in too_many.text
    assert too_long.status == "RESOURCE_EXHAUSTED"
    assert "larger than max" in too_long.text  # gRPC's own words: it reads no more of it
    assert await too_fast.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "PREDICTOR_ROWS_PER_SECOND" in said
    assert (metadata["retry-after"], metadata["grpc-retry-pushback-ms"]) == ("1", "1000")
    assert answered >= 4
    words = [row.get("error.type") for row in predictions(outbox)]
    assert words == ["content-too-large", *[None] * answered, "rate-limited"]


async def test_a_message_of_another_models_size(outbox: Path) -> None:
    """A message that is too large for its model, though not for the server, is refused with the setting's name."""
    message = request("iris", {"features": ROWS[:1]}, parameters={"hint": {"string_param": "x" * (2 << 20)}})
    async with serve(outbox, **ON) as here, calling(here) as client:
        refusal = await client.refused(message)
    assert refusal[:2] == ("RESOURCE_EXHAUSTED", "the body is larger than 1048576 bytes (PREDICTOR_BODY_BYTES)")
    assert [row["error.type"] for row in predictions(outbox)] == ["content-too-large"]


async def test_a_compressed_message(outbox: Path) -> None:
    """A message may be compressed; what would become too large is refused before all of it is made."""
    async with serve(outbox, **ON) as here, calling(here) as client:
        answer = await client.infer(ONE, compression=grpc.Compression.Gzip)
        bomb = request("iris", {}, parameters={"hint": {"string_param": "x" * (200 << 20)}})
        refusal = await client.refused(bomb, compression=grpc.Compression.Gzip)
    assert outputs(answer.message)["probabilities"].shape == (1, 3)
    assert (refusal.status, refusal.text) == ("RESOURCE_EXHAUSTED", "Decompressed message larger than max")
    assert len(gzip.compress(bytes(1 << 20))) < 2000  # what was sent was short


async def test_messages_that_do_not_come(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who begins calls and sends no messages keeps nobody else out: the longest is refused when another one waits."""
    monkeypatch.setattr(message_reader, "_SLOW", 0.05)
    room = {"PREDICTOR_BODY_BYTES": "1MB", "PREDICTOR_BUFFERED_BYTES": "2MB"}  # two messages at once
    async with serve(outbox, **room, **ON) as here, calling(here) as client:
        silent = [client.channel.stream_unary(CALL)() for _ in range(3)]
        for call in silent:
            await call.wait_for_connection()
        for _ in range(3):
            assert (await client.infer(ONE)).message.model_name == "iris"
        await until(lambda: any(call.done() for call in silent))  # in which order they came is the network's
        ended = next(call for call in silent if call.done())
        assert await ended.code() is grpc.StatusCode.UNAVAILABLE
        assert "did not come within" in await ended.details()
        for call in silent:
            call.cancel()
    assert len(predictions(outbox)) == 3


def test_a_long_sentence_fits_into_the_metadata() -> None:
    """What is said of a problem stays below the 8 KiB of metadata that clients take, in any script."""
    for text in ("\N{GRINNING FACE}" * 3000, "x" * 9000):
        _, said = statuses.status_of(Problem(Kind.INVALID_DATA, text))
        assert text.startswith(said[:-1])
        assert said.endswith("…")
        assert 3 * len(said.encode()) < 7000


async def test_messages_that_stop_coming_one_after_the_other(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent calls that began at different times all make room for who waits behind them."""
    monkeypatch.setattr(message_reader, "_SLOW", 0.3)
    room = {"PREDICTOR_BODY_BYTES": "1MB", "PREDICTOR_BUFFERED_BYTES": "2MB"}  # two messages at once
    async with serve(outbox, **room, **ON) as here, calling(here) as client:
        silent = []
        for pause in (0, 0, 0.15, 0.03):
            await asyncio.sleep(pause)
            silent.append(client.channel.stream_unary(CALL)())
            await silent[-1].wait_for_connection()
        assert (await client.infer(ONE)).message.model_name == "iris"
        await until(lambda: sum(call.done() for call in silent) > 2)  # two were read, a third stood before the last
        assert {await call.code() for call in silent if call.done()} == {grpc.StatusCode.UNAVAILABLE}
        for call in silent:
            call.cancel()
    assert len(predictions(outbox)) == 1


async def test_a_message_that_comes_late(outbox: Path) -> None:
    """A message that does not come before the deadline is refused, and one that never will at once."""
    async with serve(outbox, PREDICTOR_DEADLINE="100ms", **ON) as here, calling(here) as client:
        call = client.channel.stream_unary(CALL)()
        with pytest.raises(grpc.aio.AioRpcError, match="did not arrive in time") as late:
            await call
    async with serve(outbox, **ON) as here, calling(here) as client:
        call = client.channel.stream_unary(CALL)()
        await call.done_writing()
        with pytest.raises(grpc.aio.AioRpcError, match="no message came") as never:
            await call
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert never.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_bodies_budget(outbox: Path, gate: Gate) -> None:
    """Messages that wait for their predictions share the budget of HTTP's bodies until they are answered."""
    room = {"PREDICTOR_BODY_BYTES": "1MB", "PREDICTOR_BUFFERED_BYTES": "2MB", "PREDICTOR_DEADLINE": "60s"}
    large = request("iris", {"features": ROWS[:1]}, parameters={"hint": {"string_param": "x" * 900_000}})
    async with serve(outbox, **room, **ON) as here, calling(here) as client:
        pipeline(here, gate)
        held = here.app[MEMORY]
        waiting = [client.begin("ModelInfer", large) for _ in range(2)]
        await until(lambda: held.used > 1_600_000)
        refusal = await client.refused(large)
        gate.open()
        for call in waiting:
            assert (await call).model_name == "iris"
        await until(lambda: held.used == 0)
        await client.infer(large)
    assert refusal.status == "UNAVAILABLE"
    assert "PREDICTOR_BUFFERED_BYTES" in refusal.text


def wide(folder: Path) -> Path:
    """Return a model of which each row gives 240 kB."""
    from tests.support import bare_models  # noqa: PLC0415 - of few tests

    nodes: list[tuple[str, list[str], list[str], dict[str, object]]] = [("Tile", ["x", "times"], ["y"], {})]
    return bare_models.save(
        folder / "m.onnx",
        nodes,
        {"x": (bare_models.FLOAT, ["N", 3])},
        {"y": (bare_models.FLOAT, ["N", 60_000])},
        {"times": np.array([1, 20_000])},
    )


async def test_an_answer_that_nobody_takes(outbox: Path, tmp_path: Path) -> None:
    """An answer that its caller does not take is held against the budget, and dropped after PREDICTOR_IDLE."""
    async with serve(outbox, wide(tmp_path), PREDICTOR_IDLE="500ms", **ON) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(here))
        held = here.app[MEMORY]
        writer.write(http2_call(request("m", {"x": np.zeros((1, 3), np.float32)}).SerializeToString()))
        await until(lambda: held.used > 150_000)
        await until(lambda: held.used == 0)
        del reader
        writer.close()
    assert [row.get("error.type") for row in predictions(outbox)] == [None]


async def test_what_a_browser_can_send(outbox: Path) -> None:
    """Without the one header that no web page can set HTTP/2 predicts nothing: the stream is reset."""
    reset = b"\x00\x00\x04\x03\x00\x00\x00\x00\x01"
    async with serve(outbox, **ON) as here:
        for more, wanted, logged in (({"te": ""}, reset, 0), ({}, b"grpc-status", 1)):  # codespell:ignore te
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(here))
            writer.write(http2_call(ONE.SerializeToString(), **more))
            await reader.readuntil(wanted)
            writer.close()
            assert len(predictions(outbox)) == logged


def http2_call(message: bytes, **more: str) -> bytes:
    """Return a connection's first bytes by HTTP/2 with a call whose caller takes 64 KiB of the answer.

    `more` replaces headers; an empty one is left out.
    """

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": CALL,
        ":authority": "test",
        "te": "trailers",  # codespell:ignore te
        "content-type": "application/grpc",
    } | more
    head = b"".join(
        b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
        if value
    )
    data = b"\x00" + len(message).to_bytes(4, "big") + message
    return b"".join(
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(4, 0, 0, b""), frame(1, 4, 1, head), frame(0, 1, 1, data))
    )


async def test_tokens(outbox: Path, tmp_path: Path) -> None:
    """A prediction wants a token of PREDICTOR_TOKEN_FILE; what only tells wants none; a web page has no way."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN}\n")
    async with serve(outbox, PREDICTOR_TOKEN_FILE=str(tokens), **ON) as here, calling(here) as client:
        refusal = await client.refused(ONE)
        wrong = await client.refused(ONE, metadata=(("authorization", "Bearer wrong-of-sixteen-characters"),))
        page = await client.refused(ONE, metadata=(*BEARER, ("origin", "https://elsewhere.example")))
        await client.infer(ONE, metadata=BEARER)
        assert (await client.ask("ModelReady", messages.ModelReadyRequest(name="iris"))).message.ready
    assert refusal.status == wrong.status == "UNAUTHENTICATED"
    assert "Authorization: Bearer" in refusal.text
    assert refusal.metadata["www-authenticate"] == "Bearer"
    assert page.status == "PERMISSION_DENIED"
    assert len(predictions(outbox)) == 1


async def test_the_repository(outbox: Path, tmp_path: Path) -> None:
    """Models are listed, loaded and unloaded by who has a token for it, by Triton's messages and by KServe's."""
    model_repository.version(tmp_path / "models", "price", 1, 1.0)
    tokens = tmp_path / "control"
    tokens.write_text(f"{TOKEN}\n")
    triton = messages.RepositoryModelLoadRequest(model_name="price")
    kserve = messages.RepositoryModelLoadRequest(repository_name="price")  # at the number of KServe's model_name
    other = messages.RepositoryModelLoadRequest(model_name="price")
    other.parameters["config"].string_param = "{}"
    settings = {"PREDICTOR_CONTROL_TOKEN_FILE": str(tokens)} | ON
    async with serve_models(outbox, tmp_path / "models", **settings) as here, calling(here) as client:
        assert (await client.refused(triton, "RepositoryModelLoad")).status == "UNAUTHENTICATED"
        model_repository.version(tmp_path / "models", "price", 2, 2.0)
        loaded = (await client.ask("RepositoryModelLoad", triton, metadata=BEARER)).message
        index = (await client.ask("RepositoryIndex", messages.RepositoryIndexRequest(), metadata=BEARER)).message
        refusals = [
            await client.refused(asked, "RepositoryModelLoad", metadata=BEARER)
            for asked in (other, messages.RepositoryModelLoadRequest(), kserve.__class__(model_name="nothing"))
        ]
        unloaded = (await client.ask("RepositoryModelUnload", kserve, metadata=BEARER)).message
        ready = messages.RepositoryIndexRequest(ready=True)
        left = (await client.ask("RepositoryIndex", ready, metadata=BEARER)).message
        gone = await client.refused(request("price", {"x": np.zeros((1, 3), np.float32)}))
        await client.ask("RepositoryModelLoad", kserve, metadata=BEARER)
        back = await client.infer(request("price", {"x": np.array([model_repository.ROW], np.float32)}))
    assert (loaded.model_name, loaded.isLoaded, unloaded.model_name, unloaded.isUnloaded) == (
        "price",
        True,
        "price",
        True,
    )
    assert [(each.name, each.version, each.state) for each in index.models] == [
        ("price", "1", "READY"),
        ("price", "2", "READY"),
    ]
    assert [each.status for each in refusals] == ["INVALID_ARGUMENT", "INVALID_ARGUMENT", "NOT_FOUND"]
    assert [*left.models] == []
    assert gone.status == "UNAVAILABLE"
    assert outputs(back.message)["y"].tolist() == [[model_repository.answer(2.0)]]


async def test_nobody_may_change_models_unless_there_are_tokens(outbox: Path) -> None:
    """Without PREDICTOR_CONTROL_TOKEN_FILE the calls that load and unload are refused."""
    async with serve(outbox, **ON) as here, calling(here) as client:
        refusal = await client.refused(messages.RepositoryIndexRequest(), "RepositoryIndex")
    assert refusal.status == "PERMISSION_DENIED"
    assert "PREDICTOR_CONTROL_TOKEN_FILE is not set" in refusal.text


async def test_a_full_outbox_behind_a_dead_sink(outbox: Path) -> None:
    """With a dead sink predictions go on until the outbox is full, and are refused before inference then."""
    dead = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "PREDICTOR_FLUSH": "0s",
        "OTEL_TRACES_EXPORTER": "none",
    }
    full = {"PREDICTOR_OUTBOX_BYTES": "1MiB"}
    many = request("iris", {"features": np.repeat(ROWS, 32, axis=0)})
    async with serve(outbox, **dead, **full, **ON) as here, calling(here) as client:
        answered = 0
        while answered < 50:
            call = client.begin("ModelInfer", many)
            if await call.code() is not grpc.StatusCode.OK:
                break
            answered += 1
        refusal = await client.refused(many)
        assert not (await client.ask("ServerReady", ONE)).message.ready
    assert answered >= 5
    assert refusal.status == "UNAVAILABLE"
    assert refusal.metadata["problem-type"] == "urn:predictor:problem:outbox-full"
    assert len(predictions(outbox)) == answered * 64


async def test_what_is_declared_lost(outbox: Path) -> None:
    """Under the policy `lose` an answer whose records are lost says so."""
    lose = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "PREDICTOR_FLUSH": "0s",
        "OTEL_TRACES_EXPORTER": "none",
    }
    lose |= {"PREDICTOR_OUTBOX_BYTES": "1MiB", "PREDICTOR_OUTBOX_FULL": "lose"}
    many = request("iris", {"features": np.repeat(ROWS, 128, axis=0)})
    async with serve(outbox, **lose, **ON) as here, calling(here) as client:
        said = [(await client.infer(many)).metadata.get("x-prediction-logged") for _ in range(8)]
    assert said[0] is None
    assert said[-1] == "false"


async def test_a_model_that_fails(outbox: Path, tmp_path: Path) -> None:
    """A model that fails on some rows is the server's failure, with a sentence and a record."""
    async with serve(outbox, model_folders.failing(tmp_path / "failing"), **ON) as here, calling(here) as client:
        told = (await client.ask("ModelMetadata", messages.ModelMetadataRequest(name="failing"))).message
        name = told.inputs[0].name
        refusal = await client.refused(
            request("failing", {name: np.array([[model_folders.FAILS_ABOVE + 1, 0.0]], np.float32)})
        )
    assert (refusal.status, predictions(outbox)[-1]["error.type"]) == ("INTERNAL", "model-failed")


async def test_a_fault_of_our_own(outbox: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What nobody expected is INTERNAL without a word of the inside, which the log has."""
    async with serve(outbox, **ON) as here, calling(here) as client:
        here.app[app.MODELS].catalog.meant().messages = None
        refusal = await client.refused(ONE)
    assert refusal[:2] == OWN_FAULT
    assert any(record.exc_info for record in caplog.records)


async def test_a_fault_before_the_call_begins(
    outbox: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What fails before a call has its ids is INTERNAL too, with no word of the inside; nothing is held or recorded."""

    def fail(*_: object) -> None:
        msg = "the inside"
        raise RuntimeError(msg)

    monkeypatch.setattr(problem_details, "_throttle", Throttle())
    async with serve(outbox, **ON) as here, calling(here) as client:
        with monkeypatch.context() as patched:
            patched.setattr(Tracer, "begin", fail)
            refusals = [await client.refused(ONE) for _ in range(2)]
        assert here.app[MEMORY].used == 0
        assert (await client.infer(ONE)).message.model_name == "iris"
    assert {refusal[:2] for refusal in refusals} == {OWN_FAULT}
    (line,) = caplog.records
    assert line.exc_info
    assert line.name == "predictor"
    assert [row.get("error.type") for row in predictions(outbox)] == [None]


async def test_an_answer_that_cannot_be_made(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the answer fails after the record of its prediction, the log has that record, and no failure beside it."""

    def fail(*_: object) -> None:
        raise RuntimeError

    async with serve(outbox, **ON) as here, calling(here) as client:
        with monkeypatch.context() as patched:
            patched.setattr(InferMessages, "encode", fail)
            refusal = await client.refused(ONE)
        assert here.app[MEMORY].used == 0
        assert (await client.infer(ONE)).message.model_name == "iris"
    assert refusal[:2] == OWN_FAULT
    assert [row.get("error.type") for row in predictions(outbox)] == [None, None]


async def test_an_answer_that_has_no_room(outbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget is asked before an answer is made; one that does not fit is refused, and its record stays alone."""
    made: list[Job] = []
    encode = InferMessages.encode

    def noted(codec: InferMessages, job: Job) -> bytes:
        made.append(job)
        return encode(codec, job)

    monkeypatch.setattr(InferMessages, "encode", noted)
    room = {"PREDICTOR_BODY_BYTES": "1MB", "PREDICTOR_BUFFERED_BYTES": "2MB"}
    async with serve(outbox, wide(tmp_path), **room, **ON) as here, calling(here) as client:
        refusals = [
            await client.refused(request("m", {"x": np.zeros((12, 3), np.float32)}, raw=raw)) for raw in (True, False)
        ]
        assert not made
        assert here.app[MEMORY].used == 0
        await client.infer(request("m", {"x": np.zeros((2, 3), np.float32)}))
    assert [(refusal.status, "PREDICTOR_BUFFERED_BYTES" in refusal.text) for refusal in refusals] == [
        ("UNAVAILABLE", True)
    ] * 2
    assert {row.get("error.type") for row in predictions(outbox)} == {None}


async def test_draining(outbox: Path) -> None:
    """A server that is about to end is not ready, and refuses with the status after which clients ask elsewhere."""
    async with serve(outbox, **ON) as here, calling(here) as client:
        here.app[app.HEALTH].terminating = True
        assert not (await client.ask("ModelReady", messages.ModelReadyRequest(name="iris"))).message.ready
        here.app[app.MODELS].drain()
        refusal = await client.refused(ONE)
    assert refusal.status == "UNAVAILABLE"
    assert "shutting down" in refusal.text


async def test_spans(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sampled call has a server span by the conventions for RPC, between its caller's and the prediction's."""
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    said = (("traceparent", f"00-{trace}-{parent}-01"), ("tracestate", "a=1"))
    async with (
        traced(monkeypatch, outbox, OTEL_TRACES_SAMPLER="parentbased_always_off", **ON) as here,
        calling(here) as client,
    ):
        await client.infer(ONE, metadata=said)
        await client.refused(request("nothing", {}), metadata=said)
        await client.infer(ONE)
    found = spans(outbox)
    answered, refused = [span for span in found if span["kind"] == SERVER]
    assert (answered["traceId"], answered["parentSpanId"], answered["traceState"]) == (trace, parent, "a=1")
    assert answered["name"] == "inference.GRPCInferenceService/ModelInfer"
    assert answered["scope"] == "predictor.grpc"
    assert answered["attributes"] == {
        "rpc.system.name": "grpc",
        "rpc.method": "inference.GRPCInferenceService/ModelInfer",
        "rpc.response.status_code": "OK",
    }
    assert refused["attributes"]["rpc.response.status_code"] == "NOT_FOUND"
    assert not refused.get("status")
    (predict,) = [span for span in found if span["kind"] == INTERNAL and span["name"] == "predict"]
    assert predict["parentSpanId"] == answered["spanId"]
    assert predictions(outbox)[0]["prediction.kept"] == "head"


async def test_the_span_of_a_failure(outbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that the server failed keeps its span, which says so."""
    folder = model_folders.failing(tmp_path / "failing")
    async with (
        traced(monkeypatch, outbox, folder, OTEL_TRACES_SAMPLER="always_off", **ON) as here,
        calling(here) as client,
    ):
        told = (await client.ask("ModelMetadata", messages.ModelMetadataRequest(name="failing"))).message
        await client.refused(
            request("failing", {told.inputs[0].name: np.array([[model_folders.FAILS_ABOVE + 1, 0.0]], np.float32)})
        )
    (server,) = [span for span in spans(outbox) if span["kind"] == SERVER]
    assert server["attributes"]["error.type"] == server["attributes"]["rpc.response.status_code"] == "INTERNAL"
    assert server["status"] == {"code": 2}


async def test_metrics(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The duration of calls is measured by the conventions for RPC, by method and status."""
    from tests.server.test_scrape_port import scrape, scraped  # noqa: PLC0415 - of this test alone

    async with scraped(monkeypatch, outbox, **ON) as here, calling(here) as client:
        await client.infer(ONE)
        await client.infer(ONE)
        await client.refused(request("nothing", {}))
        await client.refused(messages.ModelReadyRequest(name="nothing"), "ModelReady")
        found = await scrape(here)
    counts = {
        (sample.labels["rpc_method"].rpartition("/")[2], sample.labels["rpc_response_status_code"]): sample.value
        for sample in found["rpc_server_call_duration_seconds"].samples
        if sample.name.endswith("_count")
    }
    assert counts[("ModelInfer", "OK")] == 2
    assert counts[("ModelInfer", "NOT_FOUND")] == 1
    assert sum(counts.values()) == 4


async def test_many_at_once(outbox: Path) -> None:
    """Hundreds of calls that are under way together get each its own numbers, and a record each."""
    draw = np.random.default_rng(5).random((300, 4), np.float32) * 5
    async with serve(outbox, **ON) as here, calling(here) as client:
        calls = [
            client.begin("ModelInfer", request("iris", {"features": row[None]}, id=str(at)))
            for at, row in enumerate(draw)
        ]
        found = [await call for call in calls]
        together = (await here.post("/predict/batch", json={"data": draw[:256].tolist()})).json
    assert [each.id for each in found] == [str(at) for at in range(300)]
    assert json.dumps(together)
    rows = {row["prediction.id"]: row for row in predictions(outbox) if "prediction.id" in row}
    for at, each in enumerate(found):
        (numbers,) = outputs(each)["probabilities"].tolist()
        assert json.loads(rows[str(at)]["prediction.output"]) == numbers
