"""Remove unneeded graph outputs from an ONNX file's bytes, without the onnx package.

ONNX Runtime computes every output of the graph, whatever is fetched. With an output removed, its
graph optimiser drops the nodes that only fed that output.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

GRAPH = 7  # field of onnx.ModelProto
OUTPUT = 12  # field of onnx.GraphProto
NAME = 1  # field of onnx.ValueInfoProto
LENGTH_DELIMITED = 2


def keep_outputs(model: bytes, wanted: Collection[str]) -> bytes:
    """The same model with only the graph outputs named in `wanted`.

    Raises:
        ValueError: the bytes are no protobuf message.
    """
    source = memoryview(model)
    parts: list[bytes | memoryview] = []
    for field, start, body, stop in _fields(source):
        if field == GRAPH:
            graph = _without_outputs(source[body:stop], wanted)
            parts += [_encode(GRAPH << 3 | LENGTH_DELIMITED), _encode(len(graph)), graph]
        else:
            parts.append(source[start:stop])
    return b"".join(parts)


def output_names(model: bytes) -> list[str]:
    """The names of the graph's outputs.

    Raises:
        ValueError: the bytes are no protobuf message.
    """
    source = memoryview(model)
    return [
        _name(source[graph_start + body : graph_start + stop])
        for graph_field, _, graph_start, graph_stop in _fields(source)
        if graph_field == GRAPH
        for field, _, body, stop in _fields(source[graph_start:graph_stop])
        if field == OUTPUT
    ]


def _without_outputs(graph: memoryview, wanted: Collection[str]) -> bytes:
    return b"".join(
        graph[start:stop]
        for field, start, body, stop in _fields(graph)
        if field != OUTPUT or _name(graph[body:stop]) in wanted
    )


def _name(value_info: memoryview) -> str:
    for field, _, body, stop in _fields(value_info):
        if field == NAME:
            return bytes(value_info[body:stop]).decode()
    return ""


def _fields(message: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """(field number, start, start of the content, stop) of each field."""
    position = 0
    while position < len(message):
        start = position
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == LENGTH_DELIMITED:
            length, body = _varint(message, position)
        elif kind == 0:
            length, body = _varint(message, position)[1] - position, position
        elif kind in (1, 5):
            length, body = {1: 8, 5: 4}[kind], position
        else:
            raise ValueError("not an ONNX file")
        position = body + length
        if position > len(message):
            raise ValueError("not an ONNX file, or cut short")
        yield tag >> 3, start, body, position


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
