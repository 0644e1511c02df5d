"""Images that changed, and arrive while the batch command watches: what is predicted again."""

from __future__ import annotations

import json
import threading

import pytest
from artifacts import make_artifact
from batch_tools import fill, go
from PIL import Image

from wsol_deploy.batch.options import Options
from wsol_deploy.batch.sources import Sources
from wsol_deploy.batch.watch import Settled


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_artifact(tmp_path_factory.mktemp("model") / "model.onnx")


def test_a_file_is_given_once_it_rests(tmp_path):
    path = tmp_path / "a.png"
    done: set[str] = set()
    settled = Settled(Sources([tmp_path]), lambda item: item.name in done)

    def given_now() -> list[str]:
        return [item.name for item in settled]

    assert given_now() == []
    path.write_bytes(b"1")
    assert given_now() == []
    path.write_bytes(b"12")
    assert given_now() == []
    assert given_now() == ["a.png"]
    assert given_now() == []
    path.write_bytes(b"123")
    assert given_now() == []
    assert given_now() == ["a.png"]
    done.add("a.png")
    path.write_bytes(b"1234")
    assert given_now() == given_now() == []


def test_a_changed_image_is_predicted_anew(model, tmp_path):
    (path,) = fill(tmp_path / "in", 1)
    out, options = tmp_path / "out", Options(save=("mask",))
    assert [go(model, [tmp_path / "in"], out, options).new for _ in range(2)] == [1, 0]
    Image.new("RGB", (80, 48), "white").save(path)
    assert go(model, [tmp_path / "in"], out, options).new == 1
    (mask,) = (out / "masks").rglob("*.png")
    assert Image.open(mask).size == (80, 48)


def test_a_journal_of_before_versions_is_taken_as_it_is(model, tmp_path):
    fill(tmp_path / "in", 2)
    out, options = tmp_path / "out", Options(save=("mask",))
    go(model, [tmp_path / "in"], out, options)
    path = out / "journal.jsonl"
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    for entry in entries:
        entry.pop("version", None)
    path.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    assert go(model, [tmp_path / "in"], out, options).new == 0


def test_an_image_that_became_unreadable_leaves_no_mask(model, tmp_path):
    path, _ = fill(tmp_path / "in", 2)
    out, options = tmp_path / "out", Options(save=("mask",))
    go(model, [tmp_path / "in"], out, options)
    path.write_bytes(b"broken")
    summary = go(model, [tmp_path / "in"], out, options)
    assert (summary.images, summary.new, summary.failed) == (1, 0, 1)
    assert len([mask for mask in (out / "masks").rglob("*") if mask.is_file()]) == 1


def test_watching_sees_a_change(model, tmp_path, monkeypatch):
    monkeypatch.setattr("wsol_deploy.batch.run.WATCH_SECONDS", 0.05)
    (path,) = fill(tmp_path / "in", 1)
    out, stop, found = tmp_path / "out", threading.Event(), []
    given_up = threading.Timer(60, stop.set)
    given_up.start()

    def look(entry: object) -> None:
        found.append(entry)
        if len(found) == 2:
            stop.set()
        Image.new("RGB", (80, 48), "white").save(path)

    go(model, [tmp_path / "in"], out, Options(save=("mask",)), watch=True, stop=stop, notice=look)
    given_up.cancel()
    (mask,) = (out / "masks").rglob("*.png")
    assert Image.open(mask).size == (80, 48)


def test_a_run_that_begins_is_not_complete(model, tmp_path):
    fill(tmp_path / "in", 1)
    out, options, found = tmp_path / "out", Options(save=("mask",)), []
    go(model, [tmp_path / "in"], out, options)
    fill(tmp_path / "in", 2)

    def look(entry: object) -> None:
        found.append((out / "manifest.json").exists())

    go(model, [tmp_path / "in"], out, options, notice=look)
    assert found and not any(found) and (out / "manifest.json").exists()
