"""Self-training: a new pixel head from the masks of the old one, once, after the last epoch."""

from __future__ import annotations

import shutil

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402
from training import tiny_dataset, tiny_recipe  # noqa: E402

from wsol_deploy.errors import UsageError  # noqa: E402
from wsol_deploy.model.build import build  # noqa: E402
from wsol_deploy.model.config import ModelConfig  # noqa: E402
from wsol_deploy.runs import BEST, LAST  # noqa: E402
from wsol_deploy.train import loop, self_training  # noqa: E402
from wsol_deploy.train.loop import train  # noqa: E402
from wsol_deploy.train.self_training import own_masks, self_train  # noqa: E402
from wsol_deploy.train.validation import Score  # noqa: E402

HEAD = ("pixel_head.hidden", "pixel_head.logit")


def network(**settings):
    torch.manual_seed(0)
    config = ModelConfig(
        backbone="resnet18", weights="none", output_stride=16, last_stages="drop", modalities=1,
        kmax=1.0, dropout=0.0, alignment="middle", pixel_head=8, reflect=16, **settings,
    )  # fmt: skip
    return build(config, classes=2).eval()


def image(number: int) -> torch.Tensor:
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(number))
    return torch.nn.functional.interpolate(x, size=(64, 64), mode="bilinear") * 3


def changed(one: dict, other: dict) -> set[str]:
    assert one.keys() == other.keys()
    return {name.rpartition(".")[0] for name in one if not torch.equal(one[name], other[name])}


def test_own_masks_are_the_same_of_every_mirror_image():
    net, x = network(), image(0)
    for axes in ((2,), (3,), (2, 3)):
        turned = own_masks(net, x.flip(axes)).flip(axes)
        assert torch.allclose(turned, own_masks(net, x), atol=1e-5)


def test_the_new_head_draws_what_the_old_one_drew():
    net = network()
    with torch.no_grad():
        net.pixel_head.logit.weight.mul_(20)
        logits = torch.cat([net.pixels(net.localize(image(number))) for number in range(4)])
        net.pixel_head.logit.bias.sub_(logits.median())
        before = {name: value.clone() for name, value in net.state_dict().items()}
        masks = torch.cat([own_masks(net, image(number)) for number in range(4)])
    assert not self_train(net, image, images=4, steps=150, extremes=0.4, seed=1)
    with torch.no_grad():
        found = torch.cat([net.masks(net.localize(image(n)), (64, 64)) for n in range(4)])
    assert changed(before, net.state_dict()) == set(HEAD)
    assert 0.3 < (masks > 0.5).float().mean() < 0.7
    assert ((found > 0.5) == (masks > 0.5)).float().mean() > 0.85


def test_what_is_remembered_of_images_changes_nothing_but_the_time(monkeypatch):
    kept, forgotten = network(), network()
    asked = []
    self_train(kept, lambda n: asked.append(n) or image(n), 2, steps=6, extremes=0.4, seed=0)
    assert len(asked) == 2
    monkeypatch.setattr(self_training, "REMEMBERED", 0)
    self_train(forgotten, lambda n: asked.append(n) or image(n), 2, steps=6, extremes=0.4, seed=0)
    assert len(asked) == 2 + 6
    assert not changed(kept.state_dict(), forgotten.state_dict())


def test_classes_that_are_not_shown_are_background():
    net = network(task="multi-label")
    with torch.no_grad():
        net.pixel_head.logit.bias[:] = torch.tensor([5.0, 5.0])
        net.localizer.maps.bias[:] = torch.tensor([9.0, -9.0])
    assert not self_train(net, image, images=4, steps=150, extremes=0.4, seed=1)
    with torch.no_grad():
        shown, absent = net.pixels(net.localize(image(0)))[0].sigmoid()
    assert shown.mean() > 0.8
    assert absent.max() < 0.2


def test_a_stop_leaves_the_network_as_it_was():
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert self_train(net, image, 4, steps=5, extremes=0.4, seed=0, advance=lambda: True)
    assert not changed(before, net.state_dict())


def test_it_is_left_out_where_more_images_are_named_wrong(tmp_path, monkeypatch):
    errors = iter([0.25, 0.25, 0.5])  # of the epoch, and before and after self-training
    monkeypatch.setattr(loop, "validate", lambda *_: Score(next(errors), 1.0))
    said = {"keep": "last", "self_training": 3}
    recipe = tiny_recipe(optim={"epochs": 1}, training=said, model={"pixel_head": 8})
    assert not train(
        recipe, tiny_dataset(tmp_path / "data"), tmp_path / "run", quiet=True
    ).interrupted
    assert not changed(load_file(tmp_path / "run" / BEST), load_file(tmp_path / "run" / LAST))
    assert not list(errors)


def test_after_the_last_epoch_and_once(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "validate", lambda *_: Score(0.25, 1.0))
    dataset = tiny_dataset(tmp_path / "data")
    said = {"keep": "last", "self_training": 3}
    recipe = tiny_recipe(optim={"epochs": 2}, training=said, model={"pixel_head": 8})
    run = tmp_path / "run"
    train(recipe, dataset, run, quiet=True)
    assert changed(load_file(run / BEST), load_file(run / LAST)) == set(HEAD)
    taught = load_file(run / BEST)
    train(recipe, dataset, run, quiet=True)
    assert not changed(load_file(run / BEST), taught)

    (run / BEST).unlink()  # a loaded file stays mapped
    shutil.copy(run / LAST, run / BEST)  # killed before its end
    asked = iter([True])
    assert train(recipe, dataset, run, stop=lambda: next(asked), quiet=True).interrupted
    assert (run / BEST).read_bytes() == (run / LAST).read_bytes()
    train(recipe, dataset, run, quiet=True)
    assert not changed(load_file(run / BEST), taught)


def test_it_teaches_the_last_epoch_only():
    with pytest.raises(UsageError, match=r"set training\.keep to last"):
        tiny_recipe(training={"self_training": 3})
