"""Every output format, opened by its own tool or a parser that is not ours."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from artifacts import CLASSES, make_artifact
from batch_tools import draw, fill
from PIL import Image, ImageDraw

from wsol_deploy import load
from wsol_deploy.batch.options import Options
from wsol_deploy.batch.run import open_model, run
from wsol_deploy.batch.sources import Sources
from wsol_deploy.batch.writers import NAMES

coco_api = pytest.importorskip("pycocotools.coco")
parquet = pytest.importorskip("pyarrow.parquet")
COUNT = 8
EVERYTHING = tuple(name for name in NAMES if name != "class-mask")  # one class an image


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_artifact(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("in")
    fill(folder, COUNT, height=120, width=160)
    ring = np.full((120, 160, 3), 230, np.uint8)
    cv2.circle(ring, (80, 60), 40, (60, 60, 150), 18)
    Image.fromarray(ring).save(folder / "ring.tif", resolution=20_000, resolution_unit=3)
    Image.fromarray(np.full((60, 50, 3), 230, np.uint8)).save(folder / "blank.png")
    return folder


@pytest.fixture(scope="module")
def output(model, source, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    options = Options(save=EVERYTHING, instances=True)
    summary = run(
        open_model(model, options, folder, device="cpu"), Sources([source]), folder, options
    )
    assert (summary.images, summary.failed) == (COUNT + 2, 0)
    return folder


@pytest.fixture(scope="module")
def predictions(model, source) -> dict:
    predictor = load(model, device="cpu")
    return {item.name: predictor.predict(item.path) for item in Sources([source])}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_masks_and_probabilities(output, predictions):
    for name, prediction in predictions.items():
        mask = pixels(output / f"masks/{name}.png")
        assert np.array_equal(mask, prediction.mask * np.uint8(255))
        written = pixels(output / f"probabilities/{name}.png")
        assert written.dtype == np.uint16
        assert np.abs(written / 65535 - prediction.probability).max() <= 0.5 / 65535 + 1e-7


def test_overlays_and_heatmaps(output, predictions):
    for name, prediction in predictions.items():
        size = prediction.mask.shape
        assert np.array_equal(pixels(output / f"overlays/{name}.png"), prediction.overlay())
        for index, label in enumerate(CLASSES):
            assert pixels(output / f"heatmaps/{name}/{index}-{label}.png").shape == (*size, 3)


def test_cutouts(output, predictions):
    for name, prediction in predictions.items():
        rgba = pixels(output / f"cutouts/{name}.png")
        assert np.array_equal(rgba[:, :, 3] > 0, prediction.mask)
        assert np.array_equal(rgba[prediction.mask][:, :3], prediction.image[prediction.mask])
        assert not rgba[~prediction.mask].any()


def test_coco_loads_and_evaluates_against_itself(output, predictions):
    from pycocotools.cocoeval import COCOeval

    truth = coco_api.COCO(str(output / "coco.json"))
    names = {image["id"]: image["file_name"] for image in truth.dataset["images"]}
    assert set(names.values()) == set(predictions)
    found = defaultdict(list)
    for annotation in truth.dataset["annotations"]:
        found[names[annotation["image_id"]]].append(annotation)
    for name, prediction in predictions.items():
        union = np.zeros(prediction.mask.shape, bool)
        assert len(found[name]) == len(prediction.components)
        for annotation, part in zip(found[name], prediction.components, strict=True):
            region = truth.annToMask(annotation).astype(bool)
            union |= region
            assert region.sum() == annotation["area"] == part.area
            assert tuple(annotation["bbox"]) == part.box
            assert 0 < annotation["score"] <= 1
            assert truth.cats[annotation["category_id"]]["name"] == prediction.label
        assert np.array_equal(union, prediction.mask)
    results = truth.loadRes(truth.dataset["annotations"])
    for kind in ("segm", "bbox"):
        evaluation = COCOeval(truth, results, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert evaluation.stats[0] == pytest.approx(1.0)


def even_odd(rings: list, shape: tuple[int, int]) -> np.ndarray:
    """Rings drawn by Pillow, each one toggling; corner coordinates to pixel indices."""
    inside = np.zeros(shape, bool)
    for ring in rings:
        layer = Image.new("1", (shape[1] * 2, shape[0] * 2))
        points = [(2 * x - 0.5, 2 * y - 0.5) for x, y in ring]
        ImageDraw.Draw(layer).polygon(points, fill=1)
        inside ^= np.asarray(layer)[1::2, 1::2]
    return inside


def test_geojson_covers_the_mask_in_the_form_of_qupath(output, predictions):
    for name, prediction in predictions.items():
        document = json.loads((output / f"geojson/{name}.geojson").read_text())
        assert document["type"] == "FeatureCollection"
        area = 0.0
        for feature, part in zip(document["features"], prediction.components, strict=True):
            properties = feature["properties"]
            assert feature["geometry"]["type"] == "Polygon"
            assert properties["objectType"] == "annotation"
            assert properties["classification"]["name"] == prediction.label
            assert len(properties["classification"]["color"]) == 3
            measured = properties["measurements"]
            assert measured["Area px^2"] == part.area
            assert all(isinstance(value, float) for value in measured.values())
            if name == "ring.tif":
                assert measured["Area µm^2"] == pytest.approx(part.area * 0.25)
            for index, ring in enumerate(feature["geometry"]["coordinates"]):
                assert ring[0] == ring[-1]
                x, y = np.array(ring, float).T
                turned = ((x[:-1] * y[1:]) - (x[1:] * y[:-1])).sum() / 2
                assert (turned > 0) == (index == 0)
                area += turned
        assert area == prediction.mask.sum()
        assert len({feature["id"] for feature in document["features"]}) == len(document["features"])
    (ring,) = json.loads((output / "geojson/ring.tif.geojson").read_text())["features"]
    assert len(ring["geometry"]["coordinates"]) == 2


def test_geojson_is_valid_for_the_geometry_engine_of_qupath(output, predictions):
    shapely = pytest.importorskip("shapely.geometry")
    for name in predictions:
        for feature in json.loads((output / f"geojson/{name}.geojson").read_text())["features"]:
            assert shapely.shape(feature["geometry"]).is_valid


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    union = (one | other).sum()
    return 1.0 if union == 0 else (one & other).sum() / union


def test_labelme(output, source, predictions):
    for name, prediction in predictions.items():
        path = output / f"labelme/{name}.json"
        document = json.loads(path.read_text())
        assert (path.parent / document["imagePath"]).resolve() == (source / name).resolve()
        assert document["imageData"] is None
        size = (document["imageHeight"], document["imageWidth"])
        assert size == prediction.mask.shape
        assert {s["label"] for s in document["shapes"]} <= {prediction.label}
        assert {s["shape_type"] for s in document["shapes"]} <= {"polygon"}
        drawn = np.zeros(size, bool)
        for shape in document["shapes"]:
            drawn |= even_odd([shape["points"]], size)
        assert overlap(drawn, prediction.mask) > 0.9


def test_yolo_pairs_images_and_labels(output, source, predictions):
    text = (output / "yolo/data.yaml").read_text()
    assert text.splitlines()[-2:] == [f'  {i}: "{name}"' for i, name in enumerate(CLASSES)]
    for name, prediction in predictions.items():
        image = output / f"yolo/images/{name}{Path(name).suffix}"
        assert image.resolve() == (source / name).resolve()
        label = str(image).replace("/images/", "/labels/").rsplit(".", 1)[0] + ".txt"
        height, width = prediction.mask.shape
        drawn = np.zeros((height, width), bool)
        for line in Path(label).read_text().splitlines():
            index, *values = line.split()
            assert CLASSES[int(index)] == prediction.label
            points = np.array(values, float).reshape(-1, 2)
            assert points.min() >= 0 and points.max() <= 1
            drawn |= even_odd([points * (width, height)], (height, width))
        assert overlap(drawn, prediction.mask) > 0.9


def test_csv_jsonl_and_parquet_say_the_same(output, predictions):
    lines = (output / "results.jsonl").read_text().splitlines()
    documents = [json.loads(line) for line in lines]
    assert [row["image"] for row in documents] == sorted(predictions)
    with (output / "results.csv").open(newline="") as stream:
        flat = list(csv.DictReader(stream))
    table = parquet.read_table(output / "results.parquet").to_pylist()
    for document, text, typed in zip(documents, flat, table, strict=True):
        prediction = predictions[document["image"]]
        assert document["label"] == text["label"] == typed["label"] == prediction.label
        assert document["boxes"] == json.loads(text["boxes"]) == typed["boxes"]
        assert [tuple(box) for box in document["boxes"]] == prediction.boxes
        assert document["review"] == typed["review"] == (text["review"] or None)
        for key in ("foreground_fraction", "foreground_entropy", "background_entropy"):
            assert document[key] == float(text[key]) == typed[key]
        for label in CLASSES:
            value = document["probabilities"][label]
            assert value == float(text[f"probabilities:{label}"])
            assert value == typed[f"probabilities:{label}"]
            assert value == pytest.approx(prediction.scores[label], abs=1e-6)


def test_instances(output, predictions):
    with (output / "instances.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    table = parquet.read_table(output / "instances.parquet").to_pylist()
    lines = (output / "instances.jsonl").read_text().splitlines()
    assert (
        len(rows)
        == len(table)
        == len(lines)
        == sum(len(p.components) for p in predictions.values())
    )
    for row in rows:
        part = predictions[row["image"]].components[int(row["instance"]) - 1]
        assert int(row["area"]) == part.area
        assert float(row["mean_probability"]) == pytest.approx(part.mean_probability, abs=1e-6)
        if row["image"] == "ring.tif":
            assert float(row["area_um2"]) == pytest.approx(part.area * 0.25)
            assert float(row["centroid_x_um"]) == pytest.approx(part.centroid[0] / 2, abs=1e-5)
        else:
            assert row["area_um2"] == ""


def test_an_image_without_foreground(model, tmp_path):
    """The tiny model always finds some; a threshold of one leaves none."""
    (tmp_path / "in").mkdir()
    Image.fromarray(draw(0)).save(tmp_path / "in/a.png")
    options = Options(save=EVERYTHING, instances=True, threshold=1.0)
    out = tmp_path / "out"
    run(open_model(model, options, out, device="cpu"), Sources([tmp_path / "in"]), out, options)
    row = json.loads((out / "results.jsonl").read_text())
    assert (row["foreground_fraction"], row["components"], row["boxes"]) == (0, 0, [])
    assert not pixels(out / "masks/a.png.png").any()
    assert json.loads((out / "coco.json").read_text())["annotations"] == []
    assert json.loads((out / "geojson/a.png.geojson").read_text())["features"] == []
    assert (out / "instances.csv").read_text().count("\n") == 1
    assert parquet.read_table(out / "instances.parquet").num_rows == 0
