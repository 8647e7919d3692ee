"""Redaction: features and outputs that are dropped from the log, rounded, or replaced by a keyed hash.

A hash lets equal values be found without telling them: few values are possible for most features, so whoever could
compute it would only have to try them all. Hence the key, which the log's readers do not have.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from predictor.core.features import Value
    from predictor.inference.log_rules import OutputMode
    from predictor.inference.manifest import Manifest

SHORTEST_KEY = 16
"""Bytes: as hard to guess as the hash itself."""


class RedactionError(ValueError):
    """The key is missing or cannot be used; one sentence."""


class Redaction(NamedTuple):
    """What is not logged as it is: features, by their place in the row, and outputs."""

    dropped: frozenset[int]
    hashed: Mapping[int, str]
    """Names of the features by their places."""
    key: bytes
    """Of 32 bytes; empty if nothing is hashed."""
    outputs: OutputMode = "keep"
    decimals: int = 0
    """Digits after the point that are left of outputs that are rounded."""
    key_hashed: bool = False
    """Whether a record has a hash of the caller's key."""
    tensors: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {})
    """Inputs and outputs of a model of tensors that are dropped or hashed, by name."""

    def of(self, row: Sequence[Value]) -> list[Value]:
        """Return what may be logged of a row: the value, its hash as text, or None if it is dropped or missing."""
        return [
            None
            if value is None or place in self.dropped
            else self.hash(self.hashed[place], value)
            if place in self.hashed
            else value
            for place, value in enumerate(row)
        ]

    def hash(self, feature: str, value: Value) -> str:
        """Return 32 hexadecimal digits: BLAKE2b with the key, of the feature and a text's UTF-8 or a number's 8 bytes.

        0.0 and -0.0 are equal; an integer that no double holds is hashed by its digits.
        With the feature, since an age and a number of children that are equal must not look equal.
        """
        return self._hash(b"input", feature.encode(), _bytes_of(value))

    def hash_output(self, probabilities: bytes) -> str:
        """Return the hash of the probabilities, or other numbers, as JSON."""
        return self._hash(b"output", probabilities)

    def hash_tensor(self, name: str, contents: bytes) -> str:
        """Return the hash of a tensor's bytes, with its name."""
        return self._hash(b"tensor", name.encode(), contents)

    def hash_label(self, label: str) -> str:
        """Return the hash of a label."""
        return self._hash(b"label", label.encode())

    @property
    def key_id(self) -> str:
        """16 hexadecimal digits that are the same for the same key, and "" without one."""
        return hashlib.blake2b(b"key", key=self.key, digest_size=8).hexdigest() if self.key else ""

    def _hash(self, *parts: bytes) -> str:
        # No part but the last can hold a zero byte, so different parts are different texts.
        return hashlib.blake2b(b"\0".join(parts), key=self.key, digest_size=16).hexdigest()


def _bytes_of(value: Value) -> bytes:
    if isinstance(value, str):
        return value.encode()
    double = float(value or 0)
    return struct.pack("<d", double + 0.0) if double == value else str(value).encode()


def redaction_of(description: Manifest, key_file: Path | None) -> Redaction | None:
    """Return what `model.toml` says of its features and outputs, None if all are kept.

    Raises RedactionError if a hash is wanted and there is no usable key.
    """
    places = enumerate(description.features)
    treated = {place: feature for place, feature in places if feature.log != "keep"}
    outputs = description.outputs
    key_hashed = description.key is not None and description.key.log == "hash"
    inputs, others = ({name: log for name, log in each.items() if log != "keep"} for each in description.tensor_logs)
    if not treated and outputs.mode == "keep" and not (key_hashed or inputs or others):
        return None
    hashed = {place: feature.name for place, feature in treated.items() if feature.log == "hash"}
    what = [
        *(f"feature {name}" for name in hashed.values()),
        *(f"tensor {name}" for each in (inputs, others) for name, log in each.items() if log == "hash"),
        *(["its outputs"] if outputs.mode == "hash" else []),
        *(["the caller's key"] if key_hashed else []),
    ]
    key = _key(key_file, what[0]) if what else b""
    dropped = frozenset(treated) - hashed.keys()
    return Redaction(dropped, hashed, key, outputs.mode, outputs.decimals, key_hashed, (inputs, others))


def scope_attributes(description: Manifest, redaction: Redaction) -> dict[str, str]:
    """Return what the scope of the records says of the redaction; the key's id tells which hashes can be compared."""
    pairs = {"prediction.redaction": redacted(description)}
    if redaction.outputs != "keep":
        pairs["prediction.redaction.outputs"] = str(description.outputs)
    if redaction.key:
        pairs["prediction.redaction.key_id"] = redaction.key_id
    return pairs


def redacted(description: Manifest) -> str:
    """Return which features or tensors are not logged as they are, as a JSON object: `{"age":"hash"}`."""
    found = {each.alias or each.name: each.log for each in description.columns if each.log != "keep"}
    for tensors in description.tensor_logs:
        found |= {name: log for name, log in tensors.items() if log != "keep"}
    return json.dumps(found, separators=(",", ":"))


def _key(file: Path | None, what: str) -> bytes:
    wanted = f"wanted a file with a secret of {SHORTEST_KEY} bytes or more, since the model has {what} hashed"
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
