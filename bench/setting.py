"""What one measurement is about: how many connections ask how much, of which model, in which form, by which client."""

from __future__ import annotations

from typing import Literal, NamedTuple

IRIS = "iris"
IMAGES = ("image-5ms", "image-20ms")
Form = Literal["json", "binary", "grpc"]
Client = Literal["wrk", "tritonclient"]
_WORDS = {"json": "JSON", "grpc": "gRPC"}


class Setting(NamedTuple):
    """What a table is about."""

    connections: int
    rows: int
    model: str = IRIS
    form: Form = "json"
    """How tensors come in a protocol that has all: in JSON, as bytes behind it, or raw in a message of gRPC."""
    client: Client = "wrk"
    """What asks: wrk takes the least of its core, tritonclient is what applications use."""

    @property
    def title(self) -> str:
        """Return it for a heading."""
        connections = f"{self.connections} connection{'s' if self.connections > 1 else ''}"
        parts = [connections] if self.rows == 1 else [connections, f"{self.rows} rows a request"]
        if self.model != IRIS or self.form != "json":
            parts = [self.model, _WORDS.get(self.form, self.form), *parts]
        return ", ".join([*parts, *([self.client] if self.client != "wrk" else [])])
