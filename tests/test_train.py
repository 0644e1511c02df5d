"""The training loop: determinism, resuming, accumulation, precision, selection, stopping."""

from __future__ import annotations

import csv
import itertools
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training import tiny_dataset, tiny_recipe, write_images

from wsol_deploy.artifacts import read_card
from wsol_deploy.datasets import open_dataset
from wsol_deploy.errors import ArtifactError, WsolError
from wsol_deploy.model.build import build
from wsol_deploy.runs import BEST, LAST
from wsol_deploy.train import loop
from wsol_deploy.train.finish import calibrate_checkpoint
from wsol_deploy.train.loop import synchronised, train
from wsol_deploy.train.updates import NotFinite
from wsol_deploy.train.validation import Score, validate

QUIET = {"quiet": True}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def plain(dataset, tmp_path_factory):
    """The folder of an uninterrupted training of three epochs."""
    folder = tmp_path_factory.mktemp("plain")
    train(tiny_recipe(optim={"epochs": 3}), dataset, folder, **QUIET)
    return folder


def weights(folder: Path, name: str = LAST) -> dict[str, torch.Tensor]:
    return load_file(folder / name)


def differ(one: dict, other: dict) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as stream:
        return list(csv.DictReader(stream))


def untimed(folder: Path) -> list[dict[str, str]]:
    timed = ("images_per_second", "seconds")
    return [{k: v for k, v in row.items() if k not in timed} for row in rows(folder)]


def start(recipe, classes: int = 2) -> dict[str, torch.Tensor]:
    """The weights a training starts from."""
    torch.manual_seed(recipe.training.seed)
    return build(recipe.model, classes).state_dict()


def test_same_seed_same_weights(dataset, plain, tmp_path):
    train(tiny_recipe(optim={"epochs": 3}), dataset, tmp_path, **QUIET)
    assert differ(weights(tmp_path), weights(plain)) == 0
    assert untimed(tmp_path) == untimed(plain)


def test_another_seed_other_weights(dataset, plain, tmp_path):
    recipe = tiny_recipe(optim={"epochs": 1}, training={"seed": 1})
    train(recipe, dataset, tmp_path, **QUIET)
    assert differ(weights(tmp_path), weights(plain)) > 0


@pytest.mark.parametrize("stops", [(1,), (2,), (3,), (1, 1, 4)])
def test_interrupted_and_resumed_is_uninterrupted(dataset, plain, tmp_path, stops):
    recipe = tiny_recipe(optim={"epochs": 3})
    for after in stops:
        asked = itertools.count(1)
        outcome = train(
            recipe, dataset, tmp_path, stop=lambda asked=asked, n=after: next(asked) == n, **QUIET
        )
        assert outcome.interrupted
        assert (tmp_path / LAST).is_file()
    assert not train(recipe, dataset, tmp_path, **QUIET).interrupted
    for name in (LAST, BEST, "state.safetensors"):
        assert differ(weights(tmp_path, name), weights(plain, name)) == 0
    assert untimed(tmp_path) == untimed(plain)


@pytest.mark.parametrize(
    "options",
    [
        {"optim": {"optimizer": "adamw", "lr": 0.001}},
        {"training": {"ema": 0.9, "batch_norm": "train"}},
        {"training": {"precision": "fp16"}},
    ],
    ids=["adamw", "ema", "fp16"],
)
def test_everything_that_changes_is_stored(dataset, tmp_path, options):
    recipe = tiny_recipe(**options)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(recipe, dataset, whole, **QUIET)
    asked = itertools.count(1)
    train(recipe, dataset, parts, stop=lambda: next(asked) == 2, **QUIET)
    train(recipe, dataset, parts, **QUIET)
    for name in (LAST, "state.safetensors"):
        assert differ(weights(whole, name), weights(parts, name)) == 0


def test_the_time_before_an_interruption_counts(dataset, tmp_path):
    def slowly() -> bool:
        time.sleep(0.5)
        return True

    recipe = tiny_recipe(optim={"epochs": 1})
    train(recipe, dataset, tmp_path, stop=slowly, **QUIET)
    train(recipe, dataset, tmp_path, **QUIET)
    with (tmp_path / "metrics.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert float(row["seconds"]) > 0.5


def test_a_finished_training_is_not_trained_on(dataset, plain):
    before = (plain / LAST).read_bytes()
    outcome = train(tiny_recipe(optim={"epochs": 3}), dataset, plain, **QUIET)
    assert not outcome.interrupted
    assert (plain / LAST).read_bytes() == before


def test_a_finished_training_can_be_made_longer(dataset, plain, tmp_path):
    step = {"schedule": "step"}
    train(tiny_recipe(optim={"epochs": 1} | step), dataset, tmp_path, **QUIET)
    train(tiny_recipe(optim={"epochs": 3} | step), dataset, tmp_path, **QUIET)
    assert differ(weights(tmp_path), weights(plain)) == 0


def test_other_data_cannot_go_on(dataset, tmp_path):
    train(tiny_recipe(optim={"epochs": 1}), dataset, tmp_path / "run", **QUIET)
    other = open_dataset(write_images(tmp_path / "data", images=16))
    with pytest.raises(ArtifactError, match="changed since this run was started"):
        train(tiny_recipe(), other, tmp_path / "run", **QUIET)


@pytest.mark.parametrize("damage", [b"", b"no safetensors", None])
def test_a_damaged_state_is_one_line(dataset, tmp_path, damage):
    train(tiny_recipe(optim={"epochs": 1}), dataset, tmp_path, **QUIET)
    path = tmp_path / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    with pytest.raises(ArtifactError, match=r"state\.safetensors: damaged") as caught:
        train(tiny_recipe(), dataset, tmp_path, **QUIET)
    assert "\n" not in str(caught.value)


def test_a_state_of_another_network_is_one_line(dataset, tmp_path):
    train(tiny_recipe(optim={"epochs": 1}), dataset, tmp_path, **QUIET)
    with pytest.raises(ArtifactError, match="does not fit the run's recipe"):
        train(tiny_recipe(model={"modalities": 3}), dataset, tmp_path, **QUIET)


@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_accumulation_equals_a_big_batch(dataset, tmp_path, clip):
    found = []
    for batch_size, accumulate in ((6, 1), (2, 3), (4, 2)):
        folder = tmp_path / str(batch_size)
        optim = {"batch_size": batch_size, "accumulate": accumulate, "clip": clip}
        recipe = tiny_recipe(optim=optim, model={"dropout": 0.0})
        train(recipe, dataset, folder, **QUIET)
        found.append(weights(folder))
    assert differ(found[0], found[1]) < 1e-5
    assert differ(found[0], found[2]) > 1e-4, "8 a step is not 6 a step: the test can fail"


def test_clipping_bounds_the_step(dataset, tmp_path):
    optim = {"clip": 0.01, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
    recipe = tiny_recipe(optim=optim, training={"max_steps": 1})
    train(recipe, dataset, tmp_path, **QUIET)
    before, after = start(recipe), weights(tmp_path)
    moved = torch.cat([(after[k] - before[k]).flatten().double() for k in before])
    assert moved.norm() == pytest.approx(recipe.optim.lr * 0.01, rel=1e-3)


def test_heads_learn_at_their_own_rate(dataset, tmp_path):
    moved = []
    for factor in (1.0, 4.0):
        optim = {"head_lr_factor": factor, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
        recipe = tiny_recipe(optim=optim, training={"max_steps": 1})
        folder = tmp_path / str(factor)
        train(recipe, dataset, folder, **QUIET)
        before, after = start(recipe), weights(folder)
        moved.append({name: after[name] - before[name] for name in before})
    head, body = (
        "localizer.maps.weight",
        next(k for k in moved[0] if k.endswith("conv_stem.weight")),
    )
    torch.testing.assert_close(moved[1][head], 4 * moved[0][head], rtol=1e-3, atol=1e-8)
    torch.testing.assert_close(moved[1][body], moved[0][body])
    assert moved[0][head].abs().max() > 0


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains_float32_weights(dataset, plain, tmp_path, precision):
    recipe = tiny_recipe(optim={"epochs": 3}, training={"precision": precision})
    train(recipe, dataset, tmp_path, **QUIET)
    found = weights(tmp_path)
    assert found["localizer.maps.weight"].dtype == torch.float32
    assert 0 < differ(found, weights(plain)) < 0.1
    assert differ(found, start(recipe)) > 1e-4


def test_channels_last_is_the_same_training(dataset, tmp_path):
    found = []
    for channels_last in (False, True):
        recipe = tiny_recipe(training={"channels_last": channels_last, "max_steps": 2})
        train(recipe, dataset, tmp_path / str(channels_last), **QUIET)
        found.append(weights(tmp_path / str(channels_last)))
    assert differ(*found) < 1e-3


def test_ema_is_saved_and_follows_the_weights(dataset, tmp_path):
    recipe = tiny_recipe(training={"ema": 0.75, "max_steps": 1})
    train(recipe, dataset, tmp_path, **QUIET)
    before, saved = start(recipe), weights(tmp_path)
    state = weights(tmp_path, "state.safetensors")
    name = "localizer.maps.weight"
    raw = state[f"network.{name}"]
    assert (raw - before[name]).abs().max() > 0
    torch.testing.assert_close(saved[name], 0.75 * before[name] + 0.25 * raw)


@pytest.mark.parametrize("batch_norm", ["train", "frozen"])
def test_batch_norm_is_frozen_or_trained(dataset, tmp_path, batch_norm):
    recipe = tiny_recipe(training={"batch_norm": batch_norm, "max_steps": 2})
    train(recipe, dataset, tmp_path, **QUIET)
    before, after = start(recipe), weights(tmp_path)
    statistics = [name for name in before if name.endswith("running_mean")]
    moved = any((before[name] != after[name]).any() for name in statistics)
    assert moved == (batch_norm == "train")


def test_best_is_the_lowest_error_then_the_lowest_loss(dataset, tmp_path):
    train(tiny_recipe(optim={"epochs": 5}), dataset, tmp_path, **QUIET)
    scores = [(float(row["valid_error"]), float(row["valid_loss"])) for row in rows(tmp_path)]
    best = scores.index(min(scores))
    again = tmp_path / "again"
    train(
        tiny_recipe(optim={"epochs": 5}, training={"max_steps": 2 * (best + 1)}), dataset, again,
        **QUIET,
    )  # fmt: skip
    assert differ(weights(tmp_path, BEST), weights(again, LAST)) == 0
    assert read_card(tmp_path / BEST).metrics[0].values == {"error": scores[best][0]}


def test_the_last_epoch_is_kept_where_the_recipe_says_so(dataset, tmp_path, monkeypatch):
    worse = itertools.count()
    monkeypatch.setattr(loop, "validate", lambda *_: Score(next(worse) / 8, 1.0))
    train(tiny_recipe(optim={"epochs": 3}, training={"keep": "last"}), dataset, tmp_path, **QUIET)
    assert differ(weights(tmp_path, BEST), weights(tmp_path, LAST)) == 0
    assert read_card(tmp_path / BEST).metrics[0].values == {"error": 2 / 8}


def test_early_stopping(dataset, tmp_path):
    optim = {"lr": 1e-30, "min_lr": 0.0, "epochs": 50}
    train(tiny_recipe(optim=optim, training={"patience": 2}), dataset, tmp_path, **QUIET)
    assert len(rows(tmp_path)) == 3


def test_max_steps_ends_in_the_middle_of_an_epoch(dataset, tmp_path):
    recipe = tiny_recipe(training={"max_steps": 3})
    outcome = train(recipe, dataset, tmp_path, **QUIET)
    assert outcome.position.steps == 3
    assert [row["step"] for row in rows(tmp_path)] == ["2", "3"]
    assert (tmp_path / BEST).is_file()


@pytest.mark.parametrize("cut", [1, 3])
def test_the_best_is_that_of_whole_epochs_where_steps_ran_out(
    dataset, plain, tmp_path, cut, monkeypatch
):
    recipe = tiny_recipe(optim={"epochs": 3}, training={"max_steps": cut})
    counts = itertools.count(2, 2)

    def validation(*arguments):
        return validate(*arguments) if next(counts) <= cut else Score(0.0, 0.0)

    with monkeypatch.context() as lucky:
        lucky.setattr(loop, "validate", validation)
        train(recipe, dataset, tmp_path, **QUIET)
    assert (tmp_path / BEST).is_file()
    train(tiny_recipe(optim={"epochs": 3}), dataset, tmp_path, **QUIET)
    assert differ(weights(tmp_path, BEST), weights(plain, BEST)) == 0


def test_nan_stops_and_names_the_last_good_checkpoint(dataset, tmp_path):
    train(tiny_recipe(optim={"epochs": 1}), dataset, tmp_path, **QUIET)
    good = (tmp_path / LAST).read_bytes()
    with pytest.raises(NotFinite) as caught:
        train(tiny_recipe(optim={"epochs": 3, "lr": 1e30}), dataset, tmp_path, **QUIET)
    message = str(caught.value)
    assert "nan in epoch 2, step" in message
    assert str(tmp_path / LAST) in message
    assert "optim.lr" in message
    assert (tmp_path / LAST).read_bytes() == good


def test_metrics_hold_every_loss_and_the_errors(plain):
    first = rows(plain)[0]
    for name in ("localizer", "foreground", "background", "error", "passes"):
        assert float(first[f"train_{name}"]) >= 0
    assert 1 <= float(first["train_passes"]) <= 2
    assert [row["epoch"] for row in rows(plain)] == ["1", "2", "3"]


def test_the_card_says_what_it_was_trained_with(dataset, plain):
    card = read_card(plain / BEST)
    assert card.classes == ["disc", "square"]
    assert card.recipe["optim"]["epochs"] == 3
    assert card.data == dataset.fingerprint()
    assert card.data.images == {"train": 8, "valid": 4, "test": 0}
    assert {"torch", "wsol-deploy"} <= card.packages.keys()
    assert str(dataset.root) not in card.to_json()


def test_calibration_fits_the_threshold_and_keeps_the_weights(dataset, tmp_path):
    train(tiny_recipe(optim={"epochs": 1}), dataset, tmp_path, **QUIET)
    before = weights(tmp_path, BEST)
    card = calibrate_checkpoint(tmp_path / BEST, dataset, "cpu")
    assert differ(weights(tmp_path, BEST), before) == 0
    assert read_card(tmp_path / BEST) == card
    assert "4 images with masks" in card.threshold.chosen_on
    assert {"error", "f1_plus", "f1_minus"} <= card.metrics[0].values.keys()
    assert "all-ones" in card.metrics[0].baselines


def test_without_masks_the_threshold_stays_at_a_half_and_says_so(tmp_path):
    root = write_images(tmp_path / "data")
    for path in (root / "masks").rglob("*.png"):
        path.unlink()
    dataset = open_dataset(root)
    train(tiny_recipe(optim={"epochs": 1}), dataset, tmp_path, **QUIET)
    card = calibrate_checkpoint(tmp_path / BEST, dataset, "cpu")
    assert card.threshold.value == 0.5
    assert "no truth masks" in card.threshold.chosen_on


def test_tensorboard_shows_losses_and_the_same_masks_over_time(plain):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(plain / "tensorboard"))
    events.Reload()
    assert [one.step for one in events.Scalars("valid_loss")] == [2, 4, 6]
    shown = events.Tags()["images"]
    assert len(shown) == 4
    assert len(events.Images(shown[0])) == 3


def test_a_run_that_cannot_be_written_is_one_line(dataset, tmp_path, monkeypatch):
    from wsol_deploy.train import records

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(records, "save_state", full)
    with pytest.raises(WsolError, match=r"No space left on device.*--resume"):
        train(tiny_recipe(optim={"epochs": 1}), dataset, tmp_path, **QUIET)


def test_synchronised_batch_norm_keeps_fused_layers_and_names():
    recipe = tiny_recipe()
    network = build(recipe.model, 2)
    names = list(network.state_dict())
    x = torch.rand(2, 3, 64, 64)
    expected = network.eval().localize(x).logits
    converted = synchronised(network).eval()
    assert any(isinstance(m, torch.nn.SyncBatchNorm) for m in converted.modules())
    assert list(converted.state_dict()) == names
    torch.testing.assert_close(converted.localize(x).logits, expected)


def test_an_epoch_cut_short_keeps_its_row_until_it_is_whole(dataset, tmp_path):
    cut = tiny_recipe(optim={"epochs": 3}, training={"max_steps": 3})
    train(cut, dataset, tmp_path, **QUIET)
    (*_, last) = rows(tmp_path)
    train(cut, dataset, tmp_path, **QUIET)
    assert rows(tmp_path)[-1] == last
    train(tiny_recipe(optim={"epochs": 3}), dataset, tmp_path, **QUIET)
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2", "3"]
    (whole,) = (row for row in rows(tmp_path) if row["epoch"] == last["epoch"])
    assert float(whole["seconds"]) > float(last["seconds"])
