"""`predictor log show JOB_ID`: everything of one prediction, or by `--key` of all predictions with a key."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from predictor.config.parsers import optional_url
from predictor.core.grafana_links import link
from predictor.reader import time_range
from predictor.reader.command import FINE, FOUND, Verb
from predictor.reader.output import TextColumn
from predictor.reader.record_view import as_json
from predictor.reader.rows import rows_of
from predictor.reader.time_range import MARGIN_NS
from predictor.reader.verify.check import opened_ns
from predictor.recording.record_schema import EVENT_NAME, FEEDBACK, FEEDBACK_EVENT, TABLE

if TYPE_CHECKING:
    from predictor.reader.command import Asked
    from predictor.reader.record import Entry

_PLACES = {each.name: at for at, each in enumerate((*TABLE, *FEEDBACK))}
_HEAD = {"prediction.job_id", "prediction.stream.sequence", "event.name"}


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job_id", metavar="JOB_ID", nargs="?", help="as the answer says it")
    parser.add_argument("--key", help="the caller's own key instead, or its hash where the log has hashes")
    parser.add_argument("--grafana", type=_grafana, metavar="URL", help="where Grafana is, for a link to the trace")


def _grafana(given: str) -> str:
    try:
        return optional_url(given)
    except ValueError as error:
        msg = f"what is given (not shown, since it may hold a password) will not do, wanted {error}"
        raise argparse.ArgumentTypeError(msg) from None


def _run(asked: Asked) -> int:
    job_id, key, output = asked.options.job_id, asked.options.key, asked.output
    if (job_id is None) is (key is None):
        msg = "one of JOB_ID and --key is wanted"
        raise ValueError(msg)
    found = _of_job(asked, job_id) if job_id else _of_key(asked, key)
    ordered = sorted(found.values(), key=lambda entry: (entry.time_ns, entry.row or 0, entry.sequence))
    ordered = [row for entry in ordered for row in rows_of(entry)]
    rows = [entry for entry in ordered if entry.event == EVENT_NAME]
    feedback = [entry for entry in ordered if entry.event == FEEDBACK_EVENT]
    trace_id = rows[0].trace_id if rows else ""
    name = f"job {job_id}" if job_id else f"key {key}"
    grafana = asked.options.grafana
    url = link(grafana, trace_id, rows[0].job_id or "", rows[0].time_ns) if grafana and rows else None
    if output.as_json:
        shown = {"rows": [as_json(entry) for entry in rows], "feedback": [as_json(entry) for entry in feedback]}
        whose = {"job_id": job_id} if job_id else {"key": key}
        output.json(whose | {"trace_id": trace_id or None, "grafana": url} | shown)
    elif ordered:
        output.line(f"{name}: {len(rows)} rows, {len(feedback)} feedback records")
        if url:
            output.line(f"trace {url}", escape=False)
        for entry in ordered:
            output.line("")
            output.table(
                (TextColumn(""), TextColumn(entry.event)), [[key, _text(value)] for key, value in _facts(entry)]
            )
    else:
        output.note(f"no record of {name} in {asked.source.name}")
    return FINE if ordered else FOUND


def _of_job(asked: Asked, job_id: str) -> dict[tuple[str, int], Entry]:
    """Return the records of a job by stream and number."""
    found: dict[tuple[str, int], Entry] = {}
    with asked.output.progress("reading", asked.source) as tick:
        for entry in asked.source.read(_window(asked.window, job_id), {"prediction.job_id": job_id}):
            tick()
            if entry.job_id == job_id:
                found.setdefault(entry[:2], entry)
    return found


def _of_key(asked: Asked, key: str) -> dict[tuple[str, int], Entry]:
    """Return the records with a key, and what was said of their rows by the job id."""
    found: dict[tuple[str, int], Entry] = {}
    for attribute in ("prediction.key", "prediction.hashed_key"):
        with asked.output.progress("reading", asked.source) as tick:
            for entry in asked.source.read(asked.window, {attribute: key}):
                tick()
                if entry.key == key:
                    found.setdefault(entry[:2], entry)
        if found:
            break
    meant = {(entry.job_id, entry.row) for entry in found.values()}
    for job_id in sorted({entry.job_id for entry in found.values() if entry.job_id}):
        of_job = _of_job(asked, job_id)
        found |= {name: each for name, each in of_job.items() if (each.job_id, each.row) in meant}
    return found


def _window(given: time_range.TimeRange, job_id: str) -> time_range.TimeRange:
    """Return the given window; a job id is a UUIDv7, so nothing of it is older than it says."""
    began = opened_ns(job_id)
    return given if given.start is not None or not began else given._replace(start=began - MARGIN_NS)


def _facts(entry: Entry) -> list[tuple[str, Any]]:
    facts: list[tuple[str, Any]] = [
        ("time", time_range.shown(entry.time_ns, digits=9)),
        ("trace", f"{entry.trace_id}{'' if entry.sampled else ' (no span was written)'}" if entry.trace_id else ""),
        ("stream", f"{entry.stream} number {entry.sequence}"),
        ("model", f"{entry.model} {entry.model.digest}" if entry.model else ""),
        ("outputs", entry.outputs),
        ("redaction", ", ".join(f"{name}: {how}" for name, how in entry.redaction.items())),
    ]
    said = sorted(entry.attributes.items(), key=lambda pair: _place(pair[0]))
    facts += [(key.removeprefix("prediction."), value) for key, value in said if key not in _HEAD]
    return [(key, value) for key, value in facts if value != ""]


def _place(name: str) -> tuple[int, str]:
    """Return where an attribute stands: in the order of the published tables, since Loki keeps none."""
    begin = name.rpartition(".")[0]
    families = (_PLACES.get(f"{begin}.<{what}>") for what in ("feature", "name"))
    return _PLACES.get(name, next((place for place in families if place is not None), len(_PLACES))), name


def _text(value: Any) -> str:  # noqa: ANN401 - whatever an attribute holds
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


VERB = Verb("everything of one prediction: its rows, their timings, feedback, trace", _options, _run)
