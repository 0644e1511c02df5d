"""The networks, in torch: backbones, pooling, localizer + classifier, the deployment graph."""
