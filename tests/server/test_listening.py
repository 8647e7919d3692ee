"""Where the server listens, and TLS to its callers."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from predictor.config.settings import SettingsError, load
from tests.support.certificates import make_certificates
from tests.support.collector import free_port
from tests.support.server import ROOT, Server, environment, message, predictions, run

if TYPE_CHECKING:
    from pathlib import Path

_BODY = b'{"data":[[6.7,3.0,5.2,2.3]]}'
_JSON = {"Content-Type": "application/json"}
_PATIENCE = 30.0  # s
HTTPS = r"listens on (https://[^\s\"]+)"
_TOKEN, _OTHER = "0123456789abcdef", "fedcba9876543210"


def predict(connection: http.client.HTTPConnection, **headers: str) -> int:
    """Predict over a connection and return the status."""
    connection.request("POST", "/predict", _BODY, _JSON | headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def once(connection: http.client.HTTPConnection, **headers: str) -> int:
    """Predict over a connection, close it, and return the status."""
    with closing(connection):
        return predict(connection, **headers)


def over(unix: Path) -> http.client.HTTPConnection:
    """Return a connection to a Unix socket."""
    connection = http.client.HTTPConnection("localhost", timeout=_PATIENCE)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(_PATIENCE)
    connection.sock.connect(str(unix))
    return connection


def trusting(certificate: Path, port: int) -> http.client.HTTPSConnection:
    """Return an HTTPS connection that trusts one authority only."""
    context = ssl.create_default_context(cafile=str(certificate))
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=_PATIENCE, context=context)


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """Return a folder with a CA, a certificate for 127.0.0.1 and their keys."""
    make_certificates(tmp_path)
    return tmp_path


def tls(folder: Path) -> dict[str, str]:
    """Return the settings of a server with TLS."""
    return {"PREDICTOR_TLS_CERTIFICATE": str(folder / "server.pem"), "PREDICTOR_TLS_KEY": str(folder / "server.key")}


def test_every_address(outbox: Path) -> None:
    """`::` takes IPv4 too."""
    with Server(outbox, PREDICTOR_HOST="::") as server:
        for address in ("127.0.0.1", "::1"):
            assert once(http.client.HTTPConnection(address, server.port, timeout=_PATIENCE)) == 200


def test_several_addresses_and_a_unix_socket(outbox: Path, tmp_path: Path) -> None:
    """All that PREDICTOR_HOST names listen; a Unix socket is for its owner and group, and removed at the end."""
    file = tmp_path / "predictor.sock"
    with Server(outbox, PREDICTOR_HOST=f"127.0.0.1, 127.0.0.2 ,unix:{file}") as server:
        for address in ("127.0.0.1", "127.0.0.2"):
            assert once(http.client.HTTPConnection(address, server.port, timeout=_PATIENCE)) == 200
        assert once(over(file)) == 200
        assert file.stat().st_mode & 0o777 == 0o660
        assert any(f"and unix:{file}" in line for line in server.stderr_lines)
    assert not file.exists()
    assert len(predictions(outbox)) == 3


def test_a_unix_socket_alone(outbox: Path, tmp_path: Path) -> None:
    """A Unix socket is enough; one that a dead server left is taken over, that of a living one is not."""
    file = tmp_path / "predictor.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(file))
    settings = {"PREDICTOR_HOST": f"unix:{file}", "PREDICTOR_ALLOWED_HOSTS": ""}
    with Server(outbox, ready=r"listens on (unix:[^\s\"]+)", **settings) as server:
        assert once(over(file)) == 200
        assert once(over(file), Host="evil.example") == 421
        assert any(f"--unix-socket {file}" in line for line in server.stderr_lines)
        second = run(outbox=outbox, **settings)
        assert second.returncode == 2
        assert f"cannot listen on unix:{file} (PREDICTOR_HOST): Address already in use" in second.stderr
        assert once(over(file)) == 200
        assert run("healthcheck", outbox=outbox, **settings).returncode == 0
    assert not file.exists()


def test_no_place(outbox: Path, tmp_path: Path) -> None:
    """If one of several cannot be listened at, the start ends with a sentence that names it."""
    file = tmp_path / "no" / "socket"
    ended = run(outbox=outbox, PREDICTOR_HOST=f"127.0.0.1,unix:{file}")
    assert ended.returncode == 2
    assert f"cannot listen on unix:{file} (PREDICTOR_HOST): No such file or directory" in ended.stderr
    for wrong in ("127.0.0.1,", "unix:relative"):
        with pytest.raises(SettingsError, match="PREDICTOR_HOST is"):
            load({"PREDICTOR_HOST": wrong})


def test_healthcheck(outbox: Path, certificates: Path) -> None:
    """`predictor healthcheck` asks where the server listens, whatever that is, and says why it fails."""
    cases: tuple[tuple[str, dict[str, str]], ...] = (("0.0.0.0", {}), ("127.0.0.3", {}), ("::", tls(certificates)))
    for host, more in cases:
        settings = {"PREDICTOR_HOST": host, "PREDICTOR_PORT": str(free_port()), "PREDICTOR_ALLOWED_HOSTS": "", **more}
        with Server(outbox, ready=r"listens on (https?://[^\s\"]+)", **settings):
            assert run("healthcheck", outbox=outbox, **settings).returncode == 0
    ended = run("healthcheck", outbox=outbox, **settings)
    assert ended.returncode == 1
    assert "Connection refused" in ended.stderr
    assert "PREDICTOR_PORT is 0" in run("healthcheck", outbox=outbox).stderr


def test_tls(outbox: Path, certificates: Path) -> None:
    """Callers speak HTTPS: in the fast lane, by what is lent to aiohttp, and by what is handed over to it."""
    with ExitStack() as opened, Server(outbox, ready=HTTPS, **tls(certificates)) as server:
        caller = opened.enter_context(closing(trusting(certificates / "ca.pem", server.port)))
        for _ in range(2):  # over one connection
            assert predict(caller) == 200
            caller.request("GET", "/metadata")
            assert caller.getresponse().read().startswith(b"{")
        caller.request("POST", "/predict", iter([_BODY[:9], _BODY[9:]]), _JSON)  # in chunks
        answer = caller.getresponse()
        assert (answer.status, answer.getheader("Connection")) == (200, "close")
        plain = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_PATIENCE)
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            once(plain)
        with pytest.raises(ssl.SSLCertVerificationError):
            once(trusting(certificates / "other.pem", server.port))
    assert len(predictions(outbox)) == 3


def test_pipelined_over_tls(outbox: Path, certificates: Path) -> None:
    """Requests that come in one packet are answered in their order over TLS too, whichever door answers each."""
    asks = [("POST", "/predict"), ("GET", "/label"), ("POST", "/predict/label"), ("GET", "/livez")]
    sent = [message(method, path, _BODY if method == "POST" else b"", **_JSON) for method, path in asks]
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    with (
        Server(outbox, ready=HTTPS, **tls(certificates)) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=_PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as caller,
    ):
        caller.sendall(b"".join(sent) + message("GET", "/health", Connection="close"))
        received = b""
        while more := caller.recv(1 << 16):
            received += more
    assert received.count(b"HTTP/1.1 200 OK") == 5
    bodies = [received.index(word) for word in (b'"prediction":[', b'"0":', b'"prediction":"', b'"live"', b'"health"')]
    assert bodies == sorted(bodies)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"PREDICTOR_TLS_KEY": "server.key"}, "wanted PREDICTOR_TLS_CERTIFICATE too"),
        ({"PREDICTOR_TLS_CERTIFICATE": "server.pem"}, "without PREDICTOR_TLS_KEY"),
        ({"PREDICTOR_TLS_CERTIFICATE": "server.pem", "PREDICTOR_TLS_KEY": "other.key"}, "wanted PEM files"),
        ({"PREDICTOR_TLS_CERTIFICATE": "nothing", "PREDICTOR_TLS_KEY": "other.key"}, "No such file"),
        ({"PREDICTOR_TLS_CERTIFICATE": "server.pem", "PREDICTOR_TLS_KEY": "locked.key"}, "unencrypted key"),
    ],
)
def test_tls_that_cannot_be(outbox: Path, certificates: Path, given: dict[str, str], said: str) -> None:
    """Files that make no certificate stop the start, and the check, with a sentence that names the settings."""
    lock = "openssl ec -aes128 -passout pass:secret -in server.key -out locked.key"
    subprocess.run(lock.split(), cwd=certificates, check=True, capture_output=True)
    settings = {name: str(certificates / file) for name, file in given.items()}
    for verb in ((), ("check",)) if "locked" in str(given) else ((),):
        ended = run(*verb, outbox=outbox, **settings)
        assert ended.returncode in {1, 2}
        assert "PREDICTOR_TLS_" in ended.stderr
        assert said in ended.stderr
        assert "Traceback" not in ended.stderr


def test_files_are_read_again_on_sighup(outbox: Path, certificates: Path) -> None:
    """At SIGHUP certificate and tokens are read again, and nobody is cut off; what cannot be read stays as it was."""
    tokens = certificates / "tokens"
    tokens.write_text(_TOKEN)
    settings = tls(certificates) | {"PREDICTOR_TOKEN_FILE": str(tokens)}
    with ExitStack() as opened, Server(outbox, ready=HTTPS, **settings) as server:
        first = opened.enter_context(closing(trusting(certificates / "ca.pem", server.port)))
        for _ in range(2):  # the second head is a remembered one
            assert predict(first, Authorization=f"Bearer {_TOKEN}") == 200
        before = (certificates / "server.pem").read_bytes()
        make_certificates(certificates)
        assert (certificates / "server.pem").read_bytes() != before
        tokens.write_text(_OTHER)
        server.process.send_signal(signal.SIGHUP)
        server.wait_for(lambda line: "the certificate was read again" in line)
        assert any("tokens were read again" in line for line in server.stderr_lines)
        assert predict(first, Authorization=f"Bearer {_TOKEN}") == 401
        assert predict(first, Authorization=f"Bearer {_OTHER}") == 200
        assert once(trusting(certificates / "ca.pem", server.port), Authorization=f"Bearer {_OTHER}") == 200
        tokens.write_text("short")
        (certificates / "server.key").write_text("none")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for(lambda line: "PREDICTOR_TLS_KEY" in line and "stays" in line)
        assert any("line 1 of" in line and "stays" in line for line in server.stderr_lines)
        assert once(trusting(certificates / "ca.pem", server.port), Authorization=f"Bearer {_OTHER}") == 200
        assert server.terminate() == 0


def test_sighup_of_a_terminal_ends(outbox: Path) -> None:
    """A process whose terminal is closed ends in order, without PREDICTOR_SHUTDOWN_DELAY, made for load balancers."""
    master, slave = os.openpty()
    take = "import fcntl,os,sys,termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.executable, sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", take, sys.executable, "-m", "predictor"],
        cwd=ROOT,
        env=environment(outbox, PREDICTOR_SHUTDOWN_DELAY="1h"),
        stdin=slave,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        os.close(slave)
        assert process.stderr
        while "listens on" not in process.stderr.readline():
            assert process.poll() is None
        os.close(master)  # the terminal is gone
        _, said = process.communicate(timeout=_PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "SIGHUP: shutting down" in said
