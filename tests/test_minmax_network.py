"""The localizer and classifier: outputs, sizes, what is computed, batches and borders."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from wsol_deploy.model import checkpoint  # noqa: E402
from wsol_deploy.model.build import build  # noqa: E402
from wsol_deploy.model.config import ModelConfig  # noqa: E402
from wsol_deploy.model.deploy import DeployedModel  # noqa: E402
from wsol_deploy.model.resampling import reflected  # noqa: E402

PAPER = {"backbone": "resnet18", "weights": "none"}
OURS = {
    "backbone": "mobilenet_v2", "weights": "none", "output_stride": 16, "last_stages": "drop",
    "depths": 2, "hidden": 16, "contrast": True, "modalities": 1, "kmax": 1.0, "dropout": 0.0,
    "alignment": "middle", "reflect": 32, "rescale": "running",
}  # fmt: skip


@pytest.mark.parametrize("border", [16, 48])
def test_a_reflected_border_is_padding_with_a_gradient_and_without(border):
    x = torch.randn(2, 3, 61, 83)
    asked, padded = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected = padded
    for _ in range(border // 16):
        expected = torch.nn.functional.pad(expected, (16, 16, 16, 16), mode="reflect")
    found = reflected(asked, border)
    assert torch.equal(found, expected) and torch.equal(reflected(x, border), expected)
    weights = torch.randn_like(found)
    for laid in (found, expected):
        (laid * weights).sum().backward()
    assert torch.allclose(asked.grad, padded.grad, atol=1e-5)


@pytest.fixture(scope="module", params=[PAPER, OURS], ids=["paper", "ours"])
def model(request):
    torch.manual_seed(0)
    return DeployedModel(build(ModelConfig(**request.param), 3))


@torch.inference_mode()
@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 61, 97), (1, 33, 160)])
def test_outputs_keep_the_contract(model, shape):
    n, height, width = shape
    image = torch.randint(0, 256, (*shape, 3), dtype=torch.uint8)
    result = dict(zip(model.names, model(image), strict=True))
    assert result["mask"].shape == (n, 1, height, width)
    assert result["mask"].min() >= 0 and result["mask"].max() <= 1
    for name in ("probs", "localizer_probs", "background_probs"):
        assert result[name].shape == (n, 3)
        assert torch.allclose(result[name].sum(1), torch.ones(n))
    assert result["class_maps"].shape[:2] == (n, 3)


@torch.inference_mode()
def test_a_batch_gives_what_single_images_give(model):
    images = torch.randint(0, 256, (3, 64, 80, 3), dtype=torch.uint8)
    together = model(images)
    for at in range(3):
        for whole, one in zip(together, model(images[at : at + 1]), strict=True):
            assert torch.allclose(whole[at], one[0], atol=1e-5)


@torch.inference_mode()
def test_the_mask_alone_never_runs_the_classifier(model, monkeypatch):
    def fail(*_):
        raise AssertionError("the classifier ran")

    monkeypatch.setattr(model.network, "classify", fail)
    image = torch.zeros(1, 64, 64, 3)
    assert set(model.network.infer(model.normalise(image), ("mask",))) == {"mask"}


@torch.inference_mode()
@pytest.mark.parametrize(("flips", "axes"), [(2, [[], [2]]), (4, [[], [2], [1], [1, 2]])])
def test_flips_are_the_mean_over_views_turned_back(model, flips, axes):
    image = torch.randint(0, 256, (2, 61, 97, 3), dtype=torch.uint8)
    network = build(model.network.config.model_copy(update={"flips": flips}), 3)
    network.load_state_dict(model.network.state_dict())
    found = dict(zip(model.names, DeployedModel(network)(image), strict=True))
    views = [dict(zip(model.names, model(image.flip(turn)), strict=True)) for turn in axes]
    for name in ("probs", "localizer_probs", "background_probs"):
        mean = torch.stack([view[name] for view in views]).mean(0)
        assert torch.allclose(found[name], mean, atol=1e-5)
    masks = [view["mask"][:, 0].flip(turn) for view, turn in zip(views, axes, strict=True)]
    assert torch.allclose(found["mask"][:, 0], torch.stack(masks).mean(0), atol=1e-5)
    assert torch.allclose(found["class_maps"], views[0]["class_maps"], atol=1e-5)


@torch.inference_mode()
def test_with_four_flips_a_mirrored_image_has_the_mirrored_mask(model):
    network = build(model.network.config.model_copy(update={"flips": 4}), 3)
    deployed = DeployedModel(network, ("mask",))
    image = torch.randint(0, 256, (1, 50, 70, 3), dtype=torch.uint8)
    (mask,), (mirrored,) = deployed(image), deployed(image.flip(2))
    assert torch.allclose(mask.flip(3), mirrored, atol=1e-5)


def test_contrastive_maps_sum_to_zero_over_classes():
    network = build(ModelConfig(**OURS), 3).eval()
    maps = network.localize(torch.randn(1, 3, 64, 64)).class_maps
    assert maps.sum(dim=1).abs().max() < 1e-5


def test_reflected_borders_leave_the_size_of_the_maps_alone():
    torch.manual_seed(0)
    with_border = build(ModelConfig(**OURS), 2).eval()
    without = build(ModelConfig(**{**OURS, "reflect": 0}), 2).eval()
    without.load_state_dict(with_border.state_dict())
    x = torch.randn(1, 3, 224, 240)
    a, b = with_border.localize(x).class_maps, without.localize(x).class_maps
    assert a.shape == b.shape
    inner = (slice(None), slice(None), slice(13, 15), slice(14, 16))
    assert (a - b)[inner].abs().max() < (a - b).abs().max()  # what changes is at the border


def test_running_ranges_follow_the_training_images_and_travel_with_the_weights(tmp_path):
    torch.manual_seed(0)
    network = build(ModelConfig(**OURS), 2)
    network.freeze_batch_norm()
    network.train()
    found = network.localize(torch.randn(2, 3, 64, 64))
    found = found._replace(class_maps=torch.randn_like(found.class_maps))
    for _ in range(200):
        network.follow(found, (64, 64))
    network.eval()
    settled = network.low.clone(), network.high.clone()
    mask = network.mask(found, (64, 64))
    assert mask.min() < 0.25 and mask.max() > 0.75
    assert (network.low, network.high) == settled  # inference does not move them
    faint = found._replace(class_maps=found.class_maps * 0.1)
    assert network.mask(faint, (64, 64)).max() < mask.max()
    assert {"low", "high"} <= set(network.state_dict())


def test_frozen_batch_norm_survives_a_return_to_training_mode():
    network = build(ModelConfig(**PAPER), 2)
    network.freeze_batch_norm()
    before = {k: v.clone() for k, v in network.state_dict().items() if "running" in k}
    network.eval()
    network.train()
    network.localize(torch.randn(2, 3, 64, 64))
    after = network.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_a_checkpoint_whose_weights_were_changed_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    from wsol_deploy.artifacts import read_card
    from wsol_deploy.card import CARD_KEY, ModelCard
    from wsol_deploy.errors import ArtifactError

    config = ModelConfig(**OURS)
    network = build(config, 2)
    path = tmp_path / "best.safetensors"
    made = ModelCard(name="x", method="minmax", classes=["a", "b"], model=config.model_dump())
    checkpoint.save(path, network, made)
    checkpoint.load(path)
    tensors = load_file(path)
    tensors["localizer.maps.bias"] += 1
    save_file(tensors, path, metadata={CARD_KEY: read_card(path).to_json()})
    with pytest.raises(ArtifactError, match="not those its card was written for"):
        checkpoint.load(path)


def test_a_checkpoint_of_another_version_is_refused_with_the_field(tmp_path):
    from wsol_deploy.card import ModelCard
    from wsol_deploy.errors import ArtifactError

    config = ModelConfig(**OURS)
    path = tmp_path / "best.safetensors"
    newer = config.model_dump() | {"transformer": 3}
    card = ModelCard(name="x", method="minmax", classes=["a", "b"], model=newer)
    checkpoint.save(path, build(config, 2), card)
    with pytest.raises(ArtifactError, match=r"another version .*model\.transformer"):
        checkpoint.load(path)


def test_a_checkpoint_with_other_layers_is_of_another_version(tmp_path):
    from wsol_deploy.card import ModelCard
    from wsol_deploy.errors import ArtifactError

    path = tmp_path / "best.safetensors"
    made = ModelConfig(**OURS | {"hidden": 8}).model_dump()
    card = ModelCard(name="x", method="minmax", classes=["a", "b"], model=made)
    checkpoint.save(path, build(ModelConfig(**OURS | {"hidden": 4}), 2), card)
    with pytest.raises(ArtifactError, match=r"other layers .*localizer\.project.* another version"):
        checkpoint.load(path)


def test_layers_that_another_timm_leaves_behind_the_deepest_map_are_passed_over(tmp_path):
    from wsol_deploy.card import ModelCard

    config = ModelConfig(**OURS)
    network = build(config, 2)
    network.backbone.leftover = torch.nn.Linear(2, 2)
    path = tmp_path / "best.safetensors"
    card = ModelCard(name="x", method="minmax", classes=["a", "b"], model=config.model_dump())
    checkpoint.save(path, network, card)
    found = checkpoint.load(path)[0].state_dict()
    assert "backbone.leftover.weight" not in found
    assert all(torch.equal(found[name], network.state_dict()[name]) for name in found)
