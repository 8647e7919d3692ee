"""Logs of later versions of the server: what docs/compatibility.md promises of them, from every source."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest

from predictor.reader.verify.command import as_json, sentences
from tests.reader.test_cli import Told
from tests.reader.test_digests import judge
from tests.support.log_files import BASE, SECOND, Stream, lay_out, line, lines
from tests.support.sealed_log import SealedStream, Written, edited, recomputed, sealed, written

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from predictor.reader.verify.report import VerifyReport

__all__ = ["judge"]  # a fixture
_VERSION = "prediction.schema_version"


def _later(every: list[Written], first: int, version: int = 9) -> list[Written]:
    """Return the same log with a later schema version from a number on."""
    for at, each in enumerate(every):
        if each.number >= first:
            scope = copy.deepcopy(each.scope)
            next(pair for pair in scope["attributes"] if pair["key"] == _VERSION)["value"] = {"intValue": str(version)}
            every[at] = each._replace(scope=scope)
    return every


def test_a_stream_of_a_later_schema(judge: Callable[..., VerifyReport]) -> None:
    """From its first record of a later schema on a stream is not proved and not accused; the others are judged."""
    one, other = sealed(SealedStream(BASE)), sealed(SealedStream(BASE + SECOND))
    whole = judge([*one.lines, *other.lines])
    every = edited(one.lines, lambda every: _later(every, 12))
    report = judge([*written(every), *other.lines])
    (damage,) = report.damaged
    assert f"records of stream {one.id} are of schema version 9, wanted 1: read them with a later `predictor`" in damage
    assert not report.sound
    by_id = {verdict.stream.id: verdict for verdict in report.verdicts}
    assert as_json(report)["streams"][1] == as_json(whole)["streams"][1]
    assert by_id[other.id].sound
    verdict = by_id[one.id]
    assert (verdict.missing, verdict.state, verdict.proof.faults) == ([], "unknown", [])
    assert max(last for _, last in verdict.proof.proved) < 12
    assert verdict.stream.last == 11


def test_what_lies_before_a_later_schema_is_judged(judge: Callable[..., VerifyReport]) -> None:
    """A record that is removed before the first one of a later schema is missing; behind it nobody can tell."""
    one = sealed(SealedStream(BASE))
    every = edited(one.lines, lambda every: _later(every, 12, 2))
    assert "missing 3" in "\n".join(sentences(judge(written([each for each in every if each.number != 3]))))
    plain = [each for each in every if each.number not in {13, 14}]
    plain[-1] = edited(one.lines, lambda every: every)[-1]
    assert "missing" not in "\n".join(sentences(judge(written(plain))))


def test_a_whole_stream_of_a_later_schema_is_not_called_gone(judge: Callable[..., VerifyReport]) -> None:
    """A stream of which every record is of a later schema is there, whatever a later one says of its end."""
    eldest, one = sealed(SealedStream(BASE - 3600 * SECOND)), sealed(SealedStream(BASE))
    other = sealed(SealedStream(BASE + SECOND, previous=[one.ended(kept=True)]))
    every = edited(one.lines, lambda every: _later(every, 1))
    report = judge([*eldest.lines, *written(every), *other.lines])
    assert report.gone == []
    assert len(report.damaged) == 1


@pytest.mark.parametrize("verb", ["list", "show", "export", "score"])
def test_every_verb_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    """Every verb reads the records that it knows and says which streams have others."""
    one, other = Stream(), Stream(BASE + SECOND)
    known = lines(one, [one.opened(), *one.predictions(2)])
    new = line(other.id, [other.opened(), other.prediction(job="new")], schema=9)
    where = lay_out("files", tmp_path, [*known, new])
    more = {"show": ["new"], "export": [str(tmp_path / "out.jsonl")]}.get(verb, [])
    told = Told(capsys, verb, *more, "--from", where)
    assert told.err.count(f"records of stream {other.id} are of schema version 9") == 1
    assert told.status == (1 if verb in {"show", "export"} else 0)


def _with_more(every: list[Written]) -> list[Written]:
    """Return a log as a later release of the same schema may write it: a new attribute, a new event."""
    new = {"key": "prediction.new_thing", "value": {"stringValue": "x"}}
    predictions = [each for each in every if each.record["eventName"] == "prediction"]
    for each in predictions[:3]:
        each.record["attributes"].insert(-1, new)
    event = predictions[4].record
    event["eventName"] = "prediction.stream.paused"
    event["attributes"] = [event["attributes"][0], {"key": "event.name", "value": {"stringValue": event["eventName"]}}]
    return every


def test_what_a_later_release_of_the_same_schema_adds(judge: Callable[..., VerifyReport]) -> None:
    """New attributes and events are no fault; in Loki, which keeps no order, they are not proved, with a reason."""
    stream = sealed(SealedStream(BASE))
    lines = written(recomputed(edited(stream.lines, _with_more)))
    report = judge(lines)
    assert [*sentences(report)] == []
    assert report.sound
    (verdict,) = report.verdicts
    if not report.verdicts[0].proof.unproved:
        assert verdict.proof.proved == [(1, verdict.stream.last)]
    else:
        why = "Loki keeps no order of attributes, and this version does not know all of them"
        assert {reason for _, _, reason in verdict.proof.unproved} == {why}
        assert len(verdict.proof.proved) > 0
