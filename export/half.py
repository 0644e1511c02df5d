"""fp16 where the work is: the backbone; heads, pooling and mask stay in float32."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from wsol_deploy.model.deploy import DeployedModel


class HalfBackbone(nn.Module):
    """A backbone in fp16 between float32 neighbours, with the attributes of the backbone."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.half_precision = backbone.half()
        for name, value in vars(backbone).items():
            if not name.startswith("_") and name != "training":
                setattr(self, name, value)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Feature maps, float32, of N x 3 x H x W, float32."""
        return [maps.float() for maps in self.half_precision(x.half())]


def halve(model: DeployedModel) -> DeployedModel:
    """A copy of the model whose backbone computes in fp16."""
    network = copy.deepcopy(model.network)
    network.backbone = HalfBackbone(network.backbone)
    return DeployedModel(network, model.names)
