"""The size of a pixel, as files state it."""

from __future__ import annotations

from pathlib import Path

import pytest
from batch_tools import draw
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from wsol_deploy.pixelsize import pixel_size


def tiff(path: Path, tags: dict[int, object]) -> Path:
    directory = ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory[tag] = value
    Image.fromarray(draw(0)).save(path, tiffinfo=directory)
    return path


@pytest.mark.parametrize(
    ("tags", "size"),
    [
        ({270: '<OME><Pixels PhysicalSizeX="0.5" PhysicalSizeY="0.25"/></OME>'}, (0.5, 0.25)),
        (
            {270: '<Pixels PhysicalSizeX="250" PhysicalSizeXUnit="nm" PhysicalSizeY="250" '
                  'PhysicalSizeYUnit="nm"/>'},
            (0.25, 0.25),
        ),
        ({270: "Aperio Image|AppMag = 40|MPP = 0.2527|Left = 1"}, (0.2527, 0.2527)),
        ({270: "ImageJ=1.53\nunit=micron\n", 282: 4.0, 283: 2.0, 296: 1}, (0.25, 0.5)),
        ({282: 20_000.0, 283: 20_000.0, 296: 3}, (0.5, 0.5)),
        ({282: 300.0, 283: 300.0, 296: 2}, None),
        ({270: "a photo"}, None),
    ],
)  # fmt: skip
def test_pixel_sizes_files_state(tmp_path, tags, size):
    found = pixel_size(tiff(tmp_path / "a.tif", tags))
    assert found == (None if size is None else pytest.approx(size))


def test_pixel_sizes_of_other_files(tmp_path):
    picture = Image.fromarray(draw(0))
    picture.save(tmp_path / "fine.png", dpi=(50_800, 50_800))
    assert pixel_size(tmp_path / "fine.png") == pytest.approx((0.5, 0.5), rel=1e-3)
    picture.save(tmp_path / "screen.png", dpi=(96, 96))
    picture.save(tmp_path / "photo.jpg", dpi=(50_800, 50_800))
    (tmp_path / "bad.tif").write_bytes(b"II*\0nothing")
    for name in ("screen.png", "photo.jpg", "bad.tif", "none.tif"):
        assert pixel_size(tmp_path / name) is None
