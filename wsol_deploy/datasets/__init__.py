"""Labelled images from disk: four recognised forms, one `Dataset`."""

from __future__ import annotations

from pathlib import Path

from wsol_deploy.datasets import cub, folder, glas, splits, table
from wsol_deploy.datasets.base import Dataset, Sample
from wsol_deploy.errors import DataError

__all__ = ["Dataset", "Sample", "open_dataset"]

FORMS = (table, glas, cub, folder)


def open_dataset(
    path: Path | str,
    *,
    split: str = "auto",
    seed: int = 0,
    group_column: str | None = None,
    valid_fraction: float = splits.VALID_FRACTION,
    test_fraction: float | None = None,
) -> Dataset:
    """Recognise a data set, read its labels and give every image a split.

    Args:
        path: GlaS or CUB-200-2011 as published, a folder per class, or a CSV file.
        split: see `splits.assign`.
        seed: of the stratified split and of the validation images carved from the training set.
        group_column: of the CSV file (or Grade.csv): images of one group never straddle splits.
        valid_fraction, test_fraction: see `splits.assign`.

    Raises:
        DataError: no such path, of no known form, or broken.
        UsageError: no such split, or a fraction that leaves no training set.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if path.is_dir() and not any(path.iterdir()):
        raise DataError(f"{path}: the folder is empty; put a folder of images per class in it")
    form = next((form for form in FORMS if form.matches(path)), None)
    if form is None:
        raise DataError(
            f"{path}: not a data set; it must be GlaS as published (Grade.csv beside the images), "
            "CUB-200-2011 as published (images.txt), a folder per class (DIR/CLASS/image.jpg, with "
            "or without a train/valid/test level), or a CSV file (image,label[,mask][,split]"
            "[,group])"
        )
    dataset = splits.assign(
        form.read(path, group_column=group_column),
        split,
        seed=seed,
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
    )
    if group_column is not None or form is table:
        splits.check_groups(dataset)
    return dataset
