"""What a record needs to know of the model that it speaks of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from predictor.core.features import aliases

if TYPE_CHECKING:
    from predictor.core.result import Prediction
    from predictor.inference.manifest import Gives, Manifest
    from predictor.recording.redaction import Redaction

WIDE = 32
"""A model with more features than this logs them as one JSON text: Loki takes 128 attributes a record."""
LABELS = 500
"""Of a model with more, a record has the most probable ones only: the others would fill it."""
VALUE = "prediction.value"
_FLOATS = frozenset({"FP16", "FP32", "FP64"})


class Schema(NamedTuple):
    """What a record needs to know of the model."""

    model: str
    """`name@version`"""
    features: tuple[str, ...]
    """Their aliases."""
    labels: tuple[str, ...]
    redaction: Redaction | None = None
    """What is not logged as it is; None if all is."""
    values: tuple[str, ...] = ()
    """The attributes of the numbers that are no probabilities."""
    gives: Gives = "probabilities"
    plain: bool = True
    """Whether all features are floats, none may be missing, and there is no key."""
    key: str | None = None
    """The name of the caller's key, which stands behind the features; None if there is none."""
    per_request: bool = False
    """Whether a record has as many rows of a request as fit."""

    @property
    def wide(self) -> bool:
        """Whether the features are logged as one JSON text."""
        return len(self.features) > WIDE

    @property
    def many(self) -> bool:
        """Whether a record has the most probable labels only."""
        return self.gives == "probabilities" and len(self.labels) > LABELS

    @property
    def many_rows(self) -> bool:
        """Whether a record has many rows of a table: not where each needs a hash, a list of labels, or its key."""
        hashed = self.redaction is not None and self.redaction.outputs == "hash"
        return self.per_request and self.gives != "tensors" and not (self.many or hashed or self.key)

    def label(self, prediction: Prediction) -> str | None:
        """Return the label of a prediction; None if it has none."""
        found = prediction.label
        return self.labels[found] if isinstance(found, int) else found


def schema_of(description: Manifest, redaction: Redaction | None = None) -> Schema:
    """Return what a record needs of a model's description."""
    features = tuple(feature.alias or feature.name for feature in description.features)
    one = description.gives == "values" and len(description.values) == 1 and description.task == "regression"
    names = (VALUE,) if one else tuple(f"{VALUE}.{alias}" for alias in aliases(description.values))
    plain = all(each.datatype in _FLOATS and not each.missing for each in description.features)
    key = description.key
    return Schema(
        f"{description.name}@{description.version}",
        features,
        tuple(description.labels),
        redaction,
        names,
        description.gives,
        plain and key is None,
        key.name if key else None,
        (description.log_rows or ("per_request" if description.gives == "tensors" else "per_row")) == "per_request",
    )
