"""OTLP JSON: the only package that knows it."""

from predictor.otlp.lines import (
    TAIL,
    count,
    event_mark,
    first_observed,
    framed,
    head,
    last_event,
    last_sequence,
    line,
    merge,
    singles,
    split,
    tally,
    well_formed,
)
from predictor.otlp.spans import span_bytes, span_head, span_json, span_rest
from predictor.otlp.values import JSON, Signal, any_value, attributes, encode, resource_json, scope_json

__all__ = [
    "JSON",
    "TAIL",
    "Signal",
    "any_value",
    "attributes",
    "count",
    "encode",
    "event_mark",
    "first_observed",
    "framed",
    "head",
    "last_event",
    "last_sequence",
    "line",
    "merge",
    "resource_json",
    "scope_json",
    "singles",
    "span_bytes",
    "span_head",
    "span_json",
    "span_rest",
    "split",
    "tally",
    "well_formed",
]
