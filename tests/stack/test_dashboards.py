"""Every query of every dashboard, asked of a real Loki that holds a planted log: each number is the one planted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.stack import answers_feedback, answers_health, answers_predictions
from tests.stack.answers import Asked, number, unique
from tests.stack.asking import START, TRACE, Log, plant, prepare, push, windows
from tests.stack.planted import judged, long
from tests.stack.planting import ELSEWHERE, END, NAMESPACE, SECOND, SERVICE
from tests.support.grafana_dashboards import Query, choices, data_source, panels, queries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack.answers import Labels

NUMBERS = answers_predictions.NUMBERS | answers_feedback.NUMBERS | answers_health.NUMBERS
RECORDS = answers_predictions.RECORDS | answers_feedback.RECORDS | answers_health.RECORDS
CHOICES = [
    ("", ""),
    ("iris", ""),
    ("iris", "setosa"),
    ("churn", ""),
    ("churn", "leaves"),
    ("", "no such label"),
    ("price", ""),
]
SAMPLES = choices("predictions", "sample")
ASKED = {(query.board, query.panel, query.ref): query for query in queries()}
OF_STREAMS = [
    (key, stream)
    for key in answers_health.NUMBERS
    for stream in (answers_health.EXACTLY if "$stream" in ASKED[key].text else [""])
]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    """Run Loki with the deployed configuration and plant."""
    program, loki = prepare(tmp_path_factory.mktemp("dashboards"))
    with program:
        yield plant(loki)


def test_every_query_is_proved() -> None:
    """No query is shown to anybody whose numbers are not compared here."""
    assert set(ASKED) == set(NUMBERS) | set(RECORDS)
    assert not set(NUMBERS) & set(RECORDS)


def test_copies_are_counted_twice(log: Log) -> None:
    """The log holds records twice: what the panels say of copies is tried out, not supposed."""
    text = f'sum(count_over_time({{k8s_namespace_name="{NAMESPACE}"}}[1h]))'
    many = log.numbers(Query("", "", "", "instant", text))
    assert many == {(frozenset(), END): len(log.facts)}
    assert len(log.facts) > len(unique(log.facts))


@pytest.mark.parametrize(("model", "label"), CHOICES)
@pytest.mark.parametrize("key", [key for key in NUMBERS if key[0] == "predictions"], ids=" ".join)
def test_predictions_in_numbers(log: Log, key: tuple[str, str, str], model: str, label: str) -> None:
    """Each number of the dashboard `predictions` is what was planted, whatever model and label is chosen."""
    _compare(log, key, model=model or None, label=label or None)


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("key", answers_feedback.NUMBERS, ids=" ".join)
def test_feedback_of_a_sample(log: Log, key: tuple[str, str, str], sample: str) -> None:
    """A sample of the jobs is the same on both sides: its numbers are those of the predictions and feedback in it."""
    _compare(log, key, sample=sample)


def test_feedback_is_what_was_meant(log: Log) -> None:
    """The planted feedback comes to the numbers that were counted by hand, copies among it."""
    for ref, by_hand in answers_feedback.BY_HAND.items():
        found = log.numbers(ASKED["predictions", "Accuracy by model version", ref]).items()
        models = [(dict(labels), value) for (labels, _), value in found]
        names = ("prediction_model_name", "prediction_model_version")
        assert {tuple(model[name] for name in names): value for model, value in models} == pytest.approx(by_hand)
    stray = log.numbers(ASKED["predictions", "Feedback without its prediction", "A"])
    assert stray == {(frozenset(), END): answers_feedback.STRAY}
    told = answers_feedback.feedback(Asked(log.facts, 0))
    assert len(told) > len(unique(told))


def test_too_much_to_join_is_refused(log: Log) -> None:
    """Feedback is joined exactly up to 5,000 rows; above that there is no number instead of a wrong one."""
    fits, too_much = judged(10, 5000), judged(11, 5001)
    push(log.loki, fits.sent + too_much.sent)
    accuracy = ASKED["predictions", "Accuracy by model version", "D"]
    assert list(log.numbers(accuracy, namespace=fits.namespace).values()) == pytest.approx([0.5])
    for key in answers_feedback.NUMBERS:
        assert log.numbers(ASKED[key], namespace=fits.namespace)
        with pytest.raises(RuntimeError, match="maximum number of series"):
            log.numbers(ASKED[key], namespace=too_much.namespace)
    (share,) = log.numbers(accuracy, namespace=too_much.namespace, sample=SAMPLES[1]).values()
    assert share == 1, "those with an even number are right"


@pytest.mark.parametrize(("key", "stream"), OF_STREAMS, ids=str)
def test_health_in_numbers(log: Log, key: tuple[str, str, str], stream: str) -> None:
    """Each number of the dashboard `log-health` is what was planted, and that of one stream for each of them."""
    _compare(log, key, stream=stream)


@pytest.mark.parametrize("stream", answers_health.EXACTLY)
def test_missing_numbers_are_found_where_they_are(log: Log, stream: str) -> None:
    """One stream is judged to the last number: how many are missing, and where each gap begins."""
    missing, gaps = answers_health.EXACTLY[stream]
    (many,) = log.numbers(ASKED["log-health", "Missing numbers", "A"], stream=stream).values()
    found = log.numbers(ASKED["log-health", "Where numbers are missing", "A"], stream=stream)
    begins = sorted(int(value) for labels, _ in found for _, value in labels)
    assert (many, begins[:-1]) == (missing, gaps)


def test_a_stream_too_long_to_judge_is_refused(log: Log) -> None:
    """What is said to be exact is so up to 5,000 records, and above that there is no number instead of a wrong one."""
    query = ASKED["log-health", "Missing numbers", "A"]
    fits, too_long = long(8, 5001), long(9, 5002)  # numbers, of which one is missing
    push(log.loki, fits.sent + too_long.sent)
    assert log.numbers(query, stream=fits.id, namespace=fits.namespace) == {(frozenset(), END): 1}
    with pytest.raises(RuntimeError, match="maximum number of series"):
        log.numbers(query, stream=too_long.id, namespace=too_long.namespace)


@pytest.mark.parametrize(("model", "label"), [("", ""), ("iris", "setosa")])
@pytest.mark.parametrize("key", RECORDS, ids=" ".join)
def test_records_are_listed_once(log: Log, key: tuple[str, str, str], model: str, label: str) -> None:
    """Tables and log lines hold the planted records, newest first, a copy once, with a trace where one was kept."""
    stream = next(iter(answers_health.EXACTLY))
    asked = Asked(log.facts, 0, model or None, label or None, stream)
    wanted = sorted(unique(RECORDS[key](asked)), key=lambda fact: (-fact.time, *number(fact)))
    assert wanted or key[0] != "predictions"
    found = log.entries(ASKED[key], model=model, label=label, stream=stream)
    assert [(at, line) for at, line, _ in found] == [(fact.time, fact.line) for fact in wanted]
    for (_, _, values), fact in zip(found, wanted, strict=True):
        if "label_format trace=" in ASKED[key].text:
            assert values.get("trace", "") == (fact.values["trace_id"] if fact.values.get("flags") else "")


@pytest.mark.parametrize("panel", ["Records of the trace", "Records of the job"])
def test_an_empty_box_finds_nothing(log: Log, panel: str) -> None:
    """Who has given no id gets no records, not all those that have none."""
    assert log.entries(ASKED["trace", panel, "A"], trace_id="", job_id="") == []


def test_every_column_is_filled(log: Log) -> None:
    """Each column that a table shows comes with an answer of Loki, so none is misspelt."""
    listed = {name for key in RECORDS for _, _, values in log.entries(ASKED[key]) for name in values} | {
        "Time",
        "timestamp",
    }
    holes = "0199c0de-0000-7000-8000-000000000004"
    for board, panel in {key[:2] for key in NUMBERS} | {key[:2] for key in RECORDS if key[2] != "annotation"}:
        (shown,) = (each for each in panels(board) if each["title"] == panel)
        steps = {each["id"]: each["options"] for each in shown.get("transformations") or []}
        if "filterFieldsByName" in steps:
            assert set(steps["filterFieldsByName"]["include"]["pattern"].strip("^()$").split("|")) <= listed
        elif "groupingToMatrix" in steps:
            crossed = steps["groupingToMatrix"]
            (pair,) = {frozenset(dict(found)) for found, _ in log.numbers(ASKED[board, panel, "A"])}
            assert {crossed["rowField"], crossed["columnField"]} == pair
        elif "organize" in steps:
            keys = [key for key in NUMBERS if key[:2] == (board, panel)]
            labels = {name for key in keys for found, _ in log.numbers(ASKED[key], stream=holes) for name, _ in found}
            assert set(steps["organize"]["indexByName"]) == labels | {f"Value #{key[2]}" for key in keys}


def test_variables_find_their_values(log: Log) -> None:
    """The lists of services and namespaces come from Loki's index."""
    listed = {
        name: log.loki.get(f"/loki/api/v1/label/{name}/values", start=START)
        for name in ("service_name", "k8s_namespace_name")
    }
    assert listed["service_name"] == [SERVICE]
    assert {ELSEWHERE, NAMESPACE} <= set(listed["k8s_namespace_name"])


def test_a_trace_leads_to_its_records(log: Log) -> None:
    """The query that Tempo's spans carry finds the records of that trace in Loki."""
    text = data_source("tempo")["jsonData"]["tracesToLogsV2"]["query"]
    query = Query("", "", "", "logs", text.replace("${__tags}", f'service_name="{SERVICE}"'))
    found = log.entries(query._replace(text=query.text.replace("${__span.traceId}", TRACE)))
    assert found
    assert {values["trace_id"] for _, _, values in found} == {TRACE}


def _compare(log: Log, key: tuple[str, str, str], **chosen: Any) -> None:  # noqa: ANN401 - what Asked takes
    query, expect = ASKED[key], NUMBERS[key]
    wanted: dict[tuple[Labels, int], float] = {}
    for begin, end in windows(query):
        some = [fact for fact in log.facts if begin < fact.time <= end]
        answer = expect(Asked(some, (end - begin) / SECOND, **chosen))
        wanted |= {(labels, end): value for labels, value in answer.items()}
    found = log.numbers(query, **{name: value or "" for name, value in chosen.items()})
    assert found == pytest.approx(wanted, rel=1e-9)
