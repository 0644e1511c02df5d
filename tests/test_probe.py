"""The probe: a mask redrawn by what one image's own features say of it."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from wsol_deploy.model.build import build  # noqa: E402
from wsol_deploy.model.config import ModelConfig  # noqa: E402
from wsol_deploy.model.probe import (  # noqa: E402
    RIDGE,
    Probe,
    logits_of,
    usual_share,
)
from wsol_deploy.train.updates import _follow  # noqa: E402


def network(classes=2, **changes):
    torch.manual_seed(0)
    settings = {
        "backbone": "resnet18", "weights": "none", "output_stride": 16, "last_stages": "drop",
        "modalities": 1, "kmax": 1.0, "dropout": 0.0, "alignment": "middle", "pixel_head": 8,
        "probe": 0.75,
    }  # fmt: skip
    return build(ModelConfig(**(settings | changes)), classes=classes)


def a_probe(maps, strides=(4, 16), masks=1):
    """A probe that has seen these maps until it knows them."""
    torch.manual_seed(0)
    probe = Probe([m.shape[1] for m in maps], strides, masks, covers=True)
    for _ in range(200):
        probe.follow(maps)
    return probe.eval()


def test_it_is_fishers_discriminant_with_the_covariance_of_the_training_images():
    torch.manual_seed(0)
    maps = [torch.randn(1, 3, 24, 32) @ torch.randn(32, 32) / 6]
    mask = (torch.rand(1, 1, 24, 32) > 0.7).float()
    probe = a_probe(maps, [4])
    x, y = maps[0].flatten(2)[0], mask.flatten()
    centred = x - x.mean(dim=1, keepdim=True)
    within = centred @ centred.T / x.shape[1]
    within = within + RIDGE * within.diagonal().diag()
    apart = x[:, y == 1].mean(dim=1) - x[:, y == 0].mean(dim=1)
    expected = torch.linalg.solve(within, apart) @ x
    found = probe(0.3 + 0.1 * mask, maps).flatten()
    assert torch.corrcoef(torch.stack([expected, found]))[0, 1] > 0.9999


def test_what_looks_the_same_is_drawn_the_same():
    torch.manual_seed(0)
    truth = torch.zeros(1, 1, 48, 64)
    truth[:, :, 8:32, 16:48] = 1
    fine = torch.cat([truth, torch.randn(1, 3, 48, 64)], dim=1)
    deep = torch.cat([functional.avg_pool2d(1 - truth, 4), torch.randn(1, 5, 12, 16)], dim=1)
    patchy = (0.2 + 0.6 * truth + 0.3 * torch.randn(1, 1, 48, 64)).clamp(0, 1)
    redrawn = a_probe([fine, deep])(patchy, [fine, deep])
    wrong = [((mask > 0.5) != (truth > 0.5)).float().mean() for mask in (patchy, redrawn)]
    assert wrong[1] < 0.5 * wrong[0]


def test_mean_and_spread_are_kept():
    torch.manual_seed(0)
    maps = [torch.randn(2, 4, 16, 24), torch.randn(2, 6, 4, 6)]
    masks = 0.5 + 0.05 * torch.randn(2, 1, 16, 24)
    redrawn = a_probe(maps)(masks, maps)
    assert torch.allclose(redrawn.mean(dim=(1, 2, 3)), masks.mean(dim=(1, 2, 3)), atol=0.01)
    fine = functional.interpolate(maps[1], scale_factor=4.0, mode="nearest")
    net = a_probe([maps[0], fine], [4, 4])  # all on one grid: what is fitted is what is drawn
    redrawn = net(masks, [maps[0], fine])
    spread = [mask.std(dim=(1, 2, 3)) for mask in (masks, redrawn)]
    assert torch.allclose(spread[0], spread[1], rtol=0.02)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_flat_mask_or_an_image_of_one_colour_stays_as_it_is(value):
    flat = torch.full((1, 2, 8, 8), value)
    maps = [torch.randn(1, 4, 8, 8), torch.randn(1, 6, 2, 2)]
    assert torch.allclose(a_probe(maps, masks=2)(flat, maps), flat, atol=1e-2)
    colourless = [torch.ones(1, 4, 8, 8), torch.ones(1, 6, 2, 2)]
    drawn = a_probe(colourless)(torch.rand(1, 1, 8, 8), colourless)
    assert drawn.std() < 1e-3  # nothing to tell places apart by


def test_each_image_and_each_mask_has_a_probe_of_its_own():
    torch.manual_seed(0)
    maps = [torch.randn(3, 4, 16, 16), torch.randn(3, 6, 4, 4)]
    masks = torch.rand(3, 2, 16, 16)
    probe = a_probe(maps, masks=2)
    together = probe(masks, maps)
    for image in range(3):
        for number in range(2):
            one = masks[image : image + 1, number : number + 1]
            alone = probe(one, [m[image : image + 1] for m in maps])
            assert torch.allclose(together[image, number], alone[0, 0], atol=1e-4)


def test_a_share_goes_half_way_to_the_usual_one():
    masks = torch.stack([torch.full((1, 4, 4), 0.2), torch.full((1, 4, 4), 0.6)])
    moved = usual_share(masks, torch.full((1, 1, 1), 0.4))
    assert moved.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0.3, 0.5])
    assert usual_share(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1)).max() == 1


def test_logits_of_masks_are_finite_and_give_them_back():
    masks = torch.tensor([0.0, 0.02, 0.5, 0.9, 1.0])
    logits = logits_of(masks)
    assert torch.isfinite(logits).all()
    assert logits[1:4].sigmoid().tolist() == pytest.approx([0.02, 0.5, 0.9])


@pytest.mark.parametrize("size", [(64, 64), (61, 83)])
@pytest.mark.parametrize("changes", [{}, {"reflect": 16, "smooth": 5}, {"task": "multi-label"}])
def test_only_inference_has_the_probe(size, changes):
    net, plain = (network(**changes, probe=share).eval() for share in (0.75, 0.0))
    x = torch.randn(2, 3, *size)
    with torch.inference_mode():
        found = net.localize(x)
        assert torch.equal(net.masks(found, size), plain.masks(plain.localize(x), size))
        seen, before = net.infer(x)["mask"], plain.infer(x)["mask"]
    assert seen.shape == before.shape
    assert not torch.allclose(seen, before, atol=1e-3)
    net.probe.forward = lambda masks, maps: masks.mean(dim=(2, 3), keepdim=True).expand_as(masks)
    with torch.inference_mode():
        flat = net.infer(x)["mask"]
    within = [mask.std(dim=(2, 3)).mean() for mask in (flat, seen)]
    assert within[0] < 0.6 * within[1]  # three quarters of the mask are the probe's
    assert 0 <= seen.min() <= seen.max() <= 1


def test_the_usual_share_follows_the_training_images():
    net = network().train()
    net.freeze_batch_norm()
    torch.nn.init.constant_(net.pixel_head.logit.bias, 3.0)
    x = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        found = net.localize(x)
        share = net.pixels(found).sigmoid().mean()
        for _ in range(100):
            net.follow(found, (64, 64))
    assert share > 0.8
    assert net.probe.usual.item() == pytest.approx(share.item(), abs=0.01)


def test_the_usual_share_of_a_class_is_that_of_images_that_show_it():
    net = network(task="multi-label").train()
    shares = torch.tensor([[0.9, 0.1], [0.5, 0.3]])
    for _ in range(200):
        net._follow(net.probe.usual, shares, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert net.probe.usual.flatten().tolist() == pytest.approx([0.9, 0.3], abs=0.01)


def test_a_feature_that_did_not_vary_in_training_decides_nothing():
    torch.manual_seed(0)
    truth = torch.zeros(1, 1, 32, 32)
    truth[:, :, 8:24, 8:24] = 1
    maps = [torch.cat([truth + 0.5 * torch.randn(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)], dim=1)]
    probe = a_probe(maps, [4])
    loud = maps[0].clone()
    loud[:, 1] = 0.01 * torch.randn(32, 32)
    apart = (probe(0.3 + 0.4 * truth, maps) - probe(0.3 + 0.4 * truth, [loud])).abs().mean()
    assert apart < 0.02


def test_an_average_of_networks_inverts_its_own_covariance():
    net = network()
    average = copy.deepcopy(net).eval()
    size = len(net.probe.covariance)
    for _ in range(5):
        varied = torch.randn(size, 4 * size)
        net.probe.covariance.copy_(varied @ varied.T / size)
        net.eval()
        _follow(average, net, 0.9)
    average.eval()
    own, covariance = average.probe.precision, average.probe.covariance
    assert not torch.allclose(covariance, net.probe.covariance, atol=0.1)
    ridged = covariance + RIDGE * covariance.diagonal().diag()
    assert torch.allclose(own @ ridged, torch.eye(size), atol=1e-3)


def test_depths_whose_strides_do_not_divide_are_left_out(monkeypatch):
    net = network()
    net.backbone.strides = [4, 9, 19]
    monkeypatch.setattr(type(net), "stride", 19)
    assert net._nested(0) == [0]
    net.backbone.strides = [4, 8, 16]
    assert net._nested(0) == [0, 1, 2]
