"""What befalls a log in practice: what `verify` says of it is what is true of it, and no more."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pytest

from tests.reader.test_cli import Told
from tests.support.fake_loki import Loki
from tests.support.log_files import BASE, SECOND, lay_out
from tests.support.sealed_log import SealedStream, collectors, edited, sealed, written

if TYPE_CHECKING:
    from collections.abc import Callable

_ONE = sealed(SealedStream(BASE))
_OTHER = sealed(SealedStream(BASE + 3600 * SECOND, previous=[_ONE.ended(kept=True)]))
_LINES = [*_ONE.lines, *_OTHER.lines]
_COLLECTED = collectors(_LINES)
_FIRST, _SECOND = b"".join(collectors(_ONE.lines)), b"".join(collectors(_OTHER.lines))
_WHOLE = _FIRST + _SECOND
_SOUND = "8 declared lost, nothing else is missing"
_PROVED = "70 numbers are proved to be unaltered"


class Fault(NamedTuple):
    """What was done, and what is said of it."""

    says: tuple[str, ...]
    silent: tuple[str, ...] = (": missing ", "altered, one", "not as they were", "without a word")
    """What must not be said."""

    @property
    def status(self) -> int:
        """The exit status."""
        return 0 if _SOUND in self.says else 1


_FINE = Fault((_SOUND, _PROVED))


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def _zstd(data: bytes) -> bytes:
    return bytes(memoryview(pa.Codec("zstd").compress(data)))


_ZIPPED = gzip.compress(_WHOLE)
FILES: dict[str, tuple[dict[str, bytes], Fault]] = {
    "nothing": ({"logs.jsonl": _WHOLE}, _FINE),
    "a bit of a gz flipped": (
        {"logs.jsonl.gz": _flipped(_ZIPPED, len(_ZIPPED) // 2)},
        Fault(("logs.jsonl.gz:",), ()),
    ),
    "a bit of a gz's checksum flipped": (
        {"logs.jsonl.gz": _flipped(_ZIPPED, len(_ZIPPED) - 6)},
        Fault(("logs.jsonl.gz: CRC check failed", _PROVED)),
    ),
    "a gz cut": (
        {"logs.jsonl.gz": _ZIPPED[: len(_ZIPPED) * 3 // 4]},
        Fault(("Compressed file ended before", "ended without a word after record"), (": missing ", "altered, one")),
    ),
    "something behind a gz": ({"logs.jsonl.gz": _ZIPPED + b"garbage"}, Fault(("Not a gzipped file", _PROVED))),
    "zst of frames joined": ({"logs.jsonl.zst": _zstd(_WHOLE[:5000]) + _zstd(_WHOLE[5000:])}, _FINE),
    "a zst cut": ({"logs.jsonl.zst": _zstd(_WHOLE)[:900]}, Fault(("Truncated compressed stream",))),
    "rotated files swapped": ({"logs.jsonl": _FIRST, "logs.jsonl.1": _SECOND}, _FINE),
    "a file copied beside itself": ({"logs.jsonl": _WHOLE, "logs copy.jsonl": _WHOLE}, _FINE),
    "lines ended as on Windows": ({"logs.jsonl": _WHOLE.replace(b"\n", b"\r\n")}, _FINE),
    "a byte order mark": ({"logs.jsonl": b"\xef\xbb\xbf" + _WHOLE}, _FINE),
    "a byte order mark in a .log": ({"logs.log": b"\xef\xbb\xbf" + _WHOLE}, _FINE),
    "blank lines": ({"logs.jsonl": _FIRST + b"\n  \n\t\r\n" + _SECOND + b"\n\n"}, _FINE),
    "zeros of a power cut at the end": ({"logs.jsonl": _WHOLE + bytes(4096)}, _FINE),
    "two lines joined": ({"logs.jsonl": b"".join(_COLLECTED[:1]).rstrip() + b"".join(_COLLECTED[1:])}, _FINE),
    "half a line, and then all again": (
        {"logs.jsonl": _COLLECTED[0] + _COLLECTED[1][:300] + b"".join(_COLLECTED[1:])},
        _FINE,
    ),
    "a file cut by bytes": (
        {"logs.jsonl": _WHOLE[4000:], "logs.jsonl.1": _WHOLE[:4000]},
        Fault((": missing ", "logs.jsonl:1: not a line"), ("altered, one", "not as they were", "without a word")),
    ),
    "half a character": (
        {"logs.jsonl": _WHOLE.replace(b"fine", b"fin\xc3", 1)},
        Fault(
            (": missing ", "logs.jsonl:8: 'utf-8' codec can't decode"),
            ("altered, one", "not as they were", "without a"),
        ),
    ),
    "a list with null in it": (
        {"logs.jsonl": _WHOLE.replace(b'{"key": "http.route"', b'null, {"key": "http.route"', 1)},
        Fault(
            ("missing 3", "logs.jsonl:3: a record of stream"), ("altered, one", "not as they were", "without a word")
        ),
    ),
    "a field misspelt": (
        {"logs.jsonl": _WHOLE.replace(b'"eventName"', b'"eventname"', 1)},
        Fault(("records 1-6 are not as they were written",), (": missing ", "altered, one", "without a word")),
    ),
    "a stream's id in capitals": (
        {
            "logs.jsonl": b"".join(_COLLECTED[:3])
            + _COLLECTED[3].replace(_ONE.id.encode(), _ONE.id.upper().encode())
            + b"".join(_COLLECTED[4:])
        },
        Fault(
            (f"stream {_ONE.id.upper()}: missing 1-5", f"stream {_ONE.id}: missing 6"),
            ("altered, one", "not as they were"),
        ),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """What happens to files of a Collector: by a disk, a copy, an editor, a compressor."""
    content, fault = FILES[name]
    for each, data in content.items():
        (tmp_path / each).write_bytes(data)
    _hold(fault, Told(capsys, "verify", "--from", str(tmp_path)))


def _hold(fault: Fault, told: Told) -> None:
    for words in fault.says:
        assert words in told.out
    for words in fault.silent:
        assert words not in told.out.replace(_SOUND, "")
    assert (told.status, told.err) == (fault.status, "")


def test_one_id_with_two_histories(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a machine was copied while it ran, both go on with one stream: each number with two contents is named."""
    copied = edited(_ONE.lines, lambda every: every)
    for each in copied[3:6]:
        each.record["body"] = {"stringValue": "another"}
    (tmp_path / "a.jsonl").write_bytes(_FIRST)
    (tmp_path / "b.jsonl").write_bytes(b"".join(collectors(written(copied))))
    told = Told(capsys, "verify", "--from", str(tmp_path))
    assert told.status == 1
    numbers = ", ".join(str(each.number) for each in copied[3:6])
    assert f"stream {_ONE.id}: altered, one number with two contents: {numbers}" in told.out


def test_one_stream_under_two_services(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A resource is not covered: who renames a service in the middle of a stream makes nothing missing or altered."""
    lines = [each.replace(b'"predictor"}', b'"renamed"}', 1) if at % 2 else each for at, each in enumerate(_COLLECTED)]
    (tmp_path / "logs.jsonl").write_bytes(b"".join(lines))
    _hold(_FINE, Told(capsys, "verify", "--from", str(tmp_path)))


def _renamed(logs: Path) -> None:
    (logs / "00000001.jsonl").rename(logs / "1.jsonl")


def _zipped(logs: Path) -> None:
    data = (logs / "00000001.jsonl").read_bytes()
    (logs / "00000001.jsonl").unlink()
    (logs / "00000001.jsonl.gz").write_bytes(gzip.compress(data))


def _parted(logs: Path) -> None:
    lines = (logs / "00000001.jsonl").read_bytes().splitlines(keepends=True)
    (logs / "00000001.jsonl").write_bytes(b"".join(lines[5:]))
    (logs / "00000009.jsonl").write_bytes(b"".join(lines[:5]))


def _joined(logs: Path) -> None:
    path = logs / "00000001.jsonl"
    path.write_bytes(path.read_bytes().replace(b"\n", b"", 1))


_NOT_A_SEGMENT = "was not read: it is not named as a segment"
OUTBOXES: dict[str, tuple[Callable[[Path], object], Fault]] = {
    "segments swapped, with a gap in their numbers": (_parted, _FINE),
    "a copy of a segment": (
        lambda logs: shutil.copy(logs / "00000001.jsonl", logs / "00000001 (copy).jsonl"),
        Fault((_SOUND, _PROVED, f"00000001 (copy).jsonl {_NOT_A_SEGMENT}")),
    ),
    "a segment renamed": (_renamed, Fault((f"1.jsonl {_NOT_A_SEGMENT}",), ("altered, one",))),
    "a segment compressed": (_zipped, Fault((f"00000001.jsonl.gz {_NOT_A_SEGMENT}",), ("altered, one",))),
    "two lines joined": (_joined, Fault(("missing 1-2", "trailing characters"), ("altered, one", "not as they were"))),
    "a temporary file left": (lambda logs: (logs / "cursor.new").write_text("{"), _FINE),
}


@pytest.mark.parametrize("name", OUTBOXES)
def test_outboxes(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """What happens to an outbox: by a copy, a restore, a tidy person."""
    spoil, fault = OUTBOXES[name]
    where = lay_out("outbox", tmp_path, _LINES)
    spoil(Path(where) / "v1" / _ONE.id / "logs")
    if "compressed" in name or "renamed" in name:  # nothing of the stream is left
        told = Told(capsys, "verify", "--from", where)
        assert fault.says[0] in told.out
        return
    _hold(fault, Told(capsys, "verify", "--from", where))


def test_two_outboxes_merged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two outboxes copied into one are one log without a fault."""
    one, other = lay_out("outbox", tmp_path / "a", _ONE.lines), lay_out("outbox", tmp_path / "b", _OTHER.lines)
    shutil.copytree(Path(other) / "v1", Path(one) / "v1", dirs_exist_ok=True)
    _hold(_FINE, Told(capsys, "verify", "--from", one))


def _metadata(name: str, value: str) -> Callable[[Loki], None]:
    def change(loki: Loki) -> None:
        at = [at for at, each in enumerate(loki.entries) if each.metadata["event_name"] == "prediction"][1]
        entry = loki.entries[at]
        assert entry.metadata.get(name) != value
        loki.entries[at] = entry._replace(metadata=entry.metadata | {name: value})

    return change


def _again(later: int, line: str | None = None) -> Callable[[Loki], None]:
    def change(loki: Loki) -> None:
        entry = next(each for each in loki.entries if each.metadata["event_name"] == "prediction")
        loki.entries.append(entry._replace(time_ns=entry.time_ns + later, line=line or entry.line))
        loki.entries.sort(key=lambda each: each.time_ns)

    return change


_ALTERED = Fault(("records 1-6 are not as they were written",), (": missing ", "altered, one", "without a word"))
_TWO_CONTENTS = Fault(("altered, one number with two contents: 3",), (": missing ", "without a word"))
_UNKNOWN = "Loki keeps no order of attributes, and this version does not know all of them"
LOKI: dict[str, tuple[Callable[[Loki], None], Fault]] = {
    "a severity": (_metadata("severity_number", "17"), _ALTERED),
    "a time of writing": (_metadata("observed_timestamp", "1"), _ALTERED),
    "a duration that is no number": (_metadata("prediction_duration_total", "NaN"), _ALTERED),
    "a count of rows": (_metadata("prediction_rows", "99999999999"), _ALTERED),
    "the version of the server": (_metadata("service_version", "9"), _FINE),
    "an attribute that nobody knows": (_metadata("prediction_zzz", "1"), Fault((_SOUND, f"{_UNKNOWN}: {_ONE.id} 1-5"))),
    "a truth in capitals": (
        _metadata("prediction_outlier", "True"),
        Fault(("missing 4", "prediction.outlier: 'True', wanted true or false"), ("altered, one", "not as they were")),
    ),
    "a list that is none": (
        _metadata("prediction_missing", "5"),
        Fault(("missing 4", f"a record of stream {_ONE.id} at"), ("altered, one", "not as they were")),
    ),
    "one more at another time": (_again(1), _TWO_CONTENTS),
    "one more with another body": (_again(0, "another"), _TWO_CONTENTS),
}


@pytest.mark.parametrize("name", LOKI)
def test_loki(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """What happens in Loki: to a text, to a copy, by an exporter that adds something."""
    change, fault = LOKI[name]
    with Loki() as loki:
        loki.add(*_LINES)
        change(loki)
        _hold(fault, Told(capsys, "verify", "--from", loki.url, "--since", "2025-10-08", "--until", "2025-10-12"))


def test_a_folder_of_which_nothing_can_be_read_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing is read the files that were passed over are named."""
    (tmp_path / "logs.txt").write_bytes(_WHOLE)
    told = Told(capsys, "verify", "--from", str(tmp_path))
    assert told.status == 2
    assert f"{tmp_path / 'logs.txt'} was not read" in told.err
