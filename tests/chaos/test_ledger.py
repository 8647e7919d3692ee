"""The check of the crash tests finds what it is there to find."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.ledger import Answer, Key, Ledger, check, records_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Records = list[dict[str, Any]]


def record(sequence: int, event: str, **attributes: Any) -> dict[str, Any]:  # noqa: ANN401 - any attribute
    """Return a record as a file exporter writes it."""
    kinds = {int: "intValue", float: "doubleValue", bool: "boolValue", str: "stringValue"}
    values = {"prediction.stream.sequence": sequence, "event.name": event} | attributes
    return {
        "attributes": [
            {"key": name, "value": {kinds[type(value)]: str(value) if type(value) is int else value}}
            for name, value in values.items()
        ]
    }


def prediction(sequence: int, index: int) -> dict[str, Any]:
    """Return the record of one row of the job `j`."""
    inputs = {"prediction.input.width": 1.5, "prediction.input.length": float(index)}
    result = {"prediction.output": "[0.25,0.75]", "prediction.outlier": False, "prediction.outlier_score": 0.5}
    return record(sequence, "prediction", **{"prediction.job_id": "j", "prediction.index": index}, **inputs, **result)


def stream() -> Records:
    """Return a whole stream: opened, two rows, two lost numbers that are declared, closed."""
    lost = {"prediction.stream.lost.first": 4, "prediction.stream.lost.last": 5}
    return [
        record(1, "prediction.stream.opened"),
        prediction(2, 0),
        prediction(3, 1),
        record(6, "prediction.stream.lost", **lost),
        record(7, "prediction.stream.closed", **{"prediction.stream.reason": "shutdown"}),
    ]


def ledger() -> Ledger:
    """Return what the caller of `j` was told, and that another one was told that nothing is logged."""
    answers: dict[Key, Answer] = {
        ("j", index): Answer([1.5, float(index)], [0.25, 0.75], outlier=False, score=0.5) for index in (0, 1)
    }
    answers["k", 0] = Answer([1.0, 1.0], [1.0, 0.0], outlier=True, score=-1.0, logged=False)
    return Ledger(answers)


def write(path: Path, *lines: Records) -> Path:
    """Write lines of records of the stream `s`."""
    scope = {"attributes": [{"key": "prediction.stream.id", "value": {"stringValue": "s"}}]}
    texts = [
        json.dumps({"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": scope, "logRecords": records}]}]})
        for records in lines
    ]
    path.write_text("\n".join(texts) + "\n")
    return path


def test_a_whole_stream_passes(tmp_path: Path) -> None:
    """A stream with all its numbers, identical copies and a declared loss is whole."""
    found = check(ledger(), write(tmp_path / "logs", stream()[:3], stream()[1:]))
    assert found == (5, 2, {"s": "shutdown"}, 2)


def test_records_that_were_read_elsewhere(tmp_path: Path) -> None:
    """Records themselves are held to the same promises as a file with them."""
    path = write(tmp_path / "logs", stream()[:3], stream()[1:])
    records = [record for line in path.read_text().splitlines() for record in records_of(json.loads(line))]
    assert check(ledger(), records) == check(ledger(), path)
    with pytest.raises(AssertionError, match="not closed"):
        check(ledger(), records[:-1])


def test_a_number_that_was_rejected_is_expected_to_be_missing(tmp_path: Path) -> None:
    """What the sink refused is a hole in the stream, and only there."""
    with_one_refused = [each for each in stream() if each != prediction(3, 1)]
    told = ledger()
    del told.answers["j", 1]
    assert check(told, write(tmp_path / "logs", with_one_refused), rejected=[("s", 3)]).records == 4
    with pytest.raises(AssertionError, match="has what was rejected"):
        check(told, write(tmp_path / "logs", stream()), rejected=[("s", 3)])


def _reworded(records: Records) -> Records:
    return [*records, records[1] | {"body": {"stringValue": "another"}}]


def _twice_under_two_numbers(records: Records) -> Records:
    closed = record(8, "prediction.stream.closed", **{"prediction.stream.reason": "shutdown"})
    return [*records[:-1], prediction(7, 0), closed]


def _other_number(records: Records) -> Records:
    text = json.dumps(records).replace("0.75", "0.74")
    changed: Records = json.loads(text)
    return changed


def _other_input(records: Records) -> Records:
    changed: Records = json.loads(json.dumps(records).replace("1.5", "1.6"))
    return changed


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda records: records[:1] + records[2:], "missing or too many"),
        (lambda records: records[1:], "missing or too many"),
        (lambda records: records[:-1], "not closed"),
        (lambda records: records[:3] + records[4:], "missing or too many"),
        (lambda records: [*records, record(8, "prediction.stream.status")], "not closed"),
        (lambda records: [records[0], record(2, "prediction.stream.closed", **{"prediction.stream.reason": "crash"})],
         "acknowledged are missing"),
        (lambda _: [], "acknowledged are missing"),
        (_reworded, "two contents"),
        (_twice_under_two_numbers, "is under"),
        (_other_number, "was answered"),
        (_other_input, "was answered"),
        (lambda records: [*records[:1], prediction(2, 0) | record(2, "prediction", **{
            "prediction.job_id": "j", "prediction.index": 0, "error.type": "model-failed"}), *records[2:]],
         "was answered and is logged as model-failed"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found(tmp_path: Path, spoil: Callable[[Records], Records], complaint: str) -> None:
    """Each way in which a stream or an answer can be wrong is an error of its own."""
    with pytest.raises(AssertionError, match=complaint):
        check(ledger(), write(tmp_path / "logs", spoil(stream())))


def test_an_answer_that_said_not_logged_must_not_be_there(tmp_path: Path) -> None:
    """A row whose caller was told that it is not logged, and that is there after all, is an error."""
    told = ledger()
    told.answers["j", 1] = told.answers["j", 1]._replace(logged=False)
    with pytest.raises(AssertionError, match="told that it is not"):
        check(told, write(tmp_path / "logs", stream()))


@pytest.mark.parametrize("cut", [1, 100, -2, -1])
def test_a_line_behind_a_torn_one_is_read(tmp_path: Path, cut: int) -> None:
    """What a killed Collector left of a line hides nothing of the line that the next one wrote behind it."""
    whole = write(tmp_path / "logs", stream()[:1], stream()[1:]).read_bytes()
    lines = whole.splitlines(keepends=True)
    (tmp_path / "torn").write_bytes(lines[0] + lines[1][:cut] + lines[1])
    found = check(ledger(), tmp_path / "torn")
    assert (found.records, found.copies) == (5, 4 if cut == -1 else 0)


@pytest.mark.parametrize("cut", [1, 100, -2])
def test_a_line_that_stays_torn_is_found(tmp_path: Path, cut: int) -> None:
    """Half a line with nothing behind it is an error: the Collector has ended well."""
    whole = write(tmp_path / "logs", stream()).read_bytes()
    (tmp_path / "logs").write_bytes(whole + whole[:cut])
    with pytest.raises(AssertionError, match="no OTLP JSON"):
        check(ledger(), tmp_path / "logs")


def test_a_file_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    """Nothing arrived is a finding, not a fault of the check, and not a success."""
    with pytest.raises(AssertionError, match="acknowledged are missing"):
        check(ledger(), tmp_path / "logs")
