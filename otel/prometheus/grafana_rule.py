"""A rule of Prometheus as one that Grafana evaluates, in the form of a file of its provisioning."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from grafana_foundation_sdk.builders import alerting, prometheus
from grafana_foundation_sdk.builders import expr as expressions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.alerting import RelativeTimeRange
from grafana_foundation_sdk.models.dashboard import DataSourceRef

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCE = "prometheus"
"""The uid of the Prometheus, as the Grafana of kube-prometheus-stack has it."""
EXPRESSION = "__expr__"
"""What Grafana calls its own arithmetic among the data sources."""
_HERE = DataSourceRef(type_val=EXPRESSION, uid=EXPRESSION)
_RANGE = 600  # seconds; an instant query asks for the end of it
_FIELDS = ("uid", "title", "condition", "data", "noDataState", "execErrState", "for", "annotations", "labels")


def rule(
    *, title: str, uid: str, expr: str, lasts: str, labels: dict[str, str], annotations: Mapping[str, str]
) -> dict[str, Any]:
    """Return a rule that fires for each series that the expression returns, as Prometheus has it.

    Grafana fires for values other than 0, so the values (0 of `up == 0` among them) are made 1 first; that there are
    none is all well. These are the three steps that Grafana's own import of Prometheus's rules makes.
    """
    every = "is_number($query) || is_nan($query) || is_inf($query)"
    above = expressions.ExprTypeThresholdConditionsEvaluator().type("gt").params([0])
    steps = (
        alerting.Query("query")
        .datasource_uid(SOURCE)
        .relative_time_range(RelativeTimeRange(from_val=_RANGE, to=0))
        .model(
            prometheus.Dataquery()
            .expr(expr)
            .instant()
            .ref_id("query")
            .datasource(DataSourceRef(type_val="prometheus", uid=SOURCE))
        ),
        alerting.Query("any")
        .datasource_uid(EXPRESSION)
        .query_type("math")
        .model(expressions.TypeMath().expression(every).ref_id("any").datasource(_HERE)),
        alerting.Query("firing")
        .datasource_uid(EXPRESSION)
        .query_type("threshold")
        .model(
            expressions.TypeThreshold()
            .expression("any")
            .conditions([expressions.ExprTypeThresholdConditions().evaluator(above)])
            .ref_id("firing")
            .datasource(_HERE)
        ),
    )
    built = (
        alerting.Rule(title)
        .uid(uid)
        .condition("firing")
        .queries([*steps])
        .no_data_state("OK")
        .exec_err_state("Error")
        .for_val(lasts)
        .annotations({name: words(text) for name, text in annotations.items()})
        .labels(labels)
        .build()
    )
    fields = json.loads(json.dumps(built, cls=JSONEncoder))
    # A file says folder and group once for all its rules. A series that is gone is well again, as for Prometheus.
    return {name: fields[name] for name in _FIELDS} | {"missing_series_evals_to_resolve": 1}


def words(text: str) -> str:
    """Return a text with values by Grafana's names, and without `$`, which would name a variable of the environment.

    Grafana's own `$value` is a sentence about all steps, of which a number is wanted. The function comes first, since
    tools that check manifests take braces with `.Values.` right behind them for Helm's.
    """
    return re.sub(r"\$value \| (\w+)", r"\1 .Values.query.Value", text.replace("$labels.", ".Labels."))
