"""Two workers of a Ray cluster write the bytes that one machine writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from batch_tools import contents, fill, predict
from large_tools import make_model, tissue, write_pyramid

from wsol_deploy.batch.cloud import CloudSources
from wsol_deploy.batch.options import Options
from wsol_deploy.batch.run import open_model, run, run_on
from wsol_deploy.batch.sources import Sources

ray = pytest.importorskip("ray")

SAVE = ("mask", "prob", "overlay", "geojson", "labelme", "yolo", "coco", "csv", "jsonl")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "m.onnx")


@pytest.fixture(scope="module")
def engine(model):
    from wsol_deploy.batch.ray_engine import RayEngine

    yield RayEngine(model, workers=2, device="cpu")
    ray.shutdown()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures") / "in"
    fill(folder, 30)
    (folder / "bad.png").write_bytes(b"bad")
    write_pyramid(folder / "large.tif", tissue(608, 816))
    return folder


def test_two_workers_give_the_same_bytes(engine, model, pictures, tmp_path):
    options = Options(save=SAVE, instances=True, batch_size=2, tile_above=100_000)
    near, far = tmp_path / "near", tmp_path / "far"
    run(open_model(model, options, near, device="cpu"), Sources([pictures]), near, options)
    seen: list[str] = []

    def notice(entry) -> None:
        seen.append(entry["image"])

    summary = run_on(engine, Sources([pictures]), far, options, notice=notice)
    assert (summary.images, summary.failed, len(seen)) == (31, 1, 32)
    assert contents(far) == contents(near)
    again = run_on(engine, Sources([pictures]), far, options)
    assert again.new == 0
    assert contents(far) == contents(near)


def test_a_run_begun_here_ends_there(engine, model, pictures, tmp_path):
    """The journal is the same: what one engine left, the other finishes; and URLs will do."""
    options = Options()
    sources = CloudSources([f"file://{pictures}"])
    out = tmp_path / "out"
    predictor = open_model(model, options, out, device="cpu")
    run(predictor, sources, out, options)
    before = contents(out)
    journal = out / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:9]))
    summary = run_on(engine, sources, out, options)
    assert 20 <= summary.new < 31
    assert contents(out) == before


def test_the_command_refuses_what_goes_not_together(model, pictures, tmp_path):
    for words in (("--engine", "spark"), ("--workers", 2), ("--engine", "ray", "--watch")):
        told = predict(pictures, "-o", tmp_path / "o", "-m", model, *words, check=2).stderr
        assert words[0].encode() in told
