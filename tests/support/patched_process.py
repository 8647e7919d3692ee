"""The real server process with a fault planted in it, for what no setting and no signal can bring about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.server import Server

if TYPE_CHECKING:
    from pathlib import Path

_MAIN = """
import asyncio, os, signal, sys, threading, time
from predictor.server import lifecycle, log_service
from predictor.inference import model
{plant}
from predictor.__main__ import main
sys.exit(main())
"""


def server(outbox: Path, plant: str, **settings: str) -> Server:
    """Return a server that runs `plant`, lines of Python, before its start."""
    return Server(outbox, command=("-c", _MAIN.format(plant=plant)), **settings)
