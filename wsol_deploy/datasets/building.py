"""From what a reader found on disk to a `Dataset`: the checks every form shares."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from wsol_deploy.datasets.base import Dataset, Sample, Split
from wsol_deploy.errors import DataError, UsageError

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
}
Boxes = tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """One image as a reader found it: a `Sample` whose class is still a name, or several."""

    name: str
    image: Path
    label: str
    mask: Path | None = None
    boxes: Boxes = ()
    group: str | None = None
    split: Split | None = None
    also: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of all its classes, sorted, each once."""
        return tuple(sorted({self.label, *self.also}))


def build(name: str, root: Path, found: Iterable[Found]) -> Dataset:
    """A data set with sorted classes and samples sorted by name.

    Raises:
        DataError: no image, one class only, or an image listed twice.
    """
    found = sorted(found, key=lambda one: one.name)
    if not found:
        raise DataError(f"{root}: no images")
    for one, other in pairwise(found):
        if one.name == other.name:
            raise DataError(f"{root}: the image {one.name} is listed twice; keep one of the lines")
    classes = tuple(sorted({name for one in found for name in one.labels}))
    if len(classes) < 2:
        raise DataError(
            f"{root}: only one class ({classes[0]}); a classifier needs images of at least two"
        )
    number = {label: index for index, label in enumerate(classes)}
    samples = tuple(_sample(one, number) for one in found)
    return Dataset(name, root, classes, samples)


def _sample(one: Found, number: dict[str, int]) -> Sample:
    label, *also = (number[name] for name in one.labels)
    return Sample(
        one.name, one.image, label, one.mask, one.boxes, one.group, one.split, tuple(also)
    )


def rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Lines of a CSV file with a header: line number and the values by column, spaces stripped.

    Raises:
        DataError: unreadable, not UTF-8, no header, or a line longer than the header.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            header = [column.strip() for column in next(reader, [])]
            if not any(header):
                raise DataError(f"{path}: the file is empty; its first line must name the columns")
            for values in reader:
                if not any(value.strip() for value in values):
                    continue
                if len(values) > len(header):
                    raise DataError(
                        f"{path}, line {reader.line_num}: {len(values)} values for {len(header)} "
                        "columns; put values with commas in double quotes"
                    )
                values += [""] * (len(header) - len(values))
                stripped = [value.strip() for value in values]
                yield reader.line_num, dict(zip(header, stripped, strict=True))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text; save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV file ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def no_groups(path: Path, group_column: str | None) -> None:
    """Refuse `--group-column` for a form that has no columns."""
    if group_column is not None:
        raise UsageError(
            f"{path}: has no columns, so no group column {group_column!r}; list the images in a "
            "CSV file (image,label,group) instead"
        )
