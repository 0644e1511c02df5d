"""Cut an ONNX file's bytes down to some of its outputs, without the onnx package.

ONNX Runtime computes every node of the graph, whatever is fetched and even if nothing uses it. So
the unneeded outputs are removed together with the nodes and weights that only serve them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

LENGTH_DELIMITED = 2
MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_OUTPUT = 1, 5, 12
NODE_INPUT, NODE_OUTPUT, NODE_ATTRIBUTE = 1, 2, 5
ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS = 6, 11
TENSOR_NAME = 8
VALUE_NAME = 1
Field = tuple[int, memoryview, memoryview]


def keep_outputs(model: bytes, wanted: Collection[str]) -> bytes:
    """The same model with only the graph outputs named in `wanted`.

    Raises:
        ValueError: the bytes are no protobuf message.
    """
    parts: list[bytes | memoryview] = []
    for field, whole, content in _fields(memoryview(model)):
        if field == MODEL_GRAPH:
            kept = _needed(list(_fields(content)), set(wanted))
            length = sum(len(part) for part in kept)
            parts += [_encode(MODEL_GRAPH << 3 | LENGTH_DELIMITED), _encode(length), *kept]
        else:
            parts.append(whole)
    return b"".join(parts)


def output_names(model: bytes) -> list[str]:
    """The names of the graph's outputs.

    Raises:
        ValueError: the bytes are no protobuf message.
    """
    return [
        _text(output, VALUE_NAME)
        for field, _, graph in _fields(memoryview(model))
        if field == MODEL_GRAPH
        for part, _, output in _fields(graph)
        if part == GRAPH_OUTPUT
    ]


def _needed(graph: list[Field], names: set[str]) -> list[memoryview]:
    """The graph's fields without outputs, nodes and weights that the named outputs do not need.

    Nodes stand in an order in which each comes after those it uses.
    """
    outputs = frozenset(names)
    drop: set[int] = set()
    for index, (field, _, content) in reversed(list(enumerate(graph))):
        if field == GRAPH_NODE:
            if names.intersection(_texts(content, NODE_OUTPUT)):
                names.update(_used(content))
            else:
                drop.add(index)
    for index, (field, _, content) in enumerate(graph):
        idle_weight = field == GRAPH_INITIALIZER and _text(content, TENSOR_NAME) not in names
        other_output = field == GRAPH_OUTPUT and _text(content, VALUE_NAME) not in outputs
        if idle_weight or other_output:
            drop.add(index)
    return [whole for index, (_, whole, _) in enumerate(graph) if index not in drop]


def _used(node: memoryview) -> Iterator[str]:
    """Every name a node reads, also from inside the graphs in its attributes."""
    yield from _texts(node, NODE_INPUT)
    for field, _, attribute in _fields(node):
        if field != NODE_ATTRIBUTE:
            continue
        for kind, _, graph in _fields(attribute):
            if kind not in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS):
                continue
            for part, _, content in _fields(graph):
                if part == GRAPH_NODE:
                    yield from _used(content)
                elif part == GRAPH_OUTPUT:
                    yield _text(content, VALUE_NAME)


def _texts(message: memoryview, wanted: int) -> list[str]:
    return [bytes(content).decode() for field, _, content in _fields(message) if field == wanted]


def _text(message: memoryview, wanted: int) -> str:
    return next(iter(_texts(message, wanted)), "")


def _fields(message: memoryview) -> Iterator[Field]:
    """(field number, the field with its tag, its content) of each field."""
    position = 0
    while position < len(message):
        start = position
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == LENGTH_DELIMITED:
            length, position = _varint(message, position)
        elif kind == 0:
            length = _varint(message, position)[1] - position
        elif kind in (1, 5):
            length = {1: 8, 5: 4}[kind]
        else:
            raise ValueError("not an ONNX file")
        stop = position + length
        if stop > len(message):
            raise ValueError("not an ONNX file, or cut short")
        yield tag >> 3, message[start:stop], message[position:stop]
        position = stop


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message) and shift <= 63:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("not an ONNX file, or cut short")


def _encode(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
