"""Which image is for training, validation and test."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from wsol_deploy.datasets import paper
from wsol_deploy.datasets.base import SPLITS, Dataset, Sample, Split
from wsol_deploy.errors import DataError, UsageError

VALID_FRACTION = 0.2
TEST_FRACTION = 0.2
HASH_TEST_FRACTION = 0.3
NAMES = ("auto", "official", "paper", "stratified", "hash", "none")


def assign(
    dataset: Dataset,
    split: str = "auto",
    *,
    seed: int = 0,
    valid_fraction: float = VALID_FRACTION,
    test_fraction: float | None = None,
) -> Dataset:
    """Give every image a split.

    Args:
        dataset: as read.
        split: `official`, what the data set says; `paper`, the published folds of GlaS and of
            five classes of CUB-200-2011; `stratified`, by seed, classes in proportion, groups
            kept together; `hash`, test by the SHA-1 of the image's name (or group), whatever the
            seed and the other images; `auto`, official if the data set says one and stratified
            otherwise; `none`, as read.
        seed: of `stratified`, and of the validation images taken from the training images where
            the data set names none.
        valid_fraction: share of the images that are not for testing.
        test_fraction: share of all images, for `stratified` (default 0.2) and `hash` (0.3).

    Raises:
        DataError: the data set has no such split, or a split would lack a class.
        UsageError: no such split, or a fraction outside [0, 1).
    """
    if split not in NAMES:
        raise UsageError(f"no such split: {split!r}; use one of {', '.join(NAMES)}")
    if not (0 <= valid_fraction < 1 and 0 <= (test_fraction or 0) < 1):
        raise UsageError("the fractions of validation and test images must be in [0, 1)")
    if split == "none":
        return dataset
    if split == "auto":
        split = "official" if any(sample.split for sample in dataset.samples) else "stratified"
    if split == "stratified":
        share = TEST_FRACTION if test_fraction is None else test_fraction
        shares: dict[Split, float] = {"test": share, "valid": valid_fraction * (1 - share)}
        dataset = _allot(_to(dataset, "train"), shares, seed)
    elif split == "hash":
        share = HASH_TEST_FRACTION if test_fraction is None else test_fraction
        dataset = _hash(dataset, share)
    else:
        dataset = paper.folds(dataset) if split == "paper" else _official(dataset)
    if not dataset.subset("valid"):
        dataset = _allot(dataset, {"valid": valid_fraction}, seed)
    _check_classes(dataset)
    return dataset


def check_groups(dataset: Dataset) -> None:
    """Raise DataError if the images of one group lie in several splits."""
    splits: dict[str, set[str]] = defaultdict(set)
    for sample in dataset.samples:
        if sample.group is not None and sample.split is not None:
            splits[sample.group].add(sample.split)
    for group, several in splits.items():
        if len(several) > 1:
            raise DataError(
                f"{dataset.root}: group {group!r} lies in {' and '.join(sorted(several))}; "
                "use --split stratified, or give each group one split"
            )


def _to(dataset: Dataset, split: Split) -> Dataset:
    return dataset.with_samples(replace(sample, split=split) for sample in dataset.samples)


def _official(dataset: Dataset) -> Dataset:
    silent = next((sample for sample in dataset.samples if sample.split is None), None)
    if silent is not None:
        raise DataError(
            f"{dataset.root}: the data set does not say the split of {silent.name}; "
            "use --split stratified"
        )
    return dataset


def _hash(dataset: Dataset, test_fraction: float) -> Dataset:
    def split(sample: Sample) -> Split:
        name = (sample.group or sample.name).encode(errors="surrogateescape")
        digest = hashlib.sha1(name).hexdigest()
        return "test" if int(digest, 16) % 100 < round(100 * test_fraction) else "train"

    return dataset.with_samples(replace(one, split=split(one)) for one in dataset.samples)


def _allot(dataset: Dataset, shares: Mapping[Split, float], seed: int) -> Dataset:
    """Move shares of the training images to other splits, classes in proportion.

    Greedy: the largest groups first, each to the split that still lacks most of the group's
    classes. Without groups the shares are exact up to rounding, and every class gives at least
    one image. The result depends on the names and the seed, not on the samples' order.
    """
    units = _units(dataset.subset("train").samples, seed)
    splits: list[Split] = ["train", *(split for split, share in shares.items() if share > 0)]
    if len(splits) == 1 or not units:
        return dataset
    counts = np.array(
        [
            np.bincount([at for one in unit for at in one.labels], minlength=len(dataset.classes))
            for unit in units
        ]
    )
    total = counts.sum(axis=0)
    wanted = [np.maximum(np.round(shares[split] * total), 1) for split in splits[1:]]
    targets = np.array([np.maximum(total - np.sum(wanted, axis=0), 1), *wanted])
    lacking = targets.copy()
    place: dict[str, Split] = {}
    for unit, count in zip(units, counts, strict=True):
        best = int(np.argmax((lacking / targets) @ count))
        lacking[best] -= count
        place.update({sample.name: splits[best] for sample in unit})
    return dataset.with_samples(
        replace(sample, split=place.get(sample.name, sample.split)) for sample in dataset.samples
    )


def _units(samples: Iterable[Sample], seed: int) -> list[list[Sample]]:
    """Samples that stay together: groups and single images, the largest first, ties by seed."""
    units: dict[tuple[bool, str], list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda sample: sample.name):
        alone = sample.group is None
        units[alone, sample.name if sample.group is None else sample.group].append(sample)
    ordered = [units[key] for key in sorted(units)]
    random.Random(seed).shuffle(ordered)
    return sorted(ordered, key=len, reverse=True)


def _check_classes(dataset: Dataset) -> None:
    for split in SPLITS:
        present = {label for sample in dataset.subset(split).samples for label in sample.labels}
        missing = [name for label, name in enumerate(dataset.classes) if label not in present]
        if missing and (present or split == "train"):
            kind = "groups" if any(sample.group for sample in dataset.samples) else "images"
            raise DataError(
                f"{dataset.root}: no image of {', '.join(missing[:5])} for {split}; add images, "
                f"or another --split (too few {kind} of a class cannot be divided)"
            )
