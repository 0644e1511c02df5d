"""Which images to evaluate on: by default those the model's card says were held out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsol_deploy.card import ModelCard
from wsol_deploy.datasets import Dataset, open_dataset
from wsol_deploy.datasets.base import SPLITS
from wsol_deploy.errors import DataError, UsageError

ALL = "all"
SUBSETS = (*SPLITS, ALL)
PASSED_ON = ("group_column", "valid_fraction", "test_fraction")


@dataclass(frozen=True, slots=True)
class Selection:
    """The images of one evaluation.

    Attributes:
        dataset: those images.
        subset: train, valid, test or all.
        split: the scheme that made the subset.
        seed: of the scheme.
        warning: why the model may have seen some of them in training, or "".
    """

    dataset: Dataset
    subset: str
    split: str
    seed: int
    warning: str

    @property
    def name(self) -> str:
        """One line: data set, subset, split, seed."""
        how = "" if self.subset == ALL else f" of the {self.split} split (seed {self.seed})"
        return f"{self.dataset.name}, {self.subset} images{how}"


def select(
    path: Path | str,
    card: ModelCard,
    *,
    subset: str = "test",
    split: str | None = None,
    seed: int | None = None,
) -> Selection:
    """Open a data set and take one subset of it.

    Args:
        path: of the data set.
        card: of the model; its recipe and seed say how its training data was split.
        subset: train, valid, test, or all (whatever the split).
        split: a scheme of `open_dataset`; None for the card's, or auto where that does not fit.
        seed: of the scheme; None for the card's.

    Raises:
        DataError: not a data set, or no image in the subset.
        UsageError: no such subset or split.
    """
    if subset not in SUBSETS:
        raise UsageError(f"no such subset: {subset!r}; use one of {', '.join(SUBSETS)}")
    seed = card.seed if seed is None else seed
    said = _data_recipe(card)
    options = {key: said[key] for key in PASSED_ON if said.get(key) is not None}
    if subset == ALL:
        split, dataset = "none", open_dataset(path, split="none")
    elif split is not None:
        dataset = open_dataset(path, split=split, seed=seed, **options)
    else:
        split, dataset = _as_trained(path, str(said.get("split", "auto")), seed, options)
    taken = dataset if subset == ALL else dataset.subset(subset)  # type: ignore[arg-type]
    if not taken.samples:
        has = ", ".join(f"{len(dataset.subset(name))} {name}" for name in SPLITS)
        raise DataError(
            f"{path}: no images in the {subset} subset of the {split} split ({has}); "
            "choose another --subset or --split"
        )
    known = dataset
    if subset == ALL:
        known = _as_trained(path, str(said.get("split", "auto")), seed, options)[1]
    return Selection(taken, subset, split, seed, _warning(card, known, subset))


def _data_recipe(card: ModelCard) -> dict[str, Any]:
    found = card.recipe.get("data", {})
    return found if isinstance(found, dict) else {}


def _as_trained(
    path: Path | str, split: str, seed: int, options: dict[str, Any]
) -> tuple[str, Dataset]:
    """The card's split; on data that has no such split, the data's own."""
    try:
        return split, open_dataset(path, split=split, seed=seed, **options)
    except (DataError, UsageError):
        return "auto", open_dataset(path, seed=seed)


def _warning(card: ModelCard, dataset: Dataset, subset: str) -> str:
    same = dataset.fingerprint().sha256 == card.data.sha256
    if dataset.name != card.data.name and not same:
        return ""
    if subset in ("train", ALL):
        return "the model was trained on images of this subset"
    if card.data.sha256 and not same:
        return "this is not the split or data of the training: some images may have been trained on"
    return ""
