"""Where a server's records end up: its own files, the sink's files, or both while it is behind."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.evidence import Evidence, since, sizes

if TYPE_CHECKING:
    from pathlib import Path

    from bench.sinks import Sink
    from bench.variants import Variant

_QUIET = 0.7  # s without anything new: over twice what the shipper and the Collector's exporter hold back
_ARRIVED = 30.0  # s for the rest to arrive after a round
_GIVEN_UP = 8.0  # s for those who lose records: the SDK's batch processors send every five seconds


class Trail:
    """The records of one server, counted from `begin` on."""

    def __init__(self, variant: Variant, folder: Path, sink: Sink | None) -> None:
        """Take what it is and where it writes."""
        self._variant, self._folder, self._sink = variant, folder, sink
        self._before: dict[Path, int] = {}
        self._seen: set[tuple[str, str]] = set()  # a slow sink gets in one round what was logged in another

    def begin(self) -> None:
        """Forget what is there so far."""
        if self._sink and self._variant.sink == "up":
            self._sink.clear()
        self._before = sizes(self._files())

    def arrived(self, wanted: int, rows: int = 1) -> Evidence:
        """Return what there is once all that was acknowledged has arrived, or the time for it is over.

        What was under way at the end comes after it: of ours, records and spans must agree then; see `Evidence.whole`.
        """
        until = time.monotonic() + (_ARRIVED if self._variant.ours else _GIVEN_UP)
        while True:
            self._wait_until_quiet(until)
            evidence = since(self._before, self._files(), self._variant.records)
            evidence.predictions -= self._seen
            complete = evidence.recorded >= wanted and (not self._variant.ours or evidence.whole(rows))
            if not self._elsewhere() or complete or time.monotonic() > until:
                break
        if self._variant.sink == "slow":
            self._seen |= evidence.predictions
        return evidence

    def size(self) -> int:
        """Return how many bytes are there."""
        return sum(path.stat().st_size for path in self._files() if path.exists())

    def _files(self) -> list[Path]:
        """Return the files that hold the records; first the server's own, which may go as the sink gets them."""
        own: list[Path]
        match self._variant.records, self._variant.sink:
            case "none", _:
                own = sorted(self._folder.glob("outbox/v1/*/*/*.jsonl"))  # to see that there is none
            case "lines", _:
                return [path for path in sorted(self._folder.rglob("*")) if path.suffix in {".jsonl", ".log"}]
            case "otlp", "up":
                own = []
            case _:
                own = sorted(self._folder.glob("outbox/v1/*/*/*.jsonl"))
        return own + [path for path in (self._sink.files if self._sink else ()) if path.exists()]

    def _elsewhere(self) -> bool:
        """Tell whether records are still under way to where they are counted when the answer is there."""
        return self._variant.records in {"lines", "events"} or self._variant.sink == "up"

    def _wait_until_quiet(self, until: float) -> None:
        if not self._elsewhere():
            return
        size, since_when = self.size(), time.monotonic()
        while time.monotonic() - since_when < _QUIET and time.monotonic() < until:
            time.sleep(0.05)
            if (now := self.size()) != size:
                size, since_when = now, time.monotonic()
