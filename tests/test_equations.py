"""Each equation of the paper against values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import tensor
from torch.testing import assert_close
from training import tiny_network

from wsol_deploy.model.config import ModelConfig
from wsol_deploy.model.heads import Localization
from wsol_deploy.model.masks import decidability
from wsol_deploy.model.pooling import WildcatPooling, posterior, wildcat
from wsol_deploy.train.erasing import accumulate, near, trust
from wsol_deploy.train.losses import cross_entropy, uniform_cross_entropy

LN3 = math.log(3)


@pytest.mark.parametrize("equation", ["3", "8"])
def test_eq_3_and_8_cross_entropy_is_minus_log_of_the_true_class(equation):
    # softmax of (ln 3, 0) is (3/4, 1/4)
    logits = tensor([[LN3, 0.0], [LN3, 0.0], [0.0, 0.0]])
    labels = tensor([0, 1, 1])
    expected = tensor([math.log(4 / 3), math.log(4), math.log(2)])
    assert_close(cross_entropy(logits, labels), expected)


def test_eq_6_is_the_mean_of_minus_log_over_classes():
    # -(ln 3/4 + ln 1/4) / 2 = ln(16/3) / 2; uniform over 2: ln 2, its minimum
    logits = tensor([[LN3, 0.0], [5.0, 5.0]])
    expected = tensor([math.log(16 / 3) / 2, math.log(2)])
    assert_close(
        uniform_cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long)), expected
    )


def test_eq_6_is_least_for_the_uniform_posterior():
    flat = uniform_cross_entropy(torch.zeros(1, 4), torch.tensor([0]))
    assert_close(flat, tensor([math.log(4)]))
    assert (uniform_cross_entropy(torch.eye(4), torch.arange(4)) > flat).all()


def test_eq_10_averages_the_maps_under_the_posterior():
    maps = tensor([[[[1.0, -2.0]], [[4.0, 8.0]]]])  # 1 x 2 x 1 x 2
    p = posterior(tensor([[LN3, 0.0]]))
    # 3/4 * (1, -2) + 1/4 * (4, 8)
    assert_close(decidability(maps, p), tensor([[[[1.75, 0.5]]]]))


def test_eq_11_upsamples_rescales_and_thresholds_softly():
    t = tensor([[[[-1.0, 1.0], [1.0, 3.0]]]])
    # aligned corners, 3 x 3: (-1 0 1; 0 1 2; 1 2 3); in [0, 1]: (0 1/4 1/2; 1/4 1/2 3/4; ...)
    expected = 1 / (1 + torch.exp(-8 * (tensor([0.0, 0.25, 0.5, 0.75, 1.0]) - 0.5)))
    network = tiny_network(2, omega=8.0, sigma_prime=0.5)
    mask = network.mask(Localization(t.expand(1, 2, 2, 2), torch.zeros(1, 2)), (3, 3))[0, 0]
    assert_close(mask, expected[tensor([[0, 1, 2], [1, 2, 3], [2, 3, 4]])])
    assert mask[0, 0].item() == pytest.approx(0.0179862, abs=1e-6)


def test_eq_11_rescales_each_image_by_itself_and_survives_a_constant_map():
    t = tensor([[0.0, 10.0], [0.0, 1.0], [7.0, 7.0]]).view(3, 1, 1, 2)
    network = tiny_network(2, omega=8.0, sigma_prime=0.5)
    mask = network.mask(Localization(t.expand(3, 2, 1, 2), torch.zeros(3, 2)), (1, 2))
    least, most = 1 / (1 + math.exp(4)), 1 / (1 + math.exp(-4))
    assert_close(mask[:, 0, 0], tensor([[least, most], [least, most], [least, least]]))


def test_eq_12_keeps_the_larger_of_collected_and_trusted():
    collected = tensor([0.5, 0.1]).view(1, 1, 1, 2)
    mask = tensor([0.8, 0.6]).view(1, 1, 1, 2)
    # psi 1/2: max(0.5, 0.4), max(0.1, 0.3)
    assert_close(accumulate(collected, tensor([0.5]), mask), tensor([0.5, 0.3]).view(1, 1, 1, 2))


@pytest.mark.parametrize("t", [0, 1, 4])
def test_eq_13_trust_falls_exponentially_with_depth(t):
    logits, labels = tensor([[LN3, 0.0]]), tensor([0])
    loss = cross_entropy(logits, labels)
    psi = trust(t, logits, labels, loss, loss, sigma=10.0)
    assert_close(psi, tensor([math.exp(-t / 10) * 0.75]))


def test_eq_14_trusts_only_the_true_class_at_no_higher_loss():
    logits = tensor([[LN3, 0.0], [0.0, LN3], [LN3, 0.0], [LN3, 0.0]])
    labels = tensor([0, 0, 0, 0])
    loss = cross_entropy(logits, labels)
    first = loss + tensor([0.1, 9.0, -0.1, 0.0])  # lower now; wrong class; higher now; equal
    psi = trust(0, logits, labels, loss, first, sigma=10.0)
    assert_close(psi, tensor([0.75, 0.0, 0.0, 0.75]))


def test_a_tolerance_lets_the_loss_rise_by_so_much():
    logits, labels = tensor([[LN3, 0.0]]), tensor([0])
    loss = cross_entropy(logits, labels)
    for rise, trusted in ((0.4, True), (0.6, False)):
        psi = trust(1, logits, labels, loss, loss - rise, sigma=10.0, tolerance=0.5)
        assert bool(psi > 0) == trusted


def test_erasing_that_remembers_grows_only_around_what_it_has():
    collected = torch.zeros(2, 1, 32, 32)
    collected[0, 0, 4, 4], collected[1] = 0.5, 0.2
    around = near(collected, reach=8)[:, 0]
    assert around[0, :8, :8].eq(1).all()
    assert around[0, 4, 16:].eq(0).all() and around[0, 16:].eq(0).all()
    assert around[1].eq(1).all()


@pytest.mark.parametrize("reach", [0, 8])
def test_the_first_mask_and_erasing_without_reach_may_go_anywhere(reach):
    collected = torch.rand(1, 1, 9, 9) * (reach == 0)
    assert near(collected, reach).eq(1).all()


@pytest.mark.parametrize("kmax", [1.0, 0.5])
def test_pooling_all_places_alike_is_what_sorting_them_gives(kmax):
    maps = torch.linspace(-2, 3, 24).sin().view(1, 2, 3, 4)
    config = ModelConfig(kmax=kmax, alpha=0.0, dropout=0.0)
    assert_close(wildcat(config)(maps), WildcatPooling(kmax, config.kmin, 0.0, 0.0)(maps))
    assert (wildcat(config)(maps) - maps.mean(dim=(2, 3))).abs().max().item() > 1e-3 or kmax == 1
