"""What the sink refused, laid out in an outbox as the shipper leaves it, and the sink's side of it as files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from predictor.outbox.layout import LAYOUT, StreamFiles

if TYPE_CHECKING:
    from pathlib import Path

WHEN = 1_760_000_100 * 10**9
"""2025-10-09T08:55:00Z, Unix nanoseconds."""


def keep(
    outbox: Path, stream: str, name: str, content: bytes, *, status: int = 400, words: str | None = "too old"
) -> StreamFiles:
    """Put one item into `rejected/` of a stream, without a reason beside it if there are no words."""
    files = StreamFiles(outbox / LAYOUT / stream)
    files.rejected.mkdir(parents=True, exist_ok=True)
    (files.rejected / f"{name}.json").write_bytes(content)
    if words is not None:
        reason = {"status": status, "words": words, "endpoint": "http://sink/v1/logs", "time_unix_ns": WHEN}
        (files.rejected / f"{name}.reason.json").write_text(json.dumps(reason))
    return files


def names(files: StreamFiles) -> list[str]:
    """Return the names of the files in `rejected/`."""
    return sorted(path.name for path in files.rejected.iterdir()) if files.rejected.exists() else []
