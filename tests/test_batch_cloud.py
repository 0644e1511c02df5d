"""Images at URLs: fsspec's memory stands for a cloud."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest
from batch_tools import contents, fill, predict
from large_tools import make_model, tissue, write_pyramid

from wsol_deploy.batch.cloud import CloudSources, find
from wsol_deploy.batch.options import Options
from wsol_deploy.batch.run import open_model, run
from wsol_deploy.batch.sources import Sources
from wsol_deploy.errors import DataError


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "m.onnx")


@pytest.fixture
def cloud(tmp_path):
    """The same images here and in the cloud: a bad one, and a large one, among them."""
    here = tmp_path / "in"
    fill(here, 7)
    (here / "bad.png").write_bytes(b"bad")
    (here / "notes.txt").write_text("no image")
    write_pyramid(here / "large.tif", tissue(608, 816))
    system = fsspec.filesystem("memory")
    for path in here.rglob("*"):
        if path.is_file():
            system.pipe_file(f"/bucket/in/{path.relative_to(here).as_posix()}", path.read_bytes())
    yield here
    system.rm("/bucket", recursive=True)


def test_a_cloud_gives_what_this_machine_gives(cloud, model, tmp_path):
    options = Options(save=("mask", "jsonl", "geojson", "csv"), batch_size=2, tile_above=100_000)
    for name, sources in (
        ("near", Sources([cloud])),
        ("far", CloudSources(["memory://bucket/in"])),
    ):
        out = tmp_path / name
        summary = run(open_model(model, options, out, device="cpu"), sources, out, options)
        assert (summary.images, summary.failed) == (8, 1)
    near, far = contents(tmp_path / "near"), contents(tmp_path / "far")
    manifests = [json.loads(found.pop("manifest.json")) for found in (near, far)]
    assert near == far
    assert manifests[1]["run"]["source"] == "memory:///bucket/in"
    assert not list((tmp_path / "far").glob(".partial/*"))


@pytest.mark.parametrize(
    ("urls", "names"),
    [
        (["memory://bucket/in/sub"], ["0000.png", "0003.png", "0006.png"]),
        (["memory://bucket/in/0001.png"], ["0001.png"]),
        (["memory://bucket/in/sub/*3.png", "memory://bucket/in/0001.png"],
         ["0001.png", "sub/0003.png"]),
        (["memory://bucket/in", "memory://bucket/in/0001.png"], None),
    ],
)  # fmt: skip
def test_files_folders_and_globs(cloud, urls, names):
    found = [item.name for item in find(urls, None)]
    assert found == (names or [item.name for item in Sources([cloud])])


@pytest.mark.parametrize(
    ("urls", "told"),
    [
        (["memory://nowhere"], "no such file or folder"),
        (["memory://bucket/in/*.jpg"], "no file matches"),
        (["memory://bucket/in", "file:///tmp"], "several file systems"),
        (["memory://bucket/in", "/tmp"], "here and in a cloud"),
        (["nonsense://bucket"], "cannot be reached"),
    ],
)
def test_urls_that_mean_nothing(cloud, urls, told):
    with pytest.raises(DataError, match=told):
        find(urls, None)


def test_the_command_takes_urls_and_says_what_it_cannot(cloud, model, tmp_path):
    url = f"file://{Path(cloud) / 'sub'}"
    predict(url, "-o", tmp_path / "out", "-m", model)
    assert len(list((tmp_path / "out/masks").iterdir())) == 3
    told = predict(url, "-o", tmp_path / "o", "-m", model, "--save", "yolo", check=2).stderr
    assert b"--save yolo needs the images on this machine" in told
