"""The probe, which is fitted to each image within the graph, exported like everything else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from exporting import CONFIG, quick, save_checkpoint

from wsol_deploy import runtime
from wsol_deploy.export import export_model
from wsol_deploy.export.half import halve
from wsol_deploy.model import checkpoint
from wsol_deploy.model.deploy import load_deployed

HEAD = {
    "output_stride": 16, "alignment": "middle", "reflect": 16, "pixel_head": 8, "smooth": 5,
    "probe": 0.75,
}  # fmt: skip
FORMATS = ("onnx", "torchscript", "pt2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = CONFIG.model_copy(update=HEAD)
    path = save_checkpoint(tmp_path_factory.mktemp("run") / "best.safetensors", config=config)
    network, card = checkpoint.load(path)
    torch.nn.init.normal_(network.pixel_head.logit.weight)
    network.pixel_head.sharpen(10.0)
    network.probe.usual.fill_(0.3)
    network.probe.precision.add_(0.1 * torch.rand_like(network.probe.precision))
    checkpoint.save(path, network, card)
    return path


@pytest.fixture(scope="module")
def exported(trained: Path) -> dict[str, Path]:
    return {done.kind: done.path for done in export_model(trained, FORMATS, options=quick())}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("shape", [(1, 48, 64), (1, 97, 61), (3, 50, 133)])
def test_every_format_fits_the_same_probe(
    trained: Path, exported: dict[str, Path], kind: str, shape: tuple[int, int, int]
) -> None:
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (shape[0], 8, 8, 3), dtype=np.uint8)
    batch = coarse.repeat(-(-shape[1] // 8), 1).repeat(-(-shape[2] // 8), 2)
    batch = np.ascontiguousarray(batch[:, : shape[1], : shape[2]])
    with torch.inference_mode():
        mask, *_ = load_deployed(trained)(torch.from_numpy(batch))
    found = runtime.load(exported[kind], device="cpu", trust=True).run(batch)["mask"]
    assert mask.std() > 0.05
    np.testing.assert_allclose(found, mask[:, 0].numpy().reshape(found.shape), atol=1e-3)


def test_no_side_is_cropped_on_its_own(exported: dict[str, Path]) -> None:
    graph = onnx.load(exported["onnx"]).graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    crops = {node.output[0]: node for node in graph.node if node.op_type == "Slice"}
    axes = {name: set(constants[crop.input[3]].tolist()) for name, crop in crops.items()}
    assert {2, 3} in axes.values()
    for name, crop in crops.items():
        assert axes[name] & axes.get(crop.input[0], axes[name])


def test_in_half_precision_the_probe_is_fitted_in_float32(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update=HEAD | {"backbone": "efficientnet_lite0"})
    model = load_deployed(save_checkpoint(tmp_path / "best.safetensors", config=config))
    image = torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8)
    with torch.inference_mode():
        mask, half = (each(image)[0] for each in (model, halve(model)))
    assert half.dtype == torch.float32
    assert 0 < (mask - half).abs().max() < 0.1
