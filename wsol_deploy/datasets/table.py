"""A CSV file of images: image,label[,mask][,split][,group], paths relative to the file.

An image that shows several classes has them all in its label, as in cat;dog. Its mask, if there
is one, has the value 1 where the first class of the sorted names is, 2 where the second is, ...
"""

from __future__ import annotations

import os
from pathlib import Path

from wsol_deploy.card import SEPARATOR
from wsol_deploy.datasets import building
from wsol_deploy.datasets.base import Dataset, Split
from wsol_deploy.datasets.building import SPLIT_NAMES, Found
from wsol_deploy.errors import DataError

COLUMNS = ("image", "label", "mask", "split", "group")
NEEDED = COLUMNS[:2]


def matches(path: Path) -> bool:
    """Whether this is a file named *.csv."""
    return path.is_file() and path.suffix.lower() == ".csv"


def read(path: Path, *, group_column: str | None = None) -> Dataset:
    """Read a CSV file of images.

    Args:
        path: the file.
        group_column: the column of groups; default `group`, if there is one.

    Raises:
        DataError: an unknown or missing column, a missing file, a line without label or split.
    """
    found: list[Found] = []
    for line, row in building.rows(path):
        if not found:
            _check_columns(path, row, group_column)
        where = f"{path}, line {line}"
        for column in (*NEEDED, *(name for name in ("split", group_column) if name in row)):
            if not row[column]:
                raise DataError(f"{where}: no {column}; give one for every image")
        image = _file(path, where, "image", row["image"])
        label, *also = _labels(where, row["label"])
        found.append(
            Found(
                name=_name(path.parent, image),
                image=image,
                label=label,
                mask=_file(path, where, "mask", row["mask"]) if row.get("mask") else None,
                group=row.get(group_column or "group") or None,
                split=_split(where, row["split"]) if "split" in row else None,
                also=tuple(also),
            )
        )
    return building.build(path.stem, path.parent, found)


def _check_columns(path: Path, row: dict[str, str], group_column: str | None) -> None:
    known = {*COLUMNS, group_column}
    unknown = [column for column in row if column not in known]
    missing = [column for column in (*NEEDED, group_column) if column and column not in row]
    if unknown or missing:
        complaints = [f"unknown column {column!r}" for column in unknown]
        complaints += [f"no column {column!r}" for column in missing]
        raise DataError(
            f"{path}: {', '.join(complaints)}; the columns are image,label[,mask][,split][,group]"
        )


def _file(table: Path, where: str, kind: str, value: str) -> Path:
    path = table.parent / value
    if not path.is_file():
        raise DataError(f"{where}: no such {kind}: {value} (paths are relative to the CSV file)")
    return path


def _name(root: Path, image: Path) -> str:
    """One relative name however the file spells it: below the root, or else below the drive."""
    whole, base = (Path(os.path.normpath(Path.cwd() / path)) for path in (image, root))
    inside = whole.is_relative_to(base)
    return whole.relative_to(base if inside else whole.anchor).as_posix()


def _labels(where: str, value: str) -> list[str]:
    names = [name.strip() for name in value.split(SEPARATOR)]
    if "" in names:
        raise DataError(f"{where}: no class between the semicolons of {value!r}; write cat;dog")
    return names


def _split(where: str, value: str) -> Split:
    split = SPLIT_NAMES.get(value.lower())
    if split is None:
        raise DataError(f"{where}: no such split: {value!r}; use train, valid or test")
    return split
