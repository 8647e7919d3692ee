"""`GET /metadata` and `GET /label`: a model's inputs and outputs in the words of the prediction log pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from predictor.api.catalog import Catalog
    from predictor.core.features import Feature
    from predictor.inference.model import Model
    from predictor.inference.outputs import Outputs
    from predictor.inference.signature import TensorSpec


_NAMES = {"BYTES": "str", "BOOL": "bool"}


def models(catalog: Catalog) -> list[dict[str, object]]:
    """Return every version that is served: of each model the default one first, of all what the pattern means."""
    return [
        {
            "name": each.name,
            "version": each.version,
            "digest": each.facts.digest,
            "task": each.facts.description.task,
            "default": each is catalog.default,
        }
        for each in catalog.versions()
    ]


def metadata(model: Model) -> dict[str, object]:
    """Return types, shapes and samples; the samples of the answers are what the model gives for its sample row.

    Beyond the pattern: the task, what each number of the answer is, the features with the aliases that records have
    for them, and `batch`: whether rows of several requests run together, or one by one.
    """
    about = model.description
    if model.tensors:
        return _of_tensors(model)
    sample = [[column.sample for column in about.columns]]
    outputs = model.run([[feature.sample for feature in about.features]])
    numbers = outputs.values if outputs.probabilities is None else outputs.probabilities
    names = about.labels if about.gives == "probabilities" else about.values
    fields: dict[str, object] = {
        "data_type": _type_of({column.datatype for column in about.columns}),
        "data_structure": f"(1,{len(about.columns)})",
        "data_sample": sample,
        "prediction_type": "str" if numbers is None else str(numbers.dtype),
        "prediction_structure": "(1,)" if numbers is None else f"(1,{len(names)})",
        "prediction_sample": _label(model, outputs) if numbers is None else numbers[0].tolist(),
        "outlier_type": None,
        "outlier_structure": None,
        "outlier_sample": None,
        "batch": model.together,
        "task": about.task,
        "prediction_names": list(names),
        **({} if about.threshold is None else {"threshold": about.threshold}),
        "features": [_feature(each, key=each not in about.features) for each in about.columns],
    }
    if outputs.outliers is not None and outputs.scores is not None:
        fields["outlier_type"] = "bool, float32"
        fields["outlier_structure"] = "(1,2)"
        fields["outlier_sample"] = [bool(outputs.outliers[0]), float(outputs.scores[0])]
    return fields


def _of_tensors(model: Model) -> dict[str, object]:
    """Return the inputs and outputs of a model that takes tensors, in the words of the Open Inference Protocol."""
    return {
        "batch": model.together,
        "task": model.description.task,
        "inputs": [_tensor(spec) for spec in model.signature.inputs],
        "outputs": [_tensor(spec) for spec in model.own_outputs],
    }


def _tensor(spec: TensorSpec) -> dict[str, object]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": [*spec.shape]}


def _type_of(datatypes: set[str]) -> str:
    """Return numpy's name of the only type, `object` for several."""
    if len(datatypes) > 1:
        return "object"
    (only,) = datatypes
    return _NAMES.get(only) or only.lower().replace("fp", "float")


def _label(model: Model, outputs: Outputs) -> str | None:
    if outputs.labels is None:
        return None
    found = outputs.labels.tolist()[0]
    return model.description.labels[found] if isinstance(found, int) else str(found)


def _feature(feature: Feature, *, key: bool) -> dict[str, object]:
    return {
        **({"role": "key"} if key else {}),
        "name": feature.name,
        "alias": feature.alias,
        "datatype": feature.datatype,
        "unit": feature.unit,
        "missing": feature.missing,
    }


def labels(model: Model) -> dict[str, str]:
    """Return the labels by their index."""
    return {str(index): label for index, label in enumerate(model.description.labels)}
