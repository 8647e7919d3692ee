"""Signals at the worst moments, and a shutdown that something does not let end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import patched_process
from tests.support.server import ROOT, environment, interruptible, records

_PATIENCE = 60.0  # s


def importing(pid: int) -> bool:
    """Tell whether a process is at its slow imports: it has loaded NumPy and not yet the model runtime."""
    try:
        loaded = Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False
    return "/numpy/" in loaded


def begin(outbox: Path, *before: str) -> subprocess.Popen[str]:
    """Start the server, with another program before it in the command."""
    return subprocess.Popen(
        [*before, sys.executable, "-m", "predictor"],
        cwd=ROOT,
        env=interruptible(environment(outbox)),
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_import(pid: int) -> None:
    """Return when a process is at its slow imports."""
    end = time.monotonic() + _PATIENCE
    while not importing(pid):
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_while_it_imports(outbox: Path, number: signal.Signals) -> None:
    """A signal before anything is open ends the process in order: status 0, one line, no traceback, no outbox."""
    process = begin(outbox)
    wait_for_import(process.pid)
    process.send_signal(number)
    _, said = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 0
    assert said == f"predictor: {number.name} before the server had started\n"
    assert not outbox.exists()


def test_sighup_while_it_imports(outbox: Path) -> None:
    """Without a terminal SIGHUP asks for files to be read again, which are yet to be read: the start goes on."""
    process = begin(outbox)
    wait_for_import(process.pid)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 0
    assert said == "predictor: SIGTERM before the server had started\n"


def test_sigterm_while_it_imports_in_a_container(outbox: Path) -> None:
    """The first process of a PID namespace, for which the kernel drops unheeded signals, ends like any other."""
    namespace = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no PID namespace can be made here")
    process = begin(outbox, *namespace)
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        end = time.monotonic() + _PATIENCE
        while not (inside := children.read_text().split()):
            assert time.monotonic() < end
            time.sleep(0.001)
        wait_for_import(int(inside[0]))
        subprocess.run(["kill", "-TERM", inside[0]], check=True)
        _, said = process.communicate(timeout=_PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0
    assert said == "predictor: SIGTERM before the server had started\n"


_DURING_START = """
opened = log_service.LogService.open
async def signalled(self):
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.01)
    {then}
log_service.LogService.open = signalled
"""


def test_signal_while_the_log_is_opened(outbox: Path) -> None:
    """A signal that comes while the log is opened ends the start: nobody is listened to, and the stream is closed."""
    server = patched_process.server(outbox, _DURING_START.format(then="await opened(self)"))
    with pytest.raises(RuntimeError, match="the server ended"):
        server.start()
    assert server.process.returncode == 0
    assert not [line for line in server.stderr_lines if "listens on" in line]
    assert [each["eventName"] for each in records(outbox)] == ["prediction.stream.opened", "prediction.stream.closed"]


def test_second_signal_while_the_start_hangs(outbox: Path) -> None:
    """A start that hangs, for example on its disk, is ended by a second signal that is meant as one."""
    again = (
        "await asyncio.sleep(lifecycle._ECHO + 0.1); os.kill(os.getpid(), signal.SIGTERM); await asyncio.sleep(3600)"
    )
    server = patched_process.server(outbox, _DURING_START.format(then=again))
    with pytest.raises(RuntimeError, match="second signal"):
        server.start()
    assert server.process.returncode == 130


def test_a_model_that_hangs_does_not_hold_the_shutdown(outbox: Path) -> None:
    """Rows in a batch that never ends are refused at the end, with their record, and the process ends without it."""
    hang = (
        "run = model.Model.run\n"
        "def hang(self, rows):\n"
        "    if threading.current_thread() is threading.main_thread():\n"
        "        return run(self, rows)\n"  # the page's own
        "    print('it runs', file=sys.stderr, flush=True)\n"
        "    threading.Event().wait()\n"
        "model.Model.run = hang"
    )
    body = b'{"data":[[1,2,3,4]]}'
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with (
        patched_process.server(outbox, hang, PREDICTOR_DRAIN="100ms", PREDICTOR_DEADLINE="1h") as server,
        socket.create_connection(("127.0.0.1", server.port)) as caller,
    ):
        caller.sendall(head % len(body) + body)
        server.wait_for(lambda line: line == "it runs")
        assert server.terminate() == 0
    assert any("ended without the threads that hang: inference_" in line for line in server.stderr_lines)
    told = [each["attributes"].get("error.type") for each in records(outbox) if each["eventName"] == "prediction"]
    assert told == ["draining"]
    assert records(outbox)[-1]["eventName"] == "prediction.stream.closed"


_SHORT = "lifecycle._CLOSING = 0.2\n"


def test_a_shutdown_that_hangs_is_broken_off(outbox: Path) -> None:
    """A shutdown that takes longer than was said, for whatever reason, is broken off with status 1 and a line."""
    hang = "async def hang(self):\n    await asyncio.sleep(3600)\nlog_service.LogService.close = hang"
    with patched_process.server(outbox, _SHORT + hang, PREDICTOR_DRAIN="100ms") as server:
        assert server.terminate() == 1
    assert any("the shutdown has not ended in 0.3 s and is aborted" in line for line in server.stderr_lines)


def test_a_shutdown_whose_loop_hangs_is_broken_off(outbox: Path) -> None:
    """Even where the event loop itself hangs the process ends, and says where it hung."""
    hang = "async def hang(self):\n    time.sleep(3600)\nlog_service.LogService.close = hang"
    with patched_process.server(outbox, _SHORT + hang, PREDICTOR_DRAIN="100ms") as server:
        assert server.terminate() == 1
    assert any(" in hang" in line for line in server.stderr_lines)
