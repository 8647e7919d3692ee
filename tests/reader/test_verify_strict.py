"""`predictor log verify --strict`: what a log explains and does not prove ends with status 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from predictor.recording.signatures import FileSigner
from tests.reader.test_cli import Told
from tests.reader.test_digests import UNPROVED_EDITS
from tests.support.fake_loki import Loki
from tests.support.log_files import BASE, SECOND, lay_out
from tests.support.sample_predictions import IRIS
from tests.support.sealed_log import SealedStream, Written, collectors, edited, records, sealed, written
from tests.support.server import ROOT
from tests.support.signing_keys import key_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Verify = Callable[..., Told]

PAGE = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
LIST = PAGE.partition("### What still works")[2].partition("\n## ")[0]
SINCE = ("--since", "2025-10-01T00:00:00Z")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the files of a private key and of its public one."""
    return key_pair(tmp_path_factory.mktemp("keys"))


@pytest.fixture(params=["outbox", "files", "loki"])
def verify(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: tuple[Path, Path]
) -> Iterator[Verify]:
    """Return what runs the verb with the public key on lines in each kind of source."""
    with Loki() as loki:

        def run(lines: list[bytes], *options: str) -> Told:
            if request.param == "loki":
                loki.entries = []
                loki.add(*lines)
                where = loki.url
            else:
                made = lines if request.param == "outbox" else collectors(lines)
                where = lay_out(request.param, tmp_path / str(len([*tmp_path.iterdir()])), made)
            return Told(capsys, "verify", "--from", where, *SINCE, "--key", str(keys[1]), *options)

        yield run


def whole(signer: FileSigner | None) -> SealedStream:
    """Return a stream that has lost nothing, with three checkpoints."""
    stream = SealedStream(signer=signer)
    stream.describe(IRIS, dict.fromkeys(IRIS.features, "double"))  # Loki has no types of its own
    for _ in range(2):
        stream.predict(count=3)
        stream.status()
    stream.predict()
    stream.close()
    return stream


def test_a_log_that_is_proved_whole(verify: Verify, keys: tuple[Path, Path]) -> None:
    """A log without a loss, all of it signed, has status 0 with --strict too."""
    told = verify(whole(FileSigner(keys[0])).lines, "--strict")
    assert told.status == 0, told.out + told.err
    assert told.out.endswith("nothing is missing\n")


@pytest.mark.parametrize("edit", UNPROVED_EDITS)
def test_an_edit_that_looks_like_a_mishap(verify: Verify, keys: tuple[Path, Path], edit: str) -> None:
    """A record that an editor without a key has declared lost, refused or cut off by a kill is a fault by --strict."""
    lines = written(edited(sealed(SealedStream(signer=FileSigner(keys[0]))).lines, UNPROVED_EDITS[edit][0]))
    assert "declares a record of an interval lost or refused" in LIST
    assert verify(lines).status == 0
    told = verify(lines, "--strict")
    assert (told.status, "not proved" in told.out) == (1, True)
    assert "nothing else is missing" not in told.out
    (found,) = verify(lines, "--strict", "--json").json
    assert found["sound"]
    assert any("not proved" in fault for fault in found["strict_faults"])


def added(stream: SealedStream) -> list[Written]:
    """Add a stream that never existed, without a checkpoint."""
    new = SealedStream(BASE + 60 * SECOND)
    new.describe(IRIS, dict.fromkeys(IRIS.features, "double"))
    new.predict()
    new.crash()
    return [*records(stream.lines), *records(new.lines)]


def closed_as_killed(stream: SealedStream) -> list[Written]:
    """Cut a stream after its second checkpoint, and close it as the next process would."""
    left = records(stream.lines)[:-2]
    stream.log.sequence = left[-1].number
    stream.crash()
    return [*left, *records(stream.lines[-1:])]


def after_a_kill(stream: SealedStream) -> list[Written]:
    """Close a stream as killed, and change what follows its last checkpoint."""
    every = records(stream.lines)[:-1]
    every[-1].put("prediction.label", {"stringValue": "setosa"})
    stream.log.sequence = every[-1].number
    stream.crash()
    return [*every, *records(stream.lines[-1:])]


STRICT: dict[str, Callable[[SealedStream], list[Written]]] = {
    "adds a stream without checkpoints": added,
    "cuts a stream after a checkpoint": closed_as_killed,
    "changes what a killed process wrote": after_a_kill,
    "replaces all checkpoints by other records": lambda stream: edited(
        stream.lines, UNPROVED_EDITS["as if killed early"][0]
    ),
}
"""Rows of the page, and an edit of each."""


@pytest.mark.parametrize("row", STRICT)
def test_the_rows_of_the_page(verify: Verify, keys: tuple[Path, Path], row: str) -> None:
    """Each edit for which docs/evidence.md names --strict has status 0 without it and 1 with it."""
    (text,) = (text for text in LIST.splitlines() if row in text)
    assert text.endswith("| `verify --strict` |")
    lines = written(STRICT[row](whole(FileSigner(keys[0]))))
    assert verify(lines).status == 0
    assert verify(lines, "--strict").status == 1


def test_a_declared_loss(verify: Verify, keys: tuple[Path, Path]) -> None:
    """What a server declares lost is a fault by --strict, even though its declaration is signed."""
    stream = SealedStream(signer=FileSigner(keys[0]))
    stream.predict()
    stream.lose(2)
    stream.predict()
    stream.close()
    assert verify(stream.lines).status == 0
    told = verify(stream.lines, "--strict")
    assert told.status == 1
    assert f"stream {stream.id}: declared lost 3-4, a fault with --strict" in told.out


def test_a_refusal(verify: Verify, keys: tuple[Path, Path]) -> None:
    """A record that the sink has refused, as the server counts, is a fault by --strict."""
    stream = SealedStream(signer=FileSigner(keys[0]))
    stream.predict(count=3)
    stream.status(rejected=1)
    stream.close()
    lines = written(edited(stream.lines, lambda every: [each for each in every if each.number != 3]))
    assert verify(lines).status == 0
    told = verify(lines, "--strict")
    assert told.status == 1
    assert f"stream {stream.id}: 1 refused by the sink, a fault with --strict" in told.out


def test_a_log_that_is_not_signed(verify: Verify) -> None:
    """A log without signatures has status 1, and none of its records is proved."""
    told = verify(whole(None).lines, "--strict")
    assert told.status == 1
    assert "is not signed" in told.out


def test_a_key_is_required(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Without --key nobody can tell a signature from a text, so --strict ends with status 2 and says what it wants."""
    where = lay_out("files", tmp_path / "log", whole(None).lines)
    told = Told(capsys, "verify", "--from", where, "--strict")
    assert told.status == 2
    assert "wanted --key" in told.err
