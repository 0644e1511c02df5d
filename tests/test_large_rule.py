"""The card's mask rule, in numpy, gives the mask that the network gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wsol_deploy.export.describe import mask_rule
from wsol_deploy.model.build import build
from wsol_deploy.model.config import ModelConfig
from wsol_deploy.runtime.softmap import (
    drawn_map,
    logits,
    pooled_posterior,
    soft_map,
    towards_usual,
)

BACKBONE = {"backbone": "resnet18", "weights": "none", "output_stride": 16, "last_stages": "drop"}
METHODS = {
    "paper": {"kmax": 0.09, "kmin": 0.09, "alpha": 0.6},
    "default": {"kmax": 1.0, "alignment": "middle", "rescale": "running", "contrast": True},
    "cam-avg": {"method": "cam-avg"},
    "cam-max": {"method": "cam-max"},
    "cam-lse": {"method": "cam-lse"},
    "wildcat": {"method": "wildcat", "alignment": "middle"},
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("size", [(97, 128), (64, 65)])
def test_the_rule_gives_the_networks_mask(name, size):
    torch.manual_seed(0)
    network = build(ModelConfig(**BACKBONE, **METHODS[name]), 3).eval()
    if name == "default":
        network.low.fill_(-0.1)
        network.high.fill_(0.4)
    with torch.inference_mode():
        found = {
            key: value.numpy() for key, value in network.infer(torch.randn(1, 3, *size)).items()
        }
    rule = mask_rule(network)
    assert rule is not None
    maps = found["class_maps"][0]
    covered = np.ones(maps.shape[1:], bool)
    posterior = pooled_posterior(maps, covered, rule)
    expected = found.get("localizer_probs", found["probs"])[0]
    assert np.abs(posterior - expected).max() < 1e-5
    soft = soft_map(maps, covered, posterior, rule, size, size)
    mask = soft.at(np.arange(size[0]), np.arange(size[1]))
    assert np.abs(mask - found["mask"][0, 0]).max() < 1e-4


def test_a_pixel_heads_mask_is_had_from_its_logits():
    torch.manual_seed(0)
    network = build(ModelConfig(**BACKBONE, pixel_head=8), 2).eval()
    with torch.inference_mode():
        mask = network.infer(torch.randn(1, 3, 97, 128), ("mask",))["mask"][0, 0].numpy()
    rule = mask_rule(network)
    assert rule is not None and rule.pixel_stride == 4
    drawn = logits(mask, rule.pixel_stride)[0]
    soft = drawn_map(drawn, np.ones(drawn.shape, bool), rule.pixel_stride, mask.shape, mask.shape)
    assert np.abs(soft.at(np.arange(97), np.arange(128)) - mask).max() < 1e-4


def test_only_the_whole_images_share_goes_towards_the_usual():
    torch.manual_seed(0)
    network = build(ModelConfig(**BACKBONE, alignment="middle", pixel_head=8, probe=0.75), 2).eval()
    torch.nn.init.normal_(network.pixel_head.logit.weight, std=20.0)
    network.probe.usual.fill_(0.4)
    with torch.inference_mode():
        mask = network.infer(torch.randn(1, 3, 96, 128), ("mask",))["mask"][0, 0].numpy()
    rule = mask_rule(network)
    assert rule is not None and rule.usual == pytest.approx(0.4)
    assert rule.pixel_stride == 4
    covered = np.ones((24, 32), bool)
    as_one_tile = logits(mask + (mask.mean() - np.float32(rule.usual)), rule.pixel_stride)
    whole = towards_usual(as_one_tile, covered, rule.usual)[0]
    soft = drawn_map(whole, covered, rule.pixel_stride, mask.shape, mask.shape)
    assert mask.std() > 0.02
    assert np.abs(soft.at(np.arange(96), np.arange(128)) - mask).max() < 0.02
    empty = towards_usual(np.full((1, 24, 32), -3.0, np.float32), covered, 0.4)
    assert 1 / (1 + np.exp(-empty)) == pytest.approx((0.4 + 1 / (1 + np.exp(3))) / 2, abs=1e-4)


@pytest.mark.parametrize("method", ["deep-mil", "all-ones", "centre-box"])
def test_methods_without_a_rule(method):
    assert mask_rule(build(ModelConfig(**BACKBONE, method=method), 3)) is None
