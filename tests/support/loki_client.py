"""Loki as anybody may read it: log queries over HTTP, page by page; no code of the server's.

- `Loki(url).entries('{service_name="predictor"}', start_ns)` is what is stored, with labels and structured metadata
- `records(entries)` is the same as `ledger.check` takes it
"""

from __future__ import annotations

import json
import re
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.ledger import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_ROOT = Path(__file__).parents[2]
_PAGE = 5000  # entries; Loki's own limit for one query (`max_entries_limit_per_query`)
_PATIENCE = 60.0  # s
_INPUT = "prediction_input_"
_KINDS: dict[str, Callable[[str], Any]] = {
    "string": str,
    "int": int,
    "double": float,
    "bool": {"true": True, "false": False}.__getitem__,
}


class Entry(NamedTuple):
    """One log entry as a query returns it."""

    time: int  # ns
    line: str
    labels: dict[str, str]
    """The index labels: what names the Loki stream."""
    metadata: dict[str, str]
    """The structured metadata: everything else, with underscores for dots and text for every type."""


class Loki:
    """One Loki, asked by HTTP."""

    def __init__(self, url: str) -> None:
        """Take the base URL."""
        self.url = url

    def get(self, path: str, **parameters: str | int) -> Any:  # noqa: ANN401 - parsed JSON
        """Return the `data` of an answer; raises RuntimeError with Loki's words if it refuses."""
        request = urllib.request.Request(
            f"{self.url}{path}?{urllib.parse.urlencode(parameters)}",
            headers={"X-Loki-Response-Encoding-Flags": "categorize-labels"},  # labels apart from metadata
        )
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            msg = f"{path}: {error.code} {error.read().decode(errors='replace').strip()}"
            raise RuntimeError(msg) from error

    def entries(self, query: str, start: int, end: int | None = None, *, page: int = _PAGE) -> list[Entry]:
        """Return all entries of a log query from `start` until before `end` (ns; the current time), oldest first."""
        end = end or time.time_ns()
        found: list[Entry] = []
        while True:
            some = self._page(query, start, end, page)
            if len(some) < page:
                return found + some
            # The limit may have cut between entries of one instant: the next page has all of that instant again.
            last = some[-1].time
            if some[0].time == last:
                msg = f"{page} entries or more at {last}: no page can hold them"
                raise RuntimeError(msg)
            found += [entry for entry in some if entry.time < last]
            start = last

    def _page(self, query: str, start: int, end: int, limit: int) -> list[Entry]:
        data = self.get("/loki/api/v1/query_range", query=query, start=start, end=end, limit=limit, direction="forward")
        assert data["encodingFlags"] == ["categorize-labels"], data["encodingFlags"]
        some = [
            Entry(int(at), line, stream["stream"], kinds.get("structuredMetadata", {}))
            for stream in data["result"]
            for at, line, kinds in stream["values"]
        ]
        return sorted(some, key=lambda entry: entry.time)


def records(entries: Iterable[Entry], features: Sequence[str] | None = None) -> Iterator[Record]:
    """Yield entries as the ledger's records, their attributes under the published names and with the published types.

    `features` are the model's in its order, which Loki does not keep; those of iris, unless others are named.
    """
    features = iris() if features is None else features
    for entry in entries:
        inputs = {f"prediction.input.{name}": entry.metadata.get(_INPUT + name) for name in features}
        attributes = {name: float(value) for name, value in inputs.items() if value is not None} | {
            name: kind(entry.metadata[stored])
            for stored, (name, kind) in published().items()
            if stored in entry.metadata
        }
        yield Record(
            entry.metadata["prediction_stream_id"],
            attributes["prediction.stream.sequence"],
            attributes,
            json.dumps(entry, sort_keys=True),
        )


@cache
def published() -> dict[str, tuple[str, Callable[[str], Any]]]:
    """Return the attributes of the published table by their name in Loki: their own name, and how to read them."""
    page = (_ROOT / "docs" / "record.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9_.]+)` \| (\w+) \|", page, re.MULTILINE)
    return {name.replace(".", "_"): (name, _KINDS[kind]) for name, kind in rows if kind in _KINDS}


@cache
def iris() -> tuple[str, ...]:
    """Return the features of iris in the model's order."""
    described = tomllib.loads((_ROOT / "models" / "iris" / "model.toml").read_text(encoding="utf-8"))
    return tuple(feature["name"] for feature in described["features"])
