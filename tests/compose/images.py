"""Which image each service of compose.yaml gets: the one that the file names, or one made here of a program."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support import external_programs
from tests.support.server import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.compose.engine import Engine


class Program(NamedTuple):
    """A program that can stand for an image: how it is found, and its places in the image."""

    found: Callable[[], Path | None]
    place: str
    data: str | None = None


def _tempo() -> Path | None:
    named = os.environ.get("TEMPO")
    return Path(named).absolute() if named else None


_GIVEN = {
    "loki": Program(external_programs.loki_program, "/usr/bin/loki", "/loki"),
    "tempo": Program(_tempo, "/tempo", "/var/tempo"),
}
"""What a person names is taken before the image."""
_INSTEAD = {"collector": Program(external_programs.collector_program, "/otelcol")}
"""What is built here is taken where the image cannot be had."""
_WAYS = {
    "loki": "set LOKI=/path/to/loki, or have a registry that gives its image",
    "collector": "run `make collector`, or have a registry that gives its image",
}


class Images:
    """The images of one run; those that were made for it are removed at its end."""

    def __init__(self, engine: Engine, project: str) -> None:
        """Take what runs them, and the project's name, which names those that are made."""
        self._engine = engine
        self._project = project
        self._made: list[str] = []

    def of(self, services: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Return the image of each service that can run; skips the test if one that is needed cannot be had."""
        found = {"predictor": self._predictor()}
        for name in sorted(services.keys() - found):
            image = self._image(name, services[name]["image"])
            if image:
                found[name] = image
            elif name in _WAYS:
                external_programs.absent(name, _WAYS[name])
        return found

    def remove(self) -> None:
        """Remove what was made."""
        for image in self._made:
            self._engine.run("image", "rm", "--force", image)

    def _predictor(self) -> str:
        """Return the server's own image: IMAGE, where somebody names one that is built, else built now."""
        if named := os.environ.get("IMAGE"):
            return named if self._engine.has(named) else pytest.fail(f"IMAGE is {named!r}, and there is none")
        image = self._name("predictor")
        try:
            self._engine.build(image, ROOT)
        except RuntimeError as error:
            external_programs.absent("image", f"it cannot be built, so name one by IMAGE=…: {error}")
        self._made.append(image)
        return image

    def _image(self, name: str, image: str) -> str | None:
        given, instead = (kind[name].found() if name in kind else None for kind in (_GIVEN, _INSTEAD))
        if given:
            return self._wrapped(name, given, _GIVEN[name])
        if self._engine.has(image):
            return image
        return self._wrapped(name, instead, _INSTEAD[name]) if instead else None

    def _wrapped(self, name: str, program: Path, places: Program) -> str:
        image = self._name(name)
        self._engine.wrap(image, program, places.place, places.data)
        self._made.append(image)
        return image

    def _name(self, service: str) -> str:
        return f"localhost/{self._project}/{service}:test"
