"""The tables of streams: what Loki has of each, and one of them to the last number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel.grafana import panels
from otel.grafana.logql import (
    CLOSED,
    GAPS,
    HIGHEST,
    KEPT,
    LOST,
    LOST_OF_ONE,
    LOWEST,
    NUMBERS,
    ONE,
    SEEN,
    SILENT,
    SURPLUS,
    bound_of_one,
    said,
)
from otel.grafana.panels import Column

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import Panel

EDGE = "Choose a time that holds the stream's beginning: at the edges a few numbers belong to requests just outside it."
_LIMIT = "Exact, copies or not, for up to 5,000 records (Loki's max_query_series); with more Loki refuses the query."
_CHOOSE = "/d/log-health?var-stream=${__value.raw}&${service:queryparam}&${namespace:queryparam}&${__url_time_range}"


def every() -> Builder[Panel]:
    """Return a row for each stream."""
    return panels.streams(
        "Streams",
        "What Loki has of each stream. Surplus is entries and declared losses less the numbers from lowest to highest: "
        "negative proves that so many are missing, more than 0 that so many copies were counted, which can hide gaps; "
        f"0 is whole unless both are there. {EDGE}",
        {
            Column("lowest", "Lowest", "none"): LOWEST,
            Column("highest", "Highest", "none"): HIGHEST,
            Column("entries", "Entries", "none"): SEEN,
            Column("lost", "Declared lost", "none"): LOST,
            Column("surplus", "Surplus", "none"): SURPLUS,
            Column("rejected", "Rejected by its process", "none"): said("rejected_count", "max"),
            Column("backlog", "Last backlog", "bytes"): said("backlog_size"),
            Column("closed", "Closing records", "none"): CLOSED,
            Column("silent", "Silent after record", "none"): SILENT,
        },
        [Column("k8s_pod_name", "Pod"), Column("prediction_stream_id", "Stream", link=_CHOOSE)],
    )


def one() -> Iterator[Builder[Panel]]:
    """Yield what is exact, and can be so for one stream only."""
    yield panels.number(
        "Different numbers", f"Different numbers of the stream that Loki has. {_LIMIT}", f"count({NUMBERS})"
    )
    yield panels.number(
        "Missing numbers",
        f"Numbers from the lowest to the highest that Loki has not, declared losses aside. {_LIMIT} {EDGE}",
        f"{bound_of_one('max')} - {bound_of_one('min')} + 1 - count({NUMBERS}) - (sum({LOST_OF_ONE}) or vector(0))",
        red=1,
    )
    yield panels.number("Copies", f"Entries that are there once more. {_LIMIT}", f"sum({NUMBERS}) - count({NUMBERS})")
    yield (
        panels.streams(
            "Where numbers are missing",
            "Each number that is missing although the one before it is there, declared losses aside; "
            f"the highest is the number that comes next, so a whole stream has one row. {_LIMIT}",
            {Column("entries", "Entries with the number before", "none"): GAPS},
            [Column("n", "First missing number")],
        )
        .height(8)
        .span(12)
    )
    yield panels.lines_of(
        "Records of the stream", "The newest 500 records of the stream, events among them.", f"{ONE} {KEPT}"
    )
