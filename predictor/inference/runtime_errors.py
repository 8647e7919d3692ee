"""Errors of the runtime as one sentence: why it refuses a file or a batch, and the way out where there is one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from predictor.inference.onnx_graph import missing_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NOWHERE = "/dev/null"
"""A folder that cannot be, where the runtime looks for weights in other files, which the digest would not cover."""

_EXTENSIONS = "ai.onnx.contrib"
_LONGEST_REASON = 1000  # characters: some of the runtime's messages quote a whole graph
_BEGINNING = b"\x08"  # the key of `ir_version`, which every exporter writes first
_LFS = b"version https://git-lfs.github.com/spec/"
_OPSET = re.compile(r"Opset (\d+) is under development.*domain (\S+) is till opset (\d+)", re.DOTALL)
_IR = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")
_OPERATORS = (
    re.compile(r"Fatal error: (?P<domain>[^\s:]*):(?P<name>\w+)\(-?\d+\) is not a registered function/op"),
    re.compile(
        r'In Node, \("[^"]*", (?P<name>\w+), "(?P<domain>[^"]*)", .*No (?:Op registered for|opset import)', re.DOTALL
    ),
    re.compile(r"Could not find an implementation for (?P<name>(?:[\w.]+:)?\w+\(\d+\))"),
)
_OUT_OF_BOUNDS = re.compile(
    r"External initializer: (.+?) offset: (\d+) size to read: (\d+) given file_length: (\d+) are out of bounds"
)
_FORMATS = (
    (0, re.compile(rb"\x80[\x02-\x05]"), "a pickle, of scikit-learn or PyTorch perhaps; convert it, as skl2onnx does"),
    (
        0,
        re.compile(rb"PK\x03\x04"),
        "a ZIP archive, of PyTorch or Keras perhaps; torch.onnx or tf2onnx converts it",
    ),
    (0, re.compile(rb"\x89HDF"), "a file of HDF5, of Keras perhaps; tf2onnx converts it"),
    (0, re.compile(rb"\x1f\x8b"), "compressed by gzip; unpack it"),
    (4, re.compile(rb"TFL3"), "a model of TensorFlow Lite; tf2onnx converts it"),
    (4, re.compile(rb"ORTM"), "a model in ONNX Runtime's own format; serve the ONNX file that it was made of"),
    (8, re.compile(rb'\{"'), "a file of safetensors, which has weights and no graph; export the model to ONNX"),
)
"""By the place of their mark: files that are often taken for a model."""
_PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
_SOURCE = re.compile(r"(?:\S*/)?\w+\.(?:h|cc|cpp|hpp):\d+ ")
_TEMPLATE = re.compile(r"(?: const)?(?:::<lambda\([^)]*\)>)?(?: const)?(?: \[with [^\]]*\])? ")


class ModelError(ValueError):
    """The ONNX files are not what the description says; the message is one sentence that names the difference."""


def reason_of(error: object) -> str:
    """Return the runtime's reason on one line, without the C++ signature that may stand before it."""
    text = _PREFIX.sub("", " ".join(str(error).split()), count=1)
    while place := _SOURCE.search(text):
        end = _signature_end(text, place.end())
        text = text[: place.start()] + text[end:]
    if len(text) > _LONGEST_REASON:
        text = f"{text[:_LONGEST_REASON]} …"
    return text.rstrip(". ")


def _signature_end(text: str, begin: int) -> int:
    """Return where the signature ends that begins there; `begin` if there is none."""
    opened = text.find("(", begin)
    # A signature is a return type, which may be left out, and a qualified name: anything else is the reason itself.
    if opened < 0 or "::" not in text[begin:opened]:
        return begin
    depth = 0
    for at in range(opened, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if not depth:
            rest = _TEMPLATE.match(text, at + 1)
            return rest.end() if rest else at + 1
    return begin


def why_not_loaded(
    path: Path, content: bytes, error: Exception, version: str, others: Mapping[str, bytes] | None = None
) -> str:
    """Return why the runtime of that version does not load `content`, which came from `path`.

    `others` are the contents of the files that have its weights, by their names.
    """
    text = str(error)
    known = (
        _no_model(content),
        _broken_weights(others or {}, text),
        _other_file(path, text),
        _too_new(text, version),
        _missing_operator(text, version),
        _no_protobuf(content, text),
    )
    return next(filter(None, known), f"it cannot be loaded: {reason_of(error)}")


def _no_model(content: bytes) -> str:
    if content.startswith(_LFS):
        return "it is a pointer of Git LFS, not the model itself; `git lfs pull` fetches that"
    for begin, pattern, what in _FORMATS:
        if pattern.match(content, begin):
            return f"it is not an ONNX model but {what}"
    return "" if content.strip(b"\0") else f"it is empty ({len(content)} bytes); wanted an ONNX model"


def _broken_weights(others: Mapping[str, bytes], text: str) -> str:
    for name, content in others.items():
        if content.startswith(_LFS):
            return f"its weights are in {name!r}, which is a pointer of Git LFS; `git lfs pull` fetches the file"
    found = _OUT_OF_BOUNDS.search(text)
    if not found:
        return ""
    tensor, offset, size, length = found.groups()
    names = [name for name, content in others.items() if len(content) == int(length)]
    where = f"{names[0]!r}" if len(names) == 1 else "another file"
    wanted = int(offset) + int(size)
    return (
        f"its weights are in {where}, which is cut off or another model's: {tensor!r} ends at byte {wanted}, "
        f"and it has {length}; copy or download both again"
    )


def _other_file(path: Path, text: str) -> str:
    if NOWHERE not in text:
        return ""
    found = re.search(f'{NOWHERE}/([^"]+)', text)
    name = found[1] if found else ""
    which = f", {name!r}{'' if (path.parent / name).is_file() else ', which is not there'}" if name else ""
    copy = f"onnx.save(onnx.load({path.name!r}), {path.name!r}) puts them in"
    return f"its weights are in another file{which}; wanted all of the model in this one: {copy}"


def _too_new(text: str, version: str) -> str:
    if found := _OPSET.search(text):
        opset, domain, newest = found.groups()
        return (
            f"it needs opset {opset} of {domain}, and ONNX Runtime {version} knows {newest} at most; "
            "export it for an older opset, or install a newer onnxruntime"
        )
    if found := _IR.search(text):
        wanted, newest = found.groups()
        return (
            f"its IR version is {wanted}, and ONNX Runtime {version} knows {newest} at most; "
            f"save it with ir_version = {newest}, or install a newer onnxruntime"
        )
    return ""


def _missing_operator(text: str, version: str) -> str:
    found = next(filter(None, (pattern.search(text) for pattern in _OPERATORS)), None)
    if not found:
        return ""
    names = found.groupdict()
    domain = names.get("domain", "")
    name = f"{domain}.{names['name']}" if domain else names["name"]
    if domain == _EXTENSIONS:
        return (
            f"it needs the operator {name} of onnxruntime-extensions; say extensions = true below [session] in its "
            "model.toml, or, if that is so, install a version that has it"
        )
    return (
        f"it needs the operator {name}, of which ONNX Runtime {version} has no implementation; "
        "export the model without it"
    )


def _no_protobuf(content: bytes, text: str) -> str:
    if "INVALID_PROTOBUF" not in text:
        return ""
    try:
        missing = missing_bytes(content)
    except ValueError:
        missing = 0
        if content[:1] != _BEGINNING:
            return f"it is not an ONNX model: it begins with {content[:16]!r}"
    if missing:
        return f"it is cut off: {missing} bytes or more are missing after its {len(content)}; copy or download it again"
    return "it is damaged: what it holds cannot be read as an ONNX model; copy or download it again"
