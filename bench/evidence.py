"""What the files say of a round, read without the server's code: records, their numbers, and spans."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING, Any

import msgspec

from bench.pinned import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bench.variants import Variant

_SERVER = 2  # OTLP's SPAN_KIND_SERVER
_FIVE_SIGMA = 5.0  # a fair sampler is outside once in two million rounds


class _Attribute(msgspec.Struct):
    key: str
    value: dict[str, Any]


class _Item(msgspec.Struct, rename="camel"):
    """A log record or a span."""

    event_name: str = ""
    flags: int = 0
    attributes: list[_Attribute] = []
    name: str = ""
    kind: int = 0


class _Named(msgspec.Struct):
    attributes: list[_Attribute] = []


class _Scope(msgspec.Struct, rename="camel"):
    scope: _Named = msgspec.field(default_factory=_Named)
    log_records: list[_Item] = []
    spans: list[_Item] = []


class _Resource(msgspec.Struct, rename="camel"):
    scope_logs: list[_Scope] = []
    scope_spans: list[_Scope] = []


class _Line(msgspec.Struct, rename="camel"):
    resource_logs: list[_Resource] = []
    resource_spans: list[_Resource] = []


_decode = msgspec.json.Decoder(_Line).decode


@dataclass(slots=True)
class Evidence:
    """Counts over some files."""

    predictions: set[tuple[str, str]] = field(default_factory=set)
    """(stream, sequence), or (job id, index), of each record of a prediction; a copy counts once."""
    rows: dict[tuple[str, str], int] = field(default_factory=dict)
    """How many rows a record has, if not one."""
    flagged: set[tuple[str, str]] = field(default_factory=set)
    """Those that say that a span is written."""
    head: set[tuple[str, str]] = field(default_factory=set)
    """Those of them that the sampler chose; the others were kept because they were slow."""
    server_spans: int = 0
    predict_spans: int = 0

    def check(self, variant: Variant, acknowledged: int, connections: int, rows: int = 1) -> None:
        """Raise BenchError unless the files show what the variant of ours claims to do for so many requests.

        wrk leaves with a request under way on each connection: those are logged, though it did not see the answer.
        """
        found = self.recorded
        most = (acknowledged + connections) * rows
        if variant.records == "none":
            self._expect(found == 0, f"{variant.name}: {found} records of predictions where there should be none")
            return
        self._expect(
            acknowledged * rows <= found <= most,
            f"{variant.name}: {found} records for {acknowledged * rows} acknowledged predictions (at most {most})",
        )
        flagged, head = self._rows_of(self.flagged), self._rows_of(self.head)
        self._expect(
            self.whole(rows),
            f"{variant.name}: records of {flagged} rows say that they are traced, {rows} a request, "
            f"{self.server_spans} server spans and {self.predict_spans} predict spans are there",
        )
        share = variant.traced
        leeway = rows * _FIVE_SIGMA * sqrt(found / rows * share * (1 - share)) if share < 1 else 0
        self._expect(
            abs(head - found * share) <= leeway,
            f"{variant.name}: {head} of {found} records were sampled, wanted a share of {share}",
        )

    def whole(self, rows: int) -> bool:
        """Tell whether there are as many spans as the records of requests with so many rows say."""
        return self._rows_of(self.flagged) == self.server_spans * rows == self.predict_spans * rows

    @property
    def recorded(self) -> int:
        """How many rows have a record."""
        return self._rows_of(self.predictions)

    def _rows_of(self, records: set[tuple[str, str]]) -> int:
        return len(records) + sum(count - 1 for each, count in self.rows.items() if each in records)

    @staticmethod
    def _expect(fact: bool, otherwise: str) -> None:  # noqa: FBT001 - the fact itself
        if not fact:
            raise BenchError(otherwise)

    def add(self, line: bytes) -> None:
        """Count what an OTLP JSON line holds."""
        whole = _decode(line)
        for resource in whole.resource_logs:
            for scope in resource.scope_logs:
                stream = _value(scope.scope.attributes, "prediction.stream.id")  # ours alone has one
                for item in scope.log_records:
                    if item.event_name == "prediction":
                        number = (
                            (stream, _value(item.attributes, "prediction.stream.sequence"))
                            if stream
                            else (
                                _value(item.attributes, "prediction.job_id"),
                                _value(item.attributes, "prediction.index"),
                            )
                        )
                        self.predictions.add(number)
                        if rows := _value(item.attributes, "prediction.rows"):
                            self.rows[number] = int(rows)
                        if item.flags & 1:
                            self.flagged.add(number)
                        if _value(item.attributes, "prediction.kept") == "head":
                            self.head.add(number)
        for resource in whole.resource_spans:
            for scope in resource.scope_spans:
                self.server_spans += sum(span.kind == _SERVER for span in scope.spans)
                self.predict_spans += sum(span.name == "predict" for span in scope.spans)


def _value(attributes: Iterable[_Attribute], key: str) -> str:
    return next((str(next(iter(a.value.values()))) for a in attributes if a.key == key), "")


def sizes(files: Iterable[Path]) -> dict[Path, int]:
    """Return how long files are now."""
    return {path: path.stat().st_size for path in files}


def since(before: dict[Path, int], files: Iterable[Path], records: str = "otlp") -> Evidence:
    """Return what was added to files since `before` was taken of them; `records` is the variant's kind."""
    evidence = Evidence()
    for path in files:
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:  # shipped whole in the meantime
            start = at = file.seek(before.get(path, 0))
            for line in file:
                if not line.endswith(b"\n"):  # it is being written
                    break
                begun, at = at, at + len(line)
                if records == "otlp":
                    try:
                        evidence.add(line)
                    except msgspec.DecodeError:
                        if begun != start:  # the first may be the rest of a line, as late as the SDK sends
                            raise
                elif records == "events":
                    kind, _, job = line.decode().rstrip("\n").partition(" ")
                    if kind.endswith(".response"):  # it holds the prediction; the request is another event
                        evidence.predictions.add((job, ""))
                elif b'"prediction"' in line:
                    evidence.predictions.add((path.name, str(at)))
    return evidence
