"""The training step against a slow, per-sample transcription of Algorithm 1."""

from __future__ import annotations

import math

import pytest
import torch
from training import tiny_network

from wsol_deploy.train.recipe import ErasingRecipe, LossRecipe
from wsol_deploy.train.step import training_step

CLASSES = 3


def algorithm_1(network, x, labels, u, sigma, attached):
    """Alg. 1 in its own words: (gradients, losses, forwards of M, depth reached by each image).

    Two decisions of ours: the clean pass always counts, and without erasing (u = 0) the mask is
    used as it is.
    """
    network.zero_grad()
    n = len(x)
    size = x.shape[2:]
    losses = {"localizer": 0.0, "foreground": 0.0, "background": 0.0}
    forwards, depths = 0, []
    for i in range(n):
        image, y = x[i : i + 1], labels[i]
        collected = torch.zeros_like(image[:, :1])
        erased, t, stop, total = image, 0, False, 0.0
        while t <= u and not stop:
            found = network.localize(erased)
            forwards += 1
            p = found.logits.softmax(1)[0]
            loss = -torch.log(p[y])
            if t == 0:
                first = loss.item()
            mask = network.mask(found, size)
            if not attached:
                mask = mask.detach()
            right = found.logits.argmax().item() == y.item()
            gamma = p[y].item() if right and loss.item() <= first else 0.0
            psi = math.exp(-t / sigma) * gamma
            if t == 0 or psi != 0:
                total = total + loss
                losses["localizer"] += loss.item() / n
            if u == 0:
                collected, stop = mask, True
            elif psi != 0:
                collected = torch.maximum(collected, psi * mask)
                erased = erased * (1 - collected)
            else:
                stop = True
            t += 1
        depths.append(t)
        plus = network.classify(image * collected).log_softmax(1)[0]
        minus = network.classify(image * (1 - collected)).log_softmax(1)[0]
        losses["foreground"] += -plus[y].item() / n
        losses["background"] += -minus.mean().item() / n
        ((total - plus[y] - minus.mean()) / n).backward()
    gradients = {name: p.grad.clone() for name, p in network.named_parameters()}
    return gradients, losses, forwards, depths


def case():
    """A network and six images: the first mislabelled, the others lasting 3, 5, 5, 2, 5 passes."""
    network = tiny_network(CLASSES, seed=2, gain=3.0)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(6, 3, 32, 40, generator=generator, dtype=torch.float64)
    x += torch.linspace(0, 1, 6, dtype=torch.float64)[:, None, None, None]
    return network, x, torch.tensor([2, 1, 1, 1, 1, 1])


def run(network, x, labels, **erasing):
    network.zero_grad()
    report = training_step(
        network, x, labels, LossRecipe(), ErasingRecipe(**erasing), lambda loss: loss.backward()
    )
    return report, {name: p.grad.clone() for name, p in network.named_parameters()}


@pytest.mark.parametrize("mask_gradient", ["detached", "attached"])
@pytest.mark.parametrize("u", [0, 1, 4])
def test_step_is_algorithm_1(u, mask_gradient):
    network, x, labels = case()
    expected, losses, forwards, depths = algorithm_1(
        network, x, labels, u, 10.0, mask_gradient == "attached"
    )
    report, gradients = run(network, x, labels, u=u, sigma=10.0, mask_gradient=mask_gradient)
    assert report.passes == forwards
    for name, value in losses.items():
        assert report.losses[name].item() == pytest.approx(value, abs=1e-5), name
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-5, rtol=1e-5, msg=name)
    assert depths == [min(depth, u + 1) for depth in (1, 3, 5, 5, 2, 5)]


def test_a_stopped_sample_is_not_forwarded_again(monkeypatch):
    network, x, labels = case()
    seen = []
    localize = network.localize
    monkeypatch.setattr(network, "localize", lambda x: seen.append(len(x)) or localize(x))
    report, _ = run(network, x, labels, u=4)
    assert seen == [6, 5, 4, 3, 3]
    assert report.passes == 21


def test_erasing_ends_when_no_sample_is_trusted():
    network, x, _ = case()
    always_wrong = (network.localize(x).logits.argmax(1) + 1) % CLASSES
    report, _ = run(network, x, always_wrong, u=4)
    assert report.passes == len(x)
    assert report.correct == 0


def test_detached_mask_gives_the_localizer_only_its_own_loss():
    network, x, labels = case()
    heads = {}
    for mask_gradient in ("detached", "attached"):
        network.zero_grad()
        training_step(
            network, x, labels, LossRecipe(localizer=0.0),
            ErasingRecipe(u=0, mask_gradient=mask_gradient), lambda loss: loss.backward(),
        )  # fmt: skip
        gradient = network.localizer.maps.weight.grad
        heads[mask_gradient] = 0.0 if gradient is None else gradient.abs().max().item()
    assert heads["detached"] == 0.0
    assert heads["attached"] > 0.0


def test_weights_scale_the_terms():
    network, x, labels = case()
    erasing = ErasingRecipe(u=0)

    def gradient(**weights):
        network.zero_grad()
        loss = LossRecipe(**{"localizer": 0, "foreground": 0, "background": 0} | weights)
        training_step(network, x, labels, loss, erasing, lambda loss: loss.backward())
        return network.backbone.features.layers[0].weight.grad.clone()

    parts = gradient(localizer=2) + gradient(foreground=3) + gradient(background=0.5)
    whole = gradient(localizer=2, foreground=3, background=0.5)
    torch.testing.assert_close(whole, parts)


def test_a_pass_repeated_for_its_gradient_moves_no_statistics():
    moved = {}
    for mask_gradient in ("detached", "attached"):
        network, x, labels = case()
        network.batch_norm_frozen = False
        run(network.train(), x, labels, u=2, mask_gradient=mask_gradient)
        moved[mask_gradient] = network.backbone.features.layers[1].running_mean
    assert float(moved["detached"].abs().max()) > 0
    torch.testing.assert_close(moved["attached"], moved["detached"])


def test_self_training_reaches_the_backbone_without_the_localizer_s_loss():
    network = tiny_network(pixel_head=4).float()
    network.pixel_head.attached = True
    x, taught = torch.randn(2, 3, 64, 64), torch.rand(2, 1, 64, 64)
    training_step(
        network, x, torch.tensor([0, 1]),
        LossRecipe(localizer=0.0, foreground=0.0, background=0.0, pixels=1.0), ErasingRecipe(u=0),
        lambda loss: loss.backward(), taught=taught,
    )  # fmt: skip
    assert network.backbone.features.layers[0].weight.grad.abs().sum() > 0
