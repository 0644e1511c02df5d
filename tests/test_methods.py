"""The other methods of Table 1: poolings, attention, masks, constants, steps and recipes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from training import TINY, TinyFeatures, write_images

from wsol_deploy.card import SizePolicy
from wsol_deploy.datasets import open_dataset
from wsol_deploy.errors import UsageError
from wsol_deploy.evaluation.baselines import BASELINES
from wsol_deploy.model.backbones import Backbone
from wsol_deploy.model.build import build
from wsol_deploy.model.cam import CamNetwork
from wsol_deploy.model.config import ModelConfig
from wsol_deploy.model.constant import AREAS, ConstantNetwork
from wsol_deploy.model.features import Depth, Features
from wsol_deploy.model.heads import AttentionHead, Localization
from wsol_deploy.model.pooling import AveragePooling, LSEPooling, MaxPooling, WildcatPooling
from wsol_deploy.train.augment import augment
from wsol_deploy.train.loader import Images, TrainLoader, whole_images
from wsol_deploy.train.methods import METHODS
from wsol_deploy.train.recipe import DataRecipe
from wsol_deploy.train.recipe_file import load_recipe, to_toml
from wsol_deploy.train.supervised import classification_step, segmentation_step

MAP = torch.tensor([[[[3.0, 1.0, -2.0, 0.0, 5.0]]]])


@pytest.mark.parametrize(
    ("pooling", "score"),
    [
        (AveragePooling(), 7 / 5),
        (MaxPooling(), 5.0),
        (LSEPooling(2.0), math.log(sum(math.exp(2 * a) for a in (3, 1, -2, 0, 5)) / 5) / 2),
        (WildcatPooling(0.4, 0.4, 0.5, 0.0), (5 + 3) / 2 + 0.5 * (-2 + 0) / 2),
        (WildcatPooling(0.01, 0.2, 0.7, 0.0), 5 + 0.7 * -2),
    ],
    ids=["average", "max", "lse", "wildcat", "wildcat-one-location"],
)
def test_pooling_by_hand(pooling, score):
    assert pooling(MAP).item() == pytest.approx(score, rel=1e-5)


def test_log_sum_exp_lies_between_mean_and_maximum_and_never_overflows():
    maps = torch.randn(4, 3, 5, 7, generator=torch.Generator().manual_seed(0)) * 100
    small, large = LSEPooling(1e-2)(maps / 100), LSEPooling(50.0)(maps)
    torch.testing.assert_close(small, AveragePooling()(maps / 100), atol=0.02, rtol=0)
    torch.testing.assert_close(large, MaxPooling()(maps), atol=0.1, rtol=0)


def test_attention_by_hand():
    head = AttentionHead(2, 2, ModelConfig(attention=1))
    weights = {
        "attention.0.weight": [[1.0, -1.0]], "attention.0.bias": [0.5],
        "attention.2.weight": [[2.0], [0.0]],
        "evidence.weight": [[1.0, 0.0], [3.0, -1.0]], "evidence.bias": [0.25, 0.0],
    }  # fmt: skip
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            parameter.copy_(torch.tensor(weights[name]).view_as(parameter))
    h = np.array([[1.0, 2.0], [0.0, 1.0], [-1.0, 0.5]])  # three locations, two features
    instances = torch.tensor(h.T, dtype=torch.float32).view(1, 2, 1, 3)
    found = head(Features([Depth(instances, 2, lambda maps: maps)]))
    e = np.exp(2 * np.tanh(h @ [1.0, -1.0] + 0.5))
    a = e / e.sum()  # class 0 attends; class 1 has weight 0, so it takes the mean
    z = (a[:, None] * h).sum(axis=0)
    expected = [z @ [1.0, 0.0] + 0.25, h.mean(axis=0) @ [3.0, -1.0]]
    np.testing.assert_allclose(found.logits[0].detach(), expected, rtol=1e-5)
    np.testing.assert_allclose(found.class_maps[0, 0, 0].detach(), 3 * a, rtol=1e-5)
    np.testing.assert_allclose(found.class_maps[0, 1, 0].detach(), [1, 1, 1], rtol=1e-5)


def cam_network(**model: object) -> CamNetwork:
    torch.manual_seed(0)
    backbone = Backbone(TinyFeatures(), (0.5,) * 3, (0.5,) * 3)
    return CamNetwork(backbone, 3, ModelConfig(**{"method": "cam-avg", **model}))


def test_the_mask_is_the_predicted_class_from_its_lowest_to_its_highest_place():
    network = cam_network(alignment="middle").eval()
    maps = torch.zeros(2, 3, 4, 4)
    maps[0, 1, 2, 3], maps[0, 2] = 6.0, 9.0  # the second class is predicted, not the third
    maps[1, 0, 0, 0], maps[1, 0, 1, 1] = -1.0, 3.0
    found = Localization(maps, torch.tensor([[0.0, 2.0, 1.0], [5.0, 0.0, 0.0]]))
    mask = network.mask(found, (32, 32))
    assert (mask[0, 0, 19, 28].item(), mask[0].min().item()) == (1, 0)
    assert mask[0, 0, :8].max() == 0
    assert (mask[1, 0, 0, 0].item(), mask[1, 0, 12, 12].item()) == (0, 1)
    highest = 3 * (15 / 16) ** 2  # half a pixel from the cell's middle, down and right
    assert mask[1, 0, 24, 24].item() == pytest.approx(1 / (highest + 1))


def test_running_ranges_follow_in_training_only():
    network = cam_network(rescale="running").train()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 3
    network.scores(x)
    moved = network.low.item(), network.high.item()
    assert moved != (0.0, 1.0)
    network.eval()
    network.scores(x)
    assert (network.low.item(), network.high.item()) == moved


@pytest.mark.parametrize("name", BASELINES)
def test_constant_masks_are_those_of_the_evaluation(name):
    for height, width in [(32, 32), (61, 97), (522, 775), (33, 1000)]:
        mask = AREAS[name](height, width, torch.zeros(1))
        assert np.array_equal(mask.numpy() == 1, BASELINES[name](height, width))


def test_a_constant_learns_how_frequent_the_classes_are():
    network = ConstantNetwork(2, ModelConfig(method="all-ones"))
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    for _ in range(50):
        optimizer.zero_grad()
        classification_step(
            network, torch.zeros(4, 3, 32, 32), torch.tensor([0, 1, 1, 1]), torch.Tensor.backward
        )
        optimizer.step()
    probs = network.infer(torch.zeros(1, 3, 32, 32))["probs"]
    torch.testing.assert_close(probs, torch.tensor([[0.25, 0.75]]), atol=1e-3, rtol=0)


def test_the_classification_step_is_cross_entropy_on_whole_images():
    network = cam_network().train()
    x, labels = torch.randn(4, 3, 32, 40), torch.tensor([0, 1, 2, 1])
    report = classification_step(network, x, labels, torch.Tensor.backward)
    ours = {name: p.grad.clone() for name, p in network.named_parameters()}
    network.zero_grad()
    maps = network.classifier.maps(network.features(x).joined())
    logits = maps.mean(dim=(2, 3))
    loss = -logits.log_softmax(1)[range(4), labels].mean()
    loss.backward()
    assert report.losses["class"].item() == pytest.approx(loss.item(), rel=1e-5)
    assert report.correct == (logits.argmax(1) == labels).sum()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad)


class Pixels(nn.Module):
    """A segmenter of one weight: its score is the pixel's first channel times it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))

    def segment(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1] * self.weight


def test_the_segmentation_step_by_hand():
    network = Pixels()
    x = torch.zeros(1, 3, 1, 2)
    x[0, 0, 0] = torch.tensor([1.0, -0.5])
    masks = torch.tensor([[[[True, True]]]])
    report = segmentation_step(network, x, masks, torch.Tensor.backward)
    assert report.losses["mask"].item() == pytest.approx(
        (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    )
    assert report.correct == 0.5
    slopes = (-1 / (1 + math.exp(2)), 0.5 / (1 + math.exp(-1)))
    assert network.weight.grad.item() == pytest.approx(sum(slopes) / 2)


def test_masks_go_where_their_pixels_go():
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (60, 80), np.uint8) * 255
    planes = np.dstack([mask, mask, mask, mask])
    moves = DataRecipe(
        crop=48, reflect_pad=0.5, vertical_flip=True, rotate=True, degrees=10, shear=10,
        zoom=(0.5, 1.5),
    )  # fmt: skip
    for seed in range(8):
        out = augment(planes, moves, np.random.default_rng(seed))
        assert out.shape == (4, 48, 48)
        assert torch.equal(out[0], out[3])
    coloured = moves.model_copy(update={"brightness": 0.5, "hue": 0.1})
    plain = augment(planes, moves, np.random.default_rng(3))
    assert torch.equal(augment(planes, coloured, np.random.default_rng(3))[3], plain[3])


def test_affine_zoom_enlarges_about_the_centre():
    image = np.zeros((65, 65, 3), np.uint8)
    image[24:41, 24:41] = 255
    twice = DataRecipe(crop=65, horizontal_flip=False, zoom=(2.0, 2.0))
    out = augment(image, twice, np.random.default_rng(0))
    bright = (out[0] > 200).nonzero()
    assert bright.min(dim=0).values.tolist() == [16, 16]
    assert bright.max(dim=0).values.tolist() == [48, 48]


def test_batches_carry_masks_for_those_who_learn_from_them(tmp_path):
    samples = open_dataset(write_images(tmp_path)).subset("train").samples
    images = Images(samples, SizePolicy(), masks=True)
    batch = next(whole_images(images, 4))
    truth = np.stack([samples[index].read_mask() for index in batch.indices])
    assert np.array_equal(batch.masks[:, 0].numpy(), truth * 255)
    assert batch.x.shape == (4, 3, 64, 64)
    recipe = DataRecipe(crop=48, workers=0)
    _, batches = next(TrainLoader(images, recipe, 4).epoch(0))
    assert next(batches).masks.shape == (4, 1, 48, 48)
    assert next(whole_images(Images(samples, SizePolicy()), 4)).masks is None


@pytest.mark.parametrize("method", ["deep-mil", "unet", "centre-box"])
def test_a_checkpoint_brings_its_method_back(method, tmp_path):
    from wsol_deploy.card import ModelCard
    from wsol_deploy.model import checkpoint

    config = ModelConfig(**TINY["model"] | {"method": method})
    network = build(config, 2).eval()
    card = ModelCard(name="x", method=method, classes=["a", "b"], model=config.model_dump())
    checkpoint.save(tmp_path / "best.safetensors", network, card)
    again, _ = checkpoint.load(tmp_path / "best.safetensors")
    x = torch.randn(1, 3, 48, 40)
    with torch.inference_mode():
        for name, value in network.infer(x).items():
            assert torch.equal(again.infer(x)[name], value)


@pytest.mark.parametrize("recipe", ["default", "quickstart", "paper-glas", "paper-cub5"])
@pytest.mark.parametrize("method", METHODS)
def test_every_recipe_serves_every_method(recipe, method, tmp_path):
    made, plain = load_recipe(recipe, method=method), load_recipe(recipe)
    assert made.model.method == method
    if method == "minmax":
        assert made == plain
    else:
        assert (made.erasing.u, made.loss.local) == (0, 0)
    if not recipe.startswith("paper") and method not in BASELINES:
        assert made.optim == plain.optim
        assert made.data == plain.data
    path = tmp_path / "stored.toml"
    path.write_text(to_toml(made))
    assert load_recipe(path) == made


def test_the_papers_recipes_of_the_other_methods_are_b2():
    glas, cub = (load_recipe(name, method="cam-lse") for name in ("paper-glas", "paper-cub5"))
    assert (glas.data.crop, glas.data.rotate, glas.data.vertical_flip) == (416, True, False)
    assert (cub.data.crop, cub.data.degrees, cub.data.zoom) == (448, 10, (0.3, 1.5))
    for recipe in (glas, cub):
        assert recipe.model.backbone == "resnet18"
        assert (recipe.optim.lr, recipe.optim.weight_decay) == (0.01, 1e-4)
    assert (glas.optim.epochs, glas.optim.step_epochs, glas.optim.batch_size) == (160, 80, 32)
    assert (cub.optim.epochs, cub.optim.step_epochs, cub.optim.batch_size) == (90, 30, 8)


def test_what_is_set_by_hand_has_the_last_word():
    recipe = load_recipe("default", ["model.kmax=0.5", "optim.epochs=2"], "wildcat")
    assert (recipe.model.kmax, recipe.model.kmin, recipe.optim.epochs) == (0.5, 0.2, 2)
    assert load_recipe("default", ["model.method=wildcat"]) == load_recipe("default", (), "wildcat")


@pytest.mark.parametrize(
    ("key", "method"),
    [
        ("erasing.u=2", "cam-avg"), ("loss.local=1", "unet"), ("model.kmax=0.2", "deep-mil"),
        ("model.lse_r=3", "minmax"), ("model.backbone=resnet18", "all-ones"),
    ],
)  # fmt: skip
def test_what_means_nothing_to_the_method_is_refused(key, method):
    with pytest.raises(UsageError, match=f"{key.split('=')[0]}: means nothing to .* {method}"):
        load_recipe("default", [key], method)
    with pytest.raises(UsageError, match=r"no method camavg; did you mean cam-avg\?"):
        load_recipe("default", method="camavg")
