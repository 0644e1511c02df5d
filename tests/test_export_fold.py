"""Batch normalisation merged into the convolutions before it."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from wsol_deploy.export.fold import fold  # noqa: E402
from wsol_deploy.model.build import build  # noqa: E402
from wsol_deploy.model.config import ModelConfig  # noqa: E402
from wsol_deploy.model.deploy import DeployedModel  # noqa: E402


def test_no_batch_normalisation_is_left_of_efficientnet_lite0():
    network = build(ModelConfig(backbone="efficientnet_lite0", weights="none"), classes=2)
    for norm in (one for one in network.modules() if isinstance(one, nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 1.5)
    model = DeployedModel(network.eval())
    folded = fold(model)
    assert not [one for one in folded.modules() if isinstance(one, nn.BatchNorm2d)]
    image = torch.randint(0, 255, (1, 97, 110, 3), dtype=torch.uint8)
    with torch.inference_mode():
        for expected, found in zip(model(image), folded(image), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
