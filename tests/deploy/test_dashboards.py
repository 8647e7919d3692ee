"""Grafana's dashboards: whole, and held to the record; their numbers are tested in tests/stack."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
import yaml

from predictor.inference import manifest
from predictor.recording import record_schema, stream_events
from tests.support.grafana_dashboards import BOARDS, FOLDER, ROOT, Query, panels, queries, variables

if TYPE_CHECKING:
    from pathlib import Path

WIDTH = 24
RESOURCE = {"service_name", "k8s_namespace_name", "k8s_pod_name"}
"""What the deployment says of a process; the first two are Loki's index."""
FIELDS = {"trace_id", "flags"}
"""The record's own fields, as Loki calls them."""
WORDS = {"by", "unless", "or", "vector", "count", "sum", "max", "min", "rate", "unwrap", "label_format", "m"} | {
    *("count_over_time", "avg_over_time", "min_over_time", "max_over_time", "last_over_time", "quantile_over_time"),
    *("and", "on", "group_left", "avg", "topk"),
    *("if", "eq", "else", "end", "add", "__timestamp__"),
}
"""What LogQL and its templates say that is no attribute."""
QUERIES = list(queries())
MODELS = [manifest.read(path.parent) for path in sorted((ROOT / "models").glob("*/model.toml"))]


def published() -> set[str]:
    """Return every attribute of the record, under its name in Loki."""
    names = {
        each.name
        for table in (record_schema.TABLE, record_schema.FEEDBACK, *stream_events.TABLE.values())
        for each in table
    }
    names = {name for name in names if "<" not in name}
    names |= {f"prediction.input.{feature.name}" for model in MODELS for feature in model.features}
    page = (ROOT / "docs" / "record.md").read_text(encoding="utf-8")
    scope = page.split("## Scope")[1].split("\n## ")[0]
    names |= set(re.findall(r"^\| `([a-z_.]+)` \|", scope, re.MULTILINE))
    return {name.replace(".", "_") for name in names}


def named(query: str) -> set[str]:
    """Return every name in a query that must be an attribute; those that it makes itself are none."""
    made = set(re.findall(r"label_format (\w+)=", query))
    text = re.sub(r'"[^"]*"', "", query)
    return set(re.findall(r"\b[a-z_][a-z0-9_]*\b", re.sub(r"\$\w+", "", text))) - made - WORDS


def test_the_files_are_what_the_generator_writes(tmp_path: Path) -> None:
    """What is deployed is what the generator says: nobody edits the JSON, nobody forgets to write it."""
    subprocess.run([sys.executable, FOLDER / "dashboards.py", tmp_path], check=True, timeout=60)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_text() for path in (FOLDER / "dashboards").iterdir()}
    assert written == committed, "run: python -m otel.grafana.dashboards"


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query.board}-{query.panel}-{query.ref}")
def test_queries_name_only_what_the_record_has(query: Query) -> None:
    """A query names attributes of the published table and nothing else: a misspelt one would answer nothing."""
    assert named(query.text) <= published() | RESOURCE | FIELDS


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query.board}-{query.panel}-{query.ref}")
def test_queries_leave_out_what_predictor_check_sends(query: Query) -> None:
    """A query asks for an event, a number or something else that a record of no stream and no prediction lacks."""
    for selected in re.findall(r"\{service_name=[^}]*\}[^\[\]]*", query.text):
        own = r"event_name=|unwrap prediction_|prediction_stream_id|prediction_job_id|prediction_model|trace_id="
        by_stream = "by (prediction_stream_id" in query.text and " unless " in query.text
        assert by_stream or re.search(own, selected), selected


def test_tables_show_only_what_the_record_has() -> None:
    """The columns of a table of records are attributes too, or made by its query."""
    for board in BOARDS:
        for panel in panels(board):
            for step in panel.get("transformations") or []:
                if step["id"] == "filterFieldsByName":
                    shown = set(step["options"]["include"]["pattern"].strip("^()$").split("|"))
                    assert shown - {"Time", "timestamp", "trace"} <= published() | RESOURCE | FIELDS, panel["title"]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query.board}-{query.panel}-{query.ref}")
def test_queries_use_variables_that_exist(query: Query) -> None:
    """A query uses the dashboard's variables and Grafana's own."""
    used = set(re.findall(r"\$\{?(\w+)", query.text))
    assert used - {"__range", "__auto"} <= variables(query.board)


def test_ids_are_unique() -> None:
    """A dashboard is found by its uid, which is its file's name; a panel by its number and title."""
    assert set(BOARDS) == {"predictions", "log-health", "trace"}
    for name, board in BOARDS.items():
        assert board["uid"] == name
        numbers = [panel["id"] for panel in panels(name)]
        titles = [panel["title"] for panel in panels(name)]
        assert len(set(numbers)) == len(numbers)
        assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("board", BOARDS)
def test_everything_says_what_it_is(board: str) -> None:
    """Every panel has a title and says in a sentence what it shows; every variable says what it takes."""
    assert BOARDS[board]["description"].endswith(".")
    for panel in panels(board):
        assert panel["title"]
        assert panel["type"] == "row" or re.fullmatch(r"[A-Z0-9].*\.", panel["description"]), panel["title"]
    for variable in BOARDS[board]["templating"]["list"]:
        assert variable["label"]
        assert variable["description"].endswith(".")


@pytest.mark.parametrize("board", BOARDS)
def test_panels_do_not_overlap(board: str) -> None:
    """Every panel is inside the grid and covers no other."""
    places = [panel["gridPos"] for panel in panels(board)]
    for place in places:
        assert 0 <= place["x"] < place["x"] + place["w"] <= WIDTH
        assert place["h"] > 0
    for one, other in itertools.combinations(places, 2):
        apart = any(
            a[axis] + a[size] <= b[axis]
            for a, b in ((one, other), (other, one))
            for axis, size in (("x", "w"), ("y", "h"))
        )
        assert apart, (one, other)


def test_counts_say_what_copies_do_to_them() -> None:
    """A panel that counts entries says whether a record that was sent again counts twice."""
    for query in QUERIES:
        counted = query.text.partition(" unless ")[0]  # what follows is only there or not
        if "count_over_time(" in counted or "rate(" in counted:
            (panel,) = (each for each in panels(query.board) if each["title"] == query.panel)
            assert re.search(r"twice|[Cc]op(y|ies)|[Dd]ifferent|exactly|Exact", panel["description"]), query.panel


def test_limits_are_the_deployed_ones() -> None:
    """A panel that says how many series Loki allows says what Loki's configuration does."""
    limit = yaml.safe_load((ROOT / "otel" / "loki" / "loki.yaml").read_text())["limits_config"]["max_query_series"]
    told = [panel["description"] for board in BOARDS for panel in panels(board) if panel.get("description")]
    told = [text for text in told if "max_query_series" in text]
    assert told
    assert all(f"{limit:,} " in text for text in told)


def test_what_joins_feedback_says_how_far() -> None:
    """A number made of feedback says its limit and what has none; joined to predictions, what the time must hold."""
    joined = [query for query in QUERIES if "prediction.feedback" in query.text and query.kind != "logs"]
    assert joined
    for query in joined:
        (panel,) = (each for each in panels(query.board) if each["title"] == query.panel)
        assert "max_query_series" in panel["description"], query.panel
        assert "`predictor log score`" in panel["description"], query.panel
        assert "chosen time" in panel["description"] or 'event_name="prediction"' not in query.text, query.panel


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_training_range_is_known(model: manifest.Manifest) -> None:
    """Every feature of a model of ours has the range that it had in training, and its sample lies in it."""
    (folder,) = (path.parent for path in (ROOT / "models").glob("*/model.toml") if manifest.read(path.parent) == model)
    ranges = tomllib.loads((folder / "training.toml").read_text())["range"]
    assert list(ranges) == [feature.name for feature in model.features]
    for feature in model.features:
        low, high = ranges[feature.name]
        assert low <= feature.sample <= high
        assert low < high
