"""Ed25519 signatures of checkpoints; the package that makes them is an extra and loaded only where there is a key."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from predictor.core import extras

if TYPE_CHECKING:
    from pathlib import Path

MISSING = f"signatures need cryptography: {extras.command('sign')}"
_ID_DIGITS = 16


class SigningKeyError(ValueError):
    """The key cannot be used; one sentence."""


def signed(digest: bytes) -> bytes:
    """Return the message that is signed for a digest: it says what it is, so that it is good for nothing else."""
    return b"prediction.stream.digest " + digest.hex().encode()


def key_id_of(public_key: Any) -> str:  # noqa: ANN401 - cryptography's, an extra
    """Return what a key is called in the log: the beginning of the SHA-256 of its 32 bytes."""
    return hashlib.sha256(public_key.public_bytes_raw()).hexdigest()[:_ID_DIGITS]


class FileSigner:
    """Signs with the private key of a file."""

    def __init__(self, file: Path) -> None:
        """Read a PEM file without a passphrase; raises SigningKeyError."""
        wanted = "wanted a file with an Ed25519 private key in PEM, of `openssl genpkey -algorithm ed25519`"
        about = f"PREDICTOR_SIGNING_KEY_FILE is {str(file)!r}"
        try:
            from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - an extra
            from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - an extra
                Ed25519PrivateKey,
            )
            from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - an extra
        except ImportError as error:
            msg = f"{about}, and {MISSING}"
            raise SigningKeyError(msg) from error
        try:
            key = load_pem_private_key(file.read_bytes(), password=None)
        except OSError as error:
            msg = f"{about}, {wanted}: {error.strerror}"
            raise SigningKeyError(msg) from error
        except (ValueError, TypeError) as error:  # the latter of one with a passphrase
            msg = f"{about}, {wanted}"
            raise SigningKeyError(msg) from error
        except UnsupportedAlgorithm:  # of a curve that the package does not know
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            msg = f"{about} and holds another kind of key, {wanted}"
            raise SigningKeyError(msg)
        self._key = key
        self.key_id = key_id_of(key.public_key())

    def sign(self, digest: bytes) -> str:
        """Return the signature of a digest, in Base64."""
        return b64encode(self._key.sign(signed(digest))).decode()
