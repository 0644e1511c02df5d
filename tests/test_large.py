"""Images in tiles: as good as in one pass, whatever file they are streamed from."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import tifffile
from artifacts import make_artifact
from large_tools import MICROMETRES, make_model, tissue, write_pyramid
from PIL import Image

from wsol_deploy.card import MaskRule
from wsol_deploy.errors import ArtifactError, ImageError, UsageError
from wsol_deploy.runtime import Predictor, load
from wsol_deploy.runtime.large import Scale, predict_large
from wsol_deploy.runtime.large_prediction import LargePrediction
from wsol_deploy.runtime.pyramids import ArrayPyramid, View, open_pyramid
from wsol_deploy.runtime.tiles import Tiling

SMALL = Tiling(256, 128)
SIZE = (608, 816)  # whole cells: there the small model and the rule agree to the bit


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(make_model(tmp_path_factory.mktemp("model") / "m.onnx"), device="cpu")


@pytest.fixture(scope="module")
def picture():
    return tissue(*SIZE)


def difference(tiled: LargePrediction, whole) -> float:
    return float(np.abs(tiled.probability - whole.probability).max())


# --- tiles against one pass


@pytest.mark.parametrize("tiling", [SMALL, Tiling(512, 128), Tiling(1024, 256)])
def test_tiles_give_what_one_pass_gives(model, picture, tiling):
    whole = model.predict(picture)
    tiled = predict_large(model, ArrayPyramid(picture), tiling=tiling, streams=2)
    assert difference(tiled, whole) < 2e-3
    assert (tiled.mask != whole.mask).mean() < 1e-3
    assert np.abs(tiled.localizer_probs - whole.localizer_probs).max() < 1e-4
    assert np.abs(tiled.probs - whole.probs).max() < 0.02
    assert tiled.label == whole.label
    assert abs(len(tiled.components) - len(whole.components)) <= 1


def test_posteriors_of_an_image_that_is_all_foreground(tmp_path, picture):
    model = load(make_model(tmp_path / "m.onnx", low=-1000.0, high=-999.0), device="cpu")
    tiled = predict_large(model, ArrayPyramid(picture), tiling=SMALL)
    assert tiled.probability.min() == 1
    assert tiled.background_probs.sum() == pytest.approx(1, abs=1e-3)


def test_an_overlap_smaller_than_the_context_shows(model, picture):
    """So the bound above says something: here tiles miss their context, and a seam appears."""
    whole = model.predict(picture)
    tiled = predict_large(model, ArrayPyramid(picture), tiling=Tiling(256, 64))
    assert difference(tiled, whole) > 0.02


def test_the_range_is_the_whole_images(model):
    """A tile in which nothing is dark must not be stretched to a mask of its own."""
    image = np.full((512, 1024, 3), 220, np.uint8)
    image[:, :300] = tissue(512, 300, seed=2)
    image[200:240, 800:840] = 212
    tiled = predict_large(model, ArrayPyramid(image), tiling=SMALL)
    assert model.predict(image[:, 512:]).mask.any()
    assert not tiled.mask[:, 512:].any()
    assert tiled.mask[:, :300].any()


class Drawing:
    """A graph whose mask is drawn by a head of its own, from a few pixels around each place."""

    device, outputs = "cpu", ("mask", "probs", "localizer_probs", "background_probs", "class_maps")

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        drawn, maps = [], []
        for image in batch:
            dark = cv2.blur(200 - image[:, :, 1].astype(np.float32), (9, 9)) / 20
            place = [
                np.clip((np.arange(n) + 0.5) / 4 - 0.5, 0, (n - 1) // 4).astype(np.float32)
                for n in dark.shape
            ]
            drawn.append(cv2.remap(dark[::4, ::4], *np.meshgrid(*place[::-1]), cv2.INTER_LINEAR))
            maps.append(dark[::8, ::8] * np.array([1, 0.5], np.float32)[:, None, None])
        probs = np.tile(np.float32([0.25, 0.75]), (len(batch), 1))
        mask = 1 / (1 + np.exp(-np.array(drawn)[:, None]))
        posteriors = dict.fromkeys(("probs", "localizer_probs", "background_probs"), probs)
        return {"mask": mask, "class_maps": np.array(maps), **posteriors}


def test_a_mask_drawn_by_its_own_head_is_blended(model, picture):
    card = model.card.model_copy(deep=True)
    card.mask_rule.pixel_stride = 4
    drawing = Predictor(model.path, card, Drawing())
    whole = drawing.predict(picture)
    tiled = predict_large(drawing, ArrayPyramid(picture), tiling=SMALL)
    assert difference(tiled, whole) < 0.01
    assert tiled.probs.tolist() == [0.25, 0.75]


def test_streams_and_batches_change_nothing(model, picture, monkeypatch):
    one = predict_large(model, ArrayPyramid(picture), tiling=SMALL)
    monkeypatch.setattr(model, "batch_size", 3)
    many = predict_large(model, ArrayPyramid(picture), tiling=SMALL, streams=3)
    assert np.abs(one.probability - many.probability).max() < 1e-5


def test_cells_of_several_pixels_measure_the_same(model, picture, monkeypatch):
    exact = predict_large(model, ArrayPyramid(picture), tiling=SMALL, keep_image=True)
    monkeypatch.setattr("wsol_deploy.runtime.large_prediction.CELLS", 40_000)
    coarse = predict_large(model, ArrayPyramid(picture), tiling=SMALL, keep_image=True)
    assert coarse.step == 4
    assert coarse.size == exact.size == SIZE
    assert coarse.image.shape[:2] == coarse.mask.shape == (152, 204)
    assert coarse.foreground_fraction == pytest.approx(exact.foreground_fraction, abs=0.005)
    total = sum(part.area for part in exact.components)
    assert sum(part.area for part in coarse.components) == pytest.approx(total, rel=0.02)
    for part in coarse.components:
        assert part.polygon.area == part.area
        x, y, width, height = part.box
        assert x + width <= SIZE[1] and y + height <= SIZE[0]


def test_skipping_glass_leaves_the_tissue_alone(model, picture):
    picture = picture.copy()
    picture[:, :400] = 245
    seen = predict_large(model, ArrayPyramid(picture), tiling=SMALL)
    skipped = predict_large(model, ArrayPyramid(picture), tiling=SMALL, skip_background=True)
    assert not skipped.mask[:, :128].any()
    assert skipped.probability[:, :128].max() == skipped.probability.min()
    assert np.abs(seen.probability - skipped.probability)[:, 500:].max() < 0.3
    with pytest.raises(ImageError, match="bare glass"):
        glass = np.full((300, 300, 3), 240, np.uint8)
        predict_large(model, ArrayPyramid(glass), skip_background=True)


def test_a_model_without_the_rule_says_so(tmp_path, picture):
    plain = load(make_artifact(tmp_path / "m.onnx"), device="cpu")
    with pytest.raises(ArtifactError, match="export it again"):
        predict_large(plain, ArrayPyramid(picture))
    card = plain.card.model_copy(deep=True)
    card.mask_rule = MaskRule(stride=14, alignment="middle")
    with pytest.raises(ArtifactError, match="stride 14"):
        predict_large(Predictor(plain.path, card, Drawing()), ArrayPyramid(picture))


@pytest.mark.parametrize(("tile", "overlap"), [(100, 64), (256, 192), (256, 0), (256, 100)])
def test_tilings_that_cannot_be(tile, overlap):
    with pytest.raises(UsageError, match="multiples of 64"):
        Tiling(tile, overlap)


@pytest.mark.parametrize("size", [(1, 1), (64, 300), (256, 257), (1000, 640), (1025, 999)])
def test_every_pixel_is_in_a_tile(size):
    seen = np.zeros(size, int)
    for tile in SMALL.cut(size):
        assert tile.top % 64 == tile.left % 64 == 0
        seen[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width] += 1
        assert tile.top + tile.height <= size[0] and tile.left + tile.width <= size[1]
    assert seen.min() >= 1


# --- files

KINDS = {
    "plain.tif": {},
    "strips.tif": {"compression": "zlib", "rowsperstrip": 16},
    "tiles.tif": {"compression": "jpeg", "tile": (128, 128), "photometric": "rgb"},
    "lzw.tif": {"compression": "lzw", "tile": (64, 64), "predictor": True},
    "big.btf": {"bigtiff": True, "tile": (128, 128)},
}


@pytest.mark.parametrize("name", KINDS)
def test_tiff_files_are_read_in_pieces(name, tmp_path, picture):
    path = tmp_path / name
    tifffile.imwrite(path, picture, **KINDS[name])
    pyramid = open_pyramid(path)
    assert pyramid.sizes == [SIZE]
    for top, left, height, width in ((0, 0, *SIZE), (101, 203, 300, 1), (607, 815, 1, 1)):
        expected = picture[top : top + height, left : left + width]
        found = pyramid.read(0, top, left, height, width)
        assert found.shape == expected.shape
        lossy = 40 if name == "tiles.tif" else 0
        assert np.abs(found.astype(int) - expected).max() <= lossy
    pyramid.close()


def encodings(picture: np.ndarray) -> dict[str, tuple[np.ndarray, dict[str, object]]]:
    gray = picture[:, :, 0]
    alpha = np.dstack([picture, np.full(SIZE, 255, np.uint8)])
    return {
        "gray": (gray, {}),
        "inverted": (255 - gray, {"photometric": "miniswhite"}),
        "deep": (picture.astype(np.uint16) * 257, {"photometric": "rgb"}),
        "alpha": (alpha, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        "planes": (picture.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}),
    }


@pytest.mark.parametrize("kind", ["gray", "inverted", "deep", "alpha", "planes"])
def test_kinds_of_pixels_become_rgb(kind, tmp_path, picture):
    pixels, how = encodings(picture)[kind]
    tifffile.imwrite(tmp_path / "x.tif", pixels, tile=(128, 128), **how)
    gray = kind in ("gray", "inverted")
    expected = np.repeat(picture[:, :, :1], 3, axis=2) if gray else picture
    found = open_pyramid(tmp_path / "x.tif").read(0, 10, 20, 200, 300)
    assert np.array_equal(found, expected[10:210, 20:320])


def test_a_turned_tiff_is_not_streamed(tmp_path, picture):
    tag = (274, "H", 1, 6, True)
    tifffile.imwrite(
        tmp_path / "x.tif", picture, tile=(128, 128), photometric="rgb", extratags=[tag]
    )
    with pytest.raises(ImageError, match="orientation 6 cannot be streamed; write it upright"):
        open_pyramid(tmp_path / "x.tif")


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_pyramids_and_their_pixel_size(name, tmp_path, picture, model):
    pyramid = open_pyramid(write_pyramid(tmp_path / name, picture))
    assert pyramid.sizes == [SIZE, (304, 408), (152, 204)]
    assert pyramid.mpp == pytest.approx((MICROMETRES, MICROMETRES))
    assert Scale(level=1).size(pyramid, model) == (304, 408)
    assert Scale(mpp=2 * MICROMETRES).size(pyramid, model) == (304, 408)
    assert Scale(mpp=MICROMETRES / 9).size(pyramid, model) == SIZE
    with pytest.raises(ImageError, match="no level 3"):
        Scale(level=3).size(pyramid, model)


def test_a_size_between_levels_is_resampled(tmp_path, picture):
    pyramid = open_pyramid(write_pyramid(tmp_path / "a.tif", picture))
    found = View(pyramid, (400, 540)).read(50, 60, 300, 400)
    expected = cv2.resize(picture, (540, 400), interpolation=cv2.INTER_AREA)
    assert np.abs(found.astype(int) - expected[50:350, 60:460]).mean() < 2


@pytest.mark.parametrize(
    ("pixels", "how"),
    [
        (
            np.zeros((5, 40, 40), np.uint8),
            {"photometric": "minisblack", "metadata": {"axes": "ZYX"}},
        ),
        (np.zeros((40, 40), np.float32), {}),
    ],
)
def test_what_cannot_be_streamed_says_so(pixels, how, tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", pixels, **how)
    with pytest.raises(ImageError, match="give it as gray or RGB"):
        open_pyramid(tmp_path / "x.tif")


def test_damaged_and_dishonest_files(tmp_path, picture):
    whole = write_pyramid(tmp_path / "whole.tif", picture).read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "noise.tif").write_bytes(b"II*\0" + bytes(60))
    with pytest.raises(ImageError, match="damaged"):
        open_pyramid(tmp_path / "noise.tif")
    with pytest.raises(ImageError, match="damaged"):
        open_pyramid(tmp_path / "cut.tif").read(0, 0, 0, *SIZE)
    bomb = tmp_path / "bomb.tif"
    tifffile.imwrite(bomb, picture, tile=(256, 256), compression="zlib")
    with tifffile.TiffFile(bomb, mode="r+") as tiff:
        tiff.pages[0].tags["ImageLength"].overwrite(2**18)
        tiff.pages[0].tags["ImageWidth"].overwrite(2**18)
    with pytest.raises(ImageError, match="no honest image"):
        open_pyramid(bomb)


def test_a_whole_slide_by_openslide(tmp_path, picture):
    pytest.importorskip("openslide")
    path = tmp_path / "slide.svs"
    how = {"tile": (256, 256), "photometric": "rgb", "compression": "jpeg", "metadata": None}
    with tifffile.TiffWriter(path) as tiff:
        words = "Aperio Image Library v1\r\n816x608|AppMag = 20|MPP = 0.5"
        tiff.write(picture, description=words, **how)
        tiff.write(picture[::4, ::4].copy(), description=words, **how)
    slide = open_pyramid(path)
    assert slide.sizes == [SIZE, (152, 204)]
    assert slide.mpp == (0.5, 0.5)
    found = slide.read(0, 100, 50, 200, 300)
    assert np.abs(found.astype(int) - picture[100:300, 50:350]).max() < 40
    slide.close()
    Image.fromarray(picture).save(tmp_path / "no.svs", "PNG")
    with pytest.raises(ImageError, match="not a slide"):
        open_pyramid(tmp_path / "no.svs")
