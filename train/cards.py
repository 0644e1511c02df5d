"""The card of a checkpoint: what it was trained with and on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata

from wsol_deploy.card import DataFingerprint, ImageInput, Measured, ModelCard
from wsol_deploy.datasets.base import Dataset
from wsol_deploy.model.outputs import described
from wsol_deploy.train.recipe import Recipe
from wsol_deploy.train.validation import Score

PACKAGES = ("wsol-deploy", "torch", "torchvision", "timm", "numpy")


def make_card(
    recipe: Recipe, dataset: Dataset, fingerprint: DataFingerprint, outputs: Sequence[str]
) -> ModelCard:
    """The card of every checkpoint of a training; metrics come with `measured`."""
    return ModelCard(
        name=f"{recipe.model.method}-{dataset.name}",
        method=recipe.model.method,
        task=recipe.model.task,
        classes=list(dataset.classes),
        input=ImageInput(size=recipe.data.size.policy),
        outputs=described(outputs, recipe.model.method),
        recipe=recipe.model_dump(exclude_none=True),
        model=recipe.model.model_dump(),
        data=fingerprint,
        seed=recipe.training.seed,
        packages=_versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def measured(card: ModelCard, score: Score | None) -> ModelCard:
    """The card with the validation's error, if it is one of labels."""
    if score is None or "probs" not in card.outputs:
        return card
    found = Measured(
        dataset=card.data.name,
        split="valid",
        images=card.data.images.get("valid", 0),
        values={"error": score.error},
    )
    return card.model_copy(update={"metrics": [found]})


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
