"""Reads from an ONNX file what the runtime does not report: its classes, texts, other files, where it was cut off.

An ONNX file is a protobuf message. Only its lengths are followed here: weights are passed over, not read. The numbers
of the fields are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ClassNames = tuple[int, ...] | tuple[str, ...]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf's wire types
_GRAPH, _FUNCTION = 7, 25  # of a ModelProto
_NODE = 1  # of a GraphProto
_INITIALIZER = 5  # of a GraphProto: the weights, each a TensorProto
_EXTERNAL = 13  # of a TensorProto: pairs of key and value that say where its bytes are
_KEY, _VALUE = 1, 2  # of such a pair
_GRAPH_INPUT = 11  # of a GraphProto: a ValueInfoProto
_INPUT_NAME, _INPUT_TYPE = 1, 2  # of such a one: the latter a TypeProto
_TENSOR_TYPE, _SHAPE = 1, 2  # of a TypeProto, and of the tensor type in it
_INPUT, _OUTPUT, _OPERATOR, _ATTRIBUTE = 1, 2, 4, 5  # of a NodeProto
_NAME, _INTS, _STRINGS = 1, 8, 9  # of an AttributeProto
_CLASSIFIERS = {"LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier"}
_KEEP_ORDER = {"Identity", "Cast", "Normalizer", "Softmax"}
_CLASS_NAMES = {b"classlabels_ints", b"classlabels_int64s", b"classlabels_strings"}
_TEXTS = {b"cats_strings", b"pool_strings", b"keys_strings"}
"""Attributes that hold what texts of the input are held to."""
_TRACKS = b"nodes_missing_value_tracks_true"
_SHAPES_ONLY = {"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten"}
_WITH_SUBGRAPHS = {"Loop", "Scan", "If", "SequenceMap"}
_SIGN = 1 << 63


class CutOffError(ValueError):
    """The file ends within a field."""


class _Field(NamedTuple):
    number: int
    value: int
    """Of a varint; else 0."""
    begin: int
    end: int


class _Node(NamedTuple):
    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: list[_Field]


def classes_of(content: bytes, output: str) -> ClassNames | None:
    """Return the file's own classes in the order of the columns of `output`; None where the file does not tell.

    They are an attribute of the operator that makes the probabilities, so they are an order only of that operator's
    columns: an output that is computed from these by anything that might reorder them has none.
    """
    try:
        nodes = {name: node for node in _nodes(content) for name in node.outputs}
    except ValueError:
        return None  # the runtime has loaded it, so this is a form that is not known here
    name = output
    while node := nodes.pop(name, None):
        if node.operator == "ZipMap" or (node.operator in _CLASSIFIERS and node.outputs[1:] == [name]):
            return _class_names(content, node)
        if node.operator not in _KEEP_ORDER:
            return None
        name = node.inputs[0]
    return None


def made_by(content: bytes, output: str) -> str:
    """Return the operator that makes an output, those that only change its type or shape passed over; "" if unknown."""
    try:
        nodes = {name: node for node in _nodes(content) for name in node.outputs}
    except ValueError:
        return ""
    name = output
    while (node := nodes.pop(name, None)) and node.operator in _SHAPES_ONLY and node.inputs:
        name = node.inputs[0]
    return node.operator if node else ""


def texts_of(content: bytes, most: int) -> tuple[str, ...]:
    """Return some of the texts that the file compares its input with: categories, words."""
    found: dict[str, None] = {}
    try:
        for node in _nodes(content):
            for _, values in _attributes(content, node, _TEXTS):
                for field in values:
                    if field.number == _STRINGS and len(found) < most:
                        found.setdefault(_text(content, field))
    except ValueError:
        return ()
    return tuple(found)


def choices_of(content: bytes, most: int) -> dict[str, tuple[str, ...]]:
    """Return the categories that the file knows of an input, by its name, where an encoder is right behind it."""
    found: dict[str, tuple[str, ...]] = {}
    inputs: dict[str, str] = {}
    try:
        for node in _nodes(content):
            name = inputs.get(node.inputs[0], node.inputs[0]) if node.inputs else ""
            if node.operator in _SHAPES_ONLY:
                inputs[node.outputs[0]] = name
            for _, values in _attributes(content, node, _TEXTS):
                texts = tuple(_text(content, field) for field in values if field.number == _STRINGS)
                if 0 < len(texts) <= most:
                    found.setdefault(name, texts)
    except ValueError:
        return {}
    return found


def takes_missing(content: bytes) -> bool:
    """Tell whether the file says what it does with missing values: an imputer, or trees with a way for them."""
    try:
        for node in _nodes(content):
            if node.operator in {"Imputer", "IsNaN"}:
                return True
            for _, values in _attributes(content, node, {_TRACKS}):
                if any(number for field in values if field.number == _INTS for number in _ints(content, field)):
                    return True
    except ValueError:
        pass
    return False


def has_subgraphs(content: bytes) -> bool:
    """Tell whether how much is computed may depend on the input: a loop, a branch, a function of the file's own."""
    try:
        functions = any(field.number == _FUNCTION for field in _fields(content, 0, len(content)))
        return functions or any(node.operator in _WITH_SUBGRAPHS for node in _nodes(content))
    except ValueError:
        return True


def other_files(content: bytes) -> tuple[str, ...]:
    """Return the names of the files that hold weights of this one, as it spells them."""
    found: dict[str, None] = {}
    try:
        for graph in _fields(content, 0, len(content)):
            if graph.number != _GRAPH:
                continue
            for field in _fields(content, graph.begin, graph.end):
                if field.number == _INITIALIZER:
                    found |= dict.fromkeys(_locations(content, field))
    except ValueError:
        return ()  # the runtime says what is wrong with it
    return tuple(found)


def _locations(content: bytes, tensor: _Field) -> Iterator[str]:
    for field in _fields(content, tensor.begin, tensor.end):
        if field.number != _EXTERNAL:
            continue
        pair = {each.number: _text(content, each) for each in _fields(content, field.begin, field.end)}
        if pair.get(_KEY) == "location":
            yield pair.get(_VALUE, "")


def shapeless_inputs(content: bytes) -> frozenset[str]:
    """Return the inputs of which the file declares no shape; the runtime shows them as it shows scalars."""
    found: set[str] = set()
    try:
        for graph in _fields(content, 0, len(content)):
            for field in _fields(content, graph.begin, graph.end) if graph.number == _GRAPH else ():
                if field.number == _GRAPH_INPUT:
                    parts = {each.number: each for each in _fields(content, field.begin, field.end)}
                    if not _has_shape(content, parts[_INPUT_TYPE]):
                        found.add(_text(content, parts[_INPUT_NAME]))
    except (ValueError, KeyError):
        pass  # the runtime has loaded it, so this is a form that is not known here
    return frozenset(found)


def _has_shape(content: bytes, type_: _Field) -> bool:
    for tensor in _fields(content, type_.begin, type_.end):
        if tensor.number == _TENSOR_TYPE:
            return any(each.number == _SHAPE for each in _fields(content, tensor.begin, tensor.end))
    return False


def missing_bytes(content: bytes) -> int:
    """Return how many bytes the file lacks at least, 0 if it is whole; raises ValueError if it is no ONNX file."""
    at = 0
    try:
        for field in _fields(content, 0, len(content)):
            at = field.end
    except CutOffError as error:
        if at:  # something of a model came before
            return int(error.args[0])
        raise
    return 0


def _nodes(content: bytes) -> Iterator[_Node]:
    for graph in _fields(content, 0, len(content)):
        if graph.number != _GRAPH:
            continue
        for field in _fields(content, graph.begin, graph.end):
            if field.number == _NODE:
                yield _node(content, field)


def _node(content: bytes, whole: _Field) -> _Node:
    node = _Node("", [], [], [])
    for field in _fields(content, whole.begin, whole.end):
        if field.number == _INPUT:
            node.inputs.append(_text(content, field))
        elif field.number == _OUTPUT:
            node.outputs.append(_text(content, field))
        elif field.number == _OPERATOR:
            node = node._replace(operator=_text(content, field))
        elif field.number == _ATTRIBUTE:
            node.attributes.append(field)
    return node


def _attributes(content: bytes, node: _Node, names: set[bytes]) -> Iterator[tuple[bytes, list[_Field]]]:
    """Yield the attributes of these names, and what they hold."""
    for attribute in node.attributes:
        fields = _fields(content, attribute.begin, attribute.end)
        name = next(fields, None)  # it comes first, so that the weights of a forest are not walked through
        if name and name.number == _NAME and (found := content[name.begin : name.end]) in names:
            yield found, list(fields)


def _class_names(content: bytes, node: _Node) -> ClassNames | None:
    for _, values in _attributes(content, node, _CLASS_NAMES):
        if strings := tuple(_text(content, field) for field in values if field.number == _STRINGS):
            return strings
        if ints := tuple(number for field in values if field.number == _INTS for number in _ints(content, field)):
            return ints
    return None


def _text(content: bytes, field: _Field) -> str:
    return content[field.begin : field.end].decode()


def _ints(content: bytes, field: _Field) -> Iterator[int]:
    """Yield what is there one a field, or packed into one."""
    if field.begin == field.end:
        yield _signed(field.value)
    at = field.begin
    while at < field.end:
        number, at = _varint(content, at, field.end)
        yield _signed(number)


def _signed(number: int) -> int:
    return number - 2 * _SIGN if number >= _SIGN else number


def _fields(content: bytes, begin: int, end: int) -> Iterator[_Field]:
    """Yield the fields of the message between two places."""
    at = begin
    while at < end:
        key, at = _varint(content, at, end)
        number, kind = key >> 3, key & 7
        value = length = 0
        if kind == _VARINT:
            value, at = _varint(content, at, end)
        elif kind == _BYTES:
            length, at = _varint(content, at, end)
        elif kind in {_FIXED32, _FIXED64}:
            length = 4 if kind == _FIXED32 else 8
        else:
            number = 0
        if not number:
            msg = f"no protobuf at byte {at}"
            raise ValueError(msg)
        if at + length > end:
            raise CutOffError(at + length - end)
        yield _Field(number, value, at, at + length)
        at += length


def _varint(content: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the number at a place and the place after it."""
    number = 0
    for shift in range(0, 64, 7):
        if at >= end:
            raise CutOffError(1)
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - protobuf's mark of a last byte
            return number, at
    msg = f"no protobuf at byte {at}"
    raise ValueError(msg)
