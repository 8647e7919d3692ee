"""THE table of the scope's attributes: what holds for all records of a line."""

from __future__ import annotations

from predictor.recording.record_schema import Attribute

SCOPE: tuple[Attribute, ...] = (
    Attribute("prediction.model.name", "string", "from `model.toml`, or the name of its file or folder"),
    Attribute(
        "prediction.model.version",
        "string",
        "from `model.toml`; the number of its folder; or of a bare file the first digits of its digest",
    ),
    Attribute("prediction.model.digest", "string", "`sha256:…` over the model's files"),
    Attribute(
        "prediction.redaction",
        "string",
        'which features are not logged as they are, as a JSON object: `{"age":"hash"}`; absent if all are',
    ),
    Attribute(
        "prediction.redaction.outputs",
        "string",
        "`drop`, `hash`, or `round:2` for two digits after the point: what was done to outputs; absent if they are "
        "kept",
    ),
    Attribute(
        "prediction.redaction.key_id",
        "string",
        "16 hexadecimal digits: hashes of records with the same digits can be compared; absent without a hash",
    ),
    Attribute(
        "prediction.schema_version",
        "int",
        "1: the version of this page; it changes when a name, a type or a meaning does",
    ),
    Attribute("prediction.stream.id", "string", "the stream, a UUIDv7"),
)
"""What holds for all records of a line; stream events have the last two."""
