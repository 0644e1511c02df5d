"""Hostile and honest uploads: what the demo takes in, and the sentence where it does not."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import demo_page
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from wsol_deploy.demo import batch, uploads
from wsol_deploy.demo.uploads import Limits
from wsol_deploy.errors import DataError, ImageError, WsolError

LIMITS = Limits(
    file_bytes=3_000_000, pixels=1_000_000, files=10, batch_pixels=4_000_000,
    unpacked_bytes=2_000_000,
)  # fmt: skip


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims any size and holds nothing."""
    body = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = b""
    for kind, data in ((b"IHDR", body), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        chunks += struct.pack(">I", len(data)) + kind + data
        chunks += struct.pack(">I", zlib.crc32(kind + data))
    return b"\x89PNG\r\n\x1a\n" + chunks


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            target.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return path


def picture_bytes(side: int = 40) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(demo_page.blobs(side, side)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
def test_an_honest_picture_is_read(tmp_path: Path, suffix: str) -> None:
    path = demo_page.save(tmp_path / f"a{suffix}", demo_page.blobs(50, 70))
    assert uploads.read_picture(path, LIMITS).shape == (50, 70, 3)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("page.png", b"<!doctype html><script>alert(1)</script>", "is not a picture"),
        ("vector.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not a picture"),
        ("script.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture"),
        ("bomb.png", png_header(50_000, 50_000), "far more pixels"),
        ("large.png", png_header(2_000, 1_000), "2000 x 1000 pixels"),
        ("cut.png", picture_bytes()[:200], "damaged"),
        ("empty.png", b"", "is empty"),
        ("heavy.png", bytes(3_000_001), "3 MB"),
    ],
)
def test_a_bad_picture_is_named_in_one_sentence(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        uploads.read_picture(path, LIMITS)
    said = str(caught.value)
    assert said.startswith(name) and words in said
    assert str(tmp_path) not in said and "\n" not in said


def test_a_truth_mask_of_instance_ids_is_foreground_where_it_is_not_zero(tmp_path: Path) -> None:
    ids = np.zeros((40, 50), np.uint8)
    ids[:10], ids[20:30] = 1, 7
    Image.fromarray(ids).save(tmp_path / "ids.png")
    assert (uploads.read_truth(tmp_path / "ids.png", LIMITS) == (ids > 0)).all()


def test_pictures_and_zips_end_in_one_folder_under_their_names(tmp_path: Path) -> None:
    one = demo_page.save(tmp_path / "x" / "a.png", demo_page.blobs(40, 40))
    two = demo_page.save(tmp_path / "y" / "a.png", demo_page.blobs(40, 40, seed=1))
    packed = archive(
        tmp_path / "more.zip",
        {
            "deep/b.png": picture_bytes(),
            "notes.txt": b"no picture",
            "__MACOSX/deep/._b.png": b"resource fork",
            ".hidden.png": picture_bytes(),
        },
    )
    into = tmp_path / "in"
    assert uploads.gather([one, two, packed], into, LIMITS) == 3
    found = sorted(path.relative_to(into).as_posix() for path in into.rglob("*.png"))
    assert found == ["a (2).png", "a.png", "more/deep/b.png"]


def test_pictures_of_one_stem_stay_two(tmp_path: Path) -> None:
    for name in ("photo", "photo.png"):
        (tmp_path / name).write_bytes(picture_bytes())
    assert batch._sift(tmp_path, LIMITS) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo (2).png", "photo.png"]


@pytest.mark.parametrize(
    "name", ["../evil.png", "a/../../evil.png", "/etc/evil.png", "C:/evil.png", "a\\..\\evil.png"]
)
def test_a_zip_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    packed = archive(tmp_path / "zip.zip", {"good.png": picture_bytes(), name: picture_bytes()})
    with pytest.raises(DataError, match=r"zip\.zip was refused: it names a place outside itself"):
        uploads.gather([packed], tmp_path / "deep" / "in", LIMITS)
    assert not list(tmp_path.rglob("*.png"))


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "l.zip", "w") as target:
        target.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="it holds a link"):
        uploads.gather([tmp_path / "l.zip"], tmp_path / "in", LIMITS)


def test_a_bomb_is_refused_by_what_it_says_it_holds(tmp_path: Path) -> None:
    packed = archive(tmp_path / "bomb.zip", {"zeros.png": bytes(50_000_000)})
    assert packed.stat().st_size < 100_000
    with pytest.raises(DataError, match="unpacks to more than the 2 MB"):
        uploads.gather([packed], tmp_path / "in", LIMITS)


def test_a_bomb_that_lies_about_its_size_is_stopped(tmp_path: Path) -> None:
    packed = archive(tmp_path / "liar.zip", {"zeros.png": bytes(50_000_000)})
    content = packed.read_bytes().replace(struct.pack("<I", 50_000_000), struct.pack("<I", 1000))
    packed.write_bytes(content)
    with pytest.raises(DataError):
        uploads.gather([packed], tmp_path / "in", LIMITS)
    written = sum(path.stat().st_size for path in (tmp_path / "in").rglob("*") if path.is_file())
    assert written <= LIMITS.unpacked_bytes


def test_two_zips_share_the_room(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.bytes(1_200_000)
    packed = [archive(tmp_path / f"{i}.zip", {f"{i}.png": noise}) for i in range(2)]
    with pytest.raises(DataError, match="unpacks to more"):
        uploads.gather(packed, tmp_path / "in", LIMITS)


def test_too_many_pictures_are_refused_with_the_mend(tmp_path: Path) -> None:
    many = archive(tmp_path / "many.zip", {f"{i}.png": picture_bytes() for i in range(11)})
    with pytest.raises(DataError, match=r"11 pictures are too many.*wsol predict"):
        uploads.gather([many], tmp_path / "in", LIMITS)


def test_a_table_of_contents_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    packed = archive(tmp_path / "toc.zip", {"a.png": picture_bytes()})
    content = bytearray(packed.read_bytes())
    end = content.rfind(uploads.END_RECORD)
    content[end + 12 : end + 16] = struct.pack("<I", 4_000_000_000)
    packed.write_bytes(content)
    with pytest.raises(DataError, match="lists far more files"):
        uploads.gather([packed], tmp_path / "in", LIMITS)


def test_a_locked_zip_and_a_text_named_zip_get_a_sentence(tmp_path: Path) -> None:
    locked = archive(tmp_path / "locked.zip", {"a.png": picture_bytes()})
    content = bytearray(locked.read_bytes())
    content[6] |= 1
    content[content.find(b"PK\x01\x02") + 8] |= 1
    locked.write_bytes(content)
    with pytest.raises(DataError, match="locked with a password"):
        uploads.gather([locked], tmp_path / "in", LIMITS)
    (tmp_path / "text.zip").write_text("not a zip")
    with pytest.raises(DataError, match="not a zip"):
        uploads.gather([tmp_path / "text.zip"], tmp_path / "in2", LIMITS)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.integers(0, 300))
def test_no_damaged_zip_does_more_than_raise(
    tmp_path_factory: pytest.TempPathFactory, where: int, byte: int, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("zip")
    packed = archive(folder / "z.zip", {"a/b.png": picture_bytes(8), "c.png": picture_bytes(9)})
    content = bytearray(packed.read_bytes())
    content[where % len(content)] = byte
    packed.write_bytes(content[: len(content) - cut])
    try:
        uploads.gather([packed], folder / "in", LIMITS)
    except WsolError as error:
        assert "\n" not in str(error)
    outside = [path for path in folder.rglob("*") if path.is_file() and path != packed]
    assert all(path.is_relative_to(folder / "in") for path in outside)
