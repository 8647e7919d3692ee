"""LogQL over the prediction log: the pieces that the dashboards' queries are made of.

Loki keeps every attribute of docs/record.md as structured metadata, with underscores for dots.
A record that was sent again can be stored twice. Log queries show it once, `count_over_time` counts both; so what must
be exact is counted as different numbers or different streams, and where that is not possible the panel says so.
"""

from __future__ import annotations

RECORDS = '{service_name="$service", k8s_namespace_name=~"$namespace"}'
"""All records of the chosen service."""
MODEL = '| prediction_model_name=~"$model" | prediction_model_version=~"$version"'
ATTEMPTS = f'{RECORDS} | event_name="prediction" {MODEL}'
"""Predictions and failed ones: the latter have no label, so the variable `label` must not filter them."""
PREDICTIONS = f'{ATTEMPTS} | prediction_label=~"$label" | error_type=""'
"""Predictions that were answered."""
OUTLIER_SHARE = (
    f'avg_over_time({PREDICTIONS} | prediction_outlier!=""'
    ' | label_format outlier_share=`{{ if eq .prediction_outlier "true" }}1{{ else }}0{{ end }}`'
    " | unwrap outlier_share [RANGE]) by (BY)"
)
"""Of answered rows; RANGE and BY are for the panel to fill in."""
KEPT = '| label_format trace=`{{ if eq .flags "1" }}{{ .trace_id }}{{ end }}`'
"""Adds `trace`, the trace id where a span was kept and empty elsewhere: every record has a trace id."""

COPIES = "A record that was sent again after a break can count twice here."
"""What panels say that use `count_over_time` or `rate` of records."""

STREAM = "by (prediction_stream_id, k8s_pod_name)"


def event(name: str) -> str:
    """Return a query of stream events; `name` is what follows `prediction.stream.`."""
    return f'{RECORDS} | event_name="prediction.stream.{name}"'


def events(*names: str) -> str:
    """Return a log query of several kinds of stream events."""
    return f'{RECORDS} | event_name=~"prediction[.]stream[.]({"|".join(names)})"'


def quantile(share: float, attribute: str, records: str = PREDICTIONS) -> str:
    """Return a quantile of a number over the chosen predictions."""
    return f"quantile_over_time({share:g}, {records} | unwrap {attribute} [$__auto]) by (service_name)"


def extreme(which: str, attribute: str, records: str = PREDICTIONS) -> str:
    """Return the `min` or `max` of a number over the chosen predictions."""
    return f"{which}_over_time({records} | unwrap {attribute} [$__auto]) by (service_name)"


def count(records: str, by: str = "", over: str = "$__range") -> str:
    """Return how many entries there are, copies included."""
    return f"sum {by} (count_over_time({records} [{over}]))".replace("  ", " ")


def or_zero(query: str) -> str:
    """Return 0 where a query has nothing to count."""
    return f"{query} or vector(0)"


SEEN = count(f'{RECORDS} | prediction_stream_id!=""', STREAM)
CLOSED = count(event("closed"), STREAM)
"""One series for each stream that was seen or closed, as often as that may have been stored."""

HIGHEST = f"max_over_time({RECORDS} | unwrap prediction_stream_sequence [$__range]) {STREAM}"
LOWEST = f"min_over_time({RECORDS} | unwrap prediction_stream_sequence [$__range]) {STREAM}"


def said(attribute: str, function: str = "last", over: str = "$__range") -> str:
    """Return a number of each stream's status events: the `last` that was said, or the `max`."""
    return f"{function}_over_time({event('status')} | unwrap prediction_stream_{attribute} [{over}]) {STREAM}"


def _lost(declared: str) -> str:
    by = STREAM.replace(")", ", prediction_stream_sequence)")  # an event that was stored twice is one event
    last, first = (
        f"max_over_time({declared} | unwrap prediction_stream_lost_{which} [$__range]) {by}"
        for which in ("last", "first")
    )
    return f"sum {STREAM} ({last} - {first} + 1)"


LOST = _lost(event("lost"))
"""How many numbers each stream declared lost."""
SURPLUS = f"{SEEN} + ({LOST} or 0 * {HIGHEST}) - ({HIGHEST} - {LOWEST} + 1)"
"""Entries and declared losses of each stream, less the numbers that it used: negative if numbers are missing."""
MISSING = f"-1 * ({SURPLUS} < 0)"

_STATUS = f"max_over_time({event('status')} | unwrap prediction_stream_sequence [$__range]) {STREAM}"
_UNSETTLED = (
    f"(({HIGHEST} > {_STATUS}) or ({HIGHEST} unless {_STATUS}) or ({HIGHEST} and ({said('backlog_size')} > 0)))"
)
"""The last numbers of streams whose last word is anything but a status without a backlog."""


def _silent(numbers: str, over: str) -> str:
    return f"({numbers} unless {count(RECORDS, STREAM, over)} unless {CLOSED})"


SILENT = f"{_silent(_UNSETTLED, '3m')} or {_silent(HIGHEST, '11m')}"
"""The last number of each stream that ended without a word, by the rule of docs/record.md."""

ONE = f'{RECORDS} | prediction_stream_id="$stream" | prediction_stream_sequence!=""'
"""All records of the stream that the variable `stream` names."""
NUMBERS = f"sum by (prediction_stream_sequence) (count_over_time({ONE} [$__range]))"
"""One series for each number of that stream: Loki refuses the query above `max_query_series` of them."""


def bound_of_one(which: str) -> str:
    """Return the `min` or `max` of the numbers of that stream."""
    return f"sum({which}_over_time({ONE} | unwrap prediction_stream_sequence [$__range]) by (prediction_stream_id))"


def _after(label: str, records: str = ONE) -> str:
    return f"sum by (n) (count_over_time({records} | label_format n=`{label}` [$__range]))"


_DECLARED = f'{event("lost")} | prediction_stream_id="$stream"'
LOST_OF_ONE = _lost(_DECLARED)
GAPS = (
    f"{_after('{{ add .prediction_stream_sequence 1 }}')} unless {_after('{{ .prediction_stream_sequence }}')}"
    f" unless {_after('{{ .prediction_stream_lost_first }}', _DECLARED)}"
)
"""`n`: each number that is missing although the one before it is there; the last is the one that comes next."""
