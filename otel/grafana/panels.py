"""The panels of the dashboards, with what all of them have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from grafana_foundation_sdk.builders import common, dashboard, logs, loki, stat, table, tempo, timeseries
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import Panel

LOKI, TEMPO = DataSourceRef(type_val="loki", uid="loki"), DataSourceRef(type_val="tempo", uid="tempo")
GREEN, YELLOW, RED = "green", "yellow", "red"
WIDTH = 24
TIMES = ("Time", "timestamp")
"""What Grafana calls the time of a log line, by default and with its feature lokiLogsDataplane."""


class Line(NamedTuple):
    """A query of a time series panel and how its series are called."""

    query: str
    legend: str


class Column(NamedTuple):
    """A column of a table: the label or query it shows, its header, its unit, and where a click leads."""

    name: str
    header: str
    unit: str = ""
    link: str = ""
    width: int = 0


def open_trace(field: str) -> str:
    """Return the URL of the dashboard `trace` for one of its text boxes, at the time that is looked at."""
    return f"/d/trace?{field}=${{__value.raw}}&${{service:queryparam}}&${{namespace:queryparam}}&${{__url_time_range}}"


def ref_id(place: int) -> str:
    """Return what Grafana calls a query of a panel, by its place."""
    return chr(ord("A") + place)


def number(title: str, description: str, query: str, unit: str = "short", /, **bounds: float) -> stat.Panel:
    """Return one number for the whole range; it is yellow or red from the bound of that name on."""
    steps = [Threshold(None, GREEN), *(Threshold(value, color) for color, value in bounds.items())]
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(LOKI)
        .with_target(_target(query, "instant", "A"))
        .unit(unit)
        .no_value("none")
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .color_mode(kinds.BigValueColorMode.VALUE)
        .graph_mode(kinds.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .height(4)
        .span(4)
    )


def time_series(title: str, description: str, unit: str, source: DataSourceRef) -> timeseries.Panel:
    """Return lines over time that have no query yet."""
    return (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(source)
        .unit(unit)
        .fill_opacity(10)
        .legend(
            common.VizLegendOptions()
            .show_legend(show_legend=True)
            .display_mode(kinds.LegendDisplayMode.LIST)
            .placement(kinds.LegendPlacement.BOTTOM)
        )
        .tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING))
        .height(8)
        .span(8)
    )


def series(title: str, description: str, lines: Sequence[Line], unit: str, interval: str = "1m") -> timeseries.Panel:
    """Return lines over time; a point is worth `interval` at least."""
    panel = time_series(title, description, unit, LOKI).interval(interval).show_points(kinds.VisibilityMode.AUTO)
    for place, line in enumerate(lines):
        panel.with_target(_target(line.query, "range", ref_id(place)).legend_format(line.legend))
    return panel


def records(title: str, description: str, query: str, columns: Sequence[Column], limit: int = 200) -> table.Panel:
    """Return the newest records of a log query as a table of their attributes."""
    order = [*TIMES, *(column.name for column in columns)]
    numbers = [{"targetField": column.name, "destinationType": "number"} for column in columns if column.unit]
    steps: list[tuple[str, dict[str, Any]]] = [
        ("extractFields", {"source": "labels", "format": "json", "replace": False, "keepTime": False}),
        ("filterFieldsByName", {"include": {"pattern": f"^({'|'.join(order)})$"}}),
        ("convertFieldType", {"conversions": numbers}),
        ("organize", _order(order)),
    ]
    panel = _table(title, description, steps, columns)
    return panel.with_target(_target(query, "range", "A").max_lines(limit))


def streams(title: str, description: str, queries: Mapping[Column, str], labels: Sequence[Column]) -> table.Panel:
    """Return a row for each stream: its labels, and a number of each query."""
    refs = {column: ref_id(place) for place, column in enumerate(queries)}
    shown = [*labels, *(column._replace(name=f"Value #{ref}") for column, ref in refs.items())]
    steps: list[tuple[str, dict[str, Any]]] = [
        ("merge", {}),
        ("organize", _order([column.name for column in shown]) | {"excludeByName": {"Time": True}}),
    ]
    panel = _table(title, description, steps, shown)
    for column, query in queries.items():
        panel.with_target(_target(query, "instant", refs[column]))
    return panel


def matrix(title: str, description: str, query: str, rows: Column, columns: Column) -> table.Panel:
    """Return how often two labels of a query come together: a row for each value of one, a column for the other's."""
    crossed = f"{rows.name}\\{columns.name}"
    grouping = {"rowField": rows.name, "columnField": columns.name, "valueField": "Value #A", "emptyValue": "null"}
    steps: list[tuple[str, dict[str, Any]]] = [
        ("groupingToMatrix", grouping),
        ("sortBy", {"sort": [{"field": crossed}]}),
        ("organize", {"renameByName": {crossed: f"{rows.header} \\ {columns.header}"}}),
    ]
    return _table(title, description, steps, []).with_target(_target(query, "instant", "A"))


def lines_of(title: str, description: str, query: str, limit: int = 500) -> logs.Panel:
    """Return log lines as they stand in the log."""
    return (
        logs.Panel()
        .title(title)
        .description(description)
        .datasource(LOKI)
        .with_target(_target(query, "range", "A").max_lines(limit))
        .show_time(show_time=True)
        .wrap_log_message(wrap_log_message=True)
        .enable_log_details(enable_log_details=True)
        .sort_order(kinds.LogsSortOrder.DESCENDING)
        .height(9)
        .span(WIDTH)
    )


def trace(title: str, description: str, trace_id: str) -> Builder[Panel]:
    """Return the spans of one trace; a query of hexadecimal digits alone is a trace id to Tempo's data source."""
    query = tempo.TempoQuery().query(trace_id).query_type("traceql").filters([]).limit(20).ref_id("A").datasource(TEMPO)
    panel = dashboard.Panel().type("traces").title(title).description(description).datasource(TEMPO)
    return panel.with_target(query).height(14).span(WIDTH)


def _target(query: str, kind: str, ref: str) -> loki.Dataquery:
    return loki.Dataquery().expr(query).query_type(kind).ref_id(ref).datasource(LOKI)


def _order(names: Sequence[str]) -> dict[str, Any]:
    return {"indexByName": {name: place for place, name in enumerate(names)}}


def _table(
    title: str, description: str, steps: Sequence[tuple[str, dict[str, Any]]], columns: Sequence[Column]
) -> table.Panel:
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(LOKI)
        .transformations([DataTransformerConfig(id_val=name, options=options) for name, options in steps])
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.FIXED).fixed_color("text"))
        .height(10)
        .span(WIDTH)
    )
    for column in columns:
        properties = {"displayName": column.header, "unit": column.unit, "custom.width": column.width}
        if column.link:
            properties["links"] = [{"title": f"Open: {column.header}", "url": column.link}]
        panel.override_by_name(
            column.name, [DynamicConfigValue(name, value) for name, value in properties.items() if value]
        )
    return panel
