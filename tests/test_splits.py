"""Splits: the paper's folds, stratified by seed, groups kept together, by hash, official."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsol_deploy.datasets import cub, glas, open_dataset, splits
from wsol_deploy.datasets.base import SPLITS, Dataset, Sample
from wsol_deploy.errors import DataError, UsageError

SHARED = Path(__file__).parents[2] / "shared" / "data"
FOLDS = SHARED / "splits"


def made(labels, groups=None, said=None) -> Dataset:
    """A data set without files: `labels` are class numbers."""
    groups = groups or [None] * len(labels)
    said = said or [None] * len(labels)
    samples = tuple(
        Sample(f"{index}.png", Path(f"{index}.png"), label, group=group, split=split)
        for index, (label, group, split) in enumerate(zip(labels, groups, said, strict=True))
    )
    classes = tuple(f"class {label}" for label in range(max(labels) + 1))
    return Dataset("made", Path(), classes, samples)


def sizes(dataset: Dataset) -> list[int]:
    return [len(dataset.subset(split)) for split in SPLITS]


def table(dataset: Dataset) -> dict[str, str | None]:
    return {sample.name: sample.split for sample in dataset.samples}


def published(name: str) -> dict[str, str]:
    """Stem to split, from the published fold lists."""
    return {
        Path(row[0]).stem: split
        for split in SPLITS
        for row in csv.reader((FOLDS / f"{name}-paper-{split}.csv").open())
    }


# Stratified


def test_classes_keep_their_proportions():
    dataset = splits.assign(made([0] * 100 + [1] * 50), "stratified")

    assert sizes(dataset) == [96, 24, 30]
    for split, counts in (("train", (64, 32)), ("valid", (16, 8)), ("test", (20, 10))):
        labels = Counter(sample.label for sample in dataset.subset(split).samples)
        assert (labels[0], labels[1]) == counts


def test_the_seed_decides_and_the_order_does_not():
    dataset = made([0, 1] * 30)
    backwards = dataset.with_samples(reversed(dataset.samples))

    first = table(splits.assign(dataset, "stratified", seed=3))

    assert table(splits.assign(backwards, "stratified", seed=3)) == first
    assert table(splits.assign(dataset, "stratified", seed=4)) != first


def test_three_images_a_class_are_enough_and_two_are_not():
    assert sizes(splits.assign(made([0, 0, 0, 1, 1, 1]), "stratified")) == [2, 2, 2]

    with pytest.raises(DataError, match="no image of class 1"):
        splits.assign(made([0, 0, 0, 1, 1]), "stratified")


def test_without_test_and_validation_everything_is_for_training():
    dataset = splits.assign(made([0, 1]), "stratified", valid_fraction=0, test_fraction=0)

    assert sizes(dataset) == [2, 0, 0]


patients = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 6)), min_size=0, max_size=25).map(
    lambda drawn: [*drawn, *[(label, 1) for label in range(3) for _ in range(3)]]
)


@given(patients, st.integers(0, 5))
def test_groups_never_straddle_and_every_split_has_every_class(drawn, seed):
    labels = [label for label, count in drawn for _ in range(count)]
    groups = [f"p{number}" for number, (_, count) in enumerate(drawn) for _ in range(count)]

    dataset = splits.assign(made(labels, groups), "stratified", seed=seed)

    splits.check_groups(dataset)
    assert sum(sizes(dataset)) == len(labels)
    for split in SPLITS:
        assert {sample.label for sample in dataset.subset(split).samples} == {0, 1, 2}


def test_groups_of_many_sizes_still_come_near_the_shares():
    labels, groups = [], []
    for number in range(60):
        labels += [number % 2] * (1 + number % 7)
        groups += [f"p{number}"] * (1 + number % 7)

    dataset = splits.assign(made(labels, groups), "stratified")

    total = len(labels)
    for size, share in zip(sizes(dataset), (0.64, 0.16, 0.2), strict=True):
        assert abs(size - share * total) < 0.05 * total


@given(st.lists(st.integers(0, 1), min_size=10, max_size=60), st.integers(0, 3))
def test_a_split_is_a_partition(labels, seed):
    labels = [*labels, 0, 0, 0, 1, 1, 1]

    dataset = splits.assign(made(labels), "stratified", seed=seed)

    assert [sample.name for sample in dataset.samples] == [f"{i}.png" for i in range(len(labels))]
    assert all(sample.split in SPLITS for sample in dataset.samples)


# Official, auto, none


def test_auto_is_official_where_the_data_says_a_split():
    said = ["train", "train", "valid", "valid", "test", "test"]

    dataset = splits.assign(made([0, 1] * 3, said=said))

    assert [sample.split for sample in dataset.samples] == said


def test_validation_is_carved_from_the_training_images_only():
    dataset = splits.assign(made([0, 1] * 20, said=["train"] * 30 + ["test"] * 10))

    assert sizes(dataset) == [24, 6, 10]
    assert all(sample.split == "test" for sample in dataset.samples[30:])


def test_official_without_a_test_set_is_allowed():
    assert sizes(splits.assign(made([0, 1] * 10, said=["train"] * 20))) == [16, 4, 0]


def test_official_where_the_data_says_nothing():
    with pytest.raises(DataError, match="does not say the split"):
        splits.assign(made([0, 1] * 10), "official")


def test_official_without_training_images():
    with pytest.raises(DataError, match="no image of class 0, class 1 for train"):
        splits.assign(made([0, 1], said=["test", "test"]))


def test_none_leaves_everything_as_read():
    dataset = made([0, 1])

    assert splits.assign(dataset, "none") == dataset


def test_an_unknown_split_lists_the_known_ones():
    with pytest.raises(UsageError, match=r"'papr'.*auto, official, paper, stratified, hash"):
        splits.assign(made([0, 1]), "papr")


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 3])
def test_fractions_out_of_range(fraction):
    with pytest.raises(UsageError, match="fractions"):
        splits.assign(made([0, 1]), "stratified", valid_fraction=fraction)
    with pytest.raises(UsageError, match="fractions"):
        splits.assign(made([0, 1]), "stratified", test_fraction=fraction)


# Hash


def test_hash_depends_on_the_name_alone():
    whole = splits.assign(made([0, 1] * 50), "hash")
    part = splits.assign(whole.with_samples(whole.samples[:60]), "hash", seed=9)

    test = {sample.name for sample in whole.subset("test").samples}
    assert 15 < len(test) < 45
    assert {sample.name for sample in part.subset("test").samples} == test & {
        sample.name for sample in part.samples
    }


@pytest.mark.skipif(not (SHARED / "animals").is_dir(), reason="../shared/data/animals is not here")
def test_hash_gives_the_animals_165_test_images():
    dataset = open_dataset(SHARED / "animals", split="hash")

    assert len(dataset.subset("test")) == 165
    assert sum(sizes(dataset)) == 559


# The paper's folds


def glas_of(names: dict[str, str]) -> Dataset:
    samples = tuple(
        Sample(
            f"{stem}.bmp",
            Path(f"{stem}.bmp"),
            int(grade == "malignant"),
            split="train" if stem.startswith("train") else "test",
        )
        for stem, grade in sorted(names.items())
    )
    return Dataset(glas.NAME, Path("glas"), ("benign", "malignant"), samples)


@pytest.mark.skipif(not FOLDS.is_dir(), reason="../shared/data/splits is not here")
def test_the_paper_s_fold_of_glas_is_drawn_again_exactly():
    grades = {
        Path(row[0]).stem: row[2]
        for split in SPLITS
        for row in csv.reader((FOLDS / f"glas-paper-{split}.csv").open())
    }

    dataset = splits.assign(glas_of(grades), "paper", seed=5)

    assert sizes(dataset) == [67, 18, 80]
    assert {Path(name).stem: split for name, split in table(dataset).items()} == published("glas")


@pytest.mark.skipif(not (SHARED / "glas").is_dir(), reason="../shared/data/glas is not here")
def test_the_paper_s_fold_of_the_real_glas():
    dataset = open_dataset(SHARED / "glas", split="paper")

    assert {Path(name).stem: split for name, split in table(dataset).items()} == published("glas")


@pytest.mark.skipif(not FOLDS.is_dir(), reason="../shared/data/splits is not here")
def test_the_paper_s_fold_of_cub5(tmp_path):
    root = tmp_path / "CUB_200_2011"
    rows = {
        row[0].removeprefix("CUB_200_2011/images/"): (row[2], split)
        for split in SPLITS
        for row in csv.reader((FOLDS / f"cub5-paper-{split}.csv").open())
    }
    rows["001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg"] = ("001.B", "train")
    classes = sorted({label for label, _ in rows.values()})
    for name in rows:
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "images" / name).touch()

    def write(file, values):
        (root / file).write_text("".join(f"{n} {v}\n" for n, v in enumerate(values, start=1)))

    write("images.txt", rows)
    write("classes.txt", classes)
    write("image_class_labels.txt", (classes.index(label) + 1 for label, _ in rows.values()))
    write("train_test_split.txt", (int(split != "test") for _, split in rows.values()))

    dataset = open_dataset(root, split="paper")

    assert dataset.name == cub.NAME
    assert [name[:3] for name in dataset.classes] == ["019", "099", "108", "171", "178"]
    assert sizes(dataset) == [120, 30, 145]
    assert {Path(name).stem: split for name, split in table(dataset).items()} == published("cub5")
    assert {dataset.classes[s.label] for s in dataset.samples if s.name[:3] == "171"} == {
        "171.Myrtle_Warbler"
    }


def test_the_paper_s_folds_need_the_whole_set():
    part = glas_of({"train_1": "benign", "train_2": "malignant", "testA_1": "benign"})

    with pytest.raises(DataError, match="must be complete"):
        splits.assign(part, "paper")


def test_the_paper_has_no_folds_for_other_data():
    with pytest.raises(DataError, match="GlaS and CUB-200-2011 only"):
        splits.assign(made([0, 1] * 10), "paper")
