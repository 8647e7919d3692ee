"""wrk as the load of the long run: one row a request, as fast as it goes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).with_name("post.lua")


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw; times are microseconds."""

    requests: int
    microseconds: int
    p50: int
    p99: int
    errors: int
    """Requests without an answer, or with another than 200."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.microseconds * 1e6


async def run(url: str, connections: int, seconds: int) -> Load:
    """Load the server for so many seconds; raises RuntimeError with wrk's words if it says nothing."""
    command = ("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(_SCRIPT), url)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said = (await process.communicate())[0].decode(errors="replace")
    for line in said.splitlines():
        if line.startswith('{"requests"'):
            return Load(**json.loads(line))
    msg = f"wrk failed: {said}"
    raise RuntimeError(msg)
