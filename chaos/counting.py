"""Counts the records that a Collector writes to files, and removes the files: half an hour of them fills a disk."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.support import collector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NUMBER = re.compile(rb'"prediction\.stream\.sequence","value":\{"intValue":"(\d+)"')
_ROTATED = '"max_megabytes": 100000'
_SMALL = '"max_megabytes": 32'


class Counting:
    """The sink of one stream."""

    def __init__(self, folder: Path) -> None:
        """Say where the Collector writes."""
        self.port = collector.free_port()
        self._folder = folder / "arrived"
        self._folder.mkdir()
        made = collector.to_files(self.port, self._folder / "logs.jsonl", self._folder / "traces.jsonl")
        assert _ROTATED in made
        self.config = made.replace(_ROTATED, _SMALL)
        self._seen = bytearray()
        self.there = 0
        """Numbers that arrived."""
        self.copies = 0

    def count(self, *, last: bool = False) -> None:
        """Count what is in the files that are full, or with `last` in all, and remove them."""
        for path in sorted(self._folder.glob("logs*.jsonl")):
            if path.name != "logs.jsonl" or last:
                for number in map(int, _NUMBER.findall(path.read_bytes())):
                    self._see(number)
                path.unlink()

    def wrong(self, requests: int) -> Iterator[str]:
        """Yield what is wrong: numbers that are missing, or fewer records than requests that were answered."""
        highest = len(self._seen) - 1
        if missing := highest - self.there:
            yield f"{missing} of {highest} numbers are missing"
        if self.there < requests:
            yield f"{self.there} records for {requests} requests that were answered"

    def _see(self, number: int) -> None:
        if number >= len(self._seen):
            self._seen.extend(bytes(number + 1 - len(self._seen)))
        if self._seen[number]:
            self.copies += 1
        else:
            self._seen[number] = 1
            self.there += 1
