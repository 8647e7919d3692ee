"""The models of this repository: what a dashboard should know of them before the first record comes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

from predictor.inference import manifest
from predictor.recording.record_model import WIDE

MODELS = Path(__file__).parents[2] / "models"


class Feature(NamedTuple):
    """A feature that records hold as a number, and its lowest and highest value in training, if that is known."""

    name: str
    unit: str
    trained: tuple[float, float] | None


class Known(NamedTuple):
    """What is known of one model."""

    name: str
    version: str
    labels: tuple[str, ...]
    features: list[Feature]


def models() -> list[Known]:
    """Return the models in the order of their folders."""
    return [_read(path.parent) for path in sorted(MODELS.glob("*/model.toml"))]


def _read(folder: Path) -> Known:
    about = manifest.read(folder)
    training = folder / "training.toml"
    ranges = tomllib.loads(training.read_text(encoding="utf-8"))["range"] if training.exists() else {}
    # What is dropped or hashed is no number in the record, and a wide row is one text.
    logged = [each for each in about.features if each.log == "keep" and len(about.features) <= WIDE]
    features = []
    for each in logged:
        trained = ranges.get(each.name)
        features.append(Feature(each.name, each.unit, (trained[0], trained[1]) if trained else None))
    return Known(about.name, about.version, about.labels, features)
