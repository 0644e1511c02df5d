"""What self-training teaches, and how a network learns from its own masks."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from training import SELF_TRAINED, changed, tiny_dataset, tiny_recipe  # noqa: E402

from wsol_deploy.card import SizePolicy  # noqa: E402
from wsol_deploy.model.build import build  # noqa: E402
from wsol_deploy.model.config import ModelConfig  # noqa: E402
from wsol_deploy.train import self_training  # noqa: E402
from wsol_deploy.train.evidence import mix_tiles, mixed_losses  # noqa: E402
from wsol_deploy.train.loader import Images, TrainLoader, many_hot  # noqa: E402
from wsol_deploy.train.losses import taught_cross_entropy  # noqa: E402
from wsol_deploy.train.recipe import ErasingRecipe, LossRecipe  # noqa: E402
from wsol_deploy.train.self_training import (  # noqa: E402
    begin,
    own_masks,
    sample_of,
    self_train,
    taught_by,
)
from wsol_deploy.train.soft_masks import ambiguity  # noqa: E402
from wsol_deploy.train.state import Position  # noqa: E402
from wsol_deploy.train.step import training_step  # noqa: E402
from wsol_deploy.train.updates import Updater  # noqa: E402
from wsol_deploy.train.world import World  # noqa: E402

THINGS = 0.8  # discs and squares are brighter, noise is darker


def network(**settings):
    torch.manual_seed(0)
    config = ModelConfig(
        backbone="resnet18", weights="none", output_stride=16, last_stages="drop", modalities=1,
        kmax=1.0, dropout=0.0, alignment="middle", pixel_head=8, reflect=16, **settings,
    )  # fmt: skip
    return build(config, classes=2).eval()


def image(number: int) -> Tensor:
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(number))
    return torch.nn.functional.interpolate(x, size=(64, 64), mode="bilinear") * 3


def ready(tmp_path, net, **sections):
    """An updater of the network, the training images of a tiny data set, and a loader's maker."""
    recipe = tiny_recipe(**(SELF_TRAINED | sections))
    images = Images(tiny_dataset(tmp_path / "data").subset("train").samples, SizePolicy())
    return (
        Updater(net, recipe, World()),
        images,
        lambda taught: TrainLoader(taught, recipe.data, recipe.optim.batch_size),
    )


def test_own_masks_are_the_same_of_every_mirror_image():
    net, x = network(), image(0)
    for axes in ((2,), (3,), (2, 3)):
        turned = own_masks(net, x.flip(axes)).flip(axes)
        assert torch.allclose(turned, own_masks(net, x), atol=1e-5)


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_images_are_taught_by_the_network_as_it_was(tmp_path, task):
    net = network(task=task)
    updater, images, load = ready(tmp_path, net)
    taught = taught_by(updater, images, None)
    x = updater.pixels(torch.from_numpy(images[3].copy()).permute(2, 0, 1)[None])
    masks = own_masks(net, x)[0].permute(1, 2, 0).numpy()
    with torch.no_grad():
        net.pixel_head.logit.bias.add_(9)
    planes = taught.planes(3)
    assert np.array_equal(planes[:, :, :3], images[3])
    assert np.abs(planes[:, :, 3:] / 255 - masks).max() < 0.6 / 255
    _, batches = next(load(taught).epoch(0))
    count = 2 if task == "multi-label" else 1
    assert next(batches).masks.shape == (4, count, 48, 48)


def test_a_mask_goes_where_its_tile_goes():
    net, x = network().train(), torch.cat([image(number) for number in range(4)])
    net.freeze_batch_norm()
    taught, labels = x[:, :1].sigmoid(), torch.tensor([0, 1, 0, 1])
    weights = LossRecipe(pixels=2.0, local=3.0, tiles=3, balance="always")
    torch.manual_seed(5)
    losses = mixed_losses(net, x, labels, weights, taught)
    torch.manual_seed(5)
    assert losses["local"] == mixed_losses(net, x, labels, weights)["local"]
    torch.manual_seed(5)
    mixed, source = mix_tiles(x, 3)
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    masks = taught[source[:, 0], 0, rows, columns][:, None]
    drawn = torch.nn.functional.avg_pool2d(masks, 4)
    logits = net.pixels(net.localize(mixed))
    expected = taught_cross_entropy(logits, drawn, balanced=True).mean()
    assert losses["mixed"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_taught_step_adds_up_its_losses():
    net, x = network().train(), torch.cat([image(number) for number in range(4)])
    net.freeze_batch_norm()
    weights = LossRecipe(pixels=2.0, local=3.0, tiles=3, balance="always")
    added = []
    report = training_step(
        net, x, torch.tensor([0, 1, 0, 1]), weights, ErasingRecipe(u=0), added.append,
        taught=x[:, :1].sigmoid(),
    )  # fmt: skip
    of = {name: value.item() for name, value in report.losses.items()}
    expected = of["localizer"] + of["foreground"] + of["background"] + 3 * of["local"]
    expected += 2 * (of["pixels"] + of["mixed"])
    assert sum(added).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("balance", ["always", "never"])
@pytest.mark.parametrize("attached", [False, True])
def test_a_taught_step_by_hand(attached, balance):
    net, x = network().train(), image(0)
    net.freeze_batch_norm()
    net.pixel_head.attached = attached
    taught = image(1)[:, :1].sigmoid()
    weights = LossRecipe(pixels=2.0, bootstrap=0.5, extremes=0.3, balance=balance)
    report = training_step(
        net, x, torch.tensor([1]), weights, ErasingRecipe(u=0), Tensor.backward, taught=taught
    )
    found = net.localize(x)
    logits = net.pixels(found)
    drawn = torch.nn.functional.avg_pool2d(taught, 64 // logits.shape[2])
    inside, outside = -logits.sigmoid().log(), -(-logits).sigmoid().log()
    if balance == "never":
        expected = (drawn * inside + (1 - drawn) * outside).mean()
    else:
        found_share = (drawn * inside).sum() / drawn.sum()
        expected = (found_share + ((1 - drawn) * outside).sum() / (1 - drawn).sum()) / 2
    assert report.losses["pixels"] == pytest.approx(expected.item(), rel=1e-5)
    deep, shallow = (next(net.backbone.features.stages[at].parameters()) for at in (2, 0))
    head = net.pixel_head.hidden.weight.grad.clone()
    net.zero_grad()
    expected.mul(2).backward()
    assert torch.allclose(net.pixel_head.hidden.weight.grad, head, rtol=1e-4, atol=1e-7)
    assert deep.grad is None or not deep.grad.any()
    assert (shallow.grad is not None) == attached


def test_a_balanced_mask_that_is_not_shown_is_background_alone():
    logits = image(3)[:, :2, :8, :8]
    masks = torch.full((1, 2, 8, 8), 0.4)
    expected = torch.nn.functional.softplus(logits).mean() / 2
    assert taught_cross_entropy(logits, masks, balanced=True).item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_the_network_learns_to_draw_what_it_is_taught(tmp_path, monkeypatch):
    monkeypatch.setattr(
        self_training,
        "own_masks",
        lambda _, x, faded=True: (x.amax(dim=1, keepdim=True) > THINGS).float(),
    )
    updater, images, load = ready(tmp_path, network())
    before = {name: value.clone() for name, value in updater.network.state_dict().items()}

    def agreement() -> float:
        taught = taught_by(updater, images, None)
        same = []
        for number in range(len(images)):
            planes = torch.from_numpy(taught.planes(number).copy()).permute(2, 0, 1)[None]
            with torch.no_grad():
                found = updater.network.eval().infer(updater.pixels(planes[:, :3]), ("mask",))
            logits, truth = found["mask"].logit(eps=1e-6), planes[:, 3:] > 127
            inside, outside = logits[truth].mean(), logits[~truth].mean()
            same.append(float(inside - outside))
        return sum(same) / len(same)

    was = agreement()
    assert not self_train(updater, images, load, Position(), begin(updater, images, 60))
    assert agreement() > was + 1
    assert changed(before, updater.network.state_dict()) == {
        "backbone", "localizer", "classifier", "pixel_head",
    }  # fmt: skip
    assert not updater.network.pixel_head.attached


@pytest.mark.parametrize(
    ("updates", "rounds", "sharpened"), [(22, 3, 1), (64, 8, 2), (96, 8, 2), (5, 1, 0)]
)
def test_masks_are_drawn_anew_each_round_and_remembered_in_between(
    tmp_path, monkeypatch, updates, rounds, sharpened
):
    drawn = []
    monkeypatch.setattr(
        self_training,
        "own_masks",
        lambda _, x, faded=True: drawn.append(x) or torch.ones(len(x), 1, 64, 64),
    )
    updater, images, load = ready(tmp_path, network())
    monkeypatch.setattr(updater, "update", lambda _, size, batches, *given: list(batches))
    assert len(images) == 8
    assert not self_train(updater, images, load, Position(), begin(updater, images, updates))
    # an epoch is two updates; and to tell what masks are like: at the start, each round, and where
    # they are sharpened
    assert len(drawn) == (1 + 2 * rounds + sharpened) * 8


def test_in_the_mean_all_odds_change_by_one_factor_and_what_is_not_shown_by_none(
    tmp_path, monkeypatch
):
    drawn = [torch.linspace(low, 0.9, 64 * 64).view(1, 1, 64, 64) for low in (0.0, 0.1, 0.4, 0.8)]
    drawn += [0.5 * drawn[0]] * 4  # nowhere above one half
    updater, images, _ = ready(tmp_path, network())
    order = [images[number].tobytes() for number in range(8)]
    monkeypatch.setattr(
        self_training,
        "_drawn_by",
        lambda _, faded=True: lambda image: drawn[order.index(image.tobytes())][0],
    )
    taught = taught_by(updater, images, 0.4)
    masks = [taught.planes(number)[:, :, 3] / 255 for number in range(8)]
    means = [mask.mean() for mask in masks[:4]]
    assert np.mean(means) == pytest.approx(0.4, abs=0.002)
    assert means == sorted(means)
    assert means[3] - means[0] > 0.2, "each keeps what it covers more or less than others"
    assert np.abs(masks[4] - drawn[4][0, 0].numpy()).max() < 0.6 / 255


def test_masks_that_are_not_shown_tell_nothing(tmp_path, monkeypatch):
    faint, bold = torch.full((1, 1, 4, 4), 0.4), torch.full((1, 1, 4, 4), 0.8)
    updater, images, _ = ready(tmp_path, network())
    drawn = iter([faint, bold] * 4)
    monkeypatch.setattr(self_training, "own_masks", lambda *_: next(drawn))
    found = sample_of(updater, images)
    assert found.masks.shape == (4, 64, 64)
    assert torch.allclose(found.masks, torch.tensor(0.8))
    assert found.objects == 1


TWO = torch.tensor([0.8, 0.1, 0.8, 0.1]).repeat_interleave(16).expand(1, 1, 64, 64)


ONE = torch.tensor([0.8, 0.1, 0.1, 0.1]).repeat_interleave(16).expand(1, 1, 64, 64)


@pytest.mark.parametrize(
    ("asked", "drawn", "balance", "share"),
    [
        ("auto", [TWO], "always", None),
        ("auto", [TWO, ONE], "never", (0.45 + 0.275) / 2),
        ("auto", [0.5 * TWO], "never", None),
        ("auto", [ONE.clamp(min=0.7)], "never", 0.5),
        ("never", [TWO], "never", 0.45),
        ("always", [ONE], "always", None),
    ],
)
def test_what_a_round_teaches(tmp_path, monkeypatch, asked, drawn, balance, share):
    seen, masks = [], iter(drawn * 99)
    monkeypatch.setattr(self_training, "own_masks", lambda *_: next(masks))
    monkeypatch.setattr(
        self_training, "taught_by", lambda *given: seen.append(given[2]) or taught_by(*given)
    )
    updater, images, load = ready(tmp_path, network(), loss={"balance": asked})
    monkeypatch.setattr(updater, "update", lambda *given: seen.append(given[4].balance))
    self_train(updater, images, load, Position(), begin(updater, images, 1))
    assert seen == [share if share is None else pytest.approx(share), balance]


def test_the_optimizer_starts_afresh(tmp_path, monkeypatch):
    updater, images, load = ready(tmp_path, network())
    of_the_epochs = updater.optimizer
    monkeypatch.setattr(updater, "update", lambda *_: None)
    self_train(updater, images, load, Position(), begin(updater, images, 1))
    assert updater.optimizer is not of_the_epochs
    assert not updater.optimizer.state


@pytest.mark.parametrize(
    ("updates", "sharpened"), [(1, 0), (8, 0), (9, 1), (22, 1), (56, 1), (57, 2), (64, 2)]
)
def test_in_the_last_quarter_masks_are_as_sharp_as_at_the_start(
    tmp_path, monkeypatch, updates, sharpened
):
    net = network()
    with torch.no_grad():
        net.pixel_head.logit.weight.mul_(3)
    updater, images, load = ready(tmp_path, net, training=SELF_TRAINED["training"] | {"ema": 0.9})
    before, factors = ambiguity(sample_of(updater, images).masks), []

    def fade(*_: object) -> None:
        for each in (net, updater.average):
            each.pixel_head.sharpen(0.97)

    def sharpen(self: object, factor: float, was=type(net.pixel_head).sharpen) -> None:
        was(self, factor)
        if factor > 1:
            factors.append(factor)
            if self is updater.average.pixel_head:
                found = ambiguity(sample_of(updater, images).masks)
                assert found == pytest.approx(before, abs=0.02)

    monkeypatch.setattr(updater, "update", fade)
    monkeypatch.setattr(type(net.pixel_head), "sharpen", sharpen)
    assert not self_train(updater, images, load, Position(), begin(updater, images, updates))
    assert len(factors) == 2 * sharpened


def test_a_class_that_is_shown_but_not_for_sure_is_not_sharpened_for_it(tmp_path):
    net = network(task="multi-label")
    with torch.no_grad():
        net.pixel_head.logit.bias[:] = torch.tensor([5.0, 5.0])
        net.localizer.maps.weight.zero_()
        net.localizer.maps.bias[:] = torch.tensor([1.0, -9.0])
    updater, images, _ = ready(tmp_path, net)
    x = updater.pixels(torch.from_numpy(images[0].copy()).permute(2, 0, 1)[None])
    faded, whole = own_masks(net, x), own_masks(net, x, faded=False)
    posterior = 1 / (1 + math.exp(-1))
    assert torch.allclose(faded[:, 0], whole[:, 0] * posterior, atol=1e-4)
    assert not whole[:, 1].any()
    assert len(sample_of(updater, images).masks) == len(images)


def test_classes_that_are_not_shown_are_taught_as_background(tmp_path):
    net = network(task="multi-label")
    with torch.no_grad():
        net.pixel_head.logit.bias[:] = torch.tensor([5.0, 5.0])
        net.localizer.maps.bias[:] = torch.tensor([9.0, -9.0])
    updater, images, load = ready(tmp_path, net)
    images.target = many_hot(2)
    shown, absent = np.moveaxis(taught_by(updater, images, 0.9).planes(0)[:, :, 3:] / 255, 2, 0)
    assert shown.mean() > 0.8
    assert absent.max() < 0.01
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert not self_train(updater, images, load, Position(), begin(updater, images, 3))
    assert "backbone" in changed(before, net.state_dict())
