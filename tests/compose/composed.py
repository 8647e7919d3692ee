"""compose.yaml as a running project: up, parts of it away, down, and nothing left."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import yaml

from tests.compose.engine import run
from tests.compose.images import Images
from tests.support.collector import free_port
from tests.support.loki_client import Loki
from tests.support.server import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

    from tests.compose.engine import Engine
    from tests.support.loki_client import Entry

FILE = ROOT / "compose.yaml"
_PATIENCE = 120.0  # s; Loki is not ready before 15 s, and a trace is found by search after half a minute
Asked = TypeVar("Asked")
_COMPOSE = 240.0  # s; the grace of each service, one after the other
_PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"


class Composed:
    """The services of compose.yaml in a project of their own, at free ports of loopback."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        """Find or make the images, and start nothing; `folder` takes the file that is laid over compose.yaml."""
        self.engine = engine
        self.project = f"prediction-log-test-{uuid4().hex[:8]}"
        declared: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
        self._volumes = [f"{self.project}_{name}" for name in declared["volumes"]]
        self._images = Images(engine, self.project)
        self.ports = {name: free_port() for name in declared["services"]}
        try:
            images = self._images.of(declared["services"])
        except BaseException:
            self._images.remove()
            raise
        self.services = sorted(images)
        services: dict[str, dict[str, Any]] = {name: {"image": image} for name, image in images.items()}
        if "tempo" in services:  # which only Grafana asks
            services["tempo"]["ports"] = [f"127.0.0.1:{self.ports['tempo']}:3200"]
        self._over = folder / "over.yaml"
        self._over.write_text(yaml.safe_dump({"services": services}), encoding="utf-8")
        self.loki = Loki(self.url("loki"))

    def __enter__(self) -> Self:
        """Start all that can run."""
        try:
            self.up()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Take all of it away."""
        self.remove()

    def url(self, service: str) -> str:
        """Return where a service is reached."""
        return f"http://127.0.0.1:{self.ports[service]}"

    # What a person does
    def up(self) -> None:
        """Start, or start again, and return when the server answers."""
        self.compose("up", "--detach", "--no-build", *self.services)
        self.wait("predictor", lambda: self.get("predictor", "/readyz").get("ready"))

    def down(self, *arguments: str) -> None:
        """Remove the containers; with `--volumes` what they kept too."""
        self.compose("down", *arguments)

    def compose(self, *arguments: str) -> None:
        """Run a command of compose for this project."""
        ports = {f"{name.upper()}_PORT": str(port) for name, port in self.ports.items()}
        files = ("--project-name", self.project, "--file", FILE, "--file", self._over)
        run(*self.engine.compose, *files, *arguments, seconds=_COMPOSE, environment=os.environ | ports)

    def remove(self) -> None:
        """Remove containers, network, volumes and images; raises AssertionError if any is left."""
        try:
            self.down("--volumes")
        finally:
            for volume in self._volumes:  # those that an older podman-compose leaves
                self.engine.does("volume", "rm", volume)
            self.engine.does("network", "rm", f"{self.project}_default")
            self._images.remove()
        left = [
            line
            for what in ("ps --all", "volume ls", "network ls", "images")
            for line in self.engine.run(*what.split()).splitlines()
            if self.project in line
        ]
        assert not left, left

    # What can be seen of it
    def container(self, service: str) -> str:
        """Return the id of a service's container."""
        labels = (f"--filter=label={_PROJECT}={self.project}", f"--filter=label={_SERVICE}={service}")
        (found,) = self.engine.run("ps", "--all", "--quiet", *labels).split()
        return found

    def printed(self, service: str) -> str:
        """Return what a service has printed on stdout."""
        return self.engine.run("logs", self.container(service))

    def get(self, service: str, path: str) -> Any:  # noqa: ANN401 - parsed JSON
        """Return what a service answers; {} while it answers nothing, or no JSON."""
        try:
            with urllib.request.urlopen(self.url(service) + path, timeout=30) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return {}

    def predict(self, row: list[float]) -> tuple[str, str]:
        """Have a row predicted and return the ids of its job and of its trace."""
        body = json.dumps({"data": [row]}).encode()
        request = urllib.request.Request(
            f"{self.url('predictor')}/predict", body, {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(json.load(answer)["job_id"]), str(answer.headers["X-Trace-Id"])

    def stored(self, job_id: str) -> Entry:
        """Return the record of a job as Loki has it, when it has."""
        query = f'{{service_name="predictor"}} | prediction_job_id="{job_id}"'

        def asked() -> list[Entry]:
            try:
                return self.loki.entries(query, time.time_ns() - 3600 * 10**9)
            except (OSError, RuntimeError):  # it is starting
                return []

        (entry,) = self.wait("loki", asked)
        return entry

    def wait(self, service: str, ask: Callable[[], Asked]) -> Asked:
        """Return the first answer that is something; raises AssertionError with a service's last words."""
        end = time.monotonic() + _PATIENCE
        while not (found := ask()):
            assert time.monotonic() < end, f"{service}: {self.printed(service)[-2000:]}"
            time.sleep(0.2)  # another program can only be asked again
        return found
