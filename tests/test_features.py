"""Maps of several depths, read side by side."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from wsol_deploy.model.build import build  # noqa: E402
from wsol_deploy.model.config import ModelConfig  # noqa: E402


@pytest.mark.parametrize("alignment", ["corners", "middle"])
@pytest.mark.parametrize("reflect", [0, 16])
@pytest.mark.parametrize("depths", [1, 3])
def test_convolved_is_the_convolution_of_the_maps_side_by_side(depths, reflect, alignment):
    torch.manual_seed(0)
    config = ModelConfig(
        backbone="resnet18", weights="none", output_stride=16, last_stages="drop",
        depths=depths, alignment=alignment, reflect=reflect,
    )  # fmt: skip
    net = build(config, classes=2).eval()
    layer = nn.Conv2d(net.channels, 7, kernel_size=1)
    with torch.inference_mode():
        features = net.bordered_features(torch.randn(2, 3, 61, 83))
        joined = features.joined()
        convolved = features.convolved(layer)
        assert joined.shape == (2, net.channels, -(-61 // net.stride), -(-83 // net.stride))
        assert torch.allclose(convolved, layer(joined), atol=1e-5)
