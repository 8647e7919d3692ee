"""The commands of docs/reading.md, typed as they stand there, on a log that a real server wrote."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from predictor.reader.export.columns import AFTER, BEFORE, FEEDBACK, LAST, MODEL_COLUMNS
from predictor.reader.export.learned import Learned
from predictor.reader.sources.source import source
from predictor.reader.time_range import TimeRange
from tests.project.test_docs import rows
from tests.project.test_guides import blocks
from tests.server.test_start import post
from tests.support.fake_loki import Loki
from tests.support.log_files import Stream, line
from tests.support.loopback_server import Loopback
from tests.support.rejected_items import keep
from tests.support.server import ROOT, Server, environment, interruptible
from tests.support.signing_keys import key_pair

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMMANDS = [text.split("#")[0].strip() for block in blocks("reading.md", "sh") for text in block.splitlines()]


class Taking(Loopback):
    """A sink that takes everything."""

    def __init__(self) -> None:
        """Answer on a free port of loopback."""

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        super().__init__(Handler)


def _of_refused(command: str) -> bool:
    return command.startswith(("predictor log rejected", "predictor log resend"))


class Place:
    """A folder as the page has it in mind: an outbox, collected files, a token, a Loki, and one job."""

    def __init__(self, folder: Path, loki: Loki, sink: Taking) -> None:
        """Let a server write a log, and lay the same out for the other sources; of another outbox one is refused."""
        self.folder = folder
        self.loki = loki
        self.sink = sink
        stream = Stream()
        self.refused = stream.id
        keep(folder / "refused", stream.id, "logs-1", line(stream.id, [stream.prediction()])).lock.touch()
        private, _ = key_pair(folder)
        with Server(folder / "outbox", PREDICTOR_SIGNING_KEY_FILE=str(private)) as server:
            answers = [post(server.port)[1] for _ in range(3)]
        self.job = str(json.loads(answers[0])["job_id"])
        (folder / "token").write_text("s3cret\n")
        (folder / "collected").mkdir()
        (folder / "models").symlink_to(ROOT / "models")
        for path in (folder / "outbox").glob("v1/*/logs/*.jsonl"):
            loki.add(*path.read_bytes().splitlines(keepends=True))
            (folder / "collected" / "logs.jsonl").write_bytes(path.read_bytes())

    def start(self, command: str) -> subprocess.Popen[str]:
        """Run a command in a shell of its own."""
        typed = command.replace("JOB_ID", self.job).replace("http://loki:3100", self.loki.url)
        environ = environment(self.folder / "outbox")
        if _of_refused(command):
            typed = typed.replace("outbox outbox", "outbox refused").replace("STREAM", self.refused)
            environ = environment(self.folder / "refused", OTEL_EXPORTER_OTLP_ENDPOINT=self.sink.url)
        path = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
        return subprocess.Popen(
            ["/bin/sh", "-c", f"exec {typed}"],
            cwd=self.folder,
            env=(interruptible(environ) if "tail" in command else environ) | {"PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Make the place once."""
    with Loki() as loki, Taking() as sink:
        yield Place(tmp_path_factory.mktemp("reading"), loki, sink)


@pytest.mark.parametrize("command", _COMMANDS)
def test_commands(place: Place, command: str) -> None:
    """Every command of the page works, says something, and complains of nothing."""
    process = place.start(command)
    if command.startswith("predictor log tail"):
        assert process.stdout
        assert "iris@" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (130, "")
        return
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    if "--accept" in command:
        assert "believes each refusal" in err
        return
    empty = any(word in command for word in ("--outlier", "--error", "--until"))
    assert err == ("predictor: nothing of the kind in outbox\n" if empty else "").replace(
        "outbox", str(place.folder / "outbox")
    )
    assert bool(out) != empty


def test_a_verb_each() -> None:
    """The page shows every verb."""
    verbs = {command.split()[2] for command in _COMMANDS}
    assert verbs >= {"list", "tail", "show", "verify", "export", "rejected", "resend"}


def test_columns(place: Place) -> None:
    """The page lists the columns of an export with their types, in their order."""
    fixed = [column for table in (BEFORE, AFTER) for column in table.values()]
    fixed += [*MODEL_COLUMNS, *LAST.values(), *FEEDBACK]
    learned = Learned()
    learned.learn([e for e in source(str(place.folder / "outbox")).read(TimeRange()) if e.event == "prediction"])
    families = ("input_", "hash_", "probability_", "feedback_")
    found = [each for each in learned.columns() if not each.name.startswith(families)]
    assert found == [each for each in fixed if each in found]
    published = []
    for names, types, _ in rows((ROOT / "docs" / "reading.md").read_text(encoding="utf-8"), "export"):
        columns = [name.strip("`") for name in names.split(", ")]
        kinds = [types] if types.startswith("timestamp,") else types.split(", ")
        kinds = kinds * len(columns) if len(kinds) == 1 else kinds
        published += [(name, kind.split(",")[0]) for name, kind in zip(columns, kinds, strict=True)]
    words = {"time": "timestamp"}
    assert [(each.name, words.get(each.type, each.type)) for each in fixed] == [
        each for each in published if "<" not in each[0]
    ]
    assert {each[0] for each in published if "<" in each[0]} == {
        *("input_<feature>", "hash_<feature>", "probability_<label>"),
    }
    assert [each.name for each in fixed[-len(FEEDBACK) :]] == [each.name for each in FEEDBACK]
