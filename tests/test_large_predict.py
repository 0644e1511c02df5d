"""`wsol predict` on large images: what is streamed, and what is written of it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from batch_tools import contents, draw, predict
from large_tools import MICROMETRES, make_model, tissue, write_pyramid
from PIL import Image
from shapely.geometry import shape

from wsol_deploy.batch.options import Options
from wsol_deploy.errors import UsageError
from wsol_deploy.runtime import load

HEIGHT, WIDTH = 608, 816
TILES = ("--tile-above", 100_000, "--tile", 256, "--overlap", 128)
EVERYTHING = (
    "mask", "prob", "overlay", "heatmap", "cutout", "coco", "geojson", "labelme", "yolo", "csv",
    "jsonl",
)  # fmt: skip


def saving(*names: str) -> list[str]:
    return [word for name in names for word in ("--save", name)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "m.onnx")


@pytest.fixture(scope="module")
def picture():
    return tissue(HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def done(tmp_path_factory, model, picture) -> Path:
    """Three large images and a small one, everything written of them."""
    root = tmp_path_factory.mktemp("large")
    (root / "in").mkdir()
    write_pyramid(root / "in/a.tif", picture)
    write_pyramid(root / "in/b.ome.tif", picture)
    Image.fromarray(picture).save(root / "in/c.png")
    Image.fromarray(draw(0)).save(root / "in/small.png")
    out = root / "out"
    predict(root / "in", "-o", out, "-m", model, *TILES, *saving(*EVERYTHING), "--instances")
    return out


def rows(folder: Path, name: str = "results.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_masks_are_pyramids(done, model, picture):
    whole = load(model, device="cpu").predict(picture)
    for name in ("a.tif", "b.ome.tif", "c.png"):
        with tifffile.TiffFile(done / f"masks/{name}.tif") as tiff:
            assert tiff.is_bigtiff and tiff.pages[0].is_tiled
            mask = tiff.asarray()
        assert set(np.unique(mask)) == {0, 255}
        assert ((mask > 0) != whole.mask).mean() < 1e-3
    soft = tifffile.imread(done / "probabilities/a.tif.tif")
    assert soft.dtype == np.uint16
    assert np.abs(soft / 65535 - whole.probability).max() < 2e-3
    assert (done / "masks/small.png.png").is_file()


def test_streamed_and_decoded_images_agree(done):
    a, b, c = (tifffile.imread(done / f"masks/{n}.tif") for n in ("a.tif", "b.ome.tif", "c.png"))
    assert np.array_equal(a, b) and np.array_equal(a, c)


def test_polygons_and_rows_describe_the_mask(done):
    area = int((tifffile.imread(done / "masks/a.tif.tif") > 0).sum())
    features = json.loads((done / "geojson/a.tif.geojson").read_text())["features"]
    polygons = [shape(feature["geometry"]) for feature in features]
    assert all(polygon.is_valid for polygon in polygons)
    assert sum(polygon.area for polygon in polygons) == area
    scaled = features[0]["properties"]["measurements"]
    assert scaled["Area µm^2"] == pytest.approx(scaled["Area px^2"] * MICROMETRES**2)
    row = next(row for row in rows(done) if row["image"] == "a.tif")
    assert (int(row["height"]), int(row["width"])) == (HEIGHT, WIDTH)
    assert float(row["foreground_fraction"]) == pytest.approx(area / (HEIGHT * WIDTH), abs=1e-6)
    instances = [row for row in rows(done, "instances.csv") if row["image"] == "a.tif"]
    assert sum(int(row["area"]) for row in instances) == area
    coco = json.loads((done / "coco.json").read_text())
    assert sum(part["area"] for part in coco["annotations"] if part["image_id"] == 1) == area


def test_a_level_is_predicted_and_its_polygons_lie_on_the_slide(model, picture, tmp_path):
    path = write_pyramid(tmp_path / "a.tif", picture)
    out = tmp_path / "out"
    predict(path, "-o", out, "-m", model, *TILES, *saving("mask", "geojson"), "--level", 1)
    with tifffile.TiffFile(out / "masks/a.tif.tif") as tiff:
        mask = tiff.asarray()
        resolution = tiff.pages[0].tags["XResolution"].value
    assert mask.shape == (HEIGHT // 2, WIDTH // 2)
    assert 1e4 * resolution[1] / resolution[0] == pytest.approx(2 * MICROMETRES)
    features = json.loads((out / "geojson/a.tif.geojson").read_text())["features"]
    total = sum(shape(feature["geometry"]).area for feature in features)
    assert total == pytest.approx(4 * (mask > 0).sum(), rel=1e-6)
    by_size = tmp_path / "by-size"
    size = ("--mpp", 2 * MICROMETRES)
    predict(path, "-o", by_size, "-m", model, *TILES, *saving("mask", "geojson"), *size)
    assert np.array_equal(tifffile.imread(by_size / "masks/a.tif.tif"), mask)


def test_large_images_that_fail_are_lines(model, picture, tmp_path):
    whole = write_pyramid(tmp_path / "whole.tif", picture).read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "not.svs").write_bytes(b"no slide")
    tifffile.imwrite(tmp_path / "flat.tif", picture)
    out = tmp_path / "out"
    predict(tmp_path, "-o", out, "-m", model, *TILES, "--mpp", 1, *saving("mask"), check=3)
    failed = {row["image"]: row["reason"] for row in rows(out, "failed.csv")}
    assert set(failed) == {"cut.tif", "not.svs", "flat.tif"}
    assert "--level" in failed["flat.tif"]
    assert list((out / "masks").iterdir()) == [out / "masks/whole.tif.tif"]


def test_post_processing_reaches_the_large_mask(model, picture, tmp_path):
    path = write_pyramid(tmp_path / "a.tif", picture)
    how = ("-m", model, *TILES, *saving("mask", "jsonl"))
    predict(path, "-o", tmp_path / "plain", *how)
    predict(path, "-o", tmp_path / "post", *how, "--min-area", 5000, "--fill-holes")
    plain, post = (tifffile.imread(tmp_path / n / "masks/a.tif.tif") for n in ("plain", "post"))
    counts = [
        json.loads((tmp_path / n / "results.jsonl").read_text())["components"]
        for n in ("plain", "post")
    ]
    assert counts[1] < counts[0]
    assert not np.array_equal(plain, post)


def test_started_again_it_has_nothing_to_do(done, model):
    before = contents(done)
    again = (*TILES, *saving(*EVERYTHING), "--instances")
    finished = predict(done.parent / "in", "-o", done, "-m", model, *again)
    assert b"0 of them new" in finished.stderr
    assert contents(done) == before


def test_options_that_cannot_be(model, tmp_path):
    words = ("--level", 1, "--mpp", 1)
    told = predict(tmp_path, "-o", tmp_path / "o", "-m", model, *words, check=2).stderr.decode()
    assert told.startswith("error: --level and --mpp") and len(told.splitlines()) == 1
    with pytest.raises(UsageError, match="--tile-above 1000000000: at most"):
        Options(tile_above=10**9)


PROGRAM = """
import atexit, resource
from wsol_deploy.cli import main
atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
main()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted in other units")
def test_memory_does_not_hold_the_image(model, tmp_path):
    def peak(side: int) -> float:
        path = tmp_path / f"{side}.tif"
        tile = np.kron(draw(1, 256, 256)[::4, ::4], np.ones((4, 4, 1), np.uint8))
        tiles = (tile for _ in range((side // 256) ** 2))
        tifffile.imwrite(
            path, tiles, shape=(side, side, 3), dtype="uint8", tile=(256, 256), bigtiff=True,
            photometric="rgb", compression="zlib",
        )  # fmt: skip
        command = [sys.executable, "-c", PROGRAM, "predict", path, "-o", f"{path}.out", "-q"]
        command += ["-m", model, "--tile-above", "1000000", *saving("mask", "geojson")]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
        return int(done.stdout) / 1024

    assert peak(6144) - peak(2048) < 150, "the larger image takes 113 MB, its soft mask 151"
