"""Checkpoints as a stream writes them: when they come, what they say, who signs them."""

from __future__ import annotations

import subprocess
from base64 import b64decode, encodebytes
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from predictor.reader.sources.errors import SourceError
from predictor.reader.verify.keys import PublicKeys
from predictor.recording import canonical, checkpoints
from predictor.recording.checkpoints import beginning
from predictor.recording.signatures import FileSigner, SigningKeyError
from tests.support import external_programs
from tests.support.digest_by_hand import checkpoint_digest
from tests.support.sealed_log import SealedStream, Written, records, sealed
from tests.support.signing_keys import key_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


def _checkpoints(stream: SealedStream) -> list[Written]:
    return [each for each in records(stream.lines) if each.said(checkpoints.DIGEST)]


def test_a_checkpoint_speaks_of_all_since_the_one_before() -> None:
    """Each goes on from the one before it, counts what was written, and its digest is that of the definition."""
    stream = sealed(SealedStream())
    every = records(stream.lines)
    previous, first = beginning(stream.id), 1
    for each in _checkpoints(stream):
        before = [other for other in every if first <= other.number < each.number]
        assert int(each.said(checkpoints.FIRST)) == first
        assert int(each.said(checkpoints.LAST)) == each.number - 1
        assert int(each.said(checkpoints.COUNT)) == len(before)
        assert each.said(checkpoints.PREVIOUS) == previous.hex()
        previous, first = checkpoint_digest(previous, before, *each), each.number
        assert each.said(checkpoints.DIGEST) == previous.hex()
    assert first == stream.log.sequence  # the closing record is the last one


@pytest.mark.parametrize("turns", [0, 1, 2, 10**9], ids=["never", "each line", "two lines", "at the end"])
def test_a_digest_does_not_depend_on_when_records_are_hashed(turns: int) -> None:
    """Whether there is time to hash after each line, after some, or never: a checkpoint covers what is before it."""
    stream = SealedStream()
    works: list[Callable[[], object]] = []
    stream.log.hash_later(works.append)
    for number in range(1, 12):
        stream.predict(count=number % 3 + 1)
        if turns and number % turns == 0:
            while works:
                works.pop()()
        if number % 4 == 0:
            stream.status()
    stream.log.close()
    while works:
        works.pop()()
    every = records(stream.lines)
    previous, first = beginning(stream.id), 1
    for each in _checkpoints(stream):
        before = [other for other in every if first <= other.number < each.number]
        assert int(each.said(checkpoints.COUNT)) == len(before)
        previous, first = checkpoint_digest(previous, before, *each), each.number
        assert each.said(checkpoints.DIGEST) == previous.hex()
    assert first == stream.log.sequence


def test_who_waits_for_a_record_does_not_wait_for_its_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is to be done later nothing is hashed while lines are written, and all of it in one turn after them."""
    hashed: list[int] = []
    digests = canonical.record_digests

    def counted(scope: bytes, written: Sequence[bytes]) -> bytes:
        hashed.append(len(written))
        return digests(scope, written)

    monkeypatch.setattr(checkpoints, "record_digests", counted)
    stream = SealedStream()
    works: list[Callable[[], object]] = []
    stream.log.hash_later(works.append)
    hashed.clear()
    stream.predict(count=2)
    stream.predict(count=3)
    assert hashed == []
    (work,) = works
    work()
    assert hashed == [2, 3]


def test_what_is_lost_is_not_counted() -> None:
    """Numbers that were given and not written are in no digest."""
    stream = SealedStream()
    stream.predict(count=2)
    stream.lose(3)
    stream.status()
    (found,) = _checkpoints(stream)
    assert (int(found.said(checkpoints.LAST)), int(found.said(checkpoints.COUNT))) == (7, 4)


def test_a_status_that_fails_is_no_checkpoint() -> None:
    """A checkpoint that the outbox does not take leaves the interval as it was."""
    stream = SealedStream()
    stream.predict(count=2)
    before = list(stream.lines)

    def refuse(line: bytes, *, urgent: bool = False) -> None:
        raise RuntimeError(line, urgent)

    stream.append, taken = refuse, stream.append  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        stream.status()
    stream.append = taken  # type: ignore[method-assign]
    assert stream.lines == before
    stream.status()
    (found,) = _checkpoints(stream)
    assert int(found.said(checkpoints.COUNT)) == 3


def test_a_checkpoint_is_due_after_many_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes fast does not wait for the minute: a reader holds a digest for each record until it comes."""
    monkeypatch.setattr(checkpoints, "MOST_RECORDS", 5)
    stream = SealedStream()
    stream.predict(count=3)
    assert not stream.log.checkpoint_due
    stream.predict(count=1)
    assert stream.log.checkpoint_due
    stream.status()
    assert not stream.log.checkpoint_due


def test_a_signature_is_over_the_digest(tmp_path: Path) -> None:
    """Each checkpoint names the key and holds its signature, which is good for no other digest."""
    private, public = key_pair(tmp_path)
    signer, keys = FileSigner(private), PublicKeys([public])
    for each in _checkpoints(sealed(SealedStream(signer=signer))):
        digest, signature = bytes.fromhex(each.said(checkpoints.DIGEST)), each.said(checkpoints.SIGNATURE)
        assert each.said(checkpoints.KEY_ID) == signer.key_id == keys.ids[0]
        assert keys.problem(signer.key_id, digest, signature) is None
        assert "did not make" in str(keys.problem(signer.key_id, digest[::-1], signature))
        assert "did not make" in str(keys.problem(signer.key_id, digest, "no base64"))
    assert keys.problem("", b"", "") == "is not signed"


def _pem(folder: Path, content: bytes) -> Path:
    path = folder / "key.pem"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN PRIVATE KEY-----\nAA\n-----END PRIVATE KEY-----\n"])
def test_a_file_that_is_no_key(tmp_path: Path, content: bytes | None) -> None:
    """A file that is not there or holds no key is refused by a sentence that says how to make one."""
    path = tmp_path / "none" if content is None else _pem(tmp_path, content)
    with pytest.raises(SigningKeyError, match="wanted a file with an Ed25519 private key in PEM, of `openssl genpkey"):
        FileSigner(path)
    with pytest.raises(SourceError, match="--key"):
        PublicKeys([path])


def test_another_kind_of_key(tmp_path: Path) -> None:
    """A key of another kind is refused by name."""
    rsa = generate_private_key(65537, 2048)
    path = _pem(tmp_path, rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(SigningKeyError, match="another kind of key"):
        FileSigner(path)


def test_a_key_of_an_unknown_curve(tmp_path: Path) -> None:
    """A key of a curve that the package does not know is refused as one of another kind."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    p256, sm2 = bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a811ccf5501822d")

    def pem(kind: str, der: bytes) -> Path:
        text = encodebytes(der.replace(p256, sm2)).decode()
        return _pem(tmp_path, f"-----BEGIN {kind} KEY-----\n{text}-----END {kind} KEY-----\n".encode())

    with pytest.raises(SigningKeyError, match="another kind of key"):
        FileSigner(pem("PRIVATE", private))
    with pytest.raises(SourceError, match="another kind of key"):
        PublicKeys([pem("PUBLIC", public)])


def test_openssl_can_check_a_signature(tmp_path: Path) -> None:
    """What is signed is text, so that a signature can be checked without this program."""
    openssl = external_programs.on_path("openssl")
    private, public = key_pair(tmp_path)
    (found,) = _checkpoints(_signed(FileSigner(private)))
    text, signature = tmp_path / "text", tmp_path / "signature"
    text.write_text(f"prediction.stream.digest {found.said(checkpoints.DIGEST)}")
    signature.write_bytes(b64decode(found.said(checkpoints.SIGNATURE)))
    command = [openssl, "pkeyutl", "-verify", "-pubin", "-rawin", "-inkey", str(public)]
    command += ["-in", str(text), "-sigfile", str(signature)]
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0
    text.write_text("prediction.stream.digest 00")
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 1


def _signed(signer: FileSigner) -> SealedStream:
    stream = SealedStream(signer=signer)
    stream.close()
    return stream
