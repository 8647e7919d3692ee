"""What the reader of a dashboard chooses, and the way to the other dashboards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, VariableOption, VariableRefresh

from otel.grafana.panels import LOKI

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.cog.builder import Builder

TAG = "prediction-log"
"""What all dashboards are tagged with, and found by."""


def variables(*more: Builder[Any]) -> list[Builder[Any]]:
    """Return the variables that every dashboard has, and more."""
    service = (
        dashboard.QueryVariable("service")
        .label("Service")
        .description("The servers' service.name.")
        .query({"type": 1, "label": "service_name", "stream": "", "refId": "service"})
        .datasource(LOKI)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .current(VariableOption(text="predictor", value="predictor"))
    )
    namespace = (
        dashboard.QueryVariable("namespace")
        .label("Namespace")
        .description("The servers' Kubernetes namespaces; outside Kubernetes there are none.")
        .query({"type": 1, "label": "k8s_namespace_name", "stream": "", "refId": "namespace"})
        .datasource(LOKI)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")  # a record without a namespace too
        .current(VariableOption(text="All", value="$__all"))
    )
    return [service, namespace, *more]


def choice(name: str, label: str, description: str, values: Sequence[str]) -> dashboard.CustomVariable:
    """Return a list to choose from, or to type a value into that is not listed: Loki lists no attribute's values."""
    return (
        dashboard.CustomVariable(name)
        .label(label)
        .description(description)
        .values(",".join(values))
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")  # records without the attribute too
        .allow_custom_value(allow_custom_value=True)
        .current(VariableOption(text="All", value="$__all"))
    )


def number() -> dashboard.CustomVariable:
    """Return the attribute that the row Numbers shows: the only number of an answer, or one that has a name."""
    return (
        dashboard.CustomVariable("number")
        .label("Number")
        .description("Of the row Numbers: prediction_value, or one with a name, such as prediction_value_p90; type it.")
        .values("prediction_value")
        .allow_custom_value(allow_custom_value=True)
        .current(VariableOption(text="prediction_value", value="prediction_value"))
    )


def sample() -> dashboard.CustomVariable:
    """Return a choice of jobs by their last digits, which are random; batches come or stay away whole."""
    # Not `.*0`: Loki takes that for "contains 0".
    shares = {"all": ".*", "1 in 16": "[^/]+0", "1 in 256": "[^/]+00", "1 in 4096": "[^/]+000"}
    return (
        dashboard.CustomVariable("sample")
        .label("Jobs, for feedback")
        .description("A fair sample for the row Feedback, which is limited in size: jobs with certain last digits.")
        .values(",".join(f"{share} : {pattern}" for share, pattern in shares.items()))
        .current(VariableOption(text="all", value=".*"))
    )


def text(name: str, label: str, description: str) -> dashboard.TextBoxVariable:
    """Return an empty box to type into."""
    return (
        dashboard.TextBoxVariable(name)
        .label(label)
        .description(description)
        .default_value("")
        .current(VariableOption(text="", value=""))
    )


def links() -> list[Builder[Any]]:
    """Return the way to the other dashboards, with time and variables."""
    return [
        dashboard.DashboardLink("Prediction log")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(as_dropdown=False)
        .include_vars(include_vars=True)
        .keep_time(keep_time=True)
    ]
