"""The gRPC port as operators see it: start and end, TLS, probes, reflection, several processes, and what is missing."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from predictor.api.protobuf import messages
from predictor.config import parsers
from predictor.config.settings import SettingsError, load
from predictor.server import app
from tests.api.test_open_inference import ROWS
from tests.support import collector
from tests.support.certificates import make_certificates
from tests.support.gated_model import pipeline
from tests.support.grpc_client import ON, GrpcClient, calling, port_of, port_said, request
from tests.support.gunicorn_server import Gunicorn
from tests.support.server import Server, predictions, records, run, serve, until

if TYPE_CHECKING:
    from tests.support.gated_model import Gate

ONE = request("iris", {"features": ROWS[:1]})
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def checked(client: GrpcClient, service: str = "") -> int:
    """Return what a health check says."""
    call = client.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    found: int = (await call(health_pb2.HealthCheckRequest(service=service))).status
    return found


def test_off_unless_it_is_asked_for(outbox: Path) -> None:
    """Without PREDICTOR_GRPC_PORT nothing of gRPC is loaded, and no port is opened."""
    with Server(outbox) as server:
        maps = Path(f"/proc/{server.pid}/maps").read_text(encoding="utf-8")
    assert "cygrpc" not in maps
    assert not any("gRPC" in line for line in server.stderr_lines)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where gRPC is not installed, asking for it stops the start with the command that installs it."""
    monkeypatch.setattr(parsers, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"PREDICTOR_GRPC_PORT is '9000', wanted gRPC installed: .*grpcio"):
        load({"PREDICTOR_GRPC_PORT": "9000"})
    assert load({}).grpc_port is None


def test_unix_sockets_only() -> None:
    """A port for gRPC needs an address: with Unix sockets alone the start says so."""
    with pytest.raises(SettingsError, match="PREDICTOR_HOST has Unix sockets only"):
        load({"PREDICTOR_GRPC_PORT": "9000", "PREDICTOR_HOST": "unix:/run/a.sock"})


def test_a_port_that_is_taken(outbox: Path) -> None:
    """A port that is taken stops the start with a sentence, before a stream is opened; also by another such server."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        ended = run(outbox=outbox, PREDICTOR_GRPC_PORT=str(port))
    wanted = f"cannot listen on 127.0.0.1 port {port} (PREDICTOR_HOST, PREDICTOR_GRPC_PORT): Address already in use"
    assert wanted in ended.stderr
    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1
    assert not records(outbox)
    with Server(outbox, **ON) as server:
        port = port_said(server)
        assert "Address already in use" in run(outbox=outbox, PREDICTOR_GRPC_PORT=str(port)).stderr


async def test_every_address(outbox: Path) -> None:
    """All addresses of PREDICTOR_HOST listen for gRPC too, at one port; a Unix socket beside them is HTTP's alone."""
    unix = outbox.parent / "a.sock"
    settings = {"PREDICTOR_HOST": f"127.0.0.1,::1,unix:{unix}"} | ON
    with Server(outbox, **settings) as server:
        port = port_said(server)
        for address in (f"127.0.0.1:{port}", f"[::1]:{port}"):
            async with grpc.aio.insecure_channel(address) as channel:
                assert await channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"") == b"\x08\x01"


async def test_health(outbox: Path) -> None:
    """grpc.health.v1 says what /readyz says: of the server and of its services; of others that there are none."""
    async with serve(outbox, **ON) as here, calling(here) as client:
        for service in ("", messages.SERVICE, "grpc.health.v1.Health"):
            assert await checked(client, service) == SERVING
        with pytest.raises(grpc.aio.AioRpcError, match="NOT_FOUND"):
            await checked(client, "nothing")
        here.app[app.HEALTH].terminating = True
        assert await checked(client) == NOT_SERVING


async def test_health_that_is_watched(outbox: Path) -> None:
    """Who watches hears of a change, and of the end, and does not hold the shutdown."""
    async with serve(outbox, **ON) as here:
        client = GrpcClient(port_of(here))
        watch = client.channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        whole, unknown = watch(health_pb2.HealthCheckRequest()), watch(health_pb2.HealthCheckRequest(service="x"))
        assert (await whole.read()).status == SERVING
        assert (await unknown.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    assert (await whole.read()).status == NOT_SERVING
    assert await whole.read() is grpc.aio.EOF
    assert await whole.code() is grpc.StatusCode.OK
    await client.channel.close()


async def test_reflection(outbox: Path) -> None:
    """A client that knows nothing finds the services and their messages, and predicts with what it found."""
    async with serve(outbox, **ON) as here:
        row = ONE.SerializeToString()

        def ask() -> tuple[list[str], Any]:
            with grpc.insecure_channel(f"127.0.0.1:{port_of(here)}") as channel:
                database = ProtoReflectionDescriptorDatabase(channel)
                pool = descriptor_pool.DescriptorPool(database)
                method = pool.FindServiceByName(messages.SERVICE).FindMethodByName("ModelInfer")
                answer = message_factory.GetMessageClass(method.output_type)
                call = channel.unary_unary(f"/{messages.SERVICE}/ModelInfer", None, answer.FromString)
                return [*database.get_services()], call(row)

        services, answer = await asyncio.to_thread(ask)
    assert services == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    ]
    assert answer.model_name == "iris"


async def test_tls(outbox: Path, tmp_path: Path) -> None:
    """The port of gRPC has HTTP's certificate, and on SIGHUP the new one; a plain caller gets nothing."""
    make_certificates(tmp_path)
    files = {"PREDICTOR_TLS_CERTIFICATE": tmp_path / "server.pem", "PREDICTOR_TLS_KEY": tmp_path / "server.key"}
    settings = {name: str(path) for name, path in files.items()} | ON
    before, other = (grpc.ssl_channel_credentials((tmp_path / name).read_bytes()) for name in ("ca.pem", "other.pem"))
    with Server(outbox, ready=r"listens on (https://[^\s\"]+)", **settings) as server:
        port = port_said(server)
        async with calling(port, before) as client:
            await client.infer(ONE)
            for credentials in (other, None):
                async with calling(port, credentials) as stranger:
                    with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                        await stranger.infer(ONE)
            make_certificates(tmp_path)  # of another authority
            server.process.send_signal(signal.SIGHUP)
            server.wait_for(lambda line: "the certificate was read again" in line)
            await client.infer(ONE)  # over the connection that is there
        async with calling(port, before) as client:
            with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                await client.infer(ONE)
        async with calling(port, grpc.ssl_channel_credentials((tmp_path / "ca.pem").read_bytes())) as client:
            await client.infer(ONE)
    assert len(predictions(outbox)) == 3


async def test_a_call_in_flight_is_finished(outbox: Path, gate: Gate) -> None:
    """A call under way when the server ends is answered and logged; no other one is taken."""
    async with asyncio.TaskGroup() as group:
        async with serve(outbox, **ON) as here:
            pipeline(here, gate)
            client = GrpcClient(port_of(here))
            waiting = group.create_task(client.infer(ONE))
            await until(lambda: bool(gate.batches))
            leaving = group.create_task(here.app[app.GRPC].leave(10.0))
            await leaving
            refusal = await client.refused(ONE)
            gate.open()
        assert refusal.status == "UNAVAILABLE"
        assert (await waiting).message.model_name == "iris"
    await client.channel.close()
    assert [row.get("error.type") for row in predictions(outbox)] == [None]


async def test_a_call_that_does_not_end(outbox: Path, gate: Gate) -> None:
    """What is not predicted when PREDICTOR_DRAIN is over is recorded so, and its caller is told to ask elsewhere."""
    async with asyncio.TaskGroup() as group:
        async with serve(outbox, PREDICTOR_DRAIN="100ms", PREDICTOR_THREADS="1", **ON) as here:
            pipeline(here, gate)
            client = GrpcClient(port_of(here))
            waiting = group.create_task(client.refused(ONE))
            await until(lambda: bool(gate.batches))
            group.create_task(_opened_later(gate))
        refusal = await waiting
    await client.channel.close()
    assert refusal.status in {"UNAVAILABLE", "CANCELLED"}
    assert [row.get("error.type") for row in predictions(outbox)] == ["draining"]


async def _opened_later(gate: Gate) -> None:
    await asyncio.sleep(0.5)
    gate.open()


async def load_of(client: GrpcClient, answered: list[str]) -> None:
    """Predict until the server says no, and note the job of each answer."""
    while True:
        call = client.begin("ModelInfer", ONE)
        status = await call.code()
        if status is not grpc.StatusCode.OK:
            # gRPC cancels what has come and was not begun; what comes later is told to ask elsewhere.
            assert status in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
            return
        answered.append(dict(await call.trailing_metadata())["x-job-id"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_what_was_acknowledged_is_logged(outbox: Path, number: signal.Signals) -> None:
    """Every job that a caller was told of is in the log, whether the server ends in its order or is killed."""
    server = await asyncio.to_thread(Server(outbox, **ON).start)
    port = port_said(server)
    answered: list[str] = []
    clients = [GrpcClient(port) for _ in range(8)]
    load = asyncio.gather(*(load_of(client, answered) for client in clients))
    await until(lambda: len(answered) > 300)
    status = await asyncio.to_thread(server.terminate, number)
    await load
    for client in clients:
        await client.channel.close()
    logged = {row["prediction.job_id"] for row in predictions(outbox)}
    assert set(answered) <= logged
    assert status == (0 if number is signal.SIGTERM else -number)


async def test_sigterm_with_a_collector_leaves_nothing(outbox: Path, tmp_path: Path) -> None:
    """What was acknowledged by gRPC is at the sink when the server has ended."""
    collector.binary()
    port = collector.free_port()
    agent = collector.start(collector.to_files(port, tmp_path / "logs", tmp_path / "traces"), tmp_path, port)
    try:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": agent.url} | ON
        server = await asyncio.to_thread(Server(outbox, **settings).start)
        async with calling(port_said(server)) as client:
            jobs = {(await client.infer(ONE)).metadata["x-job-id"] for _ in range(20)}
        assert await asyncio.to_thread(server.terminate) == 0
    finally:
        agent.stop()
    text = (tmp_path / "logs").read_text(encoding="utf-8")
    assert all(job in text for job in jobs)


async def test_several_processes(outbox: Path) -> None:
    """Under gunicorn each worker listens at the one port, where PREDICTOR_HOST says."""
    port = collector.free_port()
    settings = {"PREDICTOR_GRPC_PORT": str(port), "PREDICTOR_HOST": "127.0.0.1"}
    master = await asyncio.to_thread(Gunicorn(outbox, **settings).start)
    try:
        await asyncio.to_thread(master.wait_for_workers, 2)
        await until(lambda: len([*(outbox / "v1").glob("*")]) == 2)
        for _ in range(40):  # the kernel gives a connection to either
            async with calling(port) as client:
                channel = client.channel.channel_ready()
                await asyncio.wait_for(channel, 30)
                await client.infer(ONE)
    finally:
        await asyncio.to_thread(master.terminate)
    rows = [record for record in records(outbox) if record["eventName"] == "prediction"]
    assert len(rows) == 40
    assert len({row["stream"] for row in rows}) == 2
