"""Holds answers to the OpenAPI document: the call, the status, the headers, the media type and every field."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from jsonschema import Draft202012Validator

from predictor.api.openapi.responses import ELSEWHERE
from predictor.core.problems import Kind
from predictor.server import app

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.server import Answer, Here

    Operation = dict[str, Any]

_ORDINARY = {"content-type", "content-length", "date", "server", "connection", "vary"}
_UNKNOWN = {Kind.NOT_FOUND, *ELSEWHERE}
"""Of what is no call."""


class Contract:
    """One document."""

    def __init__(self, document: dict[str, Any]) -> None:
        """Take it as it was parsed."""
        self.document = document
        self._validators: dict[int, Draft202012Validator] = {}

    def operations(self) -> Iterator[tuple[str, str, Operation]]:
        """Yield method, path and operation of each call."""
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                yield method.upper(), path, operation

    def find(self, method: str, path: str) -> Operation | None:
        """Return the operation that a path means; one without names in it goes before one with."""
        path = path.partition("?")[0].removesuffix("/") or "/"
        items: Mapping[str, Operation] = self.document["paths"]
        wanted = unquote(path)
        found = [name for name in items if "{" not in name and unquote(name) == wanted]
        found = found or [name for name in items if "{" in name and _pattern(name).fullmatch(path)]
        wanted_method = "get" if method == "HEAD" else method.lower()
        return next((items[name][wanted_method] for name in found if wanted_method in items[name]), None)

    def resolved(self, part: Operation) -> Operation:
        """Return what a reference means, or the part itself."""
        if "$ref" not in part:
            return part
        found: Any = self.document
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return found  # type: ignore[no-any-return]

    def faults(self, schema: Operation, value: object) -> list[str]:
        """Return what of a value is not as its schema, which is a part of this document, has it."""
        validator = self._validators.get(id(schema))
        if validator is None:
            whole = {"allOf": [schema], "components": self.document["components"]}
            validator = self._validators[id(schema)] = Draft202012Validator(whole)
        return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]

    def hold(self, method: str, path: str, answer: Answer) -> None:
        """Check that an answer is one that the call may give, with nothing in it that the document has not."""
        where = f"{method} {path} {answer.status}"
        operation = self.find(method, path)
        if operation is None:
            unknown = {kind.status for kind in (*_UNKNOWN, Kind.UNAUTHORIZED, Kind.MISDIRECTED_REQUEST)}
            assert answer.status in {*unknown, 204, *_before()}, f"{where}: there is no such call"
            return
        if (method, answer.status) == ("HEAD", Kind.METHOD_NOT_ALLOWED.status):
            return  # HEAD never predicts
        response = operation["responses"].get(str(answer.status))
        assert response, f"{where}: not documented: {answer.body[:200]!r}"
        self._hold_headers(where, response, answer)
        media_type = answer.headers.get("Content-Type", "").partition(";")[0]
        content = response["content"]
        assert media_type in content or "*/*" in content, f"{where}: {media_type} is not documented"
        schema = content.get(media_type, {}).get("schema")
        if schema is not None and method != "HEAD":
            assert self.faults(schema, json.loads(answer.body)) == [], f"{where}: {answer.body[:300]!r}"

    def _hold_headers(self, where: str, response: Operation, answer: Answer) -> None:
        documented = {name.lower(): self.resolved(header) for name, header in response["headers"].items()}
        given = {name.lower(): value for name, value in answer.headers.items()}
        for name in set(given) - _ORDINARY:
            if not name.startswith("access-control-"):
                assert name in documented, f"{where}: the header {name} is not documented"
                assert self.faults(documented[name]["schema"], given[name]) == [], f"{where}: {name}"
        missing = [name for name, header in documented.items() if header.get("required") and name not in given]
        assert missing == [], where


def contract(here: Here, known: dict[bytes, Contract] | None = None) -> Contract:
    """Return the document of what a server serves now; one of those that are `known`, if it is the same."""
    text = b"".join(here.app[app.DESCRIPTION].answer().buffers)
    known = {} if known is None else known
    if text not in known:
        known[text] = Contract(json.loads(text))
    return known[text]


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))


def _before() -> set[int]:
    return {400, 414, 431}
