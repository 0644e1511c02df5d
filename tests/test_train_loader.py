"""Training images: augmentation, order, cache, batches."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training import tiny_dataset, write_images

from wsol_deploy.card import SizePolicy
from wsol_deploy.datasets import open_dataset
from wsol_deploy.errors import ImageError
from wsol_deploy.train.augment import DYES, augment, reflect
from wsol_deploy.train.check import cannot_be_read
from wsol_deploy.train.loader import Images, Share, TrainLoader, whole_images
from wsol_deploy.train.recipe import DataRecipe

PLAIN = {"horizontal_flip": False, "vertical_flip": False, "crop": 32}
VARIED = DataRecipe(
    crop=48, vertical_flip=True, rotate=True, reflect_pad=0.5, brightness=0.3, contrast=0.3,
    saturation=0.3, hue=0.1, workers=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data"), images=16).subset("train").samples


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


def drawn(picture, number=30, **recipe):
    recipe = DataRecipe(**PLAIN | recipe)
    return [augment(picture, recipe, np.random.default_rng(seed)) for seed in range(number)]


@given(side=st.integers(1, 9), start=st.integers(-30, 30))
def test_reflection_is_numpys(side, start):
    index = np.arange(start, start + 20)
    padded = np.pad(np.arange(side), 60, mode="reflect" if side > 1 else "edge")
    assert (reflect(index, side) == padded[index + 60]).all()


def test_a_plain_crop_is_a_window_of_the_image(picture):
    windows = {picture[y : y + 32, x : x + 32].tobytes() for y in range(9) for x in range(19)}
    found = [patch.permute(1, 2, 0).numpy().tobytes() for patch in drawn(picture, 60)]
    assert set(found) <= windows
    assert len(set(found)) > 20


def test_an_image_smaller_than_the_crop_is_reflected(picture):
    small = picture[:20, :7]
    patch = drawn(small, 1)[0].permute(1, 2, 0).numpy()
    assert patch.shape == (32, 32, 3)
    assert (patch[6:26, 13:20] == small).all()
    assert (patch[5] == patch[7]).all()


def test_a_one_pixel_image_makes_a_crop():
    patch = drawn(np.full((1, 1, 3), 7, np.uint8), 1)[0]
    assert patch.shape == (3, 32, 32)
    assert (patch == 7).all()


def test_reflect_pad_lets_the_crop_reach_over_the_border(picture):
    plain = {one.numpy().tobytes() for one in drawn(picture, 60)}
    padded = {one.numpy().tobytes() for one in drawn(picture, 60, reflect_pad=0.5)}
    assert len(padded - plain) > 30


@pytest.mark.parametrize(
    ("option", "outcomes"),
    [
        ("horizontal_flip", lambda x: [x, x.flip(2)]),
        ("vertical_flip", lambda x: [x, x.flip(1)]),
        ("rotate", lambda x: [torch.rot90(x, k, (1, 2)) for k in range(4)]),
    ],
)
def test_flips_and_turns(picture, option, outcomes):
    square = picture[:32, :32]
    whole = torch.from_numpy(square.copy()).permute(2, 0, 1)
    expected = {one.contiguous().numpy().tobytes() for one in outcomes(whole)}
    assert {one.numpy().tobytes() for one in drawn(square, **{option: True})} == expected


@pytest.mark.parametrize("option", ["brightness", "contrast", "saturation", "hue", "stain"])
def test_each_jitter_changes_colours_only(picture, option):
    smooth = cv2.GaussianBlur(picture[:32, :32], (0, 0), 3)
    plain = drawn(smooth, 1)[0].float()
    varied = [one.float() for one in drawn(smooth, 10, **{option: 0.2})]
    differences = [float((one - plain).abs().mean()) for one in varied]
    assert max(differences) > 0.5
    assert len(set(differences)) == len(differences)
    for one in varied:
        together = torch.stack([one.mean(0).flatten(), plain.mean(0).flatten()])
        assert torch.corrcoef(together)[0, 1] > 0.8


def test_stain_multiplies_the_optical_density_of_each_dye():
    dyes = DYES.double().numpy()
    amounts = np.array([0.6, 0.5, 0.4])
    colour = 256 * np.exp(-amounts @ dyes) - 1
    picture = np.broadcast_to(colour.round().astype(np.uint8), (32, 32, 3))
    factors = []
    for patch in drawn(picture, 20, stain=0.3):
        density = -np.log((patch[:, 0, 0].double().numpy() + 1) / 256)
        factors.append(np.linalg.solve(dyes.T, density) / amounts)
    assert (np.abs(np.array(factors) - 1) < 0.37).all()
    assert (np.std(factors, axis=0) > 0.1).all()
    assert np.std(factors, axis=1).max() > 0.15  # each its own
    white = np.full((32, 32, 3), 255, np.uint8)
    assert all((patch == 255).all() for patch in drawn(white, 5, stain=0.3))


def collect(loader, epoch, start=0):
    return [
        (images, [(batch.x, batch.labels, batch.indices) for batch in batches])
        for images, batches in loader.epoch(epoch, start)
    ]


def same(one, other):
    return len(one) == len(other) and all(
        n == m and len(a) == len(b)
        and all(
            torch.equal(x, y) and torch.equal(p, q) and i == j
            for (x, p, i), (y, q, j) in zip(a, b, strict=True)
        )
        for (n, a), (m, b) in zip(one, other, strict=True)
    )  # fmt: skip


def loader(samples, *, workers=0, limit=None, share=Share(), seed=3, accumulate=1, crops=1):
    recipe = VARIED.model_copy(update={"workers": workers, "crops": crops})
    images = Images(samples, SizePolicy(), limit)
    return TrainLoader(images, recipe, 5, accumulate, seed, share)


def test_batches_do_not_depend_on_threads_or_cache(samples):
    expected = collect(loader(samples), 1)
    assert same(collect(loader(samples, workers=3), 1), expected)
    assert same(collect(loader(samples, limit=0), 1), expected)
    warm = loader(samples)
    collect(warm, 0)
    assert same(collect(warm, 1), expected)


def test_batches_depend_on_seed_and_epoch(samples):
    assert not same(collect(loader(samples), 1), collect(loader(samples), 2))
    assert not same(collect(loader(samples), 1), collect(loader(samples, seed=4), 1))


def test_an_epoch_can_be_entered_in_the_middle(samples):
    whole = collect(loader(samples), 2)
    assert same(collect(loader(samples), 2, start=1), whole[1:])
    assert collect(loader(samples), 2, start=len(whole)) == []


def test_every_image_once_and_the_last_batch_kept(samples):
    found = collect(loader(samples), 0)
    assert [images for images, _ in found] == [5, 5, 2]
    numbers = [i for _, batches in found for _, _, indices in batches for i in indices]
    assert sorted(numbers) == list(range(12))
    for _, batches in found:
        for _, labels, indices in batches:
            assert labels.tolist() == [samples[i].label for i in indices]


def test_accumulation_makes_longer_updates_of_the_same_images(samples):
    found = collect(loader(samples, accumulate=2), 0)
    assert [(images, [len(b[2]) for b in batches]) for images, batches in found] == [
        (10, [5, 5]),
        (2, [2]),
    ]
    single = collect(loader(samples), 0)
    assert same([(5, [b]) for _, bs in found[:1] for b in bs], single[:2])


def test_several_crops_of_an_image_follow_each_other(samples):
    found = collect(loader(samples, crops=3), 0)
    parts = [batch for _, batches in found for batch in batches]
    numbers = [i for _, _, indices in parts for i in indices]
    order = [i for _, bs in collect(loader(samples), 0) for _, _, indices in bs for i in indices]
    assert numbers == [i for i in order for _ in range(3)]
    pixels = torch.cat([x for x, _, _ in parts])
    assert len({one.numpy().tobytes() for one in pixels}) == len(numbers) == 36
    once = torch.cat([x for _, bs in collect(loader(samples), 0) for x, _, _ in bs])
    assert torch.equal(pixels[::3], once)
    assert same(collect(loader(samples, crops=3), 0, start=2), found[2:])


@pytest.mark.parametrize(("size", "crops"), [(2, 1), (5, 1), (5, 2)])
def test_processes_share_an_epoch_in_equal_parts(samples, size, crops):
    shares = [Share(rank, size) for rank in range(size)]
    parts = [collect(loader(samples, share=share, crops=crops), 0) for share in shares]
    shapes = [[(n, [len(b[2]) for b in batches]) for n, batches in part] for part in parts]
    assert all(shape == shapes[0] for shape in shapes)
    numbers = [i for part in parts for _, bs in part for _, _, indices in bs for i in indices]
    variants = 12 * crops // size * size
    assert len(numbers) == variants
    assert len(set(numbers)) >= variants // crops
    assert shapes[0][0][0] == min(5 * size, variants)


def test_the_cache_is_bounded(samples):
    one = 64 * 64 * 3
    images = Images(samples, SizePolicy(), limit=3 * one)
    for index in range(len(samples)):
        images[index]
    kept = [images[index] is images[index] for index in range(len(samples))]
    assert sum(kept) == 3


def test_images_follow_the_size_policy(samples):
    images = Images(samples, SizePolicy(mode="shorter-side", size=40))
    assert images[0].shape == (40, 40, 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_validation_takes_whole_images_and_batches_equal_sizes(tmp_path, workers):
    root = write_images(tmp_path, images=16)
    odd = root / "valid" / "disc" / "6.png"
    cv2.imwrite(str(odd), np.zeros((50, 70, 3), np.uint8))
    samples = open_dataset(root).subset("valid").samples
    batches = list(whole_images(Images(samples, SizePolicy()), 3, workers))
    assert [tuple(batch.x.shape) for batch in batches] == [
        (1, 3, 50, 70), (2, 3, 64, 64), (1, 3, 64, 64),
    ]  # fmt: skip
    assert list(chain(*(batch.indices for batch in batches))) == list(range(4))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_image_is_an_error_and_all_of_them_are_found(tmp_path, workers):
    root = write_images(tmp_path)
    for number in (1, 2):
        (root / "train" / "disc" / f"{number}.png").write_bytes(b"no image")
    samples = open_dataset(root).subset("train").samples
    with pytest.raises(ImageError, match=r"[12]\.png"):
        collect(loader(samples, workers=workers), 0)
    found = Images(samples, SizePolicy()).unreadable()
    assert [Path(reason.split(":")[0]).name for reason in found] == ["1.png", "2.png"]


@pytest.mark.parametrize("broken", [1, 2, 13])
def test_broken_images_are_one_line_with_the_mend(broken):
    said = str(cannot_be_read([f"{number}.png: damaged" for number in range(broken)], 20))
    assert "\n" not in said
    assert "0.png: damaged" in said
    assert ("repair it or take it out" if broken == 1 else "repair them or take them out") in said
    assert ("1.png: damaged" in said) == (broken > 1)
    assert said.endswith("and 3 more") == (broken == 13)
