"""Recognise model files and read the card inside them, without torch and without onnx."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from wsol_deploy.card import CARD_KEY, ModelCard
from wsol_deploy.errors import ArtifactError

Format = Literal["onnx", "torchscript", "pt2", "safetensors"]
SUFFIXES: dict[str, Format] = {
    ".onnx": "onnx",
    ".torchscript": "torchscript",
    ".pt2": "pt2",
    ".safetensors": "safetensors",
}
METADATA_PROPS = 14  # field of onnx.ModelProto
MAX_HEADER = 100_000_000


def format_of(path: Path) -> Format:
    """The artifact's format, by its suffix.

    Raises:
        ArtifactError: there is no such file, or its suffix is none of ours.
    """
    if not path.is_file():
        raise ArtifactError(f"{path}: no such model file")
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        known = ", ".join(SUFFIXES)
        raise ArtifactError(f"{path}: not a model file of ours; known suffixes: {known}") from None


def read_card(path: Path | str) -> ModelCard:
    """The card of an ONNX, TorchScript, `.pt2` or safetensors file.

    Raises:
        ArtifactError: no such file, damaged, no card in it, or a newer schema.
    """
    path = Path(path)
    readers = {
        "onnx": _onnx_metadata,
        "safetensors": _safetensors_metadata,
        "torchscript": _zip_extra,
        "pt2": _zip_extra,
    }
    reader = readers[format_of(path)]
    try:
        with path.open("rb") as stream:
            text = reader(stream)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, struct.error) as error:
        raise ArtifactError(f"{path}: damaged or cut short ({error})") from error
    if text is None:
        raise ArtifactError(f"{path}: no wsol model card in it; {_origin(path)}")
    return ModelCard.from_json(text, where=str(path))


def _origin(path: Path) -> str:
    """Where a file of this format should come from."""
    if format_of(path) == "safetensors":
        return "a checkpoint has one when wsol train wrote it"
    return "export it with wsol export"


def _safetensors_metadata(stream: BinaryIO) -> str | None:
    (length,) = struct.unpack("<Q", stream.read(8))
    if length > MAX_HEADER:
        raise ValueError("its header has an impossible length")
    return json.loads(stream.read(length)).get("__metadata__", {}).get(CARD_KEY)


def _zip_extra(stream: BinaryIO) -> str | None:
    with zipfile.ZipFile(stream) as archive:
        for name in archive.namelist():
            if name.endswith(f"/extra/{CARD_KEY}"):
                return archive.read(name).decode()
    return None


def _onnx_metadata(stream: BinaryIO) -> str | None:
    stream.seek(0, 2)
    end = stream.tell()
    stream.seek(0)
    for field, start, stop in _protobuf_fields(stream, end):
        if field == METADATA_PROPS:
            entry = {
                key: _bytes(stream, low, high)
                for key, low, high in _protobuf_fields(stream, stop, start)
            }
            if entry.get(1) == CARD_KEY.encode():
                return entry.get(2, b"").decode()
        stream.seek(stop)
    return None


def _protobuf_fields(
    stream: BinaryIO, end: int, start: int | None = None
) -> Iterator[tuple[int, int, int]]:
    """(field number, start, stop) of each field between the stream's position and `end`."""
    if start is not None:
        stream.seek(start)
    while stream.tell() < end:
        tag = _varint(stream)
        kind = tag & 7
        if kind == 0:
            low = stream.tell()
            _varint(stream)
            high = stream.tell()
        else:
            size = {1: 8, 5: 4}.get(kind)
            if size is None and kind != 2:
                raise ValueError("not an ONNX file")
            length = _varint(stream) if size is None else size
            low = stream.tell()
            high = low + length
        if high > end:
            raise ValueError("not an ONNX file, or cut short")
        yield tag >> 3, low, high
        stream.seek(high)


def _varint(stream: BinaryIO) -> int:
    value = shift = 0
    while True:
        byte = stream.read(1)
        if not byte or shift > 63:
            raise ValueError("not an ONNX file, or cut short")
        value |= (byte[0] & 0x7F) << shift
        if not byte[0] & 0x80:
            return value
        shift += 7


def _bytes(stream: BinaryIO, start: int, stop: int) -> bytes:
    position = stream.tell()
    stream.seek(start)
    content = stream.read(stop - start)
    stream.seek(position)
    return content
