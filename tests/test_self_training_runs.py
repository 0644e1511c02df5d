"""Self-training in a run: after the last epoch, once, for its share, from where it was stopped."""

from __future__ import annotations

import csv
import logging
import math
import re
import shutil

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402
from training import SELF_TRAINED, changed, tiny_dataset, tiny_recipe  # noqa: E402

from wsol_deploy.errors import ArtifactError, UsageError  # noqa: E402
from wsol_deploy.reproduce.measure import training_time  # noqa: E402
from wsol_deploy.runs import BEST, LAST  # noqa: E402
from wsol_deploy.train import self_training  # noqa: E402
from wsol_deploy.train.loop import train  # noqa: E402
from wsol_deploy.train.state import TAUGHT  # noqa: E402
from wsol_deploy.train.updates import NotFinite, Updater  # noqa: E402


def table(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_after_the_last_epoch_and_once(tmp_path, caplog):
    dataset, recipe, run = (
        tiny_dataset(tmp_path / "data"),
        tiny_recipe(**SELF_TRAINED),
        tmp_path / "run",
    )
    with caplog.at_level(logging.INFO, "wsol_deploy"):
        assert train(recipe, dataset, run, quiet=True).self_trained
    assert "last.safetensors is the network before it" in caplog.text
    parts = {"backbone", "localizer", "classifier", "pixel_head"}
    assert changed(load_file(run / BEST), load_file(run / LAST)) == parts
    taught = load_file(run / BEST)
    assert train(recipe, dataset, run, quiet=True).self_trained
    assert not changed(load_file(run / BEST), taught)

    (run / BEST).unlink()  # a loaded file stays mapped
    shutil.copy(run / LAST, run / BEST)  # killed before its end
    assert train(recipe, dataset, run, stop=lambda: True, quiet=True).interrupted
    assert (run / BEST).read_bytes() == (run / LAST).read_bytes()
    train(recipe, dataset, run, quiet=True)
    assert not changed(load_file(run / BEST), taught)


def test_it_goes_on_from_its_last_round(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(self_training, "SHORTEST", 2)
    whole = {
        "optim": {"epochs": 2, "lr": 0.003},
        "training": {"keep": "last", "self_training": 1.75, "ema": 0.9},
        "model": {"pixel_head": 8},
    }
    dataset, recipe = tiny_dataset(tmp_path / "data"), tiny_recipe(**whole)
    with caplog.at_level(logging.DEBUG, "wsol_deploy"):
        train(recipe, dataset, tmp_path / "whole", quiet=True)
    told = re.findall(r"self-training (\d+/\d+)  .*pixels 0\.\d+", caplog.text)
    assert told == ["2/7", "4/7", "6/7", "7/7"]
    assert not (tmp_path / "whole" / TAUGHT).exists()

    run, seen = tmp_path / "cut", []
    for more in (4 + 3, 2):  # stopped in the second round of self-training, then at its end
        asked = iter([False] * (more - 1) + [True])
        cut = train(recipe, dataset, run, stop=lambda asked=asked: next(asked), quiet=True)
        assert cut.interrupted
        assert (run / BEST).read_bytes() == (run / LAST).read_bytes()
    assert (cut.course.done, cut.course.updates) == (4, 7)
    left = (run / TAUGHT).read_bytes()
    update = Updater.update
    monkeypatch.setattr(
        Updater, "update", lambda self, *given: seen.append(given[0]) or update(self, *given)
    )
    assert train(recipe, dataset, run, quiet=True).self_trained
    assert seen == list(range(4 + 4, 4 + 7))
    assert not changed(load_file(run / BEST), load_file(tmp_path / "whole" / BEST))
    assert not (run / TAUGHT).exists()
    rounds, once = table(run / "self-training.csv"), table(tmp_path / "whole/self-training.csv")
    assert [row["updates"] for row in rounds] == ["2", "4", "6", "7"]
    assert [row["step"] for row in rounds] == ["6", "8", "10", "11"]
    assert [row["train_pixels"] for row in rounds] == [row["train_pixels"] for row in once]
    spent = [float(row["seconds"]) for row in rounds + table(run / "metrics.csv")]
    assert training_time(run)["minutes"] == pytest.approx(sum(spent) / 60)
    assert training_time(run)["epochs"] == 2

    for share, epochs in ((2, 2), (0.875, 4)):  # another length; of other weights, as long
        other = whole["training"] | {"self_training": share}
        again = tiny_recipe(
            **(whole | {"optim": {"epochs": epochs, "lr": 0.003}, "training": other})
        )
        shutil.rmtree(run / "tensorboard", ignore_errors=True)
        (run / BEST).unlink()
        shutil.copy(run / LAST, run / BEST)
        (run / TAUGHT).write_bytes(left)
        seen.clear()
        assert train(again, dataset, run, quiet=True).self_trained
        assert len(seen) == math.ceil(share * 2 * epochs) + 2 * (epochs - 2)
        assert len(table(run / "self-training.csv")) == math.ceil(share * epochs)
        assert not (run / TAUGHT).exists()


def test_a_damaged_state_of_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(self_training, "SHORTEST", 1)
    recipe = tiny_recipe(**(SELF_TRAINED | {"training": {"keep": "last", "self_training": 0.75}}))
    dataset, run = tiny_dataset(tmp_path / "data"), tmp_path / "run"
    asked = iter([False] * 5 + [True])
    assert train(recipe, dataset, run, stop=lambda: next(asked), quiet=True).interrupted
    path = run / TAUGHT
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match=r"self-training\.safetensors: damaged .*delete it"):
        train(recipe, dataset, run, quiet=True)


def test_an_epoch_cut_short_is_not_taught(tmp_path, caplog):
    cut = tiny_recipe(**(SELF_TRAINED | {"training": SELF_TRAINED["training"] | {"max_steps": 3}}))
    with caplog.at_level(logging.INFO, "wsol_deploy"):
        done = train(cut, tiny_dataset(tmp_path / "data"), tmp_path / "run", quiet=True)
    assert done.position.steps == 3
    assert not done.self_trained
    assert "left out, max_steps cut one short" in caplog.text


def test_it_lasts_its_share_of_the_updates(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "wsol_deploy.train.loop.self_train", lambda *given: asked.append(given[4].updates)
    )
    said = SELF_TRAINED | {
        "optim": {"epochs": 3},
        "training": {"keep": "last", "self_training": 0.15},
    }
    outcome = train(
        tiny_recipe(**said), tiny_dataset(tmp_path / "data"), tmp_path / "run", quiet=True
    )
    assert asked == [math.ceil(0.15 * outcome.position.steps)]


def test_a_loss_that_is_not_finite_is_one_line_with_the_mend(tmp_path, monkeypatch):
    def broken(*_: object) -> bool:
        raise NotFinite("the loss pixels is nan")

    monkeypatch.setattr("wsol_deploy.train.loop.self_train", broken)
    run = tmp_path / "run"
    with pytest.raises(NotFinite, match=r"pixels is nan in self-training.*self_training=0"):
        train(tiny_recipe(**SELF_TRAINED), tiny_dataset(tmp_path / "data"), run, quiet=True)
    assert (run / BEST).read_bytes() == (run / LAST).read_bytes()


def test_without_a_pixel_head_nothing_happens(tmp_path):
    recipe = tiny_recipe(**(SELF_TRAINED | {"model": {}}))
    done = train(recipe, tiny_dataset(tmp_path / "data"), tmp_path / "run", quiet=True)
    assert not done.self_trained
    assert (tmp_path / "run" / BEST).read_bytes() == (tmp_path / "run" / LAST).read_bytes()


def test_it_teaches_the_last_epoch_only():
    with pytest.raises(UsageError, match=r"set training\.keep to last"):
        tiny_recipe(training={"self_training": 0.5})
