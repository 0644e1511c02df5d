"""The pixel head: taught by the extremes of class maps, alone, and drawing the mask."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from wsol_deploy.errors import UsageError  # noqa: E402
from wsol_deploy.model.build import build  # noqa: E402
from wsol_deploy.model.config import ModelConfig  # noqa: E402
from wsol_deploy.model.resampling import smoothed  # noqa: E402
from wsol_deploy.train.evidence import pixel_loss  # noqa: E402
from wsol_deploy.train.losses import extremes_cross_entropy  # noqa: E402
from wsol_deploy.train.recipe import ErasingRecipe, LossRecipe  # noqa: E402
from wsol_deploy.train.recipe_file import load_recipe  # noqa: E402
from wsol_deploy.train.step import training_step  # noqa: E402


def network(**changes):
    torch.manual_seed(0)
    settings = {
        "backbone": "resnet18", "weights": "none", "output_stride": 16, "last_stages": "drop",
        "modalities": 1, "kmax": 1.0, "dropout": 0.0, "alignment": "middle", "pixel_head": 8,
    }  # fmt: skip
    return build(ModelConfig(**(settings | changes)), classes=2)


def test_only_the_extremes_are_asked():
    logits = torch.full((1, 1, 2, 5), math.log(3.0))
    evidence = torch.tensor([[[[0.9, 0.7, 0.6, 0.6, 0.6], [0.6, 0.6, 0.4, 0.3, 0.1]]]])
    logits[0, 0, 1, 4] = 0  # the lowest
    loss = extremes_cross_entropy(logits, evidence, extremes=0.1)
    expected = (-math.log(0.75) + math.log(2)) / 2
    assert loss.tolist() == pytest.approx([expected], abs=1e-6)


def test_the_lesser_end_weighs_as_much():
    evidence = torch.linspace(0, 0.4, 16).view(1, 1, 4, 4)
    evidence[0, 0, 3, 3] = 0.9
    logits = torch.zeros_like(evidence, requires_grad=True)
    extremes_cross_entropy(logits, evidence, extremes=0.4).sum().backward()
    assert (logits.grad > 0).sum() > 1
    assert logits.grad.sum().item() == pytest.approx(0, abs=1e-6)
    assert logits.grad[0, 0, 3, 3].item() == pytest.approx(-0.25)


def test_evidence_of_one_half_asks_nothing():
    logits = torch.randn(2, 1, 4, 4, requires_grad=True)
    loss = extremes_cross_entropy(logits, torch.full((2, 1, 8, 8), 0.5), extremes=0.2)
    loss.sum().backward()
    assert loss.tolist() == [0, 0]
    assert not logits.grad.any()


def test_a_hard_mask_is_learned_whole():
    mask = (torch.rand(1, 1, 8, 8) > 0.9).float()
    mask[0, 0, 0, 0] = 1.0
    logits = torch.zeros_like(mask, requires_grad=True)
    extremes_cross_entropy(logits, mask, extremes=0.2).sum().backward()
    assert torch.equal(logits.grad < 0, mask > 0)
    assert (logits.grad != 0).all()


def test_a_class_that_is_not_shown_is_background_everywhere_and_unbalances_no_other():
    logits = torch.zeros(1, 2, 8, 8, requires_grad=True)
    evidence = torch.rand(1, 2, 8, 8) * torch.tensor([1.0, 0.01]).view(1, 2, 1, 1)
    extremes_cross_entropy(logits, evidence, extremes=0.2).sum().backward()
    assert (logits.grad[:, 0] < 0).any()
    assert logits.grad[:, 0].sum().item() == pytest.approx(0, abs=1e-6)
    assert (logits.grad[:, 1] > 0).all()


@pytest.mark.parametrize(("margin", "cells"), [(0, 0), (8, 2), (32, 4)])  # a quarter of 64 at most
def test_nothing_is_learned_at_the_border(margin, cells):
    net = network().train()
    found = net.localize(torch.randn(2, 3, 64, 96))
    logits = torch.zeros(2, 1, 16, 24, requires_grad=True)
    net.pixels = lambda found: logits
    net.evidence = lambda found, size: torch.zeros(2, 1, 64, 96)
    pixel_loss(net, found, (64, 96), LossRecipe(margin=margin, extremes=0.5)).backward()
    learned = logits.grad.abs().sum(dim=(0, 1))
    for line in (learned.sum(dim=0), learned.sum(dim=1)):
        places = line.nonzero()
        assert (places.min(), places.max()) == (cells, len(line) - 1 - cells)


@pytest.mark.parametrize("bootstrap", [0.0, 0.5])
def test_bootstrapping_learns_from_its_own_mask_where_class_maps_are_silent(bootstrap):
    net = network(smooth=3).train()
    found = net.localize(torch.randn(2, 3, 64, 64))
    logits = torch.linspace(-2, 2, 16).expand(2, 1, 16, 16).clone().requires_grad_()
    net.pixels = lambda found: logits
    net.evidence = lambda found, size: torch.full((2, 1, 64, 64), 0.5)
    pixel_loss(net, found, (64, 64), LossRecipe(bootstrap=bootstrap, extremes=0.25)).backward()
    taught = logits.grad.sign()[:, 0].mean(dim=(0, 1)).tolist()
    assert taught == ([1.0] * 4 + [0.0] * 8 + [-1.0] * 4 if bootstrap else [0.0] * 16)


def test_its_loss_teaches_the_head_alone():
    net = network().train()
    weights = LossRecipe(localizer=0, foreground=0, background=0)
    x = torch.randn(2, 3, 64, 64)
    erasing = ErasingRecipe(u=0)
    report = training_step(net, x, torch.tensor([0, 1]), weights, erasing, lambda z: z.backward())
    assert report.losses["pixels"] > 0
    learning = {
        name.partition(".")[0]
        for name, one in net.named_parameters()
        if one.grad is not None and one.grad.any()
    }
    assert learning == {"pixel_head"}


def test_the_mask_is_the_pixel_heads_and_needs_no_posterior():
    net = network().eval()
    x = torch.randn(1, 3, 64, 80)
    found = net.localize(x)
    swapped = found._replace(logits=found.logits.flip(1))
    mask = net.mask(found, (64, 80))
    assert torch.equal(mask, net.mask(swapped, (64, 80)))
    assert not torch.equal(net.evidence(found, (64, 80)), net.evidence(swapped, (64, 80)))
    assert torch.equal(net.infer(x)["mask"], mask)


def test_it_finds_the_half_of_an_object_that_class_maps_were_not_sure_of():
    net = network().train()
    x = torch.zeros(4, 3, 64, 64)
    x[:, :, 16:48, 16:48] = 2.0
    hint = torch.full((4, 1, 64, 64), 0.5)
    hint[:, :, 16:48, 16:32], hint[:, :, :, 52:] = 0.95, 0.05
    optimizer = torch.optim.Adam(net.pixel_head.parameters(), 0.02)
    for _ in range(20):
        optimizer.zero_grad()
        extremes_cross_entropy(net.pixels(net.localize(x)), hint, 0.5).mean().backward()
        optimizer.step()
    mask = net.mask(net.localize(x), (64, 64)) > 0.5
    assert mask[:, :, 20:44, 32:44].float().mean() > 0.9
    assert mask[:, :, :, :6].float().mean() < 0.1


@pytest.mark.parametrize("rescale", ["image", "running"])
def test_running_means_follow_whole_images_alone(rescale):
    """Neither erased images (u = 2) nor mixed ones (local evidence) move them."""
    net = network(rescale=rescale, contrast=True).train()
    net.freeze_batch_norm()
    x, labels = torch.randn(2, 3, 64, 64), torch.tensor([0, 1])
    once = network(rescale=rescale, contrast=True).train()
    once.freeze_batch_norm()
    once.follow(once.localize(x), (64, 64))
    weights = LossRecipe(local=1.0, tiles=2)
    training_step(net, x, labels, weights, ErasingRecipe(u=2), lambda z: z.backward())
    for (name, one), (_, other) in zip(net.named_buffers(), once.named_buffers(), strict=True):
        assert torch.equal(one, other), name


def test_the_deepest_maps_are_never_read():
    from wsol_deploy.model.pixel_head import PixelHead

    assert PixelHead((64, 128, 256), (4, 8, 16), 8).strides == (4, 8)
    dilated = PixelHead((64, 128, 256, 512), (4, 8, 8, 8), 8)
    assert dilated.strides == (4, 8) and dilated.hidden.in_channels == 64 + 128
    assert PixelHead((24, 320), (4, 8), 8).hidden.in_channels == 24


@pytest.mark.parametrize("name", ["vgg11", "densenet121", "resnet18"])
@pytest.mark.parametrize("size", [(64, 64), (61, 83)])
def test_maps_that_do_not_reach_over_the_image_are_laid_all_the_same(name, size):
    net = network(backbone=name, depths=2, pixel_head=4).eval()
    with torch.inference_mode():
        found = net.infer(torch.randn(1, 3, *size))
    assert found["mask"].shape == (1, 1, *size)
    assert net.backbone.covers == (name == "resnet18")


@pytest.mark.parametrize("size", [(64, 64), (61, 83)])
def test_the_border_is_cut_off_before_the_head_and_changes_nothing(size):
    net = network(reflect=16).eval()
    with torch.inference_mode():
        net.pixel_head.mean.normal_()
        net.pixel_head.variance.uniform_(0.5, 2)
        x = torch.randn(1, 3, *size)
        bordered = net.bordered(x)
        fine = net.pixel_head.read(net.backbone(bordered), bordered.shape[2:], border=0)
        cells = [-(-side // 4) for side in size]
        expected = net.pixel_head(fine)[:, :, 4 : 4 + cells[0], 4 : 4 + cells[1]]
        assert torch.allclose(net.pixels(net.localize(x)), expected, atol=1e-5)


def test_training_sees_the_reflected_border_that_inference_sees():
    net = network(reflect=16)
    net.freeze_batch_norm()
    x = torch.randn(2, 3, 61, 83)
    with torch.no_grad():
        found = net.train().localize(x)
        variance, mean = torch.var_mean(found.fine, dim=(0, 2, 3), keepdim=True, correction=0)
        net.pixel_head.mean.copy_(mean), net.pixel_head.variance.copy_(variance)
        learned = net.pixels(found)
        net.eval()
        assert torch.equal(net.localize(x).class_maps, found.class_maps)
        assert torch.allclose(net.pixels(net.localize(x)), learned, atol=1e-5)


def test_smoothed_is_the_mean_over_the_cells_that_are_there():
    maps = torch.arange(9.0).view(1, 1, 3, 3)
    expected = [[2, 2.5, 3], [3.5, 4, 4.5], [5, 5.5, 6]]
    assert smoothed(maps, 3)[0, 0].tolist() == expected
    assert torch.equal(smoothed(maps, 1), maps)


def test_masks_are_smoothed_alike_in_training_and_at_inference():
    rough, smooth = network(reflect=0), network(reflect=0, smooth=5)
    x = torch.randn(2, 3, 64, 64)
    before, after = (net.eval().mask(net.localize(x), (64, 64)) for net in (rough, smooth))
    steps = [(mask[:, :, :, 1:] - mask[:, :, :, :-1]).abs().mean() for mask in (before, after)]
    assert steps[1] < 0.7 * steps[0]
    assert torch.allclose(before.mean(), after.mean(), atol=0.05)
    found = smooth.localize(x)
    seen = smooth.mask(found, (64, 64))
    logits = smooth.pixels(found)
    smooth.train()
    smooth.pixels = lambda found: logits
    assert torch.equal(smooth.mask(found, (64, 64)), seen)


def test_an_even_number_of_cells_is_refused():
    with pytest.raises(UsageError, match=r"model.smooth: give an odd number \(got 4\)"):
        load_recipe("quickstart", ["model.smooth=4"])


def test_a_mask_alone_asks_nothing_of_the_deepest_blocks():
    net = network(backbone="efficientnet_lite0", depths=2, probe=0.75, reflect=16).eval()
    net.pixel_head.attached = True
    net.infer(torch.randn(1, 3, 61, 83), ["mask"])["mask"].sum().backward()
    blocks = net.backbone.features.net.blocks
    learned = [any(p.grad is not None and p.grad.any() for p in b.parameters()) for b in blocks]
    assert learned == [True, True, True, False, False]


def test_sharpening_multiplies_the_logits():
    net = network(reflect=16).eval()
    found = net.localize(torch.randn(1, 3, 64, 64))
    before = net.pixels(found)
    net.pixel_head.sharpen(3.0)
    assert torch.allclose(net.pixels(found), 3 * before, atol=1e-4)
