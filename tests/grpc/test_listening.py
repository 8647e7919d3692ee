"""Where gRPC listens: at the addresses that HTTP listens at, at all of them, or the start ends with a sentence."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from predictor.grpc import addresses
from predictor.grpc.server import GrpcServer
from tests.support.collector import free_port
from tests.support.grpc_client import ON, port_said
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TAKEN = "(PREDICTOR_HOST, PREDICTOR_GRPC_PORT): Address already in use"


def server(*, shared_port: bool = False) -> GrpcServer:
    """Return a server that does not listen yet."""
    return GrpcServer(largest=1 << 20, idle=60.0, connections=100, shared_port=shared_port)


def listening(family: socket.AddressFamily, host: str, port: int = 0) -> socket.socket:
    """Return a socket that listens at one address, of IPv6 without IPv4."""
    return socket.create_server((host, port), family=family)


def open_at(host: str, port: int) -> bool:
    """Tell whether somebody takes connections there."""
    try:
        socket.create_connection((host, port), timeout=10).close()
    except ConnectionRefusedError:
        return False
    return True


def named(monkeypatch: pytest.MonkeyPatch, name: str, *found: str) -> None:
    """Have a name with these addresses."""
    ask: Callable[..., Any] = socket.getaddrinfo

    def answer(host: str, *rest: Any, **more: Any) -> Any:  # noqa: ANN401 - as the standard library has it
        return [each for one in found for each in ask(one, *rest, **more)] if host == name else ask(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", answer)


def test_families(outbox: Path) -> None:
    """`0.0.0.0` is IPv4 alone for gRPC too, as it is for HTTP."""
    with Server(outbox, PREDICTOR_HOST="0.0.0.0", **ON) as running:
        for port in (port_said(running), running.port):
            assert (open_at("127.0.0.1", port), open_at("::1", port)) == (True, False)


@pytest.mark.parametrize(
    ("host", "four", "six"), [("127.0.0.1", True, False), ("::1", False, True), ("::", True, True)]
)
async def test_addresses(host: str, *, four: bool, six: bool) -> None:
    """An address is open for its own family, `::` for both."""
    here = server()
    here.open([host], 0)
    port = here.places[0].port
    assert (open_at("127.0.0.1", port), open_at("::1", port)) == (four, six)


@pytest.mark.parametrize(
    ("host", "family", "other"),
    [
        ("127.0.0.1", socket.AF_INET, "127.0.0.1"),
        ("0.0.0.0", socket.AF_INET, "0.0.0.0"),
        ("::1", socket.AF_INET6, "::1"),
        ("::", socket.AF_INET, "0.0.0.0"),
        ("::", socket.AF_INET6, "::"),
    ],
)
async def test_an_address_that_is_taken(host: str, family: socket.AddressFamily, other: str) -> None:
    """An address that is taken, or half of `::`, is an error with one sentence, which ends the start."""
    with closing(listening(family, other)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="Address already in use") as refused:
            server().open([host], port)
    assert f"cannot listen on {host} port {port} {TAKEN}" in str(refused.value)


async def test_a_name_of_several_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is listened at at all of its addresses, with one port; if one of them is taken, there is no start."""
    named(monkeypatch, "both.example", "127.0.0.1", "::1")
    here = server()
    here.open(["both.example"], 0)
    (place,) = here.places
    assert place.host == "both.example"
    assert open_at("127.0.0.1", place.port)
    assert open_at("::1", place.port)
    with closing(listening(socket.AF_INET6, "::1")) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="Address already in use") as refused:
            server().open(["both.example"], port)
    assert f"cannot listen on both.example port {port} {TAKEN}" in str(refused.value)


async def test_several_processes_at_every_address() -> None:
    """What shares its port does so at `0.0.0.0` too, and not for IPv6; who does not share it is refused."""
    port = free_port()
    servers = [server(shared_port=True) for _ in range(2)]
    for each in servers:
        each.open(["0.0.0.0"], port)
    assert open_at("127.0.0.1", port)
    assert not open_at("::1", port)
    with pytest.raises(OSError, match="Address already in use"):
        server().open(["0.0.0.0"], port)


@pytest.mark.parametrize("shared_port", [False, True])
async def test_ipv6_that_another_one_has(monkeypatch: pytest.MonkeyPatch, *, shared_port: bool) -> None:
    """`0.0.0.0` is listened at although another program has the port for IPv6, as HTTP does."""
    monkeypatch.setattr(addresses, "_PAUSE", 0.0)
    with closing(listening(socket.AF_INET6, "::")) as other:
        port = other.getsockname()[1]
        server(shared_port=shared_port).open(["0.0.0.0"], port)
        assert open_at("127.0.0.1", port)


async def test_why_a_port_is_not_had() -> None:
    """The reason that gRPC keeps for itself is found: an address that is not here, a name that is nobody's, or none."""
    for host, said in (
        ("192.0.2.1", "Cannot assign requested address"),
        ("nobody.invalid", ""),
        ("a" * 70, "label"),
    ):
        with pytest.raises(OSError, match=rf"cannot listen on {host} port 0 .*: .*{said}"):
            server().open([host], 0)


async def test_a_reason_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where gRPC refuses an address that was free a moment before, the start ends with a sentence all the same."""
    here = server()

    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(type(here._server), "add_insecure_port", fail)
    with pytest.raises(OSError, match="gRPC cannot listen there"):
        here.open(["127.0.0.1"], 0)


def test_link_local_addresses() -> None:
    """An address of one interface keeps that, as gRPC writes it."""
    loopback = socket.if_nametoindex("lo")
    (found,) = addresses.addresses_of("fe80::1%lo")
    assert found == addresses.Address(socket.AF_INET6, "fe80::1", loopback)
    assert found.at(80) == f"[fe80::1%25{loopback}]:80"
