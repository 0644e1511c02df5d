"""Reading images as people see them, and refusing bad ones in one line."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wsol_deploy import images
from wsol_deploy.card import SizePolicy
from wsol_deploy.errors import ImageError

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def picture(height: int = 20, width: int = 30) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "TGA"])
def test_lossless_formats_come_back_exactly(kind):
    assert np.array_equal(images.read(encode(picture(), kind)), np.asarray(picture()))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF", "JPEG2000"])
def test_other_formats_are_read(kind):
    assert images.read(encode(picture(), kind)).shape == (20, 30, 3)


def test_one_pixel():
    assert images.read(encode(Image.new("RGB", (1, 1), RED))).tolist() == [[list(RED)]]


def test_grayscale_becomes_three_equal_channels():
    gray = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    rgb = images.read(encode(gray))
    assert (rgb == np.asarray(gray)[:, :, None]).all()


def test_palette_gives_its_colours():
    indexed = Image.new("P", (2, 1))
    indexed.putpalette([*RED, *GREEN])
    indexed.putdata([0, 1])
    assert images.read(encode(indexed)).tolist() == [[list(RED), list(GREEN)]]


def test_cmyk_becomes_rgb():
    cyan = images.read(encode(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG"))
    assert cyan.shape == (8, 8, 3)
    assert cyan[0, 0, 0] < 60 < 180 < cyan[0, 0, 1]


def test_alpha_is_laid_over_white():
    half = images.read(encode(Image.new("RGBA", (1, 1), (255, 0, 0, 0))))
    assert half.tolist() == [[list(WHITE)]]
    solid = images.read(encode(Image.new("LA", (1, 1), (40, 255))))
    assert solid.tolist() == [[[40, 40, 40]]]


def test_sixteen_bits_are_scaled_not_cut():
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    read = images.read(encode(Image.fromarray(ramp)))
    assert np.abs(read[:, :, 0].astype(float) - ramp / 257).max() <= 0.5


def test_float_pixels_from_zero_to_one_are_scaled():
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    read = images.read(encode(Image.fromarray(ramp), "TIFF"))
    assert np.abs(read[:, :, 0] - ramp * 255).max() <= 0.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation):
    upright = np.zeros((4, 6, 3), np.uint8)
    upright[0, 0] = 255
    turn = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(Image.fromarray(np.ascontiguousarray(turn(upright))), "PNG", exif=exif)
    assert np.array_equal(images.read(content), upright)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_size_is_that_of_the_turned_image(kind, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"turned.{kind.lower()}"
    path.write_bytes(encode(picture(20, 30), kind, exif=exif))
    assert images.size(path) == images.read(path).shape[:2] == (30, 20)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "PPM"])
def test_size_decodes_no_pixels(kind, tmp_path):
    path = tmp_path / f"cut.{kind.lower()}"
    content = encode(picture(200, 300), kind)
    path.write_bytes(content[: len(content) // 2])
    assert images.size(path) == (200, 300)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM"])
def test_truncated(kind, tmp_path):
    path = tmp_path / f"cut.{kind.lower()}"
    content = encode(picture(200, 300), kind)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match=r"cut\.\w+: "):
        images.read(path)


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "empty"), (b"no image at all", "not an image"), (b"\x89PNG\r\n\x1a\n", "")],
)
def test_no_image(content, why, tmp_path):
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=f"bad.png: .*{why}") as caught:
        images.read(path)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(ImageError, match=str(path)):
            images.read(path)


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [15_000, 100_000, 2**31 - 1])
def test_decompression_bomb_is_refused_without_decoding(side):
    with pytest.raises(ImageError, match=r"larger|limit|damaged"):
        images.read(png_that_claims(side, side))


def test_a_postscript_program_is_never_run(tmp_path):
    path = tmp_path / "program.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n%%EOF\n")
    with pytest.raises(ImageError, match="not an image"):
        images.read(path)


def test_masks_mark_any_channel_and_ignore_alpha(tmp_path):
    Image.fromarray(np.array([[0, 1], [3, 0]], np.uint8)).save(tmp_path / "ids.png")
    assert images.read_mask(tmp_path / "ids.png").tolist() == [[False, True], [True, False]]
    Image.new("RGBA", (2, 1), (0, 0, 0, 255)).save(tmp_path / "alpha.png")
    assert not images.read_mask(tmp_path / "alpha.png").any()
    (tmp_path / "bad.png").write_bytes(b"x")
    with pytest.raises(ImageError, match=r"bad\.png"):
        images.read_mask(tmp_path / "bad.png")


def test_find_skips_hidden_and_foreign_files(tmp_path):
    for name in ("b.PNG", "a/c.jpg", ".hidden.png", ".git/d.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert images.find(tmp_path) == [tmp_path / "a/c.jpg", tmp_path / "b.PNG"]


@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from(["shorter-side", "longer-side"]))
@settings(max_examples=50)
def test_fit_obeys_the_policy(height, width, mode):
    policy = SizePolicy(mode=mode, size=64)
    fitted = images.fit(np.zeros((height, width, 3), np.uint8), policy)
    sides = sorted(fitted.shape[:2])
    assert sides[0] >= 32
    assert 64 in sides or sides[0] == 32


@given(st.integers(33, 90), st.integers(33, 90), st.floats(0.5, 3))
@settings(max_examples=30)
def test_resizing_there_and_back_keeps_the_place(height, width, scale):
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    blob = np.exp(-((rows - height / 3) ** 2 + (columns - width / 3) ** 2) / 60).astype(np.float32)
    there = images.resize(blob, round(height * scale), round(width * scale))
    back = images.resize(there, height, width)
    place = np.array([(rows * back).sum(), (columns * back).sum()]) / back.sum()
    truth = np.array([(rows * blob).sum(), (columns * blob).sum()]) / blob.sum()
    assert np.abs(place - truth).max() < 0.25


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_sixteen_bits_are_the_same_whole_and_streamed(tmp_path, photometric):
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("zarr")
    from wsol_deploy.runtime.tiffs import TiffPyramid

    values = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric=photometric)
    whole = images.read(tmp_path / "a.tif")
    streamed = TiffPyramid(tmp_path / "a.tif").read(0, 0, 0, 64, 64)
    assert np.array_equal(whole, streamed)
    assert whole[0, 0, 0] == (0 if photometric == "minisblack" else 255)


def test_a_few_bits_of_sixteen_are_kept_dark_and_said_so(tmp_path, caplog):
    images._warn_dark.cache_clear()
    Image.fromarray(np.full((8, 8), 200, np.uint16)).save(tmp_path / "a.png")
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(tmp_path / "b.png")
    assert [images.read(tmp_path / name).max() for name in ("a.png", "b.png")] == [1, 16]
    assert caplog.text.count("nearly black") == 1


def test_real_numbers_hardly_above_one_are_shares_of_white(tmp_path):
    Image.fromarray(np.float32([[0.0, 0.5], [1.0, 1.001]])).save(tmp_path / "a.tif")
    assert images.read(tmp_path / "a.tif")[:, :, 0].tolist() == [[0, 128], [255, 255]]


def test_what_is_no_number_leaves_the_others_as_they_are(tmp_path):
    values = np.float32([[0.0, 0.5], [np.nan, np.inf], [-np.inf, 1.0]])
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert images.read(tmp_path / "a.tif")[:, :, 0].tolist() == [[0, 128], [0, 255], [0, 255]]


def test_jpeg_masks_are_as_large_as_they_were(tmp_path):
    rows, columns = np.mgrid[:120, :120]
    disc = (rows - 60) ** 2 + (columns - 60) ** 2 < 40**2
    Image.fromarray(disc * np.uint8(255)).save(tmp_path / "a.jpg", quality=75)
    assert images.read_mask(tmp_path / "a.jpg").sum() == pytest.approx(disc.sum(), rel=0.01)


def test_masks_turn_with_their_orientation(tmp_path):
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)
    image = Image.fromarray(values)
    exif = Image.Exif()
    exif[images.ORIENTATION] = 6
    image.save(tmp_path / "a.png", exif=exif)
    assert images.read_values(tmp_path / "a.png").tolist() == np.rot90(values, -1).tolist()
