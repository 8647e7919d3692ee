"""Readers in several processes: the same answers, in the same order, and no short one whatever ends a process."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from predictor.core import cpu_quota
from predictor.reader import workers
from predictor.reader.export import command as export
from predictor.reader.sources import piece as pieces_module
from predictor.reader.sources.errors import SourceError
from predictor.reader.sources.piece import Piece
from tests.reader.test_cli import Told
from tests.support.log_files import BASE, SECOND, Stream, changed, lay_out, line, lines
from tests.support.sealed_log import SealedStream, sealed
from tests.support.server import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PATIENCE = 60.0  # s


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what lets readers use so many processes, from the second piece on, of pieces of some lines."""

    def use(processes: int) -> None:
        monkeypatch.setattr(cpu_quota, "usable", lambda: processes)
        monkeypatch.setattr(workers, "ALONE", 0)
        monkeypatch.setattr(export, "_ALONE", 0)
        monkeypatch.setattr(pieces_module, "BYTES", 4096)
        monkeypatch.setattr("predictor.reader.export.spool._PIECE", 2048)

    return use


def _log() -> list[bytes]:
    """Return lines of several streams: copies, losses, checkpoints, feedback, damage, a later schema, a wide row."""
    plain, later = Stream(BASE), Stream(BASE + SECOND)
    job = "0199c0de-0000-7000-8000-00000000000b"
    records = [plain.opened(), plain.prediction(1, job=job), *plain.predictions(40), plain.feedback(job, label="x")]
    wide = plain.prediction(2, input__sepal_length=None, input__sepal_width=None, input_json="[1]")
    records += [wide, plain.lost(90, 92), *plain.predictions(30), plain.closed("crash")]
    written = lines(plain, records)
    written[20:20] = written[5:15]
    written[33:33] = [b"damaged\n"]
    return [*sealed(SealedStream(BASE)).lines, *written, line(later.id, [later.opened()], schema=9), b"{\n"]


def _place(kind: str, folder: Path, content: list[bytes]) -> str:
    if kind in {"outbox", "files"}:
        return lay_out(kind, folder, [text for text in content if kind == "files" or len(text) > 10])
    folder.mkdir()
    whole = b"".join(content)
    if kind == "gz":
        (folder / "logs.jsonl.1.gz").write_bytes(gzip.compress(whole[: len(whole) // 2]) + gzip.compress(b""))
        (folder / "logs.jsonl.gz").write_bytes(gzip.compress(whole[len(whole) // 2 :]))
    else:
        half = whole.index(b"\n", len(whole) // 2) + 1
        frames = [bytes(memoryview(pa.Codec("zstd").compress(some))) for some in (whole[:half], whole[half:])]
        (folder / "logs.jsonl.zst").write_bytes(b"".join(frames))
    return str(folder)


@pytest.mark.parametrize("kind", ["outbox", "files", "gz", "zst"])
def test_the_same_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], several: Callable[[int], None], kind: str
) -> None:
    """What readers say, and the files that they write, do not depend on the number of processes."""
    where = _place(kind, tmp_path / "log", _log())
    verbs = [
        ("verify", "--json"),
        ("verify",),
        ("export", str(tmp_path / "t.csv")),
        ("export", str(tmp_path / "t.jsonl")),
    ]

    def answers() -> list[tuple[int, str, str, bytes]]:
        found = []
        for verb in verbs:
            told = Told(capsys, *verb, "--from", where, "--since", "2025-10-01")
            written = Path(verb[1]).read_bytes() if verb[0] == "export" else b""
            found.append((told.status, told.out, told.err, written))
        return found

    alone = answers()
    assert [status for status, *_ in alone] == [1] * 4
    several(3)
    assert answers() == alone


@pytest.mark.parametrize("processes", [1, 3])
def test_standard_input(
    capsys: pytest.CaptureFixture[str], several: Callable[[int], None], tmp_path: Path, processes: int
) -> None:
    """What comes through a pipe is read by several processes too."""
    content = b"".join(_log())
    (tmp_path / "logs.jsonl").write_bytes(content)
    (from_file,) = Told(capsys, "verify", "--json", "--from", str(tmp_path)).json
    several(processes)
    reads, writes = os.pipe()

    def write() -> None:
        with os.fdopen(writes, "wb") as file:
            file.write(content)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        (found,) = Told(capsys, "verify", "--json", "--from", f"/dev/fd/{reads}").json
    finally:
        os.close(reads)
        writer.join()
    assert found["streams"] == from_file["streams"]
    assert len(found["damaged"]) == len(from_file["damaged"])


def test_the_same_error(tmp_path: Path, capsys: pytest.CaptureFixture[str], several: Callable[[int], None]) -> None:
    """What is wrong with a record that another process read is told as ever, and no file is left."""
    stream = Stream()
    records = stream.predictions(60)
    records[40] = changed(records[40], output="no array")
    where = lay_out("files", tmp_path, lines(stream, records))
    out = tmp_path / "out.csv"
    alone = Told(capsys, "export", str(out), "--from", where)
    assert alone.status == 2
    assert "number 41" in alone.err
    several(2)
    there = Told(capsys, "export", str(out), "--from", where)
    assert (there.status, there.out, there.err) == (alone.status, alone.out, alone.err)
    assert [path.name for path in tmp_path.iterdir()] == ["files"]


def _piece(number: int) -> Piece:
    return Piece(str(number), data=b"\n")


def _slow(late: int, piece: Piece) -> str:
    time.sleep(0.05 if int(piece.place) % 2 == late else 0)
    return piece.place


@pytest.mark.parametrize("late", [0, 1])
def test_order_is_kept_and_memory_bounded(several: Callable[[int], None], late: int) -> None:
    """Results come in the order of the pieces, and no more pieces are taken ahead than there are processes."""
    several(2)
    taken = 0

    def every() -> Iterator[Piece]:
        nonlocal taken
        for number in range(20):
            taken += 1
            yield _piece(number)

    for done, place in enumerate(workers.in_order(partial(_slow, late), every())):
        assert place == str(done)
        assert taken - done <= 3


def _ends(how: int, piece: Piece) -> str:
    if piece.place == "5":
        os.kill(os.getpid(), how)
    return piece.place


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed(several: Callable[[int], None], how: signal.Signals) -> None:
    """A process that is killed while it reads is an error that says so, and never the end of the log."""
    several(2)
    found: list[str] = []
    with pytest.raises(SourceError, match=f"killed by signal {int(how)}"):
        found += workers.in_order(partial(_ends, int(how)), map(_piece, range(20)))
    assert found == ["0", "1", "2", "3", "4"]


class _Unusual(Exception):
    """An exception that cannot be sent."""

    def __init__(self, one: object, other: object) -> None:
        super().__init__(f"{one} and {other}")
        self.file = sys.stderr


def _raises(piece: Piece) -> str:
    if piece.place == "3":
        raise OSError(5, "Input/output error", "a file")
    if piece.place == "6":
        raise _Unusual(1, 2)
    return piece.place


def test_exceptions(several: Callable[[int], None]) -> None:
    """An exception is the one that was raised there; one that cannot be sent is told in its words."""
    several(2)
    with pytest.raises(OSError, match="Input/output error") as told:
        list(workers.in_order(_raises, map(_piece, range(9))))
    assert told.value.filename == "a file"
    with pytest.raises(RuntimeError, match="1 and 2"):
        list(workers.in_order(_raises, map(_piece, (4, 5, 6, 7))))


def test_one_core(several: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """On one core, and for what is small, this process reads alone."""
    monkeypatch.setattr("multiprocessing.get_context", pytest.fail)
    assert len(list(workers.in_order(partial(_slow, 2), map(_piece, range(9))))) == 9
    several(1)
    assert len(list(workers.in_order(partial(_slow, 2), map(_piece, range(9))))) == 9


_SCRIPT = """
import os, sys, time
from predictor.core import cpu_quota
from predictor.reader import cli, workers
from predictor.reader.sources import piece

cpu_quota.usable = lambda: 2
workers.ALONE, piece.BYTES = 0, 1024
if __name__ == "__main__":
    began = workers._Worker.hand
    def hand(worker, some):
        began(worker, some)
        print(worker.process.pid, flush=True)
        if sys.argv[1] == "stop":
            time.sleep(60)
    workers._Worker.hand = hand
    sys.exit(cli.main(["verify", sys.argv[2]]))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_ended_from_outside(tmp_path: Path, how: signal.Signals) -> None:
    """Ctrl-C ends all processes without a word, and none outlives one that is killed."""
    script, stream = tmp_path / "script.py", Stream()
    script.write_text(_SCRIPT)
    where = lay_out("files", tmp_path, lines(stream, stream.predictions(50)))
    running = subprocess.Popen(
        [sys.executable, str(script), "stop", where],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    try:
        assert running.stdout
        worker = int(running.stdout.readline())
        if how == signal.SIGINT:
            os.killpg(running.pid, how)  # as a terminal does
        else:
            os.kill(running.pid, how)
        _, said = running.communicate(timeout=_PATIENCE)
    finally:
        running.kill()
    assert running.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    assert said == ""
    end = time.monotonic() + _PATIENCE
    while Path(f"/proc/{worker}").exists() and "Z" not in Path(f"/proc/{worker}/stat").read_text().split()[2]:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_real_log_is_read_by_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A log of some size is read by other processes without anything being set, where there are several cores."""
    stream = Stream()
    text = b"".join(lines(stream, stream.predictions(2000)))
    copies = workers.ALONE // len(text) + 2
    where = tmp_path / "logs.jsonl"
    where.write_bytes(text * copies)
    (told,) = Told(capsys, "verify", str(where), "--json").json[0]["streams"]
    assert (told["records"], told["copies"]) == (2000, 2000 * (copies - 1))
    json.dumps(told)
