"""Encodes answers as bytes of HTTP/1.1, with the headers that aiohttp adds, in its order."""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from predictor.http.responses import SERVER_NAME

if TYPE_CHECKING:
    from predictor.api.answers import Answer

_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_END = f"\r\nServer: {SERVER_NAME}\r\n\r\n"
_LAST_END = f"\r\nServer: {SERVER_NAME}\r\nConnection: close\r\n\r\n"


class _Date:
    """The header `Date`, made once a second."""

    second = 0
    text = ""

    @classmethod
    def now(cls) -> str:
        second = int(time.time())
        if second != cls.second:
            cls.second, cls.text = second, formatdate(second, usegmt=True)
        return cls.text


def encode_answer(answer: Answer, *, last: bool) -> bytes:
    """Return an answer as bytes; the last one of a connection says so."""
    buffers = answer.buffers
    length = len(buffers[0]) if len(buffers) == 1 else sum(map(len, buffers))
    lines = "".join([f"{name}: {value}\r\n" for name, value in answer.headers])
    end = _LAST_END if last else _END
    head = f"{_LINES[answer.status]}{lines}Content-Length: {length}\r\nDate: {_Date.now()}{end}".encode()
    return head + buffers[0] if len(buffers) == 1 else b"".join((head, *buffers))
