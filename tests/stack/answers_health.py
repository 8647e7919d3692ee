"""What the dashboard `log-health` must answer to the planted records: the planted faults, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.stack.answers import STREAM, Answer, Asked, counts, figures, last_said, most_said, number, one, unique

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stack.planting import Fact

OPENED, OPEN, SHUT_DOWN, CRASHED, WORDLESS = 6, 3, 2, 1, 1
LOST, REJECTED, MISSING, UNRECORDED = 3, 2, 3, 7
"""Of all streams; the rejected records are missing beside the others."""
_SEQUENCE = "prediction_stream_sequence"


def _stream(stream: int, pod: int) -> frozenset[tuple[str, str]]:
    name = f"0199c0de-0000-7000-8000-{stream:012d}"
    return frozenset({("prediction_stream_id", name), ("k8s_pod_name", f"predictor-{pod}")})


ALIVE, CLOSED, CRASH, HOLES = _stream(1, 0), _stream(2, 1), _stream(3, 2), _stream(4, 2)
SILENT, BRIEF = _stream(5, 3), _stream(7, 4)


def _last_number(asked: Asked, stream: frozenset[tuple[str, str]]) -> int:
    name = dict(stream)["prediction_stream_id"]
    return max(number(fact)[1] for fact in asked.facts if fact.values["prediction_stream_id"] == name)


def _surplus(asked: Asked) -> Answer:
    copies = len(asked.facts) - len(unique(asked.facts))
    return {ALIVE: copies, CLOSED: 0, CRASH: -REJECTED, HOLES: -MISSING, SILENT: 0, BRIEF: 0}


def _open(answer: Answer) -> list[float]:
    return [value for labels, value in answer.items() if labels not in {CLOSED, CRASH}]


def _gaps(asked: Asked) -> Answer:
    """Return how many entries stand before each gap, and the last one."""
    some = asked.chosen()
    there = {number(fact)[1] for fact in some} | {
        lost
        for fact in some
        if fact.values["event_name"] == "prediction.stream.lost"
        for lost in (fact.values["prediction_stream_lost_first"],)
    }
    follow = [number(fact)[1] + 1 for fact in some]
    return {frozenset({("n", str(next_))}): follow.count(next_) for next_ in follow if next_ not in there}


def _lost(asked: Asked) -> int:
    return LOST if asked.events("lost") and asked.events("lost")[0] in asked.chosen() else 0


def _missing(asked: Asked) -> Answer:
    numbers = {number(fact)[1] for fact in asked.chosen()}
    return one(max(numbers) - min(numbers) + 1 - len(numbers) - _lost(asked))


def _copies(asked: Asked) -> Answer:
    return one(len(asked.chosen()) - len(unique(asked.chosen())))


NUMBERS: dict[tuple[str, str, str], Callable[[Asked], Answer]] = {
    **{
        ("log-health", title, "A"): lambda _, value=value: one(value)  # type: ignore[misc]
        for title, value in {
            "Streams opened": OPENED,
            "Streams open": OPEN,
            "Shut down": SHUT_DOWN,
            "Crashed": CRASHED,
            "Ended without a word": WORDLESS,
            "Numbers missing, at least": MISSING + REJECTED,
            "Declared lost": LOST,
            "Rejected": REJECTED,
            "Unrecorded refusals": UNRECORDED,
        }.items()
    },
    ("log-health", "Backlog", "A"): lambda asked: one(sum(_open(last_said("backlog_size", asked)))),
    ("log-health", "Oldest pending", "A"): lambda asked: one(max(_open(last_said("backlog_age", asked)))),
    ("log-health", "Records", "A"): lambda asked: one(len(asked.facts)),
    **{
        ("log-health", title, "A"): lambda asked, said=said: most_said(said, asked)  # type: ignore[misc]
        for title, said in {
            "Backlog of each stream": "backlog_size",
            "Oldest pending of each stream": "backlog_age",
            "Lost, of each stream": "lost_count",
            "Rejected, of each stream": "rejected_count",
            "Unrecorded, of each stream": "unrecorded_count",
        }.items()
    },
    ("log-health", "Streams", "A"): lambda asked: figures(min, _SEQUENCE, asked.facts, *STREAM),
    ("log-health", "Streams", "B"): lambda asked: figures(max, _SEQUENCE, asked.facts, *STREAM),
    ("log-health", "Streams", "C"): lambda asked: counts(asked.facts, *STREAM),
    ("log-health", "Streams", "D"): lambda _: {CLOSED: LOST},
    ("log-health", "Streams", "E"): _surplus,
    ("log-health", "Streams", "F"): lambda asked: most_said("rejected_count", asked),
    ("log-health", "Streams", "G"): lambda asked: last_said("backlog_size", asked),
    ("log-health", "Streams", "H"): lambda asked: counts(asked.events("closed"), *STREAM),
    ("log-health", "Streams", "I"): lambda asked: {SILENT: _last_number(asked, SILENT)},
    ("log-health", "Different numbers", "A"): lambda asked: one(len(unique(asked.chosen()))),
    ("log-health", "Missing numbers", "A"): _missing,
    ("log-health", "Copies", "A"): _copies,
    ("log-health", "Where numbers are missing", "A"): _gaps,
}

RECORDS: dict[tuple[str, str, str], Callable[[Asked], list[Fact]]] = {
    ("log-health", "Stream events", "A"): lambda asked: unique(
        fact for name in ("opened", "closed", "lost") for fact in asked.events(name)
    ),
    ("log-health", "Records of the stream", "A"): lambda asked: unique(asked.chosen()),
}

EXACTLY: dict[str, tuple[int, list[int]]] = {
    "0199c0de-0000-7000-8000-000000000001": (0, []),
    "0199c0de-0000-7000-8000-000000000002": (0, []),
    "0199c0de-0000-7000-8000-000000000003": (2, [14]),
    "0199c0de-0000-7000-8000-000000000004": (3, [8, 18]),
    "0199c0de-0000-7000-8000-000000000005": (0, []),
}
"""How many numbers of each stream are missing, and where."""
