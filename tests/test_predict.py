"""`wsol predict` as people run it: through the real entry point."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import time

import numpy as np
import pytest
from artifacts import make_artifact
from batch_tools import COMMAND, draw, fill, predict
from PIL import Image

from wsol_deploy import load


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_artifact(tmp_path_factory.mktemp("model") / "model.onnx")


def rows(folder) -> dict[str, dict]:
    lines = (folder / "results.jsonl").read_text().splitlines()
    return {row["image"]: row for row in map(json.loads, lines)}


def test_a_folder_is_mirrored(model, tmp_path):
    paths = fill(tmp_path / "in", 7)
    done = predict(tmp_path / "in", "-o", tmp_path / "out", "-m", model)
    assert done.stdout == b""
    assert "7 images" in done.stderr.decode()
    assert f"next: wsol demo -m {model}\n" in done.stderr.decode()
    predictor = load(model, device="cpu")
    for path in paths:
        name = path.relative_to(tmp_path / "in").as_posix()
        with Image.open(tmp_path / "out/masks" / f"{name}.png") as written:
            assert written.mode == "L"
            mask = np.asarray(written)
        expected = predictor.predict(path)
        assert set(np.unique(mask)) <= {0, 255}
        assert np.array_equal(mask > 0, expected.mask)
        row = rows(tmp_path / "out")[name]
        assert row["label"] == expected.label
        assert row["probabilities"] == pytest.approx(expected.scores, abs=1e-6)
        assert row["foreground_fraction"] == pytest.approx(expected.foreground_fraction, abs=1e-6)
    assert len(list((tmp_path / "out").rglob("*.png"))) == 7


def test_names_cannot_collide(model, tmp_path):
    place = tmp_path / "in"
    for name in ("a.png", "a.jpg", "a/a.png", "a.png.png", "b/a.png"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(len(name))).save(place / name)
    predict(place, "-o", tmp_path / "out", "-m", model)
    assert sorted(rows(tmp_path / "out")) == ["a.jpg", "a.png", "a.png.png", "a/a.png", "b/a.png"]
    for name in rows(tmp_path / "out"):
        assert (tmp_path / "out/masks" / f"{name}.png").is_file()


def test_files_globs_and_folders_together(model, tmp_path):
    fill(tmp_path / "one", 4)
    fill(tmp_path / "two", 3)
    single = tmp_path / "two" / "no_suffix"
    Image.fromarray(draw(1)).save(single, "PNG")
    sources = [tmp_path / "one", tmp_path / "one/0001.png", f"{tmp_path}/two/*.png", single]
    predict(*sources, "-o", tmp_path / "out", "-m", model)
    found = rows(tmp_path / "out")
    assert {name.split("/")[0] for name in found} == {"one", "two"}
    assert "two/no_suffix" in found
    assert len(found) == 4 + 2 + 1


def test_a_corrupt_image_costs_one_line(model, tmp_path):
    fill(tmp_path / "in", 3)
    (tmp_path / "in/bad.png").write_bytes(b"nothing")
    (tmp_path / "in/empty.jpg").write_bytes(b"")
    done = predict(tmp_path / "in", "-o", tmp_path / "out", "-m", model, check=3)
    lines = done.stderr.decode().splitlines()
    assert sum("bad.png" in line for line in lines) == 1
    with (tmp_path / "out/failed.csv").open() as stream:
        failed = {row["image"]: row["reason"] for row in csv.DictReader(stream)}
    assert failed["empty.jpg"] == "the file is empty"
    assert "not an image" in failed["bad.png"]
    assert len(rows(tmp_path / "out")) == 3
    Image.fromarray(draw(0)).save(tmp_path / "in/bad.png")
    (tmp_path / "in/empty.jpg").unlink()
    predict(tmp_path / "in", "-o", tmp_path / "out", "-m", model)
    assert not (tmp_path / "out/failed.csv").exists()
    assert len(rows(tmp_path / "out")) == 4


def test_nothing_comes_next_where_nothing_was_done(model, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    done = predict(bad, "-o", tmp_path / "out", "-m", model, check=3)
    told = done.stderr.decode()
    assert "1 image failed, 0 done" in told
    assert "next:" not in told


def test_what_is_done_is_skipped_unless_overwritten(model, tmp_path):
    fill(tmp_path / "in", 3)
    out = tmp_path / "out"
    arguments = (tmp_path / "in", "-o", out, "-m", model)
    predict(*arguments)
    before = {path: path.stat().st_mtime_ns for path in (out / "masks").rglob("*.png")}
    Image.fromarray(draw(9)).save(tmp_path / "in/new.png")
    (out / "masks/0001.png.png").unlink()
    predict(*arguments)
    for path, time_before in before.items():
        is_redone = path.name == "0001.png.png"
        assert (path.stat().st_mtime_ns != time_before) == is_redone
    assert len(rows(out)) == 4
    (tmp_path / "in/new.png").unlink()
    predict(*arguments, "--overwrite")
    assert len(rows(out)) == 3
    assert not (out / "masks/new.png.png").exists()


def test_a_changed_model_is_named(model, tmp_path):
    fill(tmp_path / "in", 1)
    predict(tmp_path / "in", "-o", tmp_path / "out", "-m", model)
    other = make_artifact(tmp_path / "other.onnx", threshold=0.4)
    done = predict(tmp_path / "in", "-o", tmp_path / "out", "-m", other, check=1)
    assert b"model was " in done.stderr and b"threshold was 0.5, is 0.4" in done.stderr


def test_standard_input_to_standard_output(model, tmp_path):
    (path,) = fill(tmp_path, 1)
    done = predict("-", "-m", model, input=path.read_bytes())
    (tmp_path / "mask.png").write_bytes(done.stdout)
    with Image.open(tmp_path / "mask.png") as mask:
        expected = load(model, device="cpu").predict(path).mask
        assert np.array_equal(np.asarray(mask) > 0, expected)
    assert b"the file is empty" in predict("-", "-m", model, input=b"", check=1).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["missing.png", "-o", "out"], 1, "missing.png: no such file or folder"),
        (["*.nothing", "-o", "out"], 1, "*.nothing: no file matches"),
        (["empty", "-o", "out"], 1, "no image in it"),
        (["empty"], 2, "--output is missing"),
        (["-", "empty", "-o", "out"], 2, "give no other source"),
        (["-", "-o", "out"], 2, "- writes one mask to standard output"),
        (
            ["-", "--save", "csv", "--level", "1"],
            2,
            "leave --save, --level out",
        ),
        (["in", "-o", "out", "--save", "png"], 2, "--save png: no such output; known: mask"),
        (["in", "-o", "out", "--device", "gpu"], 2, "known: auto, cpu"),
        (["in", "-o", "out", "--threshold", "1.5"], 2, "threshold"),
        (["in", "-o", "in/0001.png/out"], 1, "Not a directory"),
    ],
)
def test_mistakes_get_one_line_and_their_code(model, tmp_path, arguments, code, told):
    (tmp_path / "empty").mkdir()
    fill(tmp_path / "in", 2)
    done = predict(*arguments, "-m", model, cwd=tmp_path, check=code)
    assert told in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_nothing_half_written(model, tmp_path):
    fill(tmp_path / "in", 4, height=200, width=300)
    arguments = (tmp_path / "in", "-o", tmp_path / "out", "-m", model, "--save", "prob")

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    done = predict(*arguments, check=1, preexec_fn=small_files_only)
    assert "File too large" in done.stderr.decode()
    assert done.stderr.decode().strip().count("\n") == 0
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == [
        "journal.jsonl"
    ]
    predict(*arguments)
    assert len(list((tmp_path / "out/probabilities").rglob("*.png"))) == 4


def test_two_runs_never_write_to_one_folder(model, tmp_path):
    fill(tmp_path / "in", 2)
    out = tmp_path / "out"
    watching = subprocess.Popen(
        [*COMMAND, str(tmp_path / "in"), "-o", str(out), "-m", str(model), "--watch"],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: (out / "journal.jsonl").exists() and (out / "masks").exists())
        done = predict(tmp_path / "in", "-o", out, "-m", model, check=1)
        assert "another wsol predict is writing to it" in done.stderr.decode()
    finally:
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 130


def test_watching_takes_only_whole_files(model, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    fill(source, 2)
    command = [*COMMAND, str(source), "-o", str(out), "-m", str(model), "--watch"]
    watching = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        wait_for(lambda: len(list(out.rglob("*.png"))) == 2)
        Image.fromarray(draw(5, 600, 800)).save(tmp_path / "whole.bmp")
        content = (tmp_path / "whole.bmp").read_bytes()
        with (source / "late.bmp").open("wb") as stream:
            for at in range(0, len(content), len(content) // 6):
                stream.write(content[at : at + len(content) // 6])
                stream.flush()
                assert not (out / "masks/late.bmp.png").exists()
                time.sleep(0.4)
        wait_for(lambda: (out / "masks/late.bmp.png").exists())
        wait_for(lambda: len(rows(out)) == 3 if (out / "results.jsonl").exists() else False)
    finally:
        watching.send_signal(signal.SIGINT)
    _, messages = watching.communicate(timeout=60)
    assert watching.returncode == 130
    assert b"failed" not in messages.replace(b"0 failed", b"")
    assert len(rows(out)) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_finishes_what_is_in_flight(model, tmp_path, number):
    fill(tmp_path / "in", 400)
    out = tmp_path / "out"
    arguments = [tmp_path / "in", "-o", out, "-m", model]
    running = subprocess.Popen([*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE)
    wait_for(lambda: (out / "masks/sub/0006.png.png").exists())
    running.send_signal(number)
    _, messages = running.communicate(timeout=60)
    assert running.returncode == 130
    assert b"The same command goes on." in messages
    masks = [path for path in out.rglob("*.png") if path.parent.name != ".partial"]
    assert 0 < len(masks) < 400
    assert len(rows(out)) == len(masks)
    assert not (out / ".partial").exists()
    assert json.loads((out / "manifest.json").read_text())["complete"] is False
    predict(*arguments)
    assert len(rows(out)) == 400


def wait_for(what, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


@pytest.mark.skipif(os.name == "nt", reason="names of bytes")
def test_odd_names(model, tmp_path):
    names = ["with space.png", "красный.png", "a%20b#c?.png", "new\nline.png", "[glob].png"]
    odd = os.fsencode(tmp_path) + b"/in/\xff\xfe.png"
    (tmp_path / "in").mkdir()
    for name in [*names, os.fsdecode(odd)]:
        Image.fromarray(draw(1)).save(tmp_path / "in" / name)
    long = tmp_path / "in" / ("x" * 250 + ".png")
    Image.fromarray(draw(1)).save(long)
    formats = ["--save", "mask", "--save", "csv", "--save", "jsonl", "--save", "parquet"]
    formats += ["--save", "geojson", "--save", "coco"]
    out = tmp_path / "out"
    done = predict(tmp_path / "in", "-o", out, "-m", model, *formats, check=3)
    assert b"File name too long" in done.stderr
    assert len(list((out / "masks").iterdir())) == 6
    assert set(names) < set(rows(out))
    with (out / "results.csv").open(newline="", errors="surrogateescape") as stream:
        assert len(list(csv.DictReader(stream))) == 6


def test_classes_of_any_name(tmp_path):
    classes = ["gut/böse: 50 %", "красный панда", '"quoted", comma']
    model = make_artifact(tmp_path / "m.onnx", classes=classes)
    fill(tmp_path / "in", 2)
    save = [word for name in ("heatmap", "csv", "yolo", "coco") for word in ("--save", name)]
    predict(tmp_path / "in", "-o", tmp_path / "out", "-m", model, *save)
    heatmaps = sorted((tmp_path / "out/heatmaps/0001.png").iterdir())
    assert [path.name[0] for path in heatmaps] == ["0", "1", "2"]
    with (tmp_path / "out/results.csv").open(newline="") as stream:
        assert {f"probabilities:{name}" for name in classes} < set(next(csv.DictReader(stream)))


def test_a_model_without_posteriors(tmp_path):
    model = make_artifact(tmp_path / "m.onnx", outputs=("mask",))
    fill(tmp_path / "in", 2)
    save = [w for name in ("mask", "jsonl", "coco", "geojson", "yolo") for w in ("--save", name)]
    predict(tmp_path / "in", "-o", tmp_path / "out", "-m", model, *save)
    assert {row["label"] for row in rows(tmp_path / "out").values()} == {None}
    coco = json.loads((tmp_path / "out/coco.json").read_text())
    assert [category["name"] for category in coco["categories"]] == ["foreground"]


def test_the_output_may_lie_inside_the_source(model, tmp_path):
    fill(tmp_path, 3)
    for _ in range(2):
        predict(tmp_path, "-o", tmp_path, "-m", model)
        assert len(rows(tmp_path)) == 3
    predict(tmp_path, "-o", tmp_path / "out", "-m", model)


def test_what_an_earlier_run_wrote_is_no_source(model, tmp_path):
    fill(tmp_path / "in", 3)
    more = ("-m", model, "--save", "mask", "--save", "overlay", "--save", "jsonl")
    predict(tmp_path / "in", "-o", tmp_path / "in/first", *more)
    predict(tmp_path / "in", "-o", tmp_path / "in", *more)
    predict(tmp_path / "in", "-o", tmp_path / "out", *more)
    assert sorted(rows(tmp_path / "out")) == ["0001.png", "0002.png", "sub/0000.png"]
    named = tmp_path / "in/first/masks"
    predict(named, "-o", tmp_path / "named", *more)
    assert len(rows(tmp_path / "named")) == 3


def test_help_has_an_example():
    assert b"wsol predict photos/ -o" in predict("--help").stdout
