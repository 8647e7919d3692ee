"""The model repository extension: which models lie there, and loading and unloading them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from predictor.api.answers import json_answer
from predictor.api.json_body import undecodable
from predictor.core.problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from predictor.api.answers import Answer

_WANTED = "a JSON object, or nothing"
NOT_TAKEN = ("config", "file:")
"""Parameters of a load that would bring another model than the one in the repository."""


class Entry(Protocol):
    """A version that lies in the repository."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def version(self) -> str:
        """Its version."""

    @property
    def ready(self) -> bool:
        """Whether it is served."""

    @property
    def reason(self) -> str:
        """Why it is not, or why newer files of it are not."""


class Repository(Protocol):
    """Where models lie."""

    def check_control(self) -> None:
        """Refuse calls that reach one of several processes only; raises Problem."""

    def index(self) -> Sequence[Entry]:
        """Return every version that lies there."""

    async def load(self, name: str) -> None:
        """Serve the newest files of a model; raises Problem."""

    async def unload(self, name: str) -> None:
        """Stop serving a model; raises Problem."""


class RepositoryMessage(msgspec.Struct):
    """What a call of the repository asks for; other fields are hints."""

    ready: bool | None = None
    parameters: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(RepositoryMessage).decode


class RepositoryCalls:
    """The three calls."""

    def __init__(self, repository: Repository) -> None:
        """Take the repository."""
        self._repository = repository

    async def index(self, _: str, body: bytes) -> Answer:
        """Return all versions, of which `ready` in the body asks for those that are served."""
        return json_answer(self.entries(ready=_read(body).ready))

    async def load(self, model: str, body: bytes) -> Answer:
        """Serve the newest files of a model; raises Problem."""
        await self.load_model(model, _read(body).parameters)
        return json_answer({"name": model, "load": True})

    async def unload(self, model: str, body: bytes) -> Answer:
        """Stop serving a model; raises Problem."""
        _read(body)
        await self.unload_model(model)
        return json_answer({"name": model, "unload": True})

    def entries(self, *, ready: bool | None = None) -> list[dict[str, str]]:
        """Return all versions, or those that are served, as a message has them; raises Problem."""
        self._repository.check_control()
        return [_entry(each) for each in self._repository.index() if each.ready or not ready]

    async def load_model(self, model: str, parameters: Iterable[str] | None) -> None:
        """Serve the newest files of a model; raises Problem, also for parameters that ask for another one."""
        for name in parameters or ():
            if name.startswith(NOT_TAKEN):
                detail = f"the parameter {name[:100]!r} was given, but only files of the repository are loaded"
                raise Problem(Kind.INVALID_DATA, detail)
        await self._repository.load(model)

    async def unload_model(self, model: str) -> None:
        """Stop serving a model; raises Problem."""
        await self._repository.unload(model)


def _read(body: bytes) -> RepositoryMessage:
    if not body:
        return RepositoryMessage()
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise undecodable(body, error, _WANTED) from None


def _entry(entry: Entry) -> dict[str, str]:
    state = "READY" if entry.ready else "UNAVAILABLE"
    return {"name": entry.name, "version": entry.version, "state": state, "reason": entry.reason}
