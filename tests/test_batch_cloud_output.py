"""Outputs at URLs: fsspec's memory stands for an object store, `cloud_store` for other places."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cloud_store
import fsspec
import pytest
from batch_tools import DIFFERS, contents, fill
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import known_implementations
from large_tools import make_model, tissue, write_pyramid

from wsol_deploy.batch import cloud_journal
from wsol_deploy.batch.cloud import find
from wsol_deploy.batch.cloud_folder import CloudFolder
from wsol_deploy.batch.destination import destination
from wsol_deploy.batch.options import Options
from wsol_deploy.batch.run import open_model, run, run_on
from wsol_deploy.errors import WsolError

OUT = "memory://bucket/out"
SAVE = ("mask", "prob", "overlay", "geojson", "yolo", "coco", "csv", "jsonl")
COMMAND = [sys.executable, cloud_store.__file__, "predict"]
KILLS, IMAGES = 5, 120
MOMENTS = 3  # of a mask that is put, see cloud_store


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "m.onnx")


@pytest.fixture
def memory():
    """An empty object store."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()


@pytest.fixture
def pictures(tmp_path) -> Path:
    fill(tmp_path / "in", 12)
    (tmp_path / "in/bad.png").write_bytes(b"bad")
    return tmp_path / "in"


def go(model: Path, sources, output, options: Options = Options(), **how):
    predictor = open_model(model, options, output, device="cpu")
    found = find([str(source) for source in sources], output)
    return run(predictor, found, output, options, **how)


def far(memory, top: str = "/bucket/out") -> dict[str, bytes]:
    """What is at the URL, without what may differ from run to run."""
    found = {path.removeprefix(f"{top}/"): memory.cat_file(path) for path in memory.find(top)}
    return {
        name: content
        for name, content in found.items()
        if name not in DIFFERS and not name.startswith("journal/")
    }


def stopping_after(count: int) -> dict:
    stop, seen = threading.Event(), []

    def notice(entry) -> None:
        seen.append(entry)
        if len(seen) == count:
            stop.set()

    return {"stop": stop, "notice": notice}


# The same files


def test_an_object_store_gets_what_a_folder_gets(model, memory, pictures, tmp_path):
    write_pyramid(pictures / "large.tif", tissue(608, 816))
    options = Options(save=SAVE, instances=True, batch_size=2, tile_above=100_000)
    near = go(model, [pictures], tmp_path / "out", options)
    away = go(model, [pictures], OUT, options)
    assert near == away
    assert far(memory) == contents(tmp_path / "out")
    assert go(model, [pictures], OUT, options).new == 0
    assert far(memory) == contents(tmp_path / "out")


def test_a_place_that_is_no_object_store_gets_it_too(model, pictures, tmp_path):
    (tmp_path / "far/.partial").mkdir(parents=True)
    (tmp_path / "far/.partial/half").write_bytes(b"ha")
    go(model, [pictures], tmp_path / "out")
    go(model, [pictures], f"store://{tmp_path}/far")
    found = contents(tmp_path / "far")
    pieces = [name for name in found if name.startswith("journal/")]
    assert {name for name in found if name not in pieces} == set(contents(tmp_path / "out"))
    assert pieces == ["journal/000000.jsonl"]
    assert not (tmp_path / "far/.partial").exists()


def test_masks_among_the_images_are_no_images(model, memory, pictures):
    for path in pictures.rglob("*.png"):
        name = path.relative_to(pictures).as_posix()
        memory.pipe_file(f"/bucket/{name}", path.read_bytes())
    options = Options(save=("mask", "overlay", "csv"))
    first = go(model, ["memory://bucket"], OUT, options)
    again = go(model, ["memory://bucket"], OUT, options)
    assert (first.images, again.images, again.new) == (12, 12, 0)


def test_a_url_of_this_machine_is_a_folder(tmp_path):
    assert destination(f"file://{tmp_path}/out") == tmp_path / "out"
    assert destination("out") == Path("out")
    assert destination(OUT) == OUT


def test_arriving_files_go_there(model, memory, pictures):
    summary = go(model, [pictures], OUT, watch=True, **stopping_after(13))
    assert (summary.images, summary.failed) == (12, 1)
    assert len(memory.find("/bucket/out/masks")) == 12


# Going on


def test_a_stopped_run_goes_on_from_many_pieces(model, memory, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(cloud_journal, "PIECE_BYTES", 1000)
    monkeypatch.setattr(cloud_journal, "LINES_AHEAD", 0)
    fill(pictures / "more", 48)
    options = Options(save=("mask", "csv", "jsonl"))
    go(model, [pictures], tmp_path / "out", options)
    first = go(model, [pictures], OUT, options, **stopping_after(5))
    assert first.interrupted
    assert 5 <= first.images < 60
    second = go(model, [pictures], OUT, options)
    assert (second.images, second.new, second.failed) == (60, 60 - first.images, 1)
    assert far(memory) == contents(tmp_path / "out")
    pieces = [memory.cat_file(path) for path in memory.find("/bucket/out/journal")]
    assert len(pieces) > 3
    assert all(len(piece) >= 1000 for piece in pieces[:-1])
    lines = [json.loads(line) for line in b"".join(pieces).splitlines()]
    assert lines[0]["run"]["threshold"] == 0.5
    done = [line["image"] for line in lines[1:] if "failed" not in line]
    assert len(done) == len(set(done)) == 60


def test_what_was_removed_there_is_done_again(model, memory, pictures):
    go(model, [pictures], OUT)
    memory.rm("/bucket/out/masks/0001.png.png")
    assert go(model, [pictures], OUT).images == 12
    assert memory.exists("/bucket/out/masks/0001.png.png")


def test_a_changed_option_is_named_and_nothing_is_mixed(model, memory, pictures, tmp_path):
    go(model, [pictures], OUT, Options(save=("mask", "overlay")))
    before = far(memory)
    options = Options(threshold=0.7)
    with pytest.raises(WsolError) as caught:
        go(model, [pictures], OUT, options)
    assert str(caught.value).startswith(f"{OUT}: written by another run (")
    assert "threshold was 0.5, is 0.7" in str(caught.value)
    assert far(memory) == before
    go(model, [pictures], OUT, options, overwrite=True)
    go(model, [pictures], tmp_path / "fresh", options)
    assert far(memory) == contents(tmp_path / "fresh")


def test_overwriting_leaves_no_old_piece(model, memory, pictures, monkeypatch):
    with monkeypatch.context() as small:
        small.setattr(cloud_journal, "PIECE_BYTES", 300)
        small.setattr(cloud_journal, "LINES_AHEAD", 0)
        go(model, [pictures], OUT)
        assert len(memory.find("/bucket/out/journal")) > 5
    go(model, [pictures], OUT, Options(batch_size=2), overwrite=True)
    assert len(memory.find("/bucket/out/journal")) == 1
    assert go(model, [pictures], OUT, Options(batch_size=2)).new == 0


def masks(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (folder / "masks").rglob("*.png")}


def journalled(folder: Path) -> set[str]:
    pieces = sorted((folder / "journal").glob("*.jsonl"))
    lines = b"".join(piece.read_bytes() for piece in pieces).splitlines()
    return {json.loads(line)["image"] for line in lines[1:]}


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_files(model, tmp_path):
    fill(tmp_path / "in", IMAGES)
    options = Options(save=("mask", "csv", "jsonl"))
    go(model, [tmp_path / "in"], tmp_path / "out", options)
    place = tmp_path / "far"
    command = [*COMMAND, tmp_path / "in", "-o", f"store://{place}", "-m", model]
    command += ["--device", "cpu", *(word for name in options.save for word in ("--save", name))]
    chance = random.Random(0)
    for _ in range(KILLS):
        moment = chance.randrange(10, MOMENTS * IMAGES // (KILLS + 1))
        killed = subprocess.run(
            list(map(str, command)),
            env={**os.environ, "STORE_KILLS": str(moment)},
            stderr=subprocess.DEVNULL,
            timeout=60,
        )
        assert killed.returncode == -signal.SIGKILL
        assert all(path.read_bytes().endswith(b"IEND\xaeB`\x82") for path in masks(place))
        assert len(masks(place)) <= len(journalled(place)) + 8 + cloud_journal.LINES_AHEAD
    before = masks(place)
    known = {place / f"masks/{name}.png" for name in journalled(place)}
    assert known, "the kills came too early to mean anything"
    assert len(before) < IMAGES, "the kills came too late to mean anything"
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    redone = {path for path, stamp in before.items() if path.stat().st_mtime_ns != stamp}
    assert redone == set(before) - known
    found = contents(place)
    assert {name: found[name] for name in found if not name.startswith("journal/")}.keys() == (
        contents(tmp_path / "out").keys()
    )
    for name, content in contents(tmp_path / "out").items():
        assert name == "manifest.json" or found[name] == content


@pytest.mark.slow
def test_s3_killed_and_started_again(model, pictures, tmp_path, monkeypatch):
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    server.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anyone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
    system = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    fill(pictures / "more", 60)
    predict = [*map(str, (*COMMAND, pictures, "-m", model, "--device", "cpu", "-o"))]
    subprocess.run([*predict, tmp_path / "out"], stderr=subprocess.DEVNULL)
    try:
        nowhere = subprocess.run([*predict, "s3://nowhere/out"], capture_output=True)
        assert (nowhere.returncode, nowhere.stderr.count(b"\n")) == (1, 1)
        assert b"error: s3://nowhere/out: cannot be written (The specified" in nowhere.stderr
        system.mkdir("s3://bucket")
        running = subprocess.Popen([*predict, "s3://bucket/out"], stderr=subprocess.DEVNULL)
        while running.poll() is None and len(system.find("bucket/out/masks")) < 20:
            time.sleep(0.01)
        running.kill()
        assert running.wait() == -signal.SIGKILL
        done = subprocess.run([*predict, "s3://bucket/out"], capture_output=True)
        assert done.returncode == 3, done.stderr
        assert b"72 images, 72 of them new" not in done.stderr
        assert far(system, "bucket/out") == contents(tmp_path / "out")
    finally:
        server.stop()


@pytest.mark.slow
def test_workers_of_a_cluster_write_there(model, pictures, tmp_path):
    ray = pytest.importorskip("ray")
    from wsol_deploy.batch.ray_engine import RayEngine

    go(model, [pictures], tmp_path / "out")
    engine = RayEngine(model, workers=2, device="cpu")
    try:
        output = f"file://{tmp_path}/far"
        summary = run_on(engine, find([str(pictures)], None), output, Options())
    finally:
        ray.shutdown()
    assert (summary.images, summary.failed) == (12, 1)
    found = contents(tmp_path / "far")
    assert {name: found[name] for name in contents(tmp_path / "out")} == contents(tmp_path / "out")
    assert not (tmp_path / "far/.partial").exists()


# What cannot be


@pytest.mark.parametrize(
    ("output", "words", "code", "told"),
    [
        ("shut://bucket/out", (), 1, "shut://bucket/out: cannot be written (Access Denied); check"),
        ("nonsense://bucket", (), 1, "nonsense://bucket: cannot be reached (Protocol not known"),
        ("absent://bucket", (), 1, "absent://bucket: cannot be reached (Install absent_package"),
        (OUT, ("--save", "labelme"), 2, "--save labelme links to images"),
    ],
)
def test_a_place_that_will_not_do_is_told_before_any_work(
    model, pictures, wsol, memory, monkeypatch, output, words, code, told
):
    absent = {"class": "absent_package.System", "err": "Install absent_package to go there"}
    monkeypatch.setitem(known_implementations, "absent", absent)

    def never(*arguments):
        raise AssertionError("an image was predicted")

    monkeypatch.setattr("wsol_deploy.batch.stages.Stages.decode", never)
    status, _, err = wsol("predict", pictures, "-o", output, "-m", model, *words)
    assert status == code
    assert err.startswith(f"error: {told}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("part", ["masks/sub/0003", "journal/"])
def test_a_place_that_fails_later_is_named_and_the_run_goes_on_from_there(
    model, memory, pictures, tmp_path, monkeypatch, part
):
    put, count = MemoryFileSystem.pipe_file, []

    def pipe_file(self, path, value, **how):
        if part in path:
            count.append(path)
            if part != "journal/" or len(count) > 3:
                raise ConnectionResetError(104, "Connection reset by peer")
        put(self, path, value, **how)

    with monkeypatch.context() as broken:
        broken.setattr(MemoryFileSystem, "pipe_file", pipe_file)
        with pytest.raises(OSError, match=r"cannot be written \(Connection reset") as caught:
            go(model, [pictures], OUT)
    assert part in caught.value.filename
    assert not memory.exists("/bucket/out/manifest.json") or part == "journal/"
    go(model, [pictures], OUT)
    go(model, [pictures], tmp_path / "out")
    assert far(memory) == contents(tmp_path / "out")


def test_names_that_the_place_does_not_take_fail_alone(model, memory, pictures, monkeypatch):
    put = MemoryFileSystem.pipe_file

    def pipe_file(self, path, value, **how):
        if "0001" in path:
            raise OSError(36, "File name too long")
        put(self, path, value, **how)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", pipe_file)
    assert go(model, [pictures], OUT).failed == 2
    told = memory.cat_file("/bucket/out/failed.csv").decode()
    assert "0001.png,its output cannot be written: File name too long" in told


def test_a_folder_tells_what_is_in_it(memory):
    with CloudFolder("memory://bucket/a/") as folder:
        assert folder.names() == []
        folder.write("x/b.txt", b"b")
        assert not folder.has(["x/c.txt"])
        with folder.open("x/c.txt") as stream:
            stream.write("c")
        assert folder.has(["x/b.txt", "x/c.txt"])
        folder.remove("x/b.txt")
        folder.remove("x/b.txt")
        assert not folder.has(["x/b.txt"])
        assert folder.names("x") == ["x/c.txt"]
        assert folder.read("x/c.txt") == b"c"
        with pytest.raises(OSError, match="cannot be read"):
            folder.read("x/b.txt")
    assert not folder.root.exists()
