"""What has the place of a log and cannot be read is named by every verb, never waited for, and the rest is judged."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from predictor.outbox import layout
from predictor.reader.sources import files as files_module
from predictor.reader.sources.errors import SourceError
from predictor.reader.sources.source import source
from predictor.reader.time_range import TimeRange
from predictor.reader.verify.completeness import verify
from tests.reader.test_cli import Told
from tests.support.log_files import BASE, SECOND, Stream, lay_out, lines
from tests.support.server import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALL = TimeRange()


def _socket(path: Path) -> None:
    here = path.parent.resolve()
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.getcwd()  # noqa: PTH109 - a socket's path is short
        os.chdir(here)
        try:
            listener.bind(path.name)
        finally:
            os.chdir(before)


ODD: dict[str, Callable[[Path], object]] = {
    "FIFO": os.mkfifo,
    "folder": os.mkdir,
    "socket": _socket,
    "link to nothing": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
}


def _log(kind: str, folder: Path) -> tuple[str, Path]:
    """Write a whole stream and return what `--from` takes and a place where a file of the log would lie."""
    stream = Stream()
    where = lay_out(kind, folder, lines(stream, [stream.opened(), *stream.predictions(3), stream.closed()]))
    if kind == "files":
        return where, folder / kind / "logs.jsonl.1"
    return where, folder / kind / "v1" / stream.id / "logs" / "00000002.jsonl"


@pytest.mark.parametrize("odd", ODD)
def test_a_segment_that_is_no_file(tmp_path: Path, odd: str) -> None:
    """A segment of an outbox that is no regular file is damage that is named once, and the others are read."""
    where, place = _log("outbox", tmp_path)
    ODD[odd](place)
    report = verify(source(where), ALL)
    assert report.damaged == [f"{place}: it is not a regular file"]
    assert report.records == 5
    assert not report.sound


@pytest.mark.parametrize("odd", ["link to nothing", "link to itself"])
def test_a_file_that_is_a_link_to_nothing(tmp_path: Path, odd: str) -> None:
    """A file of a Collector that is a link to nothing is damage that is named, and the others are read."""
    where, place = _log("files", tmp_path)
    ODD[odd](place)
    report = verify(source(where), ALL)
    assert report.damaged == [f"{place}: it is a link to nothing"]
    assert report.records == 5


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("verb", ["list", "show", "export", "score"])
def test_every_verb_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, odd: str) -> None:
    """Not only `verify`: whoever reads an outbox is told on stderr what of it could not be read."""
    where, place = _log("outbox", tmp_path)
    ODD[odd](place)
    more = {"show": ["job"], "export": [str(tmp_path / "out.csv")]}.get(verb, [])
    told = Told(capsys, verb, *more, "--from", where)
    assert f"{place}: it is not a regular file" in told.err
    assert verb != "export" or told.status == 1


@pytest.mark.parametrize(("kind", "single"), [("outbox", False), ("files", False), ("files", True)])
def test_a_file_that_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, *, single: bool
) -> None:
    """One of several files that may not be read is damage, and the rest is judged; the only one is an error."""
    where, place = _log(kind, tmp_path)
    place.write_bytes(b"")
    if single:
        where = str(place)

    def refuses(path: Path) -> object:
        if path == place:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path)

    module, name = (layout, "open_regular") if kind == "outbox" else (files_module, "open_file")
    opened = getattr(module, name)
    monkeypatch.setattr(module, name, refuses)
    if single:
        with pytest.raises(SourceError, match=f"{place}: Permission denied"):
            verify(source(where), ALL)
        with pytest.raises(SourceError, match=f"{place}: Permission denied"):
            next(source(where).follow(ALL))
        return
    report = verify(source(where), ALL)
    assert report.damaged == [f"{place}: Permission denied"]
    assert report.records == 5


def test_what_is_no_stream_in_an_outbox(tmp_path: Path) -> None:
    """A link to nothing, or a pipe, where a stream should lie is damage; a file that somebody put there is named."""
    where, place = _log("outbox", tmp_path)
    streams = place.parents[2]
    os.mkfifo(streams / Stream(BASE + SECOND).id)
    (streams / Stream(BASE + 2 * SECOND).id).symlink_to("nowhere")
    (streams / "notes.txt").write_text("mine")
    (streams / "ended.jsonl").write_text("")
    report = verify(source(where), ALL)
    assert [sentence.partition(": ")[2] for sentence in report.damaged] == ["it is not the folder of a stream"] * 2
    assert report.passed_over == [f"{streams / 'notes.txt'} was not read: it is not the folder of a stream"]


@pytest.mark.parametrize("verb", ["verify", "list", "export"])
def test_a_pipe_that_nobody_writes_to(tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    """A pipe that nobody writes to is refused by a sentence and not waited for."""
    os.mkfifo(pipe := tmp_path / "pipe")
    more = [str(tmp_path / "out.csv")] if verb == "export" else []
    told = Told(capsys, verb, *more, "--from", str(pipe))
    assert told.status == 2
    assert f"{pipe}: a pipe that nobody writes to" in told.err


@pytest.mark.parametrize("verb", ["verify", "list"])
def test_standard_input(tmp_path: Path, verb: str) -> None:
    """What is piped to standard input is read as a file of it would be, once."""
    where, _ = _log("files", tmp_path)
    content = (tmp_path / where / "logs.jsonl").read_bytes()
    command = [sys.executable, "-m", "predictor", "log", verb, "--from", "/dev/stdin", "--json"]
    done = subprocess.run(command, input=content, capture_output=True, cwd=ROOT, timeout=60, check=False)
    from_file = subprocess.run([*command[:-2], where, "--json"], capture_output=True, cwd=ROOT, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, from_file.stdout)
    assert done.stdout


def test_an_item_of_rejected_that_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe among what the sink refused, or as its reason, is named, and nobody waits for it."""
    where, place = _log("outbox", tmp_path)
    rejected = place.parents[1] / "rejected"
    rejected.mkdir()
    os.mkfifo(rejected / "logs-7.json")
    (rejected / "logs-8.json").write_text("{}")
    os.mkfifo(rejected / "logs-8.reason.json")
    (lack,) = verify(source(where), ALL).lacks
    assert sorted(lack.unreadable) == ["logs-7", "logs-8"]
    assert [each["name"] for each in Told(capsys, "rejected", "--outbox", where, "--json").json] == ["logs-8"]
