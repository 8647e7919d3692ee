"""Tries the command of an installed package as a stranger does, from a folder with nothing but a model in it.

    python -m scripts.try_wheel VERSION MODEL.onnx COMMAND...     COMMAND: predictor, or uvx --from … and so on

Needs nothing but the standard library. tests/project/test_wheel.py and scripts/try-wheel call it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

from scripts.smoke import ROW, ask, free_port, kill_tree, wait_until_live

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

VERBS = ("serve", "check", "init", "load", "log", "openapi", "healthcheck", "completion")
_PATIENCE = 60.0  # s, for one command


@dataclass(frozen=True, slots=True)
class Trial:
    """A command, the folder in which it is typed, and what of the environment it gets."""

    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]

    def run(self, *arguments: str, status: int = 0) -> str:
        """Return what a command printed; ends with a sentence if its exit status is another one."""
        done = subprocess.run(
            [*self.command, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        said = done.stdout + done.stderr
        check(done.returncode == status, f"{' '.join(arguments)} ended with status {done.returncode}: {said}")
        return said

    def serve(self, *arguments: str) -> tuple[list[str], str]:
        """Serve, predict once, look at the page and the description, and end it; return its messages and the job id."""
        url = f"http://127.0.0.1:{(port := free_port())}"
        environment = {**self.environment, "PREDICTOR_PORT": str(port)}
        with (
            tempfile.TemporaryFile("w+") as said,
            subprocess.Popen(
                [*self.command, *arguments], cwd=self.folder, env=environment, stdout=said, stderr=said
            ) as server,
        ):
            try:
                wait_until_live(url, server)
                job = str(ask(f"{url}/predict", {"data": ROW})["job_id"])
                paths = json.loads(fetch(f"{url}/openapi.json"))["paths"]
                check("/predict" in paths, f"/openapi.json has no /predict but {list(paths)}")
                for path in files_of_the_page(fetch(f"{url}/")):
                    fetch(f"{url}/{path}")
                server.send_signal(signal.SIGTERM)
                status = server.wait(_PATIENCE)
                check(status == 0, f"it ended with status {status} after SIGTERM")
            finally:
                if server.poll() is None:
                    kill_tree(server.pid)
            said.seek(0)
            return [json.loads(line)["message"] for line in said if line.startswith("{")], job


def check(promise: bool, otherwise: str) -> None:  # noqa: FBT001 - reads like assert, and -O keeps it
    """End with a sentence when a promise is not kept."""
    if not promise:
        sys.exit(f"try-wheel: {otherwise}")


def fetch(url: str) -> str:
    """Return what the server answers; raises OSError for an error status."""
    with urlopen(url, timeout=10) as answer:  # noqa: S310 - http, above
        return str(answer.read(), "utf-8")


def files_of_the_page(page: str) -> Iterator[str]:
    """Yield the scripts, styles and pictures that the page loads; ends with a sentence if there are none."""
    found = [each.lstrip("/") for each in re.findall(r'(?:src|href)="([^"#:]+\.(?:js|css|svg))', page)]
    check(len(found) > 1, f"the page loads {found}")
    yield from found


def try_command(command: Sequence[str], model: Path, version: str, environment: Mapping[str, str]) -> None:
    """Do what a stranger does who has the command alone; ends with a sentence at the first thing that fails."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        shutil.copy(model, folder / "model.onnx")
        trial = Trial(command, folder, environment)
        check(trial.run("--version").startswith(f"predictor {version}\n"), "--version prints something else")
        top = trial.run("--help")
        for verb in VERBS:
            check(bool(re.search(rf"\n    {verb}\s", top)), f"--help does not name {verb}")
            shown = trial.run(verb, "--help")
            check(f"usage: predictor {verb}" in shown, f"{verb} --help prints {shown}")
        check("wanted one of serve, check" in trial.run("predict", status=2), "an unknown verb is not explained")
        said = trial.run("model.onnx", status=2)
        check("predictor serve model.onnx" in said, f"a model without a verb is answered with {said}")

        messages, demo_job = trial.serve()
        check(messages[0].startswith("iris@"), f"without a model it says {messages[0]!r}")
        check(messages[1].startswith("this is the demo"), f"of the demo it says {messages[1]!r}")
        own_messages, own_job = trial.serve("serve", "model.onnx")
        check(own_messages[0].startswith("model@"), f"of model.onnx it says {own_messages[0]!r}")
        for each in (messages, own_messages):
            wanted = f"the prediction log is in {folder / 'outbox'},"
            check(any(message.startswith(wanted) for message in each), f"nobody says that {wanted}: {each}")

        verdict = json.loads(trial.run("log", "verify", "--json").splitlines()[-1])
        check(bool(verdict["sound"]), f"log verify says {verdict}")
        for job in (demo_job, own_job):
            check(job in trial.run("log", "show", job), f"log show does not know {job}")
        trial.run("init", "model.onnx", "described")
        check((folder / "described" / "model.toml").is_file(), "init wrote no model.toml")
        check('"openapi"' in trial.run("openapi", "model.onnx"), "openapi prints no document")
        beside = sorted(path.name for path in folder.iterdir())
        check(beside == ["described", "model.onnx", "outbox"], f"it left {beside} in the folder")


def main() -> None:
    """Try the command that is given."""
    version, model, *command = sys.argv[1:]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREDICTOR_", "OTEL_"))}
    try_command(command, Path(model), version, environment)
    print(f"try-wheel: {Path(command[0]).name} serves, predicts, shows its page, and its log is complete")  # noqa: T201


if __name__ == "__main__":
    main()
