"""Models under gunicorn: a signal reloads them in each worker, and a worker that finds none ends nothing."""

from __future__ import annotations

import os
import signal
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.support.gunicorn_server import OURS, Gunicorn, wait_until_begun
from tests.support.model_repository import answer, constant, version
from tests.support.server import predictions, records

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest.importorskip("gunicorn", reason="gunicorn is an extra: pip install '.[gunicorn]'")

_PATIENCE = 60.0


def get(master: Gunicorn, path: str) -> tuple[int, str]:
    """Return status and body of an answer, on a connection of its own."""
    try:
        with urllib.request.urlopen(f"{master.url}{path}", timeout=_PATIENCE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait(fact: Callable[[], bool]) -> None:
    """Wait until a fact holds of processes that say nothing when it does."""
    give_up = time.monotonic() + _PATIENCE
    while not fact():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def wait_for_lines(master: Gunicorn, words: str, number: int) -> None:
    """Wait until so many lines have the words."""
    master.wait_for(lambda _: sum(words in line for line in master.stderr_lines) >= number, _PATIENCE)


def hang_up(master: Gunicorn, outbox: Path) -> None:
    """Have all workers replaced, and wait until the new ones serve and the old ones are gone."""
    old = master.workers()[-2:]
    number = len(master.workers())
    os.kill(master.pid, signal.SIGHUP)
    master.wait_for_workers(number + 2)
    for worker in master.workers()[-2:]:
        wait_until_begun(worker, outbox)
    wait(lambda: not any(alive(worker) for worker in old))


def alive(pid: int) -> bool:
    """Tell whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def begun(master: Gunicorn, outbox: Path) -> None:
    """Wait until both workers hear signals."""
    master.wait_for_workers(2)
    for worker in master.workers():
        wait_until_begun(worker, outbox)


def test_a_signal_reloads_in_place(tmp_path: Path, outbox: Path) -> None:
    """SIGUSR1 to the master has every worker serve the new files, and starts none anew."""
    file = constant(tmp_path / "price.onnx", 1.0)
    with Gunicorn(outbox, worker=OURS, PREDICTOR_MODEL=str(file)) as master:
        begun(master, outbox)
        constant(file, 2.0)
        os.kill(master.pid, signal.SIGUSR1)
        wait_for_lines(master, "is served in place of", 2)
        for _ in range(20):  # of either worker
            assert get(master, "/predict/test")[0] == 200
        assert len(master.workers()) == 2
        assert master.terminate() == 0
    assert {each["prediction.value"] for each in predictions(outbox)} == {answer(2.0) - sum((1.0, 2.0, 3.0))}


def test_a_hang_up_with_a_broken_version_serves_the_one_before(tmp_path: Path, outbox: Path) -> None:
    """Workers that start anew and cannot load the newest version serve the highest one that loads."""
    root = tmp_path / "models"
    version(root, "price", 1, 1.0)
    version(root, "price", 2, None)
    with Gunicorn(outbox, worker=OURS, PREDICTOR_MODEL=str(root)) as master:
        begun(master, outbox)
        assert get(master, "/predict/test")[0] == 200
        version(root, "price", 3, None)
        hang_up(master, outbox)
        assert get(master, "/predict/test")[0] == 200
        wait_for_lines(master, "price/3/model.onnx", 2)
        assert master.terminate() == 0
    shown = [each["scope"]["attributes"] for each in records(outbox) if each["eventName"] == "prediction"]
    assert {each["prediction.model.version"] for each in shown} == {"1"}


def test_a_hang_up_without_a_model_ends_nothing(tmp_path: Path, outbox: Path) -> None:
    """Workers that find nothing to serve are unready and say why; once it is mended, they serve."""
    file = constant(tmp_path / "price.onnx", 1.0)
    with Gunicorn(outbox, worker=OURS, PREDICTOR_MODEL=str(file)) as master:
        begun(master, outbox)
        file.write_bytes(b"no model")
        hang_up(master, outbox)
        status, body = get(master, "/readyz")
        assert status == 503
        assert "no model is served" in body
        assert "price.onnx" in body
        assert get(master, "/livez")[0] == 200
        status, body = get(master, "/predict/test")
        assert status == 503
        assert "no-model" in body
        constant(file, 2.0)
        os.kill(master.pid, signal.SIGUSR1)
        wait_for_lines(master, ") is served", 2)
        for _ in range(20):
            assert get(master, "/predict/test")[0] == 200
            assert get(master, "/readyz")[0] == 200
        assert master.terminate() == 0
