"""Predictions of every form that a record can have."""

from __future__ import annotations

from typing import Any

from predictor.core.problems import Kind
from predictor.core.result import ManyPredictions, Origin, Prediction, TensorTexts
from predictor.recording.record_schema import Schema
from predictor.recording.redaction import Redaction

IRIS = Schema(
    "iris@1", ("sepal_length", "sepal_width", "petal_length", "petal_width"), ("setosa", "versicolor", "virginica")
)
ODD = Schema('a"b\\c@é', ("x",), ('q"\\\n\t\x00\x7f\u2028', "日本 😀 ñ", "%s %b {0}"))
WIDE = Schema("wide@1", tuple(f"f{index:02}" for index in range(33)), ("no", "yes"))
WIDER = Schema("wider@1", tuple(f"f{index}" for index in range(4000)), ("no", "yes"))

TYPED = Schema("typed@1", ("city", "age", "member", "income"), ("stays", "leaves"), plain=False)
PRICE = Schema("price@1", ("area", "rooms"), (), values=("prediction.value",), gives="values")
QUANTILES = PRICE._replace(values=tuple(f"prediction.value.p{n}" for n in (5, 10, 50, 90, 95)))
CLUSTERS = Schema("clusters@1", ("x",), (), values=("prediction.value.d_0", "prediction.value.d_1"), gives="label")
LABEL = Schema("label@1", ("x",), (), gives="label")
EMBEDDING = PRICE._replace(values=tuple(f"prediction.value.e_{n}" for n in range(40)))
TENSORS = Schema("digits@2", (), (), gives="tensors")
SPECIES = Schema("species@1", ("x",), tuple(f"s{n}" for n in range(501)))
LONG = "é" * 200
KEYED = PRICE._replace(plain=False, key="order")
KEY_HASHED = KEYED._replace(
    redaction=Redaction(dropped=frozenset(), hashed={}, key=b"k" * 32, key_hashed=True),
)
HEAVY = TYPED._replace(features=tuple(f"f{n}" for n in range(33)))

_SECRETIVE = Redaction(dropped=frozenset({1}), hashed={0: "sepal_length", 3: "petal_width"}, key=b"k" * 32)
REDACTED = IRIS._replace(redaction=_SECRETIVE)
MUTE = IRIS._replace(redaction=Redaction(dropped=frozenset(range(4)), hashed={}, key=b""))
_NOTHING = Redaction(dropped=frozenset(), hashed={}, key=b"k" * 32)
ROUNDED = IRIS._replace(redaction=_NOTHING._replace(outputs="round", decimals=2))
HASHED = IRIS._replace(redaction=_NOTHING._replace(outputs="hash"))
DROPPED = IRIS._replace(redaction=_SECRETIVE._replace(outputs="drop"))
WIDE_REDACTED = WIDE._replace(redaction=_SECRETIVE)

JOB = "0199c0de-0000-7000-8000-000000000001"
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7"
RECEIVED_NS, OBSERVED_NS = 1_760_000_000_123_456_789, 1_760_000_000_125_000_001
ROW = (6.7, 3.0, 5.2, 2.3)
PROBABILITIES = [0.0074, 0.0211, 0.9715]
EXTREMES = (1e-45, 1e22, -0.0, 5e-324, 3.4028234663852886e38, -1.5e300, 0.1, 1e16, 123456789.123456789, 1.0)


def origin(**changes: object) -> Origin:
    """Return where a request came from."""
    fields: dict[str, object] = {
        "trace_id": TRACE_ID,
        "span_id": SPAN_ID,
        "route": "/predict",
        "received_ns": RECEIVED_NS,
        "received": 12.5,
    }
    return Origin(**(fields | changes))  # type: ignore[arg-type]


def success(**changes: object) -> Prediction:
    """Return an answered row of iris."""
    fields: dict[str, object] = {
        "job_id": JOB,
        "origin": origin(),
        "index": 0,
        "features": ROW,
        "probabilities": PROBABILITIES,
        "label": 2,
        "outlier": False,
        "score": 0.4375,
        "queue": 0.00025,
        "inference": 0.0005,
        "total": 0.0012,
        "batch_size": 3,
    }
    return Prediction(**(fields | changes))  # type: ignore[arg-type]


def answered(**changes: object) -> Prediction:
    """Return an answered row of a model without probabilities and detector."""
    return success(**({"probabilities": None, "label": None, "outlier": None, "score": None} | changes))


def failure(kind: Kind, **changes: object) -> Prediction:
    """Return a failed request; its rows were never known, unless `changes` say otherwise."""
    fields: dict[str, object] = {"job_id": JOB, "origin": origin(), "total": 10.0, "error": kind}
    return Prediction(**(fields | changes))  # type: ignore[arg-type]


def told_of(*, rows: int = 3, **texts: str) -> Prediction:
    """Return an answered request of tensors."""
    fields = {"outlier": None, "score": None, "features": None, "probabilities": None, "label": None}
    return success(index=0, rows=rows, tensors=TensorTexts(**texts), **fields)


CASES: dict[str, tuple[Schema, Prediction]] = {
    "normal": (IRIS, success()),
    "second row": (IRIS, success(index=1)),
    "outlier": (IRIS, success(outlier=True, score=-0.25)),
    "request id": (IRIS, success(origin=origin(request_id="a.B_c-1"))),
    "sampled": (IRIS, success(origin=origin(kept="head"))),
    "kept": (IRIS, success(outlier=True, score=-1.0, origin=origin(kept="outlier", request_id="r"))),
    "no detector": (IRIS, success(outlier=None, score=None)),
    "score of minus zero": (IRIS, success(score=-0.0)),
    "wide": (WIDE, success(features=tuple(float(n) for n in range(33)), probabilities=[0.25, 0.75], label=1)),
    "cut": (WIDER, success(features=tuple(n / 7 for n in range(4000)), probabilities=[0.5, 0.5], label=0)),
    "redacted": (REDACTED, success()),
    "all dropped": (MUTE, success(outlier=None, score=None)),
    "rounded outputs": (ROUNDED, success()),
    "rounded without a detector": (ROUNDED, success(outlier=None, score=None)),
    "hashed outputs": (HASHED, success(outlier=True)),
    "dropped outputs": (DROPPED, success()),
    "dropped outputs of a failure": (DROPPED, failure(Kind.MODEL_FAILED, index=4, features=ROW)),
    "redacted failure": (REDACTED, failure(Kind.MODEL_FAILED, index=4, features=ROW)),
    "wide redacted": (WIDE_REDACTED, success(features=(0.5,) * 33, probabilities=[0.25, 0.75], label=1)),
    "wide failure": (WIDE, failure(Kind.MODEL_FAILED, index=4, features=(0.5,) * 33)),
    "cut failure": (WIDER, failure(Kind.MODEL_FAILED, index=4, features=tuple(n / 7 for n in range(4000)))),
    "typed": (TYPED, success(features=("Bern", 3, True, 0.5), probabilities=[0.25, 0.75], label=1)),
    "missing": (TYPED, success(features=("", 2**63, False, None), probabilities=[0.25, 0.75], label=1)),
    "long text": (TYPED, success(features=(LONG, -1, False, None), probabilities=[0.25, 0.75], label=1)),
    "long texts cut": (HEAVY, success(features=(LONG * 9,) * 33, probabilities=[0.25, 0.75], label=1)),
    "typed failure": (TYPED, failure(Kind.MODEL_FAILED, index=4, features=("a", 3, True, None))),
    "typed redacted": (
        TYPED._replace(redaction=Redaction(dropped=frozenset({1}), hashed={0: "city", 3: "income"}, key=b"k" * 32)),
        success(features=(LONG, None, False, None), probabilities=[0.25, 0.75], label=1),
    ),
    "number": (PRICE, answered(features=(80.0, 3.0), values=[250_000.125])),
    "numbers": (QUANTILES, answered(features=(80.0, 3.0), values=[1.0, 2.0, 3.0, 4.5, 1e21], outlier=True, score=-1.0)),
    "label and scores": (CLUSTERS, answered(features=(1.5,), values=[0.25, 4.0], label='one "more"')),
    "label alone": (LABEL, answered(features=(1.5,), label="7")),
    "tensors": (TENSORS, told_of(inputs='[{"name":"x"}]', outputs="[]")),
    "tensors kept out": (TENSORS, told_of(rows=1)),
    "tensors that failed": (TENSORS, failure(Kind.MODEL_FAILED, index=0, rows=3, tensors=TensorTexts("[]"))),
    "named": (IRIS, success(origin=origin(infer_id='a "b" \u2028é', request_id="r"))),
    "number of a named one": (PRICE, answered(features=(80.0, 3.0), values=[2.5], origin=origin(infer_id="7"))),
    "many numbers": (EMBEDDING, answered(features=(80.0, 3.0), values=[n / 3 for n in range(40)])),
    "many labels": (SPECIES, success(features=(1.0,), probabilities=[n / 125250 for n in range(501)], label=7)),
    "key": (KEYED, answered(features=(80.0, 3.0, 'A-"1017"'), values=[1.5])),
    "number as key": (KEYED, answered(features=(80.0, 3.0, 2**62), values=[1.5])),
    "hashed key": (KEY_HASHED, answered(features=(80.0, 3.0, "A-1017"), values=[1.5])),
    "key of a failure": (KEYED, failure(Kind.MODEL_FAILED, index=4, features=(80.0, 3.0, "A-1017"))),
    "odd route": (IRIS, success(origin=origin(route='/"é\\'))),
    **{f"odd label {n}": (ODD, success(features=(1.0,), label=n)) for n in range(3)},
    **{f"extreme {x}": (IRIS, success(features=(x, -x, x, x), probabilities=[x, x, x], score=x)) for x in EXTREMES},
    **{f"{kind.word} without rows": (IRIS, failure(kind)) for kind in Kind},
    **{f"{kind.word} of a row": (IRIS, failure(kind, index=2, features=ROW)) for kind in Kind},
    "kept failure": (IRIS, failure(Kind.MODEL_FAILED, origin=origin(kept="error"))),
}


def many(rows: list[list[Any]], **changes: object) -> ManyPredictions:
    """Return an answered request of several rows."""
    fields: dict[str, object] = {
        "job_id": JOB,
        "origin": origin(),
        "features": rows,
        "probabilities": None,
        "labels": None,
        "outliers": None,
        "scores": None,
        "values": None,
        "queue": 0.00025,
        "inference": 0.0005,
        "total": 0.0012,
        "batch_size": 7,
    }
    return ManyPredictions(**(fields | changes))  # type: ignore[arg-type]


def _flowers(**changes: object) -> ManyPredictions:
    fields: dict[str, object] = {
        "probabilities": [PROBABILITIES, [0.5, 0.25, 0.25], [1e-45, 0.1, 0.9]],
        "labels": [2, 0, 2],
        "outliers": [False, True, False],
        "scores": [0.4375, -0.25, -0.0],
    }
    return many([[*ROW], [5.1, 3.5, 1e22, -0.0], [0.1, 0.2, 0.3, 5e-324]], **(fields | changes))


MANY: dict[str, tuple[Schema, ManyPredictions]] = {
    "flowers": (IRIS, _flowers(origin=origin(request_id="r-1", infer_id='an "id"', kept="outlier"))),
    "without a detector": (IRIS, _flowers(outliers=None, scores=None)),
    "no outlier": (IRIS, _flowers(outliers=[False] * 3)),
    "redacted": (REDACTED, _flowers()),
    "all dropped": (MUTE, _flowers()),
    "rounded outputs": (ROUNDED, _flowers()),
    "dropped outputs": (DROPPED, _flowers()),
    "typed": (
        TYPED,
        many(
            [["Bern", 3, True, 0.5], ['é "q" \u2028\n', 2**63, False, None], ["", None, None, -0.0]],
            probabilities=[[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]],
            labels=[1, 0, 0],
        ),
    ),
    "odd labels": (ODD, many([[1.0], [2.0]], probabilities=[[0.5, 0.25, 0.25]] * 2, labels=[0, 1])),
    "number": (PRICE, many([[80.0, 3.0], [1.0, 2.0]], values=[[250_000.125], [1e-7]])),
    "numbers": (QUANTILES, many([[80.0, 3.0]], values=[[1.0, 2.0, 3.0, 4.5, 1e21]])),
    "label and scores": (CLUSTERS, many([[1.5], [2.5]], values=[[0.25, 4.0], [1.0, 2.0]], labels=['one "more"', "0"])),
    "label alone": (LABEL, many([[1.5]], labels=["7"])),
    "many numbers": (EMBEDDING, many([[80.0, 3.0]] * 2, values=[[n / 3 for n in range(40)]] * 2)),
    "wide": (WIDE, many([[n / 7 for n in range(33)]] * 2, probabilities=[[0.25, 0.75]] * 2, labels=[1, 1])),
}
"""Requests of several rows, as one record has them."""
