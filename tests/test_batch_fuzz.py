"""Mutated image files: no crash and no hang; every one is a mask or a line in failed.csv."""

from __future__ import annotations

import csv
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from artifacts import make_artifact
from batch_tools import draw, predict
from PIL import Image

from wsol_deploy.card import SizePolicy

FORMATS = {
    "png": "PNG", "jpg": "JPEG", "webp": "WEBP", "tif": "TIFF", "bmp": "BMP", "gif": "GIF",
    "ppm": "PPM", "jp2": "JPEG2000", "tga": "TGA",
}  # fmt: skip
MODES = ("RGB", "L", "P", "RGBA", "CMYK", "I;16", "1")


def seeds() -> list[tuple[str, bytes]]:
    """Small valid files of every format, in every mode it takes."""
    found = []
    for suffix, kind in FORMATS.items():
        for mode in MODES:
            picture = Image.fromarray(draw(len(found), 40, 50))
            picture = (
                picture.convert("L").convert(mode) if mode == "I;16" else picture.convert(mode)
            )
            stream = io.BytesIO()
            options = {"compression": "tiff_lzw"} if kind == "TIFF" and mode != "1" else {}
            try:
                picture.save(stream, kind, **options)
            except (OSError, KeyError, ValueError):
                continue
            found.append((suffix, stream.getvalue()))
    return found


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """One of: cut, bits flipped (anywhere, or in the header), a block of noise, bytes lost,
    bytes doubled, numbers in the header made huge, another file's header."""
    data = bytearray(content)
    kind = rng.integers(0, 8)
    at = int(rng.integers(0, len(data)))
    if kind == 0:
        return bytes(data[:at])
    if kind in (1, 2):
        span = len(data) if kind == 1 else min(64, len(data))
        for place in rng.integers(0, span, rng.integers(1, 12)):
            data[place] ^= 1 << int(rng.integers(0, 8))
    elif kind == 3:
        length = int(rng.integers(1, 64))
        data[at : at + length] = rng.bytes(length)
    elif kind == 4:
        del data[at : at + int(rng.integers(1, 64))]
    elif kind == 5:
        data[at:at] = data[at : at + int(rng.integers(1, 256))]
    elif kind == 6:
        place = int(rng.integers(0, min(48, len(data))))
        data[place : place + 4] = struct.pack(
            "<I", int(rng.choice([0, 2**16, 2**31 - 1, 2**32 - 1]))
        )
    else:
        data[: min(16, len(data))] = b"\x89PNG\r\n\x1a\nII*\0RIFF"[: min(16, len(data))]
    return bytes(data)


def bomb(side: int) -> bytes:
    """A valid PNG of side x side black pixels in a few kilobytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    packer = zlib.compressobj(9)
    row = bytes(side // 8 + 2)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    magic = b"\x89PNG\r\n\x1a\n"
    return magic + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def fuzz(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    (folder / "in").mkdir()
    originals = seeds()
    assert {suffix for suffix, _ in originals} == set(FORMATS)
    for number in range(count):
        suffix, content = originals[number % len(originals)]
        for _ in range(rng.integers(1, 3)):
            content = mutate(content, rng) or b"x"
        (folder / f"in/{number:05d}.{suffix}").write_bytes(content)
    for side in (8_000, 20_000, 60_000):
        (folder / f"in/bomb{side}.png").write_bytes(bomb(side))
    # As recipes do it: large pictures are shrunk, so that a bomb that decodes is one small pass.
    policy = SizePolicy(mode="longer-side", size=64)
    model = make_artifact(folder / "m.onnx", size=policy)
    predict(folder / "in", "-o", folder / "out", "-m", model, "-q", check=3)
    with (folder / "out/failed.csv").open(newline="") as stream:
        failed = {row["image"]: row["reason"] for row in csv.DictReader(stream)}
    lines = (folder / "out/results.jsonl").read_text().splitlines()
    done = {json.loads(line)["image"] for line in lines}
    every = {path.name for path in (folder / "in").iterdir()}
    assert done | set(failed) == every
    assert not done & set(failed)
    assert all(reason and "\n" not in reason for reason in failed.values())
    written = {path.name.removesuffix(".png") for path in (folder / "out/masks").iterdir()}
    assert written == done
    assert len(done) > count / 20, "mutations so rough that nothing is left to decode"
    assert len(failed) > count / 20
    assert {"bomb20000.png", "bomb60000.png"} <= set(failed)
    assert "bomb8000.png" in done


def test_mutated_images(tmp_path):
    fuzz(tmp_path, 300)


@pytest.mark.slow
def test_ten_thousand_mutated_images(tmp_path):
    fuzz(tmp_path, 10_000)
