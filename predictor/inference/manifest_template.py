"""`predictor init FILE.onnx`: a model folder whose `model.toml` is complete but for meaning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from predictor.inference import manifest
from predictor.inference.model import load
from predictor.inference.onnx_graph import other_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from predictor.core.features import Feature
    from predictor.inference.model import Model

_TWO = 2
_FREE = 100
"""Features that are written out; a model with more reads them from its file."""


def init(file: Path, folder: Path | None = None) -> Path:
    """Write the folder of a bare ONNX file and return the path of its `model.toml`.

    Raises ModelError for a file that cannot be served, and FileExistsError rather than write over anything.
    """
    model = load(file)
    place = folder or Path(model.description.name)
    content = file.read_bytes()
    place.mkdir(parents=True, exist_ok=True)
    path = place / manifest.FILE
    with path.open("x", encoding="utf-8") as text:
        text.write("\n".join(_lines(model, file.name)) + "\n")
    for name in (file.name, *other_files(content)):
        if (place / name).resolve() != (file.parent / name).resolve():
            with (place / name).open("xb") as copy:
                copy.write((file.parent / name).read_bytes())
    return path


def _lines(model: Model, file: str) -> Iterator[str]:
    about = model.description
    yield f"# {model.summary}."
    yield f"name = {_text(about.name)}"
    yield 'version = "1"                    # in every record: change it with the model'
    yield f"file = {_text(file)}"
    yield f"task = {_text(str(about.task))}"
    if about.gives == "values":
        yield '# activation = "softmax"         # if these are logits of classes; "sigmoid" if one is a probability'
        yield "# multilabel = true              # if each is a probability of its own label"
    if about.labels:
        listed = ", ".join(map(_text, about.labels))
        yield f"labels = [{listed}]  # in the order of the probabilities: say what they mean"
    if len(about.labels) == _TWO:
        yield f"# threshold = 0.5                # from this probability on the answer is {_text(about.labels[1])}"
    if model.tensors:
        yield from _tensors(model)
    if len(about.features) > _FREE:
        yield f"# {len(about.features)} features are read from the file; [[features]] would name them"
        return
    for feature in about.features:
        yield from _feature(feature)


def _tensors(model: Model) -> Iterator[str]:
    for key, specs in (("inputs", model.signature.inputs), ("outputs", model.own_outputs)):
        for spec in specs:
            yield ""
            yield f"[[{key}]]"
            yield f"name = {_text(spec.name)}  # {spec.datatype} {[*spec.shape]}"
            yield '# log = "drop"                   # keeps it out of the log; "hash" keeps a keyed hash'


def _feature(feature: Feature) -> Iterator[str]:
    yield ""
    yield "[[features]]"
    yield f"name = {_text(feature.name)}  # what it is; {feature.datatype}"
    yield 'unit = "1"                       # "EUR", "a", "cm"; "1" if it has none'
    yield f"sample = {json.dumps(feature.sample)}  # a typical value"
    if feature.missing:
        yield "missing = true                   # null is accepted as a missing value"
    yield '# log = "drop"                   # keeps it out of the log; "hash" keeps a keyed hash'


def _text(value: str) -> str:
    """Return a TOML string."""
    return json.dumps(value, ensure_ascii=False)
