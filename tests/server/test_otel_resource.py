"""The resource: an attribute that Loki would show in place of the record's own stops the start."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from predictor.reader.record import MODEL, REDACTION, SCHEMA, STREAM
from predictor.recording.loki_names import FIELDS, stored, taken
from predictor.recording.record_schema import CHECK, FEEDBACK, TABLE
from predictor.recording.stream_events import TABLE as EVENTS
from predictor.recording.stream_events import whole
from predictor.server.otel_resource import ResourceError, resource
from tests.support.rendered_manifests import deployed
from tests.support.server import run

if TYPE_CHECKING:
    from pathlib import Path

PUBLISHED = {
    each.name for table in (TABLE, FEEDBACK, CHECK, *map(whole, EVENTS)) for each in table if "<" not in each.name
}
NAMES = [*sorted(PUBLISHED), STREAM, SCHEMA, REDACTION, *MODEL, *sorted(FIELDS)]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_the_record_are_taken(name: str) -> None:
    """Each published attribute, each of the scope and each field that Loki keeps is taken, in Loki's spelling too."""
    assert taken(name)
    assert taken(stored(name))


def test_no_two_names_of_ours_are_one() -> None:
    """Loki keeps each published attribute, those of the scope and the record's fields apart."""
    assert len({stored(name) for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize(
    "name",
    [
        "prediction-label",
        "prediction label",
        "prediction/label",
        "predictionélabel",
        "prediction..label",
        "prediction.input.sepal_length",
        "prediction.of.a.later.version",
        "error type",
        "trace.id",
        "severity-text",
        "__error__",
    ],
)
def test_other_spellings_are_taken(name: str) -> None:
    """What Loki makes one of our names of is taken, whatever its other characters, and so is what LogQL needs."""
    assert taken(name)


@pytest.mark.parametrize(
    "name",
    [
        "prediction",
        "Prediction.Label",
        "predictions.label",
        "label",
        "model.name",
        "http.route.name",
        "deployment.environment.name",
        "level",
    ],
)
def test_other_names_are_free(name: str) -> None:
    """Names that Loki keeps apart from ours are nobody's business: it tells upper case from lower."""
    assert not taken(name)


def test_what_is_deployed_takes_none() -> None:
    """No manifest gives a server or a Collector a resource attribute that hides one of a record's."""
    given = [
        (name, pod)
        for made in deployed()
        for pod in made.pods()
        for container in pod.spec["containers"]
        for variable in container.get("env", ())
        if variable["name"] == "OTEL_RESOURCE_ATTRIBUTES"
        for name in re.findall(r"(?:^|,)\s*([^=,]+)=", variable["value"])
    ]
    assert given
    assert not [name for name, _ in given if taken(name)]


def test_the_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attribute, the variable and what Loki would do are named; the value, which may be a secret, is not."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=a,http-route=zq91")
    with pytest.raises(ResourceError) as caught:
        resource()
    assert str(caught.value) == (
        "the resource has the attribute 'http-route' (OTEL_RESOURCE_ATTRIBUTES), which Loki keeps as 'http_route': "
        "it would hide what each record has under that name; wanted another name"
    )


def test_what_the_sdk_finds_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """The detectors of OpenTelemetry's SDK bring no attribute that would stop the start."""
    monkeypatch.setenv("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "otel,process,os,host")
    assert "process.pid" in resource().attributes


def test_the_start_is_stopped(outbox: Path) -> None:
    """A server with such an attribute ends with the sentence and status 2, and leaves no stream behind."""
    ended = run("serve", outbox=outbox, OTEL_RESOURCE_ATTRIBUTES="prediction.label=x")
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("predictor: the resource has the attribute 'prediction.label'")
    assert not outbox.exists()
