"""Train the iris model again: writes the ONNX files, the version in model.toml and the figures in README.md.

The classifier is a support vector machine whose decision values are turned into probabilities by calibration; the
outlier detector is a one-class support vector machine. Both see standardised features. Everything random is fixed: the
same versions of the libraries give the same files.
"""

from __future__ import annotations

import datetime as dt
import platform
import re
import sys
import tomllib
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, OneClassSVM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

FOLDER = Path(__file__).parents[1] / "predictor" / "demo" / "iris"  # it travels in the wheel; models/iris leads there
SEED = 0
TEST_SHARE = 1 / 3
OUTLIER_SHARE = 0.05  # `nu`: the detector calls at most about this share of the training rows outliers
KERNEL_GAMMA = 0.1  # with the default every eighth flower that was held out is called an outlier
OPSETS = {"": 21, "ai.onnx.ml": 3}  # read by onnxruntime 1.20 and later
IR_VERSION = 10
NO_FLOWERS = [[9.5, 0.8, 0.4, 4.2], [0.5, 5.5, 9.0, 0.1], [7.9, 4.4, 1.0, 2.5]]
TOLERANCE = 1e-6  # float32 against the float64 of scikit-learn


def main() -> None:
    """Train, hold a test part out, convert, compare, write."""
    features, classes = load_iris(return_X_y=True)
    features = features.astype(np.float32)  # what the ONNX files get to see
    rows, test_rows, answers, test_answers = train_test_split(
        features, classes, test_size=TEST_SHARE, stratify=classes, random_state=SEED
    )
    folds = StratifiedKFold(5, shuffle=True, random_state=SEED)
    classifier = CalibratedClassifierCV(make_pipeline(StandardScaler(), SVC()), ensemble=False, cv=folds)
    classifier.fit(rows, answers)
    detector = make_pipeline(StandardScaler(), OneClassSVM(nu=OUTLIER_SHARE, gamma=KERNEL_GAMMA)).fit(rows)

    expected = classifier.predict_proba(features)
    classifier_onnx, detector_onnx = convert_classifier(classifier), convert_detector(detector)
    probabilities_differ = largest_difference(run(classifier_onnx, features), expected)
    scores_differ = largest_difference(run(detector_onnx, features)[:, 0], detector.decision_function(features))
    hits = run(classifier_onnx, test_rows).argmax(axis=1) == test_answers
    outliers = run(detector_onnx, test_rows) < 0

    today = dt.datetime.now(dt.UTC).date().isoformat()
    figures = {
        "Trained": today,
        "Rows trained on, held out": f"{len(rows)}, {len(test_rows)}",
        "Accuracy on the rows held out": f"{hits.mean():.3f} ({hits.sum()} of {hits.size})",
        "Outliers among the rows held out": f"{outliers.sum()} of {outliers.size}",
        "Largest difference to scikit-learn, probabilities": f"{probabilities_differ:.1e}",
        "Largest difference to scikit-learn, scores": f"{scores_differ:.1e}",
        "Python": platform.python_version(),
    } | {name: version(name) for name in ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy")}
    for name, value in figures.items():
        print(f"{name}: {value}")
    write_rows(features)
    onnx.save(classifier_onnx, FOLDER / "classifier.onnx")
    onnx.save(detector_onnx, FOLDER / "outlier.onnx")
    replace(FOLDER / "model.toml", r'(?m)^version = ".*"$', f'version = "{today}"')
    (FOLDER / "training.toml").write_text(ranges(rows), encoding="utf-8")
    table = "".join(f"| {name} | {value} |\n" for name, value in figures.items())
    replace(FOLDER / "README.md", r"(?s)\| Trained \|.*?\n(?=\n|$)", table)


def ranges(rows: Floats) -> str:
    """Return training.toml: the lowest and the highest value of each feature that the models were trained on."""
    names = [feature["name"] for feature in tomllib.loads((FOLDER / "model.toml").read_text("utf-8"))["features"]]
    pairs = zip(names, rows.min(axis=0), rows.max(axis=0), strict=True)
    told = "".join(f"{name} = [{low!s}, {high!s}]\n" for name, low, high in pairs)
    return f"# What the models saw in training, for dashboards, the page and the trial at the start.\n[range]\n{told}"


def write_rows(features: Floats) -> None:
    """Write all flowers and a few that are none, for `predictor load --rows`: about 2 % are outliers by intent."""
    names = [each["name"] for each in tomllib.loads((FOLDER / "model.toml").read_text())["features"]]
    lines = [",".join(f"{value:.1f}" for value in row) for row in [*features.tolist(), *NO_FLOWERS]]
    (FOLDER / "rows.csv").write_text("\n".join([",".join(names), *lines, ""]))


def convert_classifier(classifier: CalibratedClassifierCV) -> onnx.ModelProto:
    """Return scaler, support vectors and calibration as one ONNX model.

    The first two are as skl2onnx writes them. The calibration is written here in 9 nodes, for which skl2onnx takes 65,
    and four times as long for a single row. With d the decision values of the pairs of classes, B the matrix that
    credits each to its two classes and (a, b) the calibration of each class, a class has the value
    f = sign(d)B/2 + 1 + softsign(dB)/3 and the probability sigmoid(-(a f + b)), divided by the sum over the classes.
    """
    (calibrated,) = classifier.calibrated_classifiers_
    calibrated.estimator[-1].decision_function_shape = "ovo"  # the values of the pairs; training does not depend on it
    model = convert(calibrated.estimator)
    _, svm = model.graph.node[:2]
    del model.graph.node[2:]
    pairs = svm.output[1]
    credit = np.array([[1, -1, 0], [1, 0, -1], [0, 1, -1]])
    slope = np.array([each.a_ for each in calibrated.calibrators])
    offset = np.array([each.b_ for each in calibrated.calibrators])
    constants = {"credit": credit, "vote": -slope * credit / 2, "margin": -slope / 3, "offset": -(slope + offset)}
    model.graph.initializer.extend(
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "classes"))
    steps = [
        ("MatMul", [pairs, "credit"], "confidence"),
        ("Softsign", ["confidence"], "bounded"),
        ("Mul", ["bounded", "margin"], "by_margin"),
        ("Sign", [pairs], "winners"),
        ("MatMul", ["winners", "vote"], "by_votes"),
        ("Sum", ["by_votes", "by_margin", "offset"], "logits"),
        ("Sigmoid", ["logits"], "one_against_rest"),
        ("ReduceSum", ["one_against_rest", "classes"], "total"),
        ("Div", ["one_against_rest", "total"], "probabilities"),
    ]
    model.graph.node.extend(helper.make_node(kind, inputs, [output]) for kind, inputs, output in steps)
    return finished(model, "probabilities", 3)


def convert_detector(detector: Pipeline) -> onnx.ModelProto:
    """Return the detector as skl2onnx writes it, without the label that follows from the score."""
    return finished(convert(detector), "scores", 1)


def convert(pipeline: Pipeline) -> onnx.ModelProto:
    """Return what skl2onnx makes of a fitted pipeline."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Attribute `prob[AB]_`", FutureWarning)  # skl2onnx looks for the old way
        options = {SVC: {"zipmap": False}} if isinstance(pipeline[-1], SVC) else None
        inputs = [("features", FloatTensorType([None, 4]))]
        model: onnx.ModelProto = to_onnx(pipeline, initial_types=inputs, options=options, target_opset=OPSETS)
    return model


def finished(model: onnx.ModelProto, output: str, width: int) -> onnx.ModelProto:
    """Return the model with one output, without the nodes that do not lead to it, checked."""
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", width]))
    needed = {output}
    for node in reversed(list(model.graph.node)):
        if needed.isdisjoint(node.output):
            model.graph.node.remove(node)
        needed.update(node.input)
    model.opset_import.sort(key=lambda each: each.domain)  # skl2onnx has them from a set, in an order of chance
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: onnx.ModelProto, rows: Floats) -> Floats:
    """Return the only output for `rows`."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"features": rows})
    return np.asarray(output)


def largest_difference(found: Floats, wanted: Any) -> float:  # noqa: ANN401 - what scikit-learn returns
    """Return the largest difference; ends the run if it is more than float32 accounts for."""
    difference = float(np.abs(found - wanted).max())
    if difference > TOLERANCE:
        sys.exit(f"onnxruntime and scikit-learn differ by {difference}; nothing was written")
    return difference


def replace(path: Path, pattern: str, text: str) -> None:
    """Write `text` over what matches `pattern` in the file; ends the run if that is not one place."""
    content, count = re.subn(pattern, lambda _: text, path.read_text(encoding="utf-8"))
    if count != 1:
        sys.exit(f"{path} has {count} places for {text.splitlines()[0]!r}; wanted one")
    path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
