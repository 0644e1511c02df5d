"""Merge batch normalisation into the convolutions before it, once for all formats.

Left to the runtimes, each merges it again for every pass of the backbone and keeps the weights as
often.
"""

from __future__ import annotations

import copy

import torch
from timm.layers import Conv2dSame
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from wsol_deploy.export.shape import DYNAMIC
from wsol_deploy.model.backbones import SameConv2d
from wsol_deploy.model.deploy import DeployedModel

LINEAR = (nn.Conv2d, SameConv2d, Conv2dSame)  # in their weights: others change them before


def fold(model: DeployedModel) -> DeployedModel:
    """A copy of the model that computes the same without batch normalisation."""
    network = copy.deepcopy(model.network)
    folded = DeployedModel(network, model.names)
    names = {module: name for name, module in folded.named_modules()}
    for norm, convolution in _pairs(folded).items():
        fused = fuse_conv_bn_eval(convolution.double(), norm.double())
        _replace(folded, names[convolution], fused.float())
        _replace(folded, names[norm], _what_else(norm))
    return folded


def _pairs(model: DeployedModel) -> dict[nn.BatchNorm2d, nn.Conv2d]:
    """Each normalisation whose input is the output of one convolution, seen in a run."""
    made: dict[int, tuple[torch.Tensor, nn.Conv2d]] = {}
    pairs: dict[nn.BatchNorm2d, nn.Conv2d] = {}

    def remember(module: nn.Module, _: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        made[id(output)] = output, module  # type: ignore[assignment]

    def look_up(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if id(inputs[0]) in made:
            pairs[module] = made[id(inputs[0])][1]  # type: ignore[index]

    hooks = []
    for module in model.modules():
        if type(module) in LINEAR:
            hooks.append(module.register_forward_hook(remember))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(look_up))
    with torch.inference_mode():
        model(DYNAMIC.example())
    for hook in hooks:
        hook.remove()
    return pairs


def _what_else(norm: nn.BatchNorm2d) -> nn.Module:
    """What a normalisation does besides: timm's have an activation of their own."""
    act = getattr(norm, "act", None)
    return act if isinstance(act, nn.Module) else nn.Identity()


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, module)
