"""`predictor log VERB` as a person or a script runs it: tables, JSON, sentences, exit statuses."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from predictor.__main__ import main as program
from predictor.reader import cli
from predictor.reader.time_range import moment
from tests.support.fake_loki import Loki
from tests.support.log_files import BASE, SECOND, Stream, lay_out, line, lines, said
from tests.support.server import ROOT, environment, interruptible, run

if TYPE_CHECKING:
    from collections.abc import Iterator

SINCE = ("--since", "2025-10-09T00:00:00Z")


class Told:
    """What a run of a verb in this process told."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        """Run it."""
        try:
            self.status = cli.main(arguments)
        except SystemExit as ended:
            self.status = int(ended.code or 0)
        self.out, self.err = capsys.readouterr()

    @property
    def json(self) -> list[Any]:
        """The JSON lines of stdout."""
        return [json.loads(text) for text in self.out.splitlines()]


@pytest.fixture
def log() -> Stream:
    """Return a stream; `written` makes its records."""
    return Stream()


def written(stream: Stream) -> list[bytes]:
    """Return a small day: every label, an outlier, a failure, a batch with feedback, the stream's events."""
    records = [stream.opened(), *stream.predictions(3), stream.prediction(1, outlier=True, outlier_score=-1.5)]
    records += [stream.failure(), stream.failure("queue-full")]
    job = str(said(records[1])["prediction.job_id"])
    records += [stream.prediction(2, job=job, index=1), stream.feedback(job, 1, label="versicolor")]
    return lines(stream, [*records, stream.status(), stream.closed()])


@pytest.fixture(params=["outbox", "files", "loki"])
def where(request: pytest.FixtureRequest, tmp_path: Path, log: Stream) -> Iterator[str]:
    """Return the same log as each kind of source."""
    if request.param != "loki":
        texts = written(log)
        yield lay_out(request.param, tmp_path, [*texts, texts[3]])  # one was sent again
        return
    with Loki() as loki:
        loki.add(*written(log))
        yield loki.url


def test_list(capsys: pytest.CaptureFixture[str], where: str) -> None:
    """`list` shows predictions and feedback, the newest last, each once."""
    told = Told(capsys, "list", "--from", where, *SINCE)
    assert (told.status, told.err) == (0, "")
    head, *rows = told.out.splitlines()
    assert head.split() == ["time", "label", "confidence", "outlier", "ms", "model", "job", "id", "row"]
    assert [row.split()[1] for row in rows] == [
        *("setosa", "versicolor", "virginica", "versicolor", "invalid-data", "queue-full", "virginica", "feedback")
    ]
    assert re.match(r"2025-10-09T08:53:20\.001Z +setosa +0\.800 +- +1\.0 +iris@1 +[0-9a-f-]{36} +0$", rows[0])
    assert [
        row.split()[1] for row in Told(capsys, "list", "--from", where, *SINCE, "--limit", "2").out.splitlines()
    ] == [
        "label",
        "virginica",
        "feedback",
    ]


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ((), [2, 3, 4, 5, 6, 7, 8, 9]),
        (("--label", "virginica"), [4, 8]),
        (("--label", "virginica", "--label", "setosa"), [2, 4, 8]),
        (("--outlier",), [5]),
        (("--error",), [6, 7]),
        (("--error", "queue-full"), [7]),
        (("--model", "iris"), [2, 3, 4, 5, 6, 7, 8]),
        (("--model", "iris@1", "--label", "setosa"), [2]),
        (("--model", "iris@2"), []),
        (("--label", "versicolor", "--outlier"), [5]),
        (("--events",), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
    ],
)
def test_filters(capsys: pytest.CaptureFixture[str], where: str, filters: tuple[str, ...], numbers: list[int]) -> None:
    """Filters let through what fits all of them; without any, predictions and feedback."""
    told = Told(capsys, "list", "--from", where, *SINCE, "--json", *filters)
    assert told.status == 0
    assert [record["sequence"] for record in told.json] == numbers


def test_json_of_a_record(capsys: pytest.CaptureFixture[str], where: str, log: Stream) -> None:
    """`--json` prints a record as docs/reading.md describes it, the same from every source."""
    told = Told(capsys, "list", "--from", where, *SINCE, "--json", "--outlier")
    (record,) = told.json
    attributes = record.pop("attributes")
    assert record == {
        "time": "2025-10-09T08:53:20.004000000Z",
        "observed": "2025-10-09T08:53:20.004500000Z",
        "stream": log.id,
        "sequence": 5,
        "event": "prediction",
        "severity": "INFO",
        "body": "versicolor 0.800",
        "trace_id": f"{5:032x}",
        "span_id": f"{5:016x}",
        "sampled": True,
        "model": {"name": "iris", "version": "1", "digest": "sha256:" + "ab" * 32},
        "redaction": {},
    }
    assert list(attributes) == sorted(attributes)
    assert attributes["prediction.outlier"] is True
    assert attributes["prediction.outlier_score"] == -1.5
    page = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
    assert all(f"`{key}`" in page for key in (*record, "attributes"))


def test_show(capsys: pytest.CaptureFixture[str], where: str) -> None:
    """`show` has all rows of a job, its feedback, and its link to Grafana, from a window that its id itself gives."""
    rows = Told(capsys, "list", "--from", where, *SINCE, "--json", "--label", "setosa").json
    job = rows[0]["attributes"]["prediction.job_id"]
    told = Told(capsys, "show", job, "--from", where, "--json", "--grafana", "http://grafana:3000/")
    assert told.status == 0
    (shown,) = told.json
    assert [row["sequence"] for row in shown["rows"]] == [2, 8]
    assert shown["feedback"][0]["attributes"]["prediction.feedback.label"] == "versicolor"
    assert shown["trace_id"] == rows[0]["trace_id"]
    about = BASE // 10**6 + 1
    assert shown["grafana"] == (
        f"http://grafana:3000/d/trace?var-trace_id={shown['trace_id']}&var-job_id={job}"
        f"&from={about - 900_000}&to={about + 900_000}"
    )
    text = Told(capsys, "show", job, "--from", where, "--grafana", "http://grafana:3000").out
    assert text.startswith(f"job {job}: 2 rows, 1 feedback records\ntrace {shown['grafana']}\n")
    for fact in ("label  ", "duration.total", "feedback.label", "input.petal_width", "2025-10-09T08:53:20.001000000Z"):
        assert fact in text


def test_show_nothing(capsys: pytest.CaptureFixture[str], where: str) -> None:
    """A job that is not there is a sentence and status 1, and with --json an empty object too."""
    told = Told(capsys, "show", "nobody", "--from", where, *SINCE)
    assert (told.status, told.out) == (1, "")
    assert told.err == f"predictor: no record of job nobody in {where}\n"
    told = Told(capsys, "show", "nobody", "--from", where, *SINCE, "--json")
    assert told.status == 1
    assert told.json == [{"job_id": "nobody", "trace_id": None, "grafana": None, "rows": [], "feedback": []}]


def test_verify(capsys: pytest.CaptureFixture[str], where: str, log: Stream) -> None:
    """`verify` of a whole log has a line a stream, a total, and status 0."""
    told = Told(capsys, "verify", "--from", where, *SINCE)
    assert told.status == 0
    head, stream, total, unproved, words = told.out.splitlines()
    assert head.split() == [
        *("stream", "state", "last", "spoke", "from", "to"),
        *("records", "copies", "lost", "refused", "missing", "unaltered"),
    ]
    assert stream.split()[:7] == [log.id, "complete", "(shutdown)", "2025-10-09T08:53:20.010Z", "1", "11", "11"]
    assert total.split()[:3] == ["1", "in", "all"]
    assert unproved == f"not proved to be unaltered, they have no checkpoint: {log.id} 1-11"
    assert words == "nothing is missing"


def test_verify_finds(capsys: pytest.CaptureFixture[str], tmp_path: Path, log: Stream) -> None:
    """`verify` of a log with faults says each in a sentence, has status 1, and its JSON has all of it."""
    texts = written(log)
    where = lay_out("files", tmp_path, [*texts[:2], *texts[3:], texts[3].replace(b"virginica", b"setosa")])
    told = Told(capsys, "verify", "--from", where)
    assert told.status == 1
    assert told.out.splitlines()[4:] == [
        f"stream {log.id}: missing 3",
        f"stream {log.id}: altered, one number with two contents: 4",
    ]
    told = Told(capsys, "verify", "--from", where, "--json")
    assert told.status == 1
    (report,) = told.json
    assert report == {
        "sound": False,
        "streams": [
            {
                "stream": log.id,
                "sound": False,
                "state": "complete",
                "closed": "shutdown",
                "from": 1,
                "to": 11,
                "spoke": "2025-10-09T08:53:20.010500000Z",
                "records": 10,
                "copies": 1,
                "missing": [[3, 3]],
                "lost": [],
                "refused": 0,
                "altered": [4],
                "beyond_closed": False,
                "unrecorded": 0,
                "pending_bytes": 0,
                "unaltered": [],
                "unproved": [{"from": 1, "to": 11, "reason": "they have no checkpoint"}],
                "faults": [],
                "signed_by": [],
            }
        ],
        "twice": [],
        "damaged": [],
        "gone": [],
        "lacking": [],
        "rejected_spans": 0,
        "passed_over": [],
        "strict_faults": [],
    }
    page = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
    assert all(f"`{key}`" in page for key in (*report, *report["streams"][0]))


def test_verify_says_what_is_true(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What was declared lost, or refused by the sink, is missing: the last line counts it and does not deny it."""
    stream = Stream()
    records = [
        stream.opened(),
        *stream.predictions(6),
        stream.lost(3, 5),
        stream.status(lost=3, rejected=1),
        stream.closed(),
    ]
    kept = [record for number, record in enumerate(records, 1) if number not in {3, 4, 5, 6}]
    told = Told(capsys, "verify", "--from", lay_out("files", tmp_path, lines(stream, kept)))
    assert told.status == 0
    assert told.out.splitlines()[-1] == "3 declared lost, 1 refused by the sink, nothing else is missing"


def test_verify_names_what_it_passes_over(capsys: pytest.CaptureFixture[str], tmp_path: Path, log: Stream) -> None:
    """Files that were not read are named with the reason, in the table and in JSON, and are no fault by themselves."""
    where = Path(lay_out("files", tmp_path, written(log)))
    (where / "older").mkdir()
    (where / "logs.jsonl.bak").touch()
    (where / "logs.jsonl.gz").touch()
    (where / "old.jsonl").touch()
    os.utime(where / "old.jsonl", (0, 0))
    told = Told(capsys, "verify", "--from", str(where), *SINCE)
    assert told.status == 0
    sentences = sorted(told.out.splitlines()[4:-1])
    assert sentences == [
        f"{where}/logs.jsonl.bak was not read: its name does not end as one of OTLP JSON lines",
        f"{where}/logs.jsonl.gz was not read: logs.jsonl is there too",
        f"{where}/old.jsonl was not read: nobody has written to it since the window began",
        f"{where}/older was not read: a folder in the folder",
    ]
    (report,) = Told(capsys, "verify", "--from", str(where), *SINCE, "--json").json
    assert sorted(report["passed_over"]) == sentences
    told = Told(capsys, "export", str(tmp_path / "a.csv"), "--from", str(where), *SINCE)
    assert (told.status, sorted(told.err.splitlines())) == (0, [f"predictor: {each}" for each in sentences])


def test_verify_many(capsys: pytest.CaptureFixture[str], tmp_path: Path, log: Stream) -> None:
    """A thousand damaged lines are twenty sentences and a number."""
    where = lay_out("files", tmp_path, [*written(log), *[b"{\n"] * 1000])
    told = Told(capsys, "verify", "--from", where)
    assert told.status == 1
    assert len(told.out.splitlines()) == 4 + 21
    assert told.out.endswith("and 980 more\n")
    assert told.err == ""


def test_nothing_to_prove(capsys: pytest.CaptureFixture[str], where: str) -> None:
    """A check of no records is no success: status 2, unless the caller says that it may be empty."""
    empty = ("--from", where, "--since", "2024-01-01T00:00:00Z", "--until", "2024-01-02T00:00:00Z")
    told = Told(capsys, "verify", *empty)
    assert told.status == 2
    assert told.out.splitlines()[-1] == "no records there: nothing to prove"
    assert Told(capsys, "verify", *empty, "--json").status == 2
    assert Told(capsys, "verify", *empty, "--allow-empty").status == 0
    assert Told(capsys, "verify", *empty, "--allow-empty", "--json").status == 0
    told = Told(capsys, "list", "--from", where, "--since", "2024-01-01T00:00:00Z", "--until", "2024-01-02T00:00:00Z")
    assert (told.status, told.out, told.err) == (0, "", f"predictor: nothing of the kind in {where}\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("list", "--since", "yesterday"),
            "predictor log list: argument --since: 'yesterday' is not a time; wanted RFC 3339",
        ),
        (
            ("list", "--since", "2025-10-09T00:00:00"),
            "with a zone, such as 2026-11-23T08:15:00Z, or an age such as 15m",
        ),
        (("list", "--since", "1h", "--until", "2h"), "predictor: --since is not before --until"),
        (("list", "--limit", "0"), "predictor log list: argument --limit: "),
        (
            ("list", "--token-file", "/nowhere/token"),
            "predictor: --token-file /nowhere/token: No such file or directory; wanted one line of printable ASCII",
        ),
        (("list", "--from", "/nowhere"), "predictor: /nowhere: nothing to read; wanted an outbox"),
        (("list", "--from", "http://127.0.0.1:1"), "predictor: http://127.0.0.1:1: "),
        (("list", "--sinc", "1h"), "predictor log list: unrecognized arguments: --sinc"),
        (("tail", "--until", "1h"), "predictor log tail: unrecognized arguments: --until"),
        (("show",), "predictor: one of JOB_ID and --key is wanted"),
        (
            ("export", "log.txt"),
            "predictor log export: argument FILE: 'log.txt' is not a file to export to; wanted a name",
        ),
        (
            ("export", "a.csv", "--labels", "a,,b"),
            "predictor log export: argument --labels: 'a,,b', wanted different names",
        ),
        (("export", "a.csv", "--model", "/nowhere"), "predictor: /nowhere/model.toml cannot be read: No such file"),
        (("export", "/nowhere/a.csv"), "predictor: /nowhere"),
        (("rejected", "--outbox", "/nowhere"), "predictor: /nowhere: there is no outbox; wanted the folder that"),
        (("resend", "--outbox", "/nowhere"), "predictor: /nowhere: there is no outbox; wanted the folder that"),
        (("verify", "--outbox", "/nowhere"), "predictor: /nowhere: there is no outbox; wanted the folder that"),
        ((), "predictor log: the following arguments are required: VERB"),
        (("look",), "predictor log: argument VERB: invalid choice: 'look'"),
    ],
)
def test_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, log: Stream, arguments: tuple[str, ...], sentence: str
) -> None:
    """What keeps a verb from its work is one sentence on stderr, nothing on stdout, and status 2."""
    none = not arguments or "--from" in arguments or arguments[0] in {"rejected", "resend"}
    default = () if none else ("--from", lay_out("files", tmp_path, written(log)))
    told = Told(capsys, *arguments, *(default if arguments and arguments[0] != "look" else ()))
    assert (told.status, told.out) == (2, "")
    (said_line,) = told.err.splitlines()
    assert sentence in said_line


@pytest.mark.parametrize("verb", ["list", "show", "verify", "export"])
def test_damage_is_told_beside(capsys: pytest.CaptureFixture[str], tmp_path: Path, log: Stream, verb: str) -> None:
    """What cannot be read does not stop a verb, and is told once: by verify in its result, else on stderr."""
    where = lay_out("files", tmp_path, [*written(log), b"{nobody\n"])
    more = {"show": ["nobody"], "export": [str(tmp_path / "a.csv")]}.get(verb, [])
    told = Told(capsys, verb, *more, "--from", where)
    assert (told.out + told.err).count("not a line of OTLP JSON logs") == 1
    place = "logs.jsonl at byte" if verb == "list" else "logs.jsonl:12"  # from the end nobody counts lines
    assert (told.out if verb == "verify" else told.err).count(place) == 1
    assert told.status == (0 if verb == "list" else 1)  # an export that left something out is not whole


def test_control_characters(capsys: pytest.CaptureFixture[str], tmp_path: Path, log: Stream) -> None:
    """What callers sent cannot draw on the terminal of who reads the log."""
    where = lay_out("files", tmp_path, lines(log, [log.prediction(request_id="\x1b[2J[red]", kept="\x9b31m")]))
    job = Told(capsys, "list", "--from", where, "--json").json[0]["attributes"]["prediction.job_id"]
    shown = Told(capsys, "show", job, "--from", where).out
    assert r"\x1b[2J[red]" in shown
    assert not {"\x1b", "\x9b"} & set(shown + Told(capsys, "list", "--from", where).out)


def test_columns_and_order(capsys: pytest.CaptureFixture[str], where: str, log: Stream) -> None:
    """--columns takes columns of the table and attributes of the records, --sort orders by one of them, either way."""
    rows = Told(capsys, "list", where, *SINCE, "--columns", "number, input.sepal_width,label", "--sort=-number").out
    head, *lines_ = rows.splitlines()
    assert head.split() == ["number", "input.sepal_width", "label"]
    assert [row.split()[0] for row in lines_] == ["9", "8", "7", "6", "5", "4", "3", "2"]
    assert lines_[0].split()[1:] == ["-", "feedback"]
    by_text = Told(capsys, "list", "--from", where, *SINCE, "--columns", "label", "--sort", "label").out.split()[1:]
    assert by_text == sorted(by_text)
    told = Told(capsys, "verify", where, *SINCE, "--columns", "records,stream")
    assert told.out.splitlines()[:2] == ["records  stream", f"     11  {log.id}"]
    told = Told(capsys, "verify", where, *SINCE, "--columns", "colour")
    assert (told.status, told.out) == (2, "")
    assert "there is no column 'colour', wanted one of stream, state, last_spoke, from, to," in told.err


def test_forms(capsys: pytest.CaptureFixture[str], where: str, log: Stream) -> None:
    """-o wide has every column, -o csv is CSV and nothing else, -o json is --json."""
    assert "trace id" not in Told(capsys, "list", "--from", where, *SINCE).out
    wide = Told(capsys, "list", "--from", where, *SINCE, "-o", "wide").out.splitlines()
    assert wide[0].split()[-5:] == ["kept", "trace", "id", "stream", "number"]
    assert len({len(re.split(r"  +", row.strip())) for row in wide}) == 1, "every cell holds something"
    assert wide[1].split()[-2:] == [log.id, "2"]
    rows = [*csv.DictReader(Told(capsys, "list", "--from", where, *SINCE, "-o", "csv").out.splitlines())]
    assert (rows[0]["label"], rows[0]["outlier"], rows[3]["outlier"]) == ("setosa", "", "outlier")
    verdict = Told(capsys, "verify", "--from", where, *SINCE, "-o", "csv")
    assert [row["stream"] for row in csv.DictReader(verdict.out.splitlines())] == [log.id]
    assert "nothing is missing" in verdict.err
    as_json = Told(capsys, "list", "--from", where, *SINCE, "-o", "json").out
    assert as_json == Told(capsys, "list", "--from", where, *SINCE, "--json").out


def test_ids_are_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: Stream
) -> None:
    """On a narrow terminal no id is folded or cut: lines go on, and the terminal wraps them."""
    where = lay_out("files", tmp_path, written(log))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    jobs = [record["attributes"]["prediction.job_id"] for record in Told(capsys, "list", where, "--json").json]
    told = Told(capsys, "list", where, "-o", "wide").out
    assert all(job in told for job in jobs)
    assert log.id in Told(capsys, "verify", where).out


def test_a_place_once(capsys: pytest.CaptureFixture[str], where: str) -> None:
    """`verify SOURCE` reads what `--from SOURCE` does; two places are a sentence."""
    assert Told(capsys, "verify", where, *SINCE).out == Told(capsys, "verify", "--from", where, *SINCE).out
    told = Told(capsys, "verify", where, "--from", where)
    assert (told.status, told.out) == (2, "")
    assert "two places to read from" in told.err


def test_completion(capsys: pytest.CaptureFixture[str]) -> None:
    """The script for a shell names every verb, and every option of each; bash completes by it."""
    for shell in ("bash", "zsh", "fish"):
        assert program(["completion", shell]) == 0
        text = capsys.readouterr().out
        for verb, options in cli.words().items():
            assert verb in text
            assert all(option.lstrip("-") in text for option in options)
    assert {"--columns", "-o", "--since"} <= set(cli.words()["list"])
    assert program(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    asked = 'COMP_WORDS=(predictor log ver); COMP_CWORD=2; _predictor; echo "${COMPREPLY[@]}"; '
    asked += 'COMP_WORDS=(predictor log verify --st); COMP_CWORD=3; _predictor; echo "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", script + asked], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["verify", "--state --strict"]


def test_how_to_get_what_is_not_there(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rich and pyarrow the help says the command that installs them in this very environment."""
    assert "can be had by" not in Told(capsys, "--help").out
    monkeypatch.setattr("predictor.reader.cli.find_spec", lambda _: None)
    said_then = " ".join(Told(capsys, "--help").out.split())
    assert f"pyarrow and rich, for terminals and Parquet, can be had by: {sys.executable} -m pip install" in said_then
    assert "'pyarrow>=" in said_then
    assert "prediction-log-server" not in said_then, "no index has it"
    monkeypatch.setattr("predictor.core.extras.find_spec", lambda _: None)
    assert f"uv pip install --python {sys.executable}" in " ".join(Told(capsys, "--help").out.split())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15m", 900), ("1h30m", 5400), ("1w", 604_800), ("1d12h", 129_600), ("90", 90), ("1.5h", 5400), ("250ms", 0.25)],
)
def test_ages(text: str, seconds: float) -> None:
    """An age may have several parts, up to weeks."""
    assert moment(text, BASE) == BASE - int(seconds * SECOND)


def test_dates() -> None:
    """A date is its beginning, in UTC."""
    assert moment("2025-10-09") == moment("2025-10-09T00:00:00Z")
    for text in ("2025-13-01", "1x", "h", "", "-1h", "1h-", "2025-10"):
        with pytest.raises(ValueError, match="is not a time; wanted RFC 3339"):
            moment(text)


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Every verb is explained."""
    overview = Told(capsys, "--help")
    assert overview.status == 0
    for verb in cli._VERBS:
        assert re.search(rf"^ +{verb} +\w", overview.out, re.MULTILINE)
        told = Told(capsys, verb, "--help")
        assert (told.status, told.out.startswith(f"usage: predictor log {verb} ")) == (0, True)


def test_default_is_the_servers_outbox(outbox: Path, log: Stream) -> None:
    """Without --from the log is the one that PREDICTOR_OUTBOX names; a bad setting is a sentence."""
    lay_out("outbox", outbox.parent, written(log))
    told = run("log", "verify", outbox=outbox)
    assert (told.returncode, told.stdout.splitlines()[-1]) == (0, "nothing is missing")
    told = run("log", "verify", outbox=outbox, PREDICTOR_PORT="x")
    assert (told.returncode, told.stderr) == (2, "predictor: PREDICTOR_PORT is 'x', wanted a port from 0 to 65535\n")
    assert run("log", "verify", "--from", str(outbox), outbox=outbox, PREDICTOR_PORT="x").returncode == 0


def start(outbox: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a verb as a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "predictor", "log", *arguments],
        cwd=ROOT,
        env=interruptible(environment(outbox)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_tail(tmp_path: Path, outbox: Path, log: Stream) -> None:
    """`tail` shows what is there and what comes, what was sent again once, until Ctrl-C, which ends it quietly."""
    texts = written(log)
    where = tmp_path / "logs.jsonl"
    where.write_bytes(b"".join(texts[:3]))
    process = start(outbox, "tail", "--from", str(where), *SINCE)
    assert process.stdout
    assert process.stdout.readline() == "2025-10-09T08:53:20.001Z setosa 0.800\n"
    assert process.stdout.readline() == "2025-10-09T08:53:20.002Z versicolor 0.800\n"
    with where.open("ab") as file:
        file.write(texts[2] + texts[3])
    assert process.stdout.readline() == "2025-10-09T08:53:20.003Z virginica 0.800\n"
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=30)
    assert (rest, err, process.returncode) == ("", "", 130)


def test_tail_of_the_last_minute(tmp_path: Path, outbox: Path) -> None:
    """Without --since `tail` begins a minute ago, not with the oldest record."""
    old, new = Stream(), Stream(BASE + 10 * 365 * 24 * 3600 * SECOND)  # a clock that is ahead
    texts = [*lines(old, old.predictions(3)), line(new.id, [new.prediction(2)])]
    process = start(outbox, "tail", "--from", lay_out("files", tmp_path, texts), "--json")
    assert process.stdout
    assert json.loads(process.stdout.readline())["stream"] == new.id
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("", "")


@pytest.mark.parametrize("verb", ["list", "tail"])
def test_closed_pipe(tmp_path: Path, outbox: Path, log: Stream, verb: str) -> None:
    """Output that nobody reads any more ends a verb quietly, with the status that shells know."""
    where = lay_out("files", tmp_path, lines(log, log.predictions(3000)))
    more = {"list": ["--limit", "3000", "--json"], "tail": [*SINCE]}[verb]
    process = start(outbox, verb, "--from", where, *more)
    assert process.stdout
    assert process.stderr
    process.stdout.readline()
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(30) == 141


def test_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: Stream
) -> None:
    """On a terminal tables are drawn by rich, and the bar goes to stderr and leaves nothing on stdout."""
    where = lay_out("files", tmp_path, [*written(log), line(Stream(BASE + SECOND).id, log.predictions(600))])
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    told = Told(capsys, "list", "--from", where, "--outlier")
    assert told.status == 0
    assert "versicolor" in told.out
    assert "reading" not in told.out
    monkeypatch.setattr("predictor.reader.output.find_spec", lambda _: None)  # as without the extra
    plain = Told(capsys, "list", "--from", where, "--outlier")
    assert (plain.status, plain.err) == (0, "")
    assert plain.out.split() == re.sub(r"\x1b\[\d*m", "", told.out).split()


def test_an_export_needs_its_folder(capsys: pytest.CaptureFixture[str], where: str) -> None:
    """A folder that is not there is named, and not a file of our own making in it."""
    told = Told(capsys, "export", "/nowhere/a.csv", "--from", where)
    assert told.status == 2
    assert "there is no folder /nowhere; wanted a file in one that exists" in told.err


def test_labels_that_the_log_cannot_have(capsys: pytest.CaptureFixture[str], tmp_path: Path, where: str) -> None:
    """Names for another number of classes are refused: the columns would be mislabelled."""
    told = Told(capsys, "export", str(tmp_path / "a.csv"), "--labels", "a,b", "--from", where, *SINCE)
    assert told.status == 2
    assert "2 labels are given, wanted 3" in told.err
    assert not (tmp_path / "a.csv").exists()


def test_a_file_that_is_no_log(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A file without any record that can be read is an answer to nothing: status 2."""
    (tmp_path / "notes.json").write_text("what is this\n")
    assert Told(capsys, "list", "--from", str(tmp_path)).status == 2


@pytest.mark.parametrize("content", [b"", b"\n", b"zq91\nzq92", "zq91ü".encode(), b"\xff", b"zq91 zq92"], ids=range(6))
def test_a_token_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes) -> None:
    """A file that holds no token is refused before anybody is asked, and what it holds is not shown."""
    (tmp_path / "token").write_bytes(content)
    told = Told(capsys, "list", "--from", "http://127.0.0.1:9", "--token-file", str(tmp_path / "token"))
    assert told.status == 2
    assert f"--token-file {tmp_path / 'token'}: it holds no token" in told.err
    assert "zq91" not in told.err


def test_a_password_in_the_url(capsys: pytest.CaptureFixture[str]) -> None:
    """A password in the URL is refused and not shown."""
    told = Told(capsys, "list", "--from", "http://me:secret@127.0.0.1:9")
    assert told.status == 2
    assert "wanted --token-file" in told.err
    assert "secret" not in told.err


def test_terminals_are_not_drawn_on_by_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Also JSON shows control characters escaped, those above ASCII too, and stays the same text."""
    stream = Stream()
    comment = "a\u009b31m\x1b[0mb\x7f"
    where = lay_out("files", tmp_path, lines(stream, [stream.opened(), stream.feedback("j", comment=comment)]))
    told = Told(capsys, "list", "--json", "--from", where)
    assert all(character.isprintable() or character == "\n" for character in told.out)
    assert comment in set(_texts(told.json[-1]))


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for each in value.values():
                yield from _texts(each)
