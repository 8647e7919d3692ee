"""Redaction: features that are dropped from the log, or replaced by a keyed hash.

A hash lets equal values be found without telling them: few values are possible for most features, so whoever could
compute it would only have to try them all. Hence the key, which the log's readers do not have.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from predictor.inference.manifest import Manifest

SHORTEST_KEY = 16
"""Bytes: as hard to guess as the hash itself."""


class RedactionError(ValueError):
    """The key is missing or cannot be used; one sentence."""


class Redaction(NamedTuple):
    """Which features, by their place in the row, are not logged as they are."""

    dropped: frozenset[int]
    hashed: frozenset[int]
    key: bytes
    """Of 32 bytes; empty if nothing is hashed."""

    def of(self, row: Sequence[float]) -> list[float | str | None]:
        """Return what may be logged of a row: the value, its hash as text, or None if it is dropped."""
        return [
            None if place in self.dropped else self.hash(value) if place in self.hashed else value
            for place, value in enumerate(row)
        ]

    def hash(self, value: float) -> str:
        """Return 32 hexadecimal digits: BLAKE2b with the key, of the value's 8 bytes; 0.0 and -0.0 are equal."""
        return hashlib.blake2b(struct.pack("<d", value + 0.0), key=self.key, digest_size=16).hexdigest()


def redaction_of(description: Manifest, key_file: Path | None) -> Redaction | None:
    """Return what `model.toml` says of its features, None if all are kept.

    Raises RedactionError if a hash is wanted and there is no usable key.
    """
    places = enumerate(description.features)
    treated = {place: feature for place, feature in places if feature.log != "keep"}
    if not treated:
        return None
    hashed = frozenset(place for place, feature in treated.items() if feature.log == "hash")
    key = _key(key_file, treated[min(hashed)].name) if hashed else b""
    return Redaction(frozenset(treated) - hashed, hashed, key)


def redacted(description: Manifest) -> str:
    """Return which features are not logged as they are, as a JSON object: `{"age":"hash"}`."""
    return json.dumps(
        {each.name: each.log for each in description.features if each.log != "keep"}, separators=(",", ":")
    )


def _key(file: Path | None, feature: str) -> bytes:
    wanted = (
        f"wanted a file with a secret of {SHORTEST_KEY} bytes or more, since the model has feature {feature} hashed"
    )
    if file is None:
        msg = f"PREDICTOR_HASH_KEY_FILE is not set, {wanted}"
        raise RedactionError(msg)
    try:
        secret = file.read_bytes().strip()
    except OSError as error:
        msg = f"PREDICTOR_HASH_KEY_FILE is {str(file)!r}, {wanted}: {error.strerror}"
        raise RedactionError(msg) from error
    if len(secret) < SHORTEST_KEY:
        msg = f"PREDICTOR_HASH_KEY_FILE is {str(file)!r} and holds {len(secret)} bytes, {wanted}"
        raise RedactionError(msg)
    return hashlib.blake2b(secret, digest_size=32).digest()  # the key of a BLAKE2b is 64 bytes at most
