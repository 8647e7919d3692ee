"""Writes docs/schema/open_inference.proto: the messages and methods of the gRPC port, of the code's own table.

.venv/bin/python -m scripts.grpc_schema
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from predictor.api.protobuf.messages import MESSAGES, METHODS, ONE_OF, PACKAGE, SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = Path(__file__).parent.parent / "docs" / "schema" / "open_inference.proto"
_HEAD = """\
// The Open Inference Protocol as this server speaks it: `python -m scripts.grpc_schema` writes this file.
// Names and numbers are those of open_inference_grpc.proto (https://github.com/kserve/open-inference-protocol); the
// calls that load and unload take Triton's messages and KServe's, which has the model's name where Triton has
// repository_name.
syntax = "proto3";
"""


def text() -> str:
    """Return the file."""
    methods = [f"  rpc {name}({name}Request) returns ({name}Response) {{}}" for name in METHODS]
    service = [f"service {SERVICE.removeprefix(f'{PACKAGE}.')} {{", *methods, "}"]
    outer = [line for name in MESSAGES if "." not in name for line in ("", *_message(name, ""))]
    return "\n".join([_HEAD, f"package {PACKAGE};", "", *service, *outer, ""])


def _message(name: str, indent: str) -> Iterator[str]:
    fields = [f"{field.replace(f'{name}.', '')};" for field in MESSAGES[name]]
    inner = [each for each in MESSAGES if each.rpartition(".")[0] == name]
    short = name.rpartition(".")[2]
    if not fields:
        yield f"{indent}message {short} {{}}"
        return
    yield f"{indent}message {short} {{"
    for each in inner:
        yield from _message(each, f"{indent}  ")
    if choice := ONE_OF.get(name):
        yield f"{indent}  oneof {choice} {{"
        yield from (f"{indent}    {field}" for field in fields)
        yield f"{indent}  }}"
    else:
        yield from (f"{indent}  {field}" for field in fields)
    yield f"{indent}}}"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
