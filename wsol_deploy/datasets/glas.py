"""GlaS (Warwick-QU) as published: Grade.csv beside NAME.bmp and NAME_anno.bmp."""

from __future__ import annotations

from pathlib import Path

from wsol_deploy import images
from wsol_deploy.datasets import building
from wsol_deploy.datasets.base import Dataset, Split
from wsol_deploy.datasets.building import Found
from wsol_deploy.errors import DataError

NAME = "GlaS"
TABLE = "Grade.csv"
STEM, LABEL, PATIENT = "name", "grade (GlaS)", "patient ID"
MASK_ENDING = "_anno"
TRAIN, TEST = "train_", "test"


def matches(path: Path) -> bool:
    """Whether this is a folder with Grade.csv."""
    return (path / TABLE).is_file()


def read(path: Path, *, group_column: str | None = None) -> Dataset:
    """Read GlaS; the images may be in any encoding that keeps the published stems.

    Args:
        path: the folder.
        group_column: another column of Grade.csv; default the patient.

    Raises:
        DataError: a column or an image is missing.
    """
    table = path / TABLE
    files = {file.stem: file for file in sorted(path.iterdir()) if images.is_image(file)}
    group = group_column or PATIENT
    found = []
    for line, row in building.rows(table):
        for column in (STEM, LABEL, group):
            if not row.get(column):
                missing = "no value" if column in row else "no column"
                raise DataError(f"{table}, line {line}: {missing} {column!r}; see {', '.join(row)}")
        stem = row[STEM]
        if stem not in files:
            raise DataError(f"{table}, line {line}: no image {stem}.bmp (or .png, .webp, ...)")
        found.append(
            Found(
                name=files[stem].name,
                image=files[stem],
                label=row[LABEL],
                mask=files.get(stem + MASK_ENDING),
                group=row[group],
                split=_official(stem),
            )
        )
    return building.build(NAME, path, found)


def _official(stem: str) -> Split | None:
    if stem.startswith(TRAIN):
        return "train"
    return "test" if stem.startswith(TEST) else None
