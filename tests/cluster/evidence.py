"""What Loki has of the streams that a test has touched, held against what was acknowledged."""

from __future__ import annotations

import contextlib
import http.client
import time
import uuid
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from tests.cluster.kubectl import KubectlError
from tests.support.ledger import Found, Ledger, check
from tests.support.loki_client import Entry, Loki, records

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.cluster.kubectl import Kubectl

_ALL = '{service_name="predictor"}'
_SLACK = 60 * 10**9  # ns between the clocks of this machine and the nodes
_PATIENCE = 240.0  # s; the longest pause between two tries of the shipper is 30 s, and there may be a backlog
_PAUSE = 3.0  # s between two readings


class Evidence(NamedTuple):
    """What was found, all of it sound."""

    found: Found
    streams: Mapping[str, list[str]]
    """The streams of each pod (by uid), oldest first."""

    def reasons(self, pod: str) -> list[str | None]:
        """Return how each of a pod's streams was closed, None for an open one, oldest first."""
        return [self.found.streams[stream] for stream in self.streams.get(pod, [])]


class Since:
    """The records from one moment on, which belong to a test."""

    def __init__(self, kubectl: Kubectl) -> None:
        """Take the current moment."""
        self._kubectl = kubectl
        self._start = time.time_ns() - _SLACK
        self.counts: list[str] = []
        """What was compared, for people."""

    def settle(self, ledger: Ledger, closed: Mapping[str, int] | None = None) -> Evidence:
        """Wait until Loki has every acknowledged row and so many closed streams of each pod, and hold them together.

        Raises AssertionError if a row is missing or differs from its answer, if copies of a number differ, if a row
        has two numbers, or if a stream of any pod that was touched has a gap, from its first record on.
        """
        closed = closed or {}
        end = time.monotonic() + _PATIENCE
        while not self._complete(ledger, closed) and time.monotonic() < end:
            time.sleep(_PAUSE)  # a store on another machine can only be polled
        entries = self._whole_streams()
        pods = {entry.metadata["prediction_stream_id"]: entry.metadata["k8s_pod_uid"] for entry in entries}
        streams = defaultdict(list)
        for stream in sorted(pods):  # UUIDv7: the order of their beginning
            streams[pods[stream]].append(stream)
        evidence = Evidence(check(ledger, records(entries), closed=False), streams)
        self.counts.append(_count(ledger, evidence.found))
        for pod, wanted in closed.items():
            reasons = evidence.reasons(pod)
            assert len(reasons) - reasons.count(None) >= wanted, f"pod {pod}: {reasons}, wanted {wanted} closed"
        return evidence

    def entries(self) -> list[Entry]:
        """Return what Loki has since then."""
        with self._kubectl.port_forward("service/loki", 3100) as url:
            return Loki(url).entries(_ALL, self._start)

    def _complete(self, ledger: Ledger, closed: Mapping[str, int]) -> bool:
        # Loki may just have been killed, or its pod replaced.
        with contextlib.suppress(KubectlError, RuntimeError, OSError, http.client.HTTPException):
            entries = self.entries()
            there = {
                (entry.metadata["prediction_job_id"], int(entry.metadata["prediction_index"]))
                for entry in entries
                if "prediction_index" in entry.metadata
            }
            ends = Counter(
                entry.metadata["k8s_pod_uid"]
                for entry in entries
                if entry.metadata["event_name"] == "prediction.stream.closed"
            )
            return ledger.answers.keys() <= there and all(ends[pod] >= wanted for pod, wanted in closed.items())
        return False

    def _whole_streams(self) -> list[Entry]:
        """Return every record of the streams that have one since then, also what was written before."""
        streams = {entry.metadata["prediction_stream_id"] for entry in self.entries()}
        assert streams, "Loki has no record at all"
        first = min(uuid.UUID(stream).int >> 80 for stream in streams) * 10**6  # a UUIDv7 begins with its milliseconds
        with self._kubectl.port_forward("service/loki", 3100) as url:
            return Loki(url).entries(f'{_ALL} | prediction_stream_id=~"{"|".join(sorted(streams))}"', first - _SLACK)


def _count(ledger: Ledger, found: Found) -> str:
    ends = Counter(reason or "open" for reason in found.streams.values())
    streams = ", ".join(f"{times} {reason}" for reason, times in sorted(ends.items()))
    return (
        f"{len(ledger.answers)} rows acknowledged and found in {found.records} records of {len(found.streams)} streams"
        f" ({streams}); {ledger.cut} requests cut, {ledger.refusals.total()} refused"
    )
