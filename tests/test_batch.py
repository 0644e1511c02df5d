"""The batch room in one process: sources, plan, journal, bytes that depend on nothing else."""

from __future__ import annotations

import csv
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from artifacts import make_artifact
from batch_tools import contents, fill, go
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wsol_deploy.batch import pools
from wsol_deploy.batch.folder import Folder
from wsol_deploy.batch.journal import Journal
from wsol_deploy.batch.options import Options
from wsol_deploy.batch.plan import plan
from wsol_deploy.batch.run import open_model
from wsol_deploy.batch.sources import Item, Sources
from wsol_deploy.card import SizePolicy
from wsol_deploy.errors import DataError, WsolError
from wsol_deploy.runtime.postprocess import PostProcess


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_artifact(tmp_path_factory.mktemp("model") / "model.onnx")


def names(sources: Sources) -> list[str]:
    return [item.name for item in sources]


# Sources


def test_every_image_once_and_in_order(tmp_path):
    fill(tmp_path / "a", 5)
    fill(tmp_path / "b", 2)
    both = Sources(
        [tmp_path / "b", tmp_path / "a", tmp_path / "a" / "sub", tmp_path / "a/0001.png"]
    )
    assert names(both) == [
        "a/0001.png", "a/0002.png", "a/0004.png", "a/sub/0000.png", "a/sub/0003.png",
        "b/0001.png", "b/sub/0000.png",
    ]  # fmt: skip
    assert both.base == tmp_path
    assert names(Sources([tmp_path / "a" / "sub"])) == ["0000.png", "0003.png"]


def test_links_in_a_circle_end(tmp_path):
    fill(tmp_path / "a", 1)
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert names(Sources([tmp_path])) == ["a/sub/0000.png"]


def test_a_linked_folder_is_followed(tmp_path):
    fill(tmp_path / "real", 1)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "real")
    assert names(Sources([tmp_path / "set"])) == ["link/sub/0000.png"]


def test_hidden_and_foreign_files_are_left_out_unless_named(tmp_path):
    for name in (".hidden.png", "notes.txt", ".cache/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert names(Sources([tmp_path])) == []
    assert names(Sources([tmp_path / "notes.txt"])) == ["notes.txt"]


# The plan


def items_of_sizes(folder: Path, sizes: list[tuple[int, int]]) -> list[Item]:
    items = []
    for number, (height, width) in enumerate(sizes):
        path = folder / f"{number:03d}.png"
        Image.new("RGB", (width, height)).save(path)
        items.append(Item(path, path.name))
    return items


def test_batches_hold_one_size_and_every_image(tmp_path):
    sizes = [(40, 50), (60, 50), (40, 50), (40, 50), (60, 50), (40, 50), (40, 50)]
    items = items_of_sizes(tmp_path, sizes)
    batches = list(plan(items, 2, SizePolicy(), lambda item: False))
    assert sorted(item.name for batch in batches for item in batch) == [i.name for i in items]
    for batch in batches:
        assert len(batch) <= 2
        assert len({sizes[int(item.name[:3])] for item in batch}) == 1
    by_policy = plan(items, 9, SizePolicy(mode="exact", height=64, width=64), lambda item: False)
    assert len(list(by_policy)) == 1


@given(st.lists(st.sampled_from([40, 50, 60]), max_size=30), st.integers(1, 4), st.integers(0, 999))
@settings(max_examples=25)
def test_what_is_done_never_changes_a_batch(tmp_path_factory, widths, size, seed):
    items = items_of_sizes(tmp_path_factory.mktemp("p"), [(40, width) for width in widths])
    done = {item.name for item in items if np.random.default_rng(seed).random() < 0.5}
    everything = list(plan(items, size, SizePolicy(), lambda item: False))
    rest = list(plan(items, size, SizePolicy(), lambda item: item.name in done))
    assert all(batch in everything for batch in rest)
    assert {i.name for i in items} - done <= {item.name for batch in rest for item in batch}


def test_unreadable_headers_are_planned_too(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"bad")
    items = [*items_of_sizes(tmp_path, [(40, 40)]), Item(tmp_path / "bad.png", "bad.png")]
    assert len(list(plan(items, 4, SizePolicy(), lambda item: False))) == 2


# The journal


def test_a_journal_forgets_a_torn_line_and_failures(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path, {"a": 1}) as journal:
        journal.add({"image": "x", "files": ["f"]})
        journal.add({"image": "bad", "failed": "why"})
        assert (len(journal), journal.failures) == (1, 1)
    with path.open("ab") as stream:
        stream.write(b'{"image": "torn", "fi')
    with Journal(path, {"a": 1}) as journal:
        assert "x" in journal
        assert "torn" not in journal and "bad" not in journal
        assert journal.files("x") == ["f"]
        journal.add({"image": "torn", "files": []})
        assert [entry["image"] for entry in journal.entries()] == ["torn", "x"]
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


@given(st.integers(0, 400))
@settings(max_examples=40)
def test_a_journal_cut_anywhere_goes_on(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("j") / "journal.jsonl"
    with Journal(path, {"a": 1}) as journal:
        for number in range(8):
            journal.add({"image": str(number), "files": []})
    path.write_bytes(path.read_bytes()[:cut])
    with Journal(path, {"a": 1}) as journal:
        kept = len(journal)
        journal.add({"image": "new", "files": []})
    with Journal(path, {"a": 1}) as journal:
        assert len(journal) == kept + 1
        assert all(str(number) in journal for number in range(kept))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (Options(threshold=0.7), "threshold was 0.5, is 0.7"),
        (Options(save=("mask", "prob")), "save was ['jsonl', 'mask'], is ['mask', 'prob']"),
        (Options(post=PostProcess(min_area=9)), "min_area was 0, is 9"),
        (Options(post=PostProcess(fill_holes=True)), "fill_holes was False, is True"),
        (Options(instances=True), "instances was False, is True"),
        (Options(batch_size=3), "batch_size was 1, is 3"),
    ],
)
def test_a_changed_option_is_named_and_nothing_is_mixed(model, tmp_path, options, told):
    fill(tmp_path / "in", 2)
    go(model, tmp_path / "in", tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(WsolError) as caught:
        go(model, tmp_path / "in", tmp_path / "out", options)
    assert told in str(caught.value) and "--overwrite" in str(caught.value)
    assert contents(tmp_path / "out") == before
    go(model, tmp_path / "in", tmp_path / "out", options, overwrite=True)
    go(model, tmp_path / "in", tmp_path / "fresh", options)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_another_source_folder_is_named(model, tmp_path):
    fill(tmp_path / "in", 4)
    go(model, tmp_path / "in/sub", tmp_path / "out")
    with pytest.raises(WsolError, match="source was"):
        go(model, tmp_path / "in", tmp_path / "out")


# What the bytes depend on


def test_bytes_depend_on_images_and_options_only(model, tmp_path, monkeypatch):
    """Not on the number of workers, on what was done before, or on the order of arguments."""
    fill(tmp_path / "in", 20)
    fill(tmp_path / "in" / "large", 5, height=90, width=70)
    options = Options(save=("mask", "prob", "jsonl", "csv", "coco"), instances=True, batch_size=4)
    go(model, tmp_path / "in", tmp_path / "one", options)
    monkeypatch.setattr(pools, "default_workers", lambda device: 7)
    go(
        model,
        [tmp_path / "in/large", tmp_path / "in", tmp_path / "in/sub"],
        tmp_path / "two",
        options,
    )
    go(model, tmp_path / "in", tmp_path / "three", options, **stopping_after(6))
    go(model, tmp_path / "in", tmp_path / "three", options)
    assert contents(tmp_path / "one") == contents(tmp_path / "two") == contents(tmp_path / "three")


def stopping_after(count: int) -> dict:
    """Arguments of `run` that stop it once `count` images are done."""
    stop, seen = threading.Event(), []

    def notice(entry) -> None:
        seen.append(entry)
        if len(seen) == count:
            stop.set()

    return {"stop": stop, "notice": notice}


def test_a_stopped_run_says_so_and_goes_on(model, tmp_path):
    fill(tmp_path / "in", 60)
    first = go(model, tmp_path / "in", tmp_path / "out", **stopping_after(5))
    assert first.interrupted and 5 <= first.images < 60
    second = go(model, tmp_path / "in", tmp_path / "out")
    assert (second.images, second.new, second.interrupted) == (60, 60 - first.images, False)


def test_corrupt_images_do_not_stop_a_batch(model, tmp_path):
    fill(tmp_path / "in", 9)
    for name in ("0001.png", "sub/0003.png"):
        content = (tmp_path / "in" / name).read_bytes()
        (tmp_path / "in" / name).write_bytes(content[: len(content) // 2])
    summary = go(model, tmp_path / "in", tmp_path / "out", Options(batch_size=4))
    assert (summary.images, summary.failed) == (7, 2)


def test_masks_alone_ask_the_graph_for_masks_alone(model, tmp_path):
    assert open_model(model, Options(save=("mask",)), tmp_path).outputs == ("mask",)
    assert "background_probs" in open_model(model, Options(), tmp_path).outputs
    assert "class_maps" in open_model(model, Options(save=("heatmap",)), tmp_path).outputs


def test_no_image_is_an_error_and_leaves_no_folder(model, tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="no image in it"):
        go(model, tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_error_in_a_stage_is_not_swallowed(model, tmp_path, monkeypatch):
    fill(tmp_path / "in", 30)

    def full(self, name, content) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Folder, "write", full)
    with pytest.raises(OSError, match="No space left"):
        go(model, tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out/.partial").exists()


@pytest.mark.parametrize(("save", "judged"), [(("mask",), False), (("mask", "jsonl"), True)])
def test_what_was_not_judged_is_not_said_to_be_fine(model, tmp_path, save, judged):
    fill(tmp_path / "in", 2)
    summary = go(model, tmp_path / "in", tmp_path / "out", Options(save=save))
    counts = json.loads((tmp_path / "out/manifest.json").read_text())["counts"]
    assert counts["to_review"] == summary.to_review
    assert (summary.to_review is not None) == judged


def test_the_manifest_records_the_run(model, tmp_path):
    fill(tmp_path / "in", 3)
    (tmp_path / "in/bad.png").write_bytes(b"")
    go(model, tmp_path / "in", tmp_path / "out", Options(post=PostProcess(smooth=1.5)))
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["counts"]["images"] == 3
    assert manifest["counts"]["failed"] == 1
    assert manifest["run"]["smooth"] == 1.5
    assert len(manifest["run"]["model"]) == 64
    assert manifest["card"]["classes"] == ["benign", "malignant"]
    assert {"python", "numpy", "wsol-deploy"} <= set(manifest["versions"])
    with (tmp_path / "out/timings.csv").open() as stream:
        timings = list(csv.DictReader(stream))
    assert len(timings) == 3
    assert all(float(row["predict"]) > 0 for row in timings)


# The folder


def test_files_appear_whole_or_not_at_all(tmp_path):
    folder = Folder(tmp_path / "out")
    with pytest.raises(RuntimeError), folder.open("table.csv") as stream:
        stream.write("half")
        raise RuntimeError
    assert not (tmp_path / "out/table.csv").exists()
    folder.write("a/b.bin", b"whole")
    assert (tmp_path / "out/a/b.bin").read_bytes() == b"whole"
    folder.clear_aside()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]
