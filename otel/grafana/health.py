"""The dashboard `log-health`: whether the prediction log is whole, from the stream events alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import dashboard

from otel.grafana import panels, stream_table, variables
from otel.grafana.logql import (
    CLOSED,
    LOST,
    MISSING,
    RECORDS,
    SEEN,
    SILENT,
    STREAM,
    count,
    event,
    events,
    or_zero,
    said,
)
from otel.grafana.panels import Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import Panel

_LEGEND = "{{k8s_pod_name}} {{prediction_stream_id}}"
_HARMLESS: dict[str, float] = {}
_SINCE = "counted since their processes started"


def build() -> dashboard.Dashboard:
    """Return the dashboard."""
    board = (
        dashboard.Dashboard("Log health")
        .uid("log-health")
        .description("Whether the prediction log is whole; a stream is the log of one start of one server process.")
        .time("now-1h", "now")
        .refresh("1m")
        .variables(variables.variables(variables.text("stream", "Stream", "A prediction.stream.id, for the last row.")))
    )
    for panel in (*_streams(), *_records(), *_over_time()):
        board.with_panel(panel)
    board.with_row(dashboard.Row("Stream by stream"))
    board.with_panel(stream_table.every())
    board.with_panel(
        panels.lines_of(
            "Stream events",
            "Streams that were opened or closed and declared losses, each once. A crash is a warning, a loss an error.",
            events("opened", "closed", "lost"),
        )
    )
    board.with_row(dashboard.Row("One stream, exactly: click on a stream above"))
    for panel in stream_table.one():
        board.with_panel(panel)
    return board


def _streams() -> Iterator[Builder[Panel]]:
    yield panels.number(
        "Streams opened",
        "Different streams that began in the chosen time.",
        or_zero(f"count({count(event('opened'), STREAM)})"),
    )
    yield panels.number(
        "Streams open",
        "Different streams with records in the chosen time and no closing record in it.",
        or_zero(f"count({SEEN} unless {CLOSED})"),
    )
    for title, reason, bounds in (("Shut down", "shutdown", _HARMLESS), ("Crashed", "crash", {"yellow": 1.0})):
        closed = f'{event("closed")} | prediction_stream_reason="{reason}"'
        yield panels.number(
            title,
            f"Different streams that were closed in the chosen time with the reason `{reason}`.",
            or_zero(f"count({count(closed, STREAM)})"),
            **bounds,
        )
    yield panels.number(
        "Ended without a word",
        "Different open streams that have been silent for 11 minutes, or for three after anything but a status without "
        "a backlog: nobody can say here what they held then. Their files are on a disk that nobody reads, the way to "
        "Loki is broken, or their pod went with its disk.",
        or_zero(f"count({SILENT})"),
        red=1,
    )
    yield panels.number(
        "Numbers missing, at least",
        "Numbers that streams used and Loki has not, declared losses aside; refused records are among them. "
        f"More than 0 is a proof; 0 is none, since a copy can hide a gap: see below. {stream_table.EDGE}",
        or_zero(f"sum({MISSING})"),
        red=1,
    )


def _records() -> Iterator[Builder[Panel]]:
    yield panels.number(
        "Declared lost",
        "Numbers that could not be written (PREDICTOR_OUTBOX_FULL=lose); their callers know. Exact despite copies.",
        or_zero(f"sum({LOST})"),
        red=1,
    )
    yield panels.number(
        "Rejected",
        f"Records that Loki refused for their content, {_SINCE}, as the last statuses say; "
        "`predictor log rejected` lists them.",
        or_zero(f"sum({said('rejected_count', 'max')})"),
        red=1,
    )
    yield panels.number(
        "Unrecorded refusals",
        f"Refused rows and requests without a record, {_SINCE}, as the last statuses say.",
        or_zero(f"sum({said('unrecorded_count', 'max')})"),
        yellow=1,
    )
    yield panels.number(
        "Backlog",
        "Bytes that Loki had not accepted, as each open stream last said.",
        or_zero(f"sum({said('backlog_size')} unless {CLOSED})"),
        "bytes",
        yellow=10e6,
        red=500e6,
    )
    yield panels.number(
        "Oldest pending",
        "Age of the oldest record that Loki had not accepted, as the open streams last said.",
        or_zero(f"max({said('backlog_age')} unless {CLOSED})"),
        "s",
        yellow=60,
        red=600,
    )
    yield panels.number(
        "Records",
        "Entries in Loki, a record that was sent again after a break possibly twice.",
        or_zero(count(f'{RECORDS} | prediction_stream_id!=""')),
    )


def _over_time() -> Iterator[Builder[Panel]]:
    about = "as each stream said in its statuses, one a minute while something happens"
    for title, what, attribute, unit in (
        ("Backlog", "Bytes that Loki had not accepted", "backlog_size", "bytes"),
        ("Oldest pending", "Age of the oldest record that Loki had not accepted", "backlog_age", "s"),
    ):
        lines = [Line(said(attribute, "max", "$__auto"), _LEGEND)]
        yield panels.series(f"{title} of each stream", f"{what}, {about}.", lines, unit, "2m").span(12)
    for title, attribute in (
        ("Lost", "lost_count"),
        ("Rejected", "rejected_count"),
        ("Unrecorded", "unrecorded_count"),
    ):
        lines = [Line(said(attribute, "max", "$__auto"), _LEGEND)]
        yield panels.series(f"{title}, of each stream", f"{_SINCE.capitalize()}, {about}.", lines, "short", "2m")
