"""Renders the page's HTML once at the start, and loads the files that it refers to."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from predictor import __version__
from predictor.dashboard.view import MOST_FEATURES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from predictor.core.features import Feature
    from predictor.inference.model import Model
    from predictor.inference.signature import TensorSpec
    from predictor.inference.training_ranges import Range

FLOATS = frozenset({"FP16", "FP32", "FP64"})
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Asks(NamedTuple):
    """What the page's forms ask for."""

    token: bool
    """Predictions want a token."""
    feedback: bool
    """Feedback is taken."""
    feedback_token: bool
    """Feedback wants a token."""


class File(NamedTuple):
    """A file as a browser gets it."""

    content_type: str
    content: bytes


_SHOWN = 64
"""Values of a sample that are written out."""


def _body(model: Model) -> str | None:
    """Return a body that a model of tensors takes, None for a model of rows."""
    if model.tensors is None:
        return None
    sample = model.tensors.sample
    if sample is None or sum(array.size for array in sample.values()) > _SHOWN:
        return json.dumps({"inputs": {each.name: [] for each in model.signature.inputs}})
    return json.dumps({"inputs": {name: array.tolist() for name, array in sample.items()}})


def _shown(spec: TensorSpec) -> str:
    return f"{spec.name} {spec.datatype} {[*spec.shape]}"


def _feature(feature: Feature, ranges: Mapping[str, Range]) -> dict[str, object]:
    """Return what the page needs of a column; `id` is what scripts and labels call its field."""
    kind = {"BYTES": "text", "BOOL": "bool"}.get(feature.datatype)
    choices = [*dict.fromkeys((str(feature.sample), *feature.choices))] if feature.choices else []
    return {
        "id": feature.alias or feature.name,
        "name": feature.name,
        "unit": "" if feature.unit == "1" else feature.unit,
        "sample": feature.sample,
        "type": kind or ("number" if feature.datatype in FLOATS else "integer"),
        "choices": choices,
        "missing": feature.missing,
        "range": ranges.get(feature.name),
        "log": feature.log,
    }


def files() -> dict[str, File]:
    """Return by name the files that the page loads."""
    found = {}
    for each in resources.files(__package__).joinpath("files").iterdir():
        content_type = _TYPES.get("." + each.name.rpartition(".")[2])
        if content_type:
            found[each.name] = File(content_type, each.read_bytes())
    return found


def html(model: Model, ranges: Mapping[str, Range], stream_id: str | None, asks: Asks) -> bytes:
    """Return the page for a model; `stream_id` names this start's log, if any."""
    about = model.description
    features = [_feature(each, ranges) for each in about.features]
    columns = [_feature(each, ranges) for each in about.columns]
    environment = Environment(
        loader=PackageLoader(__package__, "files"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return (
        environment.get_template("page.html")
        .render(
            version=__version__,
            about=about,
            digest=model.digest,
            features=features,
            columns=columns,
            wide=len(features) > MOST_FEATURES,
            script={
                "labels": about.labels,
                "features": features[:MOST_FEATURES],
                "columns": [{name: each[name] for name in ("id", "type")} for each in columns[: MOST_FEATURES + 1]],
                "gives": about.gives,
                "values": about.values[:MOST_FEATURES],
                "shares": about.gives == "values" and about.task == "classification",
                "width": len(features),
                "ownLabel": model.own_label,
                "tensors": model.tensors is not None,
                "name": about.name,
                "version": about.version,
                "digest": model.digest,
            },
            samples=[each.sample for each in about.columns],
            body=_body(model),
            takes=[_shown(each) for each in model.signature.inputs],
            gives=[_shown(each) for each in model.own_outputs],
            stream_id=stream_id,
            tokens=asks.token,
            feedback=asks.feedback,
            feedback_tokens=asks.feedback_token,
        )
        .encode()
    )
