"""Interval digests: every edit of a single copy is found from every source, and nothing in a log that is whole."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING

import pytest

from predictor.core.problems import Kind
from predictor.outbox.ended import EndedStream, decoded, encoded
from predictor.reader.sources.source import source
from predictor.reader.time_range import TimeRange
from predictor.reader.verify.command import as_json, sentences
from predictor.reader.verify.completeness import verify
from predictor.reader.verify.keys import PublicKeys
from predictor.recording.signatures import FileSigner
from predictor.recording.stream_events import PREVIOUS
from tests.reader.test_cli import Told
from tests.support.fake_loki import Loki
from tests.support.log_files import BASE, SECOND, lay_out
from tests.support.sample_predictions import IRIS
from tests.support.sealed_log import SealedStream, Written, collectors, edited, recomputed, records, sealed, written
from tests.support.signing_keys import key_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from predictor.reader.verify.report import VerifyReport

_HOUR = 3600 * SECOND
_CHECKPOINTS = 5


@pytest.fixture(params=["outbox", "files", "loki"])
def judge(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., VerifyReport]]:
    """Return what verifies lines, in an outbox, in the Collector's own form, or in Loki."""
    with Loki() as loki:

        def verified(lines: list[bytes], keys: PublicKeys | None = None) -> VerifyReport:
            if request.param == "loki":
                loki.entries = []
                loki.add(*lines)
                where, window = loki.url, TimeRange(BASE - 48 * _HOUR, BASE + 48 * _HOUR)
            else:
                made = lines if request.param == "outbox" else collectors(lines)
                folder = tmp_path / str(len([*tmp_path.iterdir()]))
                where, window = lay_out(request.param, folder, made), TimeRange()
            return verify(source(where), window, now_ns=BASE + _HOUR, keys=keys)

        yield verified


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[FileSigner, PublicKeys]:
    """Return a signer and the public key that belongs to it."""
    private, public = key_pair(tmp_path_factory.mktemp("keys"))
    return FileSigner(private), PublicKeys([public])


def _said(report: VerifyReport) -> str:
    return "\n".join(sentences(report))


def _at(every: list[Written], event: str, place: int = 0) -> Written:
    return [each for each in every if each.record["eventName"] == event][place]


def _number(every: list[Written], number: int) -> Written:
    return next(each for each in every if each.number == number)


# What an editor may do
def _attribute(name: str, value: dict[str, object]) -> Callable[[list[Written]], list[Written]]:
    def edit(every: list[Written]) -> list[Written]:
        now = repr(next(iter(value.values())))
        next(each for each in every if repr(each.said(name)) not in {"None", now}).put(name, value)
        return every

    return edit


def _field(name: str, value: object, event: str = "prediction") -> Callable[[list[Written]], list[Written]]:
    def edit(every: list[Written]) -> list[Written]:
        _at(every, event, 1).record[name] = value
        return every

    return edit


def _swapped(every: list[Written]) -> list[Written]:
    one, other = _at(every, "prediction", 0), _at(every, "prediction", 1)
    here, there = one.number, other.number
    one.put("prediction.stream.sequence", {"intValue": str(there)})
    other.put("prediction.stream.sequence", {"intValue": str(here)})
    return sorted(every, key=lambda each: each.number)


def _renumbered(every: list[Written]) -> list[Written]:
    gone = _at(every, "prediction", 4).number
    left = [each for each in every if each.number != gone]
    for each in left:
        if each.number > gone:
            each.put("prediction.stream.sequence", {"intValue": str(each.number - 1)})
            for name in ("lost.first", "lost.last"):
                if (said := each.said(f"prediction.stream.{name}")) is not None:
                    each.put(f"prediction.stream.{name}", {"intValue": str(int(said) - 1)})
    return left


def _other_version(every: list[Written]) -> list[Written]:
    wrong = [pair | {"value": {"stringValue": "2"}} for pair in _at(every, "prediction").scope["attributes"][1:2]]
    for at, each in enumerate(every):
        if each.said("event.name") == "prediction" and each.scope["attributes"][0]["value"] == {"stringValue": "iris"}:
            scope = each.scope | {"attributes": [each.scope["attributes"][0], *wrong, *each.scope["attributes"][2:]]}
            every[at] = each._replace(scope=scope)
    return every


def _enlarged(every: list[Written]) -> list[Written]:
    lost = _at(every, "prediction.stream.lost")
    last = int(lost.said("prediction.stream.lost.last"))
    lost.put("prediction.stream.lost.last", {"intValue": str(last + 1)})
    return [each for each in every if each.number != last + 1]


def _enlarged_far(every: list[Written]) -> list[Written]:
    """Enlarge the loss to a record of another interval."""
    lost = _at(every, "prediction.stream.lost")
    first = int(lost.said("prediction.stream.lost.first"))
    before = _at(every, "prediction.feedback").number
    lost.put("prediction.stream.lost.first", {"intValue": str(before)})
    return [each for each in every if not before <= each.number < first]


def _closed_early(every: list[Written]) -> list[Written]:
    """Cut the tail, and put the closing record behind what is left."""
    closing = every[-1]
    left = every[:-4]
    closing.put("prediction.stream.sequence", {"intValue": str(left[-1].number + 1)})
    return [*left, closing]


def _stripped(every: list[Written]) -> list[Written]:
    """Take the digest from a status, as if it were no checkpoint."""
    record = _at(every, "prediction.stream.status", 1).record
    record["attributes"] = [pair for pair in record["attributes"] if ".digest" not in pair["key"]]
    return every


def _invented(every: list[Written]) -> list[Written]:
    """Put a record in the place of one that was declared lost."""
    lost = _at(every, "prediction.stream.lost")
    model = _at(every, "prediction", 3)
    new = Written(model.scope, {**model.record, "attributes": [dict(pair) for pair in model.record["attributes"]]})
    new.put("prediction.stream.sequence", {"intValue": lost.said("prediction.stream.lost.first")})
    new.put("prediction.job_id", {"stringValue": "0199c0de-0000-7000-8000-00000000ffff"})
    return sorted([*every, new], key=lambda each: each.number)


EDITS: dict[str, Callable[[list[Written]], list[Written]]] = {
    "a feature": _attribute("prediction.input.sepal_width", {"doubleValue": 3.0000000000000004}),
    "a text": _attribute("prediction.input.city", {"stringValue": "Rome"}),
    "an integer": _attribute("prediction.input.age", {"intValue": "17"}),
    "a bool": _attribute("prediction.input.member", {"boolValue": True}),
    "a label": _attribute("prediction.label", {"stringValue": "setosa"}),
    "a confidence": _attribute("prediction.confidence", {"doubleValue": 0.97}),
    "the sign of zero": _attribute("prediction.value.p10", {"doubleValue": 0.0}),
    "a verdict": _attribute("prediction.outlier", {"boolValue": True}),
    "a job": _attribute("prediction.job_id", {"stringValue": "0199c0de-0000-7000-8000-000000000099"}),
    "a comment": _attribute("prediction.feedback.comment", {"stringValue": "bad"}),
    "a signature of a model": _attribute("prediction.model.runtime", {"stringValue": "ONNX Runtime 2"}),
    "a count of refusals": _attribute("prediction.stream.rejected.count", {"intValue": "1"}),
    "a reason": _attribute("prediction.stream.reason", {"stringValue": "sync"}),
    "a digest": _attribute("prediction.stream.digest", {"stringValue": "00" * 32}),
    "the digest before": _attribute("prediction.stream.digest.previous", {"stringValue": "00" * 32}),
    "a count": _attribute("prediction.stream.digest.count", {"intValue": "1"}),
    "a body": _field("body", {"stringValue": "setosa 0.972"}),
    "a time": _field("timeUnixNano", str(BASE + 1)),
    "the time of writing": _field("observedTimeUnixNano", str(BASE + 1)),
    "a severity": _field("severityText", "WARN"),
    "its number": _field("severityNumber", 13),
    "a trace": _field("traceId", "f" * 32),
    "a span": _field("spanId", "f" * 16),
    "the body of a status": _field("body", {"stringValue": "all is well"}, "prediction.stream.status"),
    "two numbers": _swapped,
    "a removal with renumbering": _renumbered,
    "another version of the model": _other_version,
    "a larger loss": _enlarged,
    "a loss of another interval": _enlarged_far,
    "a tail that was cut with its end": _closed_early,
    "a checkpoint without its digest": _stripped,
    "a record that was never written": _invented,
}


_KEPT = [name for name in EDITS if name not in {"a digest", "the digest before", "a count"}]
"""What is still there once all digests were computed anew."""


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_edit_is_found(judge: Callable[..., VerifyReport], edit: Callable[[list[Written]], list[Written]]) -> None:
    """Whatever is changed in the only copy of a log, by somebody who leaves the digests alone, is found."""
    stream = sealed(SealedStream())
    report = judge(written(edited(stream.lines, edit)))
    assert not report.sound
    assert [verdict.proof.faults for verdict in report.verdicts] != [[]]


@pytest.mark.parametrize("edit", [EDITS[name] for name in _KEPT], ids=_KEPT)
def test_edit_by_one_who_knows_is_found_with_a_key(
    judge: Callable[..., VerifyReport],
    keys: tuple[FileSigner, PublicKeys],
    edit: Callable[[list[Written]], list[Written]],
) -> None:
    """Whoever changes a log and computes its digests anew is found by the signatures, whatever it was."""
    signer, public = keys
    stream = sealed(SealedStream(signer=signer))
    assert judge(stream.lines, public).sound
    report = judge(written(recomputed(edited(stream.lines, edit))), public)
    assert any("signature" in fault or "signed" in fault for fault in report.verdicts[0].proof.faults)
    assert not report.sound


def test_what_has_no_signature_is_not_proved(
    judge: Callable[..., VerifyReport], keys: tuple[FileSigner, PublicKeys]
) -> None:
    """With a key a digest that anybody may have computed proves nothing, and its key is not named as a signer."""
    signer, public = keys
    stream = sealed(SealedStream(signer=signer))
    (verdict,) = judge(written(recomputed(edited(stream.lines, EDITS["a label"]))), public).verdicts
    assert (verdict.proof.proved, verdict.proof.signed_by) == ([], [])
    assert {why.partition(" has a ")[2] for _, _, why in verdict.proof.unproved} == {
        f"signature that the key {signer.key_id} did not make"
    }


def _lost_at_the_end(every: list[Written]) -> list[Written]:
    """Declare a record of the last interval lost from the disk, in the place of another one."""
    here, there, _ = every[-3:]
    lost = copy.deepcopy(_at(every, "prediction.stream.lost"))
    lost.put("prediction.stream.sequence", {"intValue": str(here.number)})
    for name in ("first", "last"):
        lost.put(f"prediction.stream.lost.{name}", {"intValue": str(there.number)})
    lost.put("prediction.stream.reason", {"stringValue": "disk"})
    return [lost if each is here else each for each in every if each is not there]


def _refused_at_the_end(every: list[Written]) -> list[Written]:
    """Remove one record of each of the last two intervals, and let the status between them say that of refusals."""
    status = _at(every, "prediction.stream.status", 3)
    status.put("prediction.stream.rejected.count", {"intValue": "2"})
    return [each for each in every if each.number not in {status.number - 1, status.number + 1}]


def _as_if_killed_early(every: list[Written]) -> list[Written]:
    """Put other records in the place of all checkpoints, and close the stream as if its process had been killed."""
    end = copy.deepcopy(every[-1])
    end.record["attributes"] = [pair for pair in end.record["attributes"] if ".digest" not in pair["key"]]
    end.put("prediction.stream.reason", {"stringValue": "crash"})
    for each in every[:-1]:
        if each.said("prediction.stream.digest"):
            name = {"key": "event.name", "value": {"stringValue": "prediction.model"}}
            each.record.update(eventName="prediction.model", attributes=[each.record["attributes"][0], name])
    return [*every[:-1], end]


UNPROVED_EDITS = {
    "lost at the end": (_lost_at_the_end, 32),
    "refused at the end": (_refused_at_the_end, 25),
    "as if killed early": (_as_if_killed_early, 0),
}
"""What an editor without a key may do so that it is no fault, and the last number that is still proved."""


@pytest.mark.parametrize(("edit", "proved"), UNPROVED_EDITS.values(), ids=UNPROVED_EDITS)
def test_what_is_not_found_is_said(
    judge: Callable[..., VerifyReport],
    keys: tuple[FileSigner, PublicKeys],
    edit: Callable[[list[Written]], list[Written]],
    proved: int,
) -> None:
    """An edit that looks like a loss, a refusal or a crash is no fault, and never proved: docs/evidence.md says so."""
    signer, public = keys
    stream = sealed(SealedStream(signer=signer))
    report = judge(written(edited(stream.lines, edit)), public)
    assert report.sound
    (verdict,) = report.verdicts
    assert verdict.proof.proved == ([(1, proved)] if proved else [])
    assert verdict.proof.unproved[-1][1] == stream.log.sequence


def test_a_time_that_is_none(judge: Callable[..., VerifyReport]) -> None:
    """A time that no clock has is damage, and the report can be printed."""
    stream = sealed(SealedStream())
    report = judge(written(edited(stream.lines, _field("observedTimeUnixNano", "9" * 30))))
    assert "9" * 30 in as_json(report)["damaged"][0]
    assert not report.sound


def test_edit_by_one_who_knows_is_not_found_without_a_key(judge: Callable[..., VerifyReport]) -> None:
    """Without a key digests that were computed anew are as good as the first ones: docs/evidence.md says so."""
    stream = sealed(SealedStream())
    report = judge(written(recomputed(edited(stream.lines, EDITS["a label"]))))
    assert report.sound


def test_whole(judge: Callable[..., VerifyReport]) -> None:
    """A log that nobody touched is proved from its first record to its last, its losses and odd texts included."""
    stream = sealed(SealedStream())
    report = judge(stream.lines)
    assert not _said(report)
    (verdict,) = report.verdicts
    assert (verdict.proof.proved, verdict.proof.unproved) == ([(1, stream.log.sequence)], [])
    assert len(verdict.stream.digests.checkpoints) == _CHECKPOINTS


def test_copies_in_another_order(judge: Callable[..., VerifyReport]) -> None:
    """What was sent again, and arrived in another order, is proved all the same."""
    stream = sealed(SealedStream())
    last = stream.lines[-1]
    report = judge([*stream.lines[5:], *stream.lines[:9], last])
    assert not _said(report)
    assert report.verdicts[0].proof.proved == [(1, stream.log.sequence)]


def test_clock_steps(judge: Callable[..., VerifyReport]) -> None:
    """A clock that is set back or ahead by hours moves no record out of its interval."""
    stream = SealedStream()
    stream.predict(count=3)
    stream.status()
    stream.now -= _HOUR // 2
    stream.predict(count=3)
    stream.status()
    stream.now += _HOUR // 3
    stream.predict(count=3)
    stream.close()
    stream.lines.insert(1, stream.lines.pop(0))
    report = judge(stream.lines)
    assert not report.verdicts[0].proof.faults
    assert "altered" not in _said(report)


def test_crash(judge: Callable[..., VerifyReport]) -> None:
    """What follows the last checkpoint of a process that was killed is unproved, which is no fault."""
    stream = SealedStream()
    stream.describe(IRIS, dict.fromkeys(IRIS.features, "double"))
    stream.predict(count=3)
    stream.status()
    stream.predict(count=2)
    stream.crash()
    report = judge(stream.lines)
    assert not _said(report)
    assert report.verdicts[0].proof.proved == [(1, 6)]
    assert report.verdicts[0].proof.unproved == [(7, 9, "the process ended without a checkpoint")]


def test_a_gap_spoils_its_interval_only(judge: Callable[..., VerifyReport]) -> None:
    """Of an interval with a record that is missing nothing can be proved; the next one is proved again."""
    stream = sealed(SealedStream())
    gone = _at(records(stream.lines), "prediction", 1).number
    report = judge(written([each for each in records(stream.lines) if each.number != gone]))
    assert _said(report) == f"stream {stream.id}: missing {gone}"
    first = _at(records(stream.lines), "prediction.stream.status").number
    proof = report.verdicts[0].proof
    assert proof.proved == [(first, stream.log.sequence)]
    assert proof.unproved == [(1, first - 1, f"record {gone} is not there")]


def test_a_checkpoint_that_is_missing(judge: Callable[..., VerifyReport]) -> None:
    """Without its checkpoint an interval is unproved, and so is the next, which begins with it."""
    stream = sealed(SealedStream())
    marks = [each.number for each in records(stream.lines) if each.said("prediction.stream.digest")]
    report = judge(written([each for each in records(stream.lines) if each.number != marks[1]]))
    assert _said(report) == f"stream {stream.id}: missing {marks[1]}"
    proof = report.verdicts[0].proof
    assert proof.proved == [(1, marks[0]), (marks[2], stream.log.sequence)]
    assert [why for *_, why in proof.unproved] == [
        "their checkpoint is not there",
        f"record {marks[1]} is not there",
    ]


def test_a_model_that_loki_does_not_know() -> None:
    """Without the record of what a model is Loki has lost the types of its inputs: unproved, with the reason."""
    stream = sealed(SealedStream())
    left = [each for each in records(stream.lines) if each.record["eventName"] != "prediction.model"]
    with Loki() as loki:
        loki.add(*written(left))
        report = verify(source(loki.url), TimeRange(BASE - _HOUR, BASE + _HOUR), now_ns=BASE + _HOUR)
    assert not report.verdicts[0].proof.faults
    reasons = {why for *_, why in report.verdicts[0].proof.unproved}
    assert "what the stream says of its model is not there" in reasons


def test_one_window_of_several(judge: Callable[..., VerifyReport]) -> None:
    """The windows of a log that nobody touched accuse nobody."""
    stream = SealedStream()
    for _ in range(9):
        stream.predict(count=2)
        stream.now += 60 * SECOND
        stream.status()
    stream.fail(Kind.INVALID_DATA)
    stream.close()
    assert judge(stream.lines).sound


# Streams that name those before them
def _two(signer: FileSigner | None = None, *, kept: bool = False) -> tuple[SealedStream, SealedStream, SealedStream]:
    eldest = sealed(SealedStream(BASE - 2 * _HOUR, signer))
    one = sealed(SealedStream(BASE - _HOUR, signer, [eldest.ended(kept=kept)]))
    return eldest, one, sealed(SealedStream(BASE, signer, [one.ended(kept=kept)]))


def test_a_stream_that_is_gone(judge: Callable[..., VerifyReport]) -> None:
    """A stream of which nothing is there is missed, since the next one names it."""
    eldest, one, other = _two(kept=True)
    assert judge([*eldest.lines, *one.lines, *other.lines]).sound
    report = judge([*eldest.lines, *other.lines])
    if report.of_outbox:  # what is old goes from there: only files that are older tell that it has not
        assert report.sound
        return
    said = f"stream {one.id}: stream {other.id} says that it ended with record {one.log.sequence}"
    assert report.gone == [f"{said}, and there is nothing of it"]
    assert _said(report) == report.gone[0]
    assert not report.sound


def test_a_stream_that_lost_its_end(judge: Callable[..., VerifyReport]) -> None:
    """A stream that was cut behind a checkpoint, and closed as if its process had died, is missed to its true end."""
    eldest, one, other = _two(kept=True)
    last = one.log.sequence
    cut = records(one.lines)[:-3]
    closing = SealedStream(BASE - _HOUR)
    closing.log.sequence = cut[-1].number
    closing.crash()
    (end,) = records(closing.lines[-1:])
    end.scope["attributes"] = cut[0].scope["attributes"][-2:]
    lines = [*eldest.lines, *written([*cut, end]), *other.lines]
    report = judge(lines)
    if report.of_outbox:
        assert report.sound
        return
    said = f"stream {one.id}: stream {other.id} says that it ended with record {last}"
    assert report.gone == [f"{said}, and no record follows {end.number}"]


def test_the_first_streams_may_be_older_than_the_source(judge: Callable[..., VerifyReport]) -> None:
    """A stream that is named and may have been too old for what is kept is not missed."""
    _, one, other = _two()
    assert judge(other.lines).sound
    assert judge([*one.lines, *other.lines]).sound


def test_another_end_of_a_stream(judge: Callable[..., VerifyReport]) -> None:
    """A stream whose digests were computed anew has another one than the next stream says."""
    eldest, one, other = _two(kept=True)
    forged = written(recomputed(edited(one.lines, EDITS["a label"])))
    report = judge([*eldest.lines, *forged, *other.lines])
    if not report.of_outbox:
        assert "and another digest" in _said(report)


def test_a_forged_word_hides_no_true_one(judge: Callable[..., VerifyReport]) -> None:
    """Whoever cuts a stream, and forges another one that says it ended there, is found by the true one's word."""
    eldest, one, other = _two(kept=True)
    cut = records(one.lines)[:-3]
    forged = SealedStream(BASE - SECOND, previous=[EndedStream(one.id, cut[-1].number, "", one.now)])
    forged.close()
    report = judge([*eldest.lines, *written(cut), *forged.lines, *other.lines])
    if not report.of_outbox:
        said = f"stream {one.id}: stream {other.id} says that it ended with record {one.log.sequence}"
        assert report.gone == [f"{said}, and no record follows {cut[-1].number}"]


@pytest.mark.parametrize("when", [-(10**30), 0, 1 << 63, 10**30])
def test_a_named_end_at_no_time(judge: Callable[..., VerifyReport], when: int, request: pytest.FixtureRequest) -> None:
    """Whoever forges the time at which a stream ended does not make the check ask a source for ages."""
    gone = EndedStream("01a20000-0000-7000-8000-000000000000", 9, "", when, kept=True)
    stream = sealed(SealedStream(BASE, previous=[gone]))
    report = judge(stream.lines)
    said = f"stream {gone.stream}: stream {stream.id} says that it ended with record 9, and there is nothing of it"
    if when <= 0:
        assert report.gone == [], "nothing is older than 1970, so nothing is missing there"
    elif request.node.callspec.params["judge"] == "files":
        assert report.gone == [said]


def test_a_stream_that_goes_on_behind_its_named_end(judge: Callable[..., VerifyReport]) -> None:
    """Whoever writes on in the stream of a process that was killed is found by the next stream's word."""
    eldest, _, _ = _two(kept=True)
    one = SealedStream(BASE - _HOUR)
    one.predict(count=3)
    one.crash()
    last = one.log.sequence
    other = sealed(SealedStream(BASE, previous=[one.ended(kept=True)]))
    assert judge([*eldest.lines, *one.lines, *other.lines]).sound
    one.lines.pop()
    one.log.sequence -= 1
    one.predict(count=2)
    one.crash()
    report = judge([*eldest.lines, *one.lines, *other.lines])
    if not report.of_outbox:
        said = f"stream {one.id}: stream {other.id} says that it ended with record {last}"
        assert report.gone == [f"{said}, and there are numbers up to {one.log.sequence}"]


# Keys
def test_not_signed(judge: Callable[..., VerifyReport], keys: tuple[FileSigner, PublicKeys]) -> None:
    """With a key a log without signatures, or of another key, is not accepted."""
    assert "is not signed" in _said(judge(sealed(SealedStream()).lines, keys[1]))


def test_another_key(judge: Callable[..., VerifyReport], keys: tuple[FileSigner, PublicKeys], tmp_path: Path) -> None:
    """A log that another key has signed is refused, and accepted once that key is given too."""
    private, public = key_pair(tmp_path)
    other = FileSigner(private)
    stream = sealed(SealedStream(signer=other))
    assert f"is signed by the key {other.key_id}, which was not given" in _said(judge(stream.lines, keys[1]))
    both = PublicKeys([public])
    assert judge(stream.lines, both).verdicts[0].proof.signed_by == [other.key_id]
    assert both.ids == [other.key_id]


def test_named_streams_survive_their_own_words() -> None:
    """What a record says of streams before it is read as it was written, and nonsense as nothing."""
    said = [EndedStream("s", 3, "ab", 5, kept=True)]
    assert decoded(encoded(said)) == (said, True)
    assert decoded("") == ([], True)
    assert decoded("[") == decoded('[{"stream":1}]') == ([], False)


@pytest.mark.parametrize(
    "odd",
    [
        '{"stream":"%s","last":1000000000000000000000000000000,"digest":"","ended_ns":1,"kept":true}',
        '{"stream":"%s","last":-1,"digest":"","ended_ns":1,"kept":true}',
        '{"stream":"../%s","last":9,"digest":"","ended_ns":1,"kept":true}',
        "[" * 100_000,
    ],
)
def test_a_named_end_that_can_be_none(judge: Callable[..., VerifyReport], odd: str) -> None:
    """A word on a stream before that can be no stream's end accuses nobody of a loss, and is told as unreadable."""
    said = odd.replace("%s", "01a20000-0000-7000-8000-000000000000")
    stream = SealedStream(BASE)
    stream.close()
    every = edited(stream.lines, lambda every: every)
    every[0].record["attributes"].insert(1, {"key": PREVIOUS.name, "value": {"stringValue": f"[{said}]"}})
    report = judge(written(recomputed(every)))
    assert report.gone == [f"stream {stream.id}: what it says of streams before it cannot be read"]
    assert not report.sound


@pytest.mark.parametrize("forges", [False, True])
def test_runs_that_go_on_prove_every_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, forges: bool
) -> None:
    """With a state each run reads again what had no checkpoint at the last one's end: nothing falls between two."""
    stream = SealedStream()
    monkeypatch.setattr("predictor.reader.verify.command.time_ns", lambda: stream.now)
    where = tmp_path / "logs.jsonl"
    arguments = ("verify", "--from", str(where), "--state", str(tmp_path / "state"), "--json")
    proved: set[int] = set()
    for run in range(3):
        for _ in range(5):
            stream.predict(count=3)
            stream.now += 50 * SECOND
            stream.status()
        unsealed = stream.log.sequence + 1
        stream.predict(count=2)
        where.write_bytes(b"".join(stream.lines))
        stream.now += SECOND
        (report,) = Told(capsys, *arguments).json[0]["streams"]
        assert bool(report["faults"]) is (forges and run == 2)
        proved |= {number for first, last in report["unaltered"] for number in range(first, last + 1)}
        assert [each["reason"] for each in report["unproved"]] == ["their checkpoint is not written yet"]
        if run == 1 and forges:
            forged = edited(stream.lines, lambda every: every)
            _number(forged, unsealed).put("prediction.label", {"stringValue": "setosa"})
            stream.lines = written(forged)
    assert forges or proved == set(range(1, stream.log.sequence - 1))


@pytest.mark.parametrize("kept", [False, True])
def test_a_stream_that_is_gone_from_an_outbox(tmp_path: Path, *, kept: bool) -> None:
    """An outbox that ships nothing lets the oldest go first: a stream that went before older ones was taken away."""
    eldest, one, other = _two(kept=kept)
    where = lay_out("outbox", tmp_path, [*eldest.lines, *other.lines])
    (segment,) = (tmp_path / "outbox" / "v1" / eldest.id / "logs").iterdir()
    os.utime(segment, ns=(eldest.now, eldest.now))
    report = verify(source(where), TimeRange(), now_ns=BASE + _HOUR)
    assert [one.id in sentence for sentence in report.gone] == [True] * kept
    assert report.sound is not kept
