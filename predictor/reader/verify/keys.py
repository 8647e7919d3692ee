"""Public keys that a log's checkpoints must be signed by."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Any

from predictor.reader.sources.errors import SourceError
from predictor.recording.signatures import MISSING, key_id_of, signed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class PublicKeys:
    """Ed25519 keys by their ids: several, since keys are changed."""

    def __init__(self, files: Iterable[Path]) -> None:
        """Read PEM files; raises SourceError for one that holds no such key, or without the package for it."""
        self._keys: dict[str, Any] = {}
        for file in files:
            key = _read(file)
            self._keys[key_id_of(key)] = key

    @property
    def ids(self) -> list[str]:
        """The ids of the keys."""
        return sorted(self._keys)

    def problem(self, key_id: str, digest: bytes, signature: str) -> str | None:
        """Return what is wrong with a checkpoint's signature, as the predicate of a sentence; None if it holds."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra

        if not signature:
            return "is not signed"
        if key_id not in self._keys:
            return f"is signed by the key {key_id or '?'}, which was not given"
        try:
            self._keys[key_id].verify(b64decode(signature, validate=True), signed(digest))
        except (ValueError, InvalidSignature):
            return f"has a signature that the key {key_id} did not make"
        return None


def _read(file: Path) -> Any:  # noqa: ANN401 - cryptography's key; without that package there is no such type
    place = f"--key {file}"
    try:
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - an extra
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - an extra
            Ed25519PublicKey,
        )
        from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise SourceError(place, MISSING) from error
    try:
        key = load_pem_public_key(file.read_bytes())
    except OSError as error:
        raise SourceError(place, str(error.strerror)) from error
    except UnsupportedAlgorithm:  # of a curve that the package does not know
        key = None
    except ValueError as error:
        raise SourceError(place, "it holds no public key; wanted one in PEM, of `openssl pkey -pubout`") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SourceError(place, "it holds another kind of key; wanted Ed25519")
    return key
