"""Every block of docs/clients.md runs as it stands there, and prints what stands below it."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support.certificates import make_certificates
from tests.support.external_programs import on_path
from tests.support.grpc_client import ON, port_said
from tests.support.protocol_clients import python_of
from tests.support.server import ROOT, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$\n\n```text\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_JOB = re.compile(r'"job_id":"[0-9a-f-]{36}"')


class Block(NamedTuple):
    """A block of code, and what it prints."""

    language: str
    code: str
    prints: str


BLOCKS = [Block(*found) for found in _BLOCK.findall(_PAGE)]


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The URL of a server as `make run` starts it, and the place where it speaks gRPC."""
    with Server(tmp_path_factory.mktemp("guide"), **ON) as server:
        yield server.url, f"127.0.0.1:{port_said(server)}"


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The certificate of an authority, and the place where a server that it has signed speaks gRPC by TLS."""
    folder = tmp_path_factory.mktemp("tls")
    make_certificates(folder)
    files = {"PREDICTOR_TLS_CERTIFICATE": str(folder / "server.pem"), "PREDICTOR_TLS_KEY": str(folder / "server.key")}
    with Server(folder / "outbox", ready=r"listens on (https://[^\s\"]+)", **files, **ON) as server:
        yield folder / "ca.pem", f"127.0.0.1:{port_said(server)}"


def test_each_block_says_what_it_prints() -> None:
    """No block stands there without what it prints, and each language of the page is there."""
    assert len(BLOCKS) == len(re.findall(r"^```(?!text)\w+$", _PAGE, flags=re.MULTILINE)) == 12
    assert {block.language for block in BLOCKS} == {"sh", "python", "js", "go"}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.language}-{BLOCKS.index(block)}")
def test_blocks(urls: tuple[str, str], tmp_path: Path, block: Block, request: pytest.FixtureRequest) -> None:
    """The block runs, by the program of its language, and prints what the page shows."""
    http, grpc = urls
    if "ca.pem" in block.code:
        authority, grpc = request.getfixturevalue("encrypted")
        (tmp_path / "ca.pem").write_bytes(authority.read_bytes())
    code = block.code.replace("http://127.0.0.1:8000", http).replace("127.0.0.1:8000", http.removeprefix("http://"))
    code = code.replace("127.0.0.1:8001", grpc)
    match block.language:
        case "sh":
            on_path("curl")
            command = ["sh", "-c", code]
        case "python":
            name = code.splitlines()[0].removeprefix("# ")
            command = [str(python_of(name)), "-W", "ignore", "-c", code]
        case "js":
            command = [on_path("node"), "--input-type=module", "-e", code]
        case _:
            (tmp_path / "main.go").write_text(code, encoding="utf-8")
            command = [on_path("go"), "run", str(tmp_path / "main.go")]
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "NO_COLOR": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout if done.stdout.endswith("\n") else f"{done.stdout}\n"
    assert _JOB.sub("", printed) == _JOB.sub("", block.prints)
