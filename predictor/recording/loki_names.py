"""How Loki spells attribute names, and which of its names belong to a record of ours.

Loki keeps the attributes of resource, scope and record, and some fields of the record, in one map of texts. Of two
entries with one name it shows the resource's. https://grafana.com/docs/loki/latest/send-data/otel/
"""

from __future__ import annotations

import re

from predictor.recording.record_schema import CHECK, FEEDBACK, MODEL_TABLE, TABLE
from predictor.recording.record_scope import SCOPE
from predictor.recording.stream_events import TABLE as EVENTS
from predictor.recording.stream_events import whole

FIELDS = frozenset(
    {
        "detected_level",
        "dropped_attributes_count",
        "flags",
        "observed_timestamp",
        "scope_dropped_attributes_count",
        "scope_name",
        "scope_version",
        "severity_number",
        "severity_text",
        "span_id",
        "trace_id",
    }
)
"""What Loki makes of a record's fields, or makes up."""
RESERVED = "prediction_"
"""Names that begin so are the record's, also those that a later version adds."""
LOKIS = "__"
"""Names that begin so are LogQL's own, such as `__error__`."""


def stored(attribute: str) -> str:
    """Return the name under which Loki keeps an attribute.

    Each character that is no ASCII letter or digit becomes an underscore, and several underscores become one: not all
    versions of Loki do the latter, and to be warned of too much harms nobody. Case stays.
    """
    return re.sub("_+", "_", re.sub("[^A-Za-z0-9]", "_", attribute))


_OURS = frozenset(
    stored(each.name)
    for table in (SCOPE, TABLE, FEEDBACK, MODEL_TABLE, CHECK, *map(whole, EVENTS))
    for each in table
    if "<" not in each.name  # the features' own, which begin with RESERVED
)


def taken(attribute: str) -> bool:
    """Tell whether Loki would keep an attribute of the resource under a name of the record, or of its own."""
    name = stored(attribute)
    return name in _OURS or name in FIELDS or name.startswith(RESERVED) or attribute.startswith(LOKIS)
