"""LogQL that joins feedback to predictions: two metric queries with a series for each row of each job.

A series is there once however often its record is stored, so these numbers are exact; and there are as many series as
rows, so Loki refuses them above `max_query_series` instead of answering wrongly. The variable `sample` keeps the jobs
whose random last digits it names, on both sides alike.
"""

from __future__ import annotations

from otel.grafana.logql import PREDICTIONS, RECORDS

MODEL = "prediction_model_name, prediction_model_version, prediction_model_digest"
_ROW = "prediction_job_id, prediction_index"
_SAMPLE = '| prediction_job_id=~"$sample"'
FEEDBACK = f'{RECORDS} | event_name="prediction.feedback" {_SAMPLE}'
"""Feedback of all models: its own record names the one that the server had when it came, which is not asked for."""


def _each(records: str, by: str, over: str = "$__range") -> str:
    """Return a series for each set of labels; it is worth as much as there are copies, which nobody may use."""
    return f"sum by ({by}) (count_over_time({records} [{over}]))"


_PREDICTED = _each(f"{PREDICTIONS} {_SAMPLE} | label_format truly=prediction_label", f"{MODEL}, {_ROW}, truly")
"""A series for each answered row; its label is called as the true one, to be compared with it."""
_ANSWERED = _each(f'{RECORDS} | event_name="prediction" | error_type="" {_SAMPLE}', _ROW)
"""A series for each row that any model has answered."""
_SAID = _each(f'{FEEDBACK} | prediction_feedback_label!="" or prediction_feedback_value!=""', _ROW)
"""A series for each row of which feedback says a label or a number."""
# The time as a float is exact to 256 ns.
_LATEST = (
    f'topk by ({_ROW}) (1, max_over_time({FEEDBACK} | prediction_feedback_label!=""'
    " | label_format truly=prediction_feedback_label | label_format said_at=`{{ __timestamp__ | unixEpochNanos }}`"
    f" | unwrap said_at [$__range]) by ({_ROW}, truly))"
)
"""A series for each row of which feedback says a label: the latest one."""

_COVERED = f"{_PREDICTED} and on ({_ROW}) {_SAID}"
_JUDGED = f"{_PREDICTED} and on ({_ROW}) {_LATEST}"
_RIGHT = f"{_PREDICTED} and on ({_ROW}, truly) {_LATEST}"


def _share(some: str, every: str, by: str) -> str:
    return f"avg by ({by}) (0 * ({some}) + 1 or 0 * ({every}))"


PREDICTIONS_OF_MODELS = f"count by ({MODEL}) ({_PREDICTED})"
COVERAGE = _share(_COVERED, _PREDICTED, "").replace("avg by () ", "avg ")
COVERAGE_OF_MODELS = _share(_COVERED, _PREDICTED, MODEL)
JUDGED_OF_MODELS = f"count by ({MODEL}) ({_JUDGED})"
ACCURACY_OF_MODELS = _share(_RIGHT, _JUDGED, MODEL)
STRAY = f"count({_SAID} unless {_ANSWERED})"
"""How many rows feedback speaks of that nobody has predicted."""

_LOGGED = "{{ .prediction_model_name }} {{ .prediction_model_version }}: {{ .prediction_label }}"
CONFUSION = (
    "count by (logged, truly) ("
    + _each(f"{PREDICTIONS} {_SAMPLE} | label_format logged=`{_LOGGED}`", f"{_ROW}, logged")
    + f" * on ({_ROW}) group_left (truly) {_LATEST})"
)
"""How many predictions there are of each logged and true label."""

_KIND = (
    "{{ if .prediction_feedback_label }}{{ .prediction_feedback_label }}"
    '{{ else if .prediction_feedback_value }}{{ "(number)" }}{{ else }}{{ "(comment)" }}{{ end }}'
)
OVER_TIME = "count by (said) ({})".format(
    _each(
        f"{FEEDBACK} | label_format said=`{_KIND}`",
        "said, prediction_stream_id, prediction_stream_sequence",
        "$__auto",
    )
)
"""Feedback by what it says; each record is once there, by its stream and number."""
