"""Recipes: the paper's values, names and paths, overrides, errors that name the mend."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsol_deploy.errors import UsageError
from wsol_deploy.train import recipe as recipes
from wsol_deploy.train.recipe import DataRecipe, OptimRecipe, Recipe
from wsol_deploy.train.recipe_file import keys, load_recipe, names, parse, to_toml

PAPER_B2 = {
    "data.split": "paper",
    "data.crop": 480,
    "data.horizontal_flip": True,
    "data.rotate": False,
    "data.stain": 0.0,
    "data.crops": 1,
    "model.method": "minmax",
    "model.backbone": "resnet101",
    "model.weights": "imagenet",
    "model.output_stride": 32,
    "model.depths": 1,
    "model.hidden": 0,
    "model.contrast": False,
    "model.modalities": 5,
    "model.kmax": 0.09,
    "model.kmin": 0.09,
    "model.alpha": 0.0,
    "model.omega": 8.0,
    "model.sigma_prime": 0.5,
    "model.classifier_scale": 0.5,
    "model.alignment": "corners",
    "model.reflect": 0,
    "model.flips": 1,
    "model.rescale": "image",
    "model.pixel_head": 0,
    "model.smooth": 1,
    "model.probe": 0.0,
    "loss.localizer": 1.0,
    "loss.foreground": 1.0,
    "loss.background": 1.0,
    "loss.size_barrier": 0.0,
    "loss.local": 0.0,
    "erasing.u": 4,
    "erasing.sigma": 10.0,
    "erasing.mask_gradient": "detached",
    "erasing.tolerance": 0.0,
    "erasing.reach": 0,
    "optim.optimizer": "sgd",
    "optim.lr": 0.001,
    "optim.head_lr_factor": 1.0,
    "optim.momentum": 0.9,
    "optim.nesterov": True,
    "optim.weight_decay": 1e-5,
    "optim.clip": 0.0,
    "optim.batch_size": 8,
    "optim.epochs": 400,
    "optim.schedule": "step",
    "optim.step_epochs": 40,
    "optim.gamma": 0.1,
    "optim.min_lr": 1e-7,
    "optim.warmup_epochs": 0.0,
    "optim.background_start_epoch": 0,
    "optim.background_ramp_epochs": 0,
    "training.batch_norm": "train",
    "training.ema": 0.0,
    "training.keep": "best",
    "training.self_training": 0.0,
}
GLAS = {
    "model.dropout": 0.75,
    "data.size.mode": "native",
    "data.reflect_pad": 0.5,
    "data.vertical_flip": True,
    "data.brightness": 0.5,
    "data.contrast": 0.5,
    "data.saturation": 0.5,
    "data.hue": 0.05,
}
CUB5 = {
    "model.dropout": 0.85,
    "data.size.mode": "shorter-side",
    "data.size.size": 500,
    "data.reflect_pad": 0.0,
    "data.vertical_flip": False,
    "data.brightness": 0.0,
    "data.contrast": 0.0,
    "data.saturation": 0.0,
    "data.hue": 0.0,
}


def value(recipe: Recipe, key: str):
    part = recipe
    for name in key.split("."):
        part = getattr(part, name)
    return part


@pytest.mark.parametrize(("name", "own"), [("paper-glas", GLAS), ("paper-cub5", CUB5)])
def test_paper_recipes_are_b2(name, own):
    recipe = load_recipe(name)
    assert {key: value(recipe, key) for key in PAPER_B2 | own} == PAPER_B2 | own


def test_built_in_recipes():
    assert {"default", "quickstart", "paper-glas", "paper-cub5"} <= set(names())
    for name in names():
        assert load_recipe(name).optim.epochs >= 1


@pytest.mark.parametrize("name", names())
def test_toml_reads_back_to_the_same_recipe(name, tmp_path):
    recipe = load_recipe(name)
    path = tmp_path / "mine.toml"
    path.write_text(to_toml(recipe))
    assert load_recipe(path) == recipe


@given(
    backbone=st.text(max_size=20),
    lr=st.floats(1e-12, 1e6),
    group=st.none() | st.text(max_size=20),
    crop=st.integers(32, 4096),
)
def test_any_value_survives_toml(backbone, lr, group, crop):
    recipe = parse(
        {
            "model": {"backbone": backbone},
            "optim": {"lr": lr},
            "data": {"crop": crop} | ({} if group is None else {"group_column": group}),
        },
        "test",
    )
    assert parse(tomllib.loads(to_toml(recipe)), "again") == recipe


def test_overrides():
    recipe = load_recipe(
        "default",
        ["optim.lr=0.5", "model.weights=none", 'model.backbone="resnet18"', "optim.nesterov=false",
         "data.size={mode='longer-side', size=300}", "optim.lr = 0.25"],
    )  # fmt: skip
    assert recipe.optim.lr == 0.25
    assert (recipe.model.weights, recipe.model.backbone) == ("none", "resnet18")
    assert recipe.optim.nesterov is False
    assert recipe.data.size.policy.target(600, 300) == (300, 150)


def test_an_override_may_complete_another():
    recipe = load_recipe("default", ["data.size.mode=shorter-side", "data.size.size=256"])
    assert recipe.data.size.policy.target(512, 1024) == (256, 512)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optim.epoch=3", ["optim.epoch", "did you mean optim.epochs?"]),
        ("lr=3", ["did you mean optim.lr?"]),
        ("modle.backbone=resnet18", ["did you mean model."]),
        ("data.size.sise=3", ["did you mean data.size.size?"]),
        ("optim.lr.value=3", ["did you mean optim.lr?"]),
        ("optim.lr=-1", ["optim.lr", "greater than 0", "-1"]),
        ("data.crop=wide", ["data.crop", "integer", "wide"]),
        ("erasing.mask_gradient=both", ["erasing.mask_gradient", "detached", "attached"]),
        ("data.size.mode=shorter-side", ["data.size", "give size"]),
        ("optim.momentum=0", ["optim", "nesterov"]),
        ("optim.lr", ["section.key=value"]),
        ("optim.lr=inf", ["optim.lr", "finite"]),
        ("model.sigma_prime=nan", ["model.sigma_prime", "finite"]),
        ("model=resnet18", ["model", "resnet18"]),
        ("=3", ["section.key=value"]),
    ],
)
def test_bad_overrides_are_one_line_with_the_mend(override, words):
    with pytest.raises(UsageError) as caught:
        load_recipe("paper-glas", [override])
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_unknown_key_in_a_file_names_file_and_nearest(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[optim]\nlearning_rat = 1\nbatchsize = 4\n")
    with pytest.raises(UsageError, match=r"mine\.toml.*did you mean"):
        load_recipe(path)
    path.write_text("[optim]\nbatchsize = 4\n")
    with pytest.raises(UsageError, match=r"did you mean optim\.batch_size\?"):
        load_recipe(path)


@pytest.mark.parametrize("key", keys())
def test_every_key_is_its_own_nearest(key):
    with pytest.raises(UsageError, match=rf"did you mean {key}\?"):
        load_recipe("default", [f"{key}_=1"])


def test_no_toml_and_no_recipe(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("[optim\n")
    with pytest.raises(UsageError, match=r"broken\.toml: not TOML"):
        load_recipe(path)
    with pytest.raises(UsageError, match=r"did you mean paper-glas\?.*quickstart"):
        load_recipe("paperglas")


def test_adamw_needs_no_momentum():
    assert OptimRecipe(optimizer="adamw", momentum=0).optimizer == "adamw"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["loss.pixels=0"], "nothing teaches model.pixel_head"),
        (["loss.size_barrier=1"], "needs erasing.mask_gradient = attached"),
    ],
)
def test_what_would_teach_nothing_is_refused(settings, words):
    with pytest.raises(UsageError, match=words) as caught:
        load_recipe("default", settings)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(("cores", "readers"), [(1, 0), (2, 0), (4, 2), (64, 8)])
def test_threads_that_read_ahead_take_the_cores_left_over(monkeypatch, cores, readers):
    monkeypatch.setattr(recipes, "cores", lambda: cores)
    assert DataRecipe().readers == readers
    assert DataRecipe(workers=3).readers == 3


@pytest.mark.parametrize("key", ["erasing.u", "model.pixel_head"])
def test_a_file_that_gives_a_method_what_it_has_not(tmp_path, key):
    section, name = key.split(".")
    path = tmp_path / "mine.toml"
    path.write_text(f'model.method = "cam-avg"\n{section}.{name} = 4\n')
    with pytest.raises(UsageError, match=f"mine.toml: {key}: means nothing to the method cam-avg"):
        load_recipe(path)
    path.write_text(f'model.method = "cam-avg"\n{section}.{name} = 0\n')
    assert load_recipe(path).model.method == "cam-avg"
