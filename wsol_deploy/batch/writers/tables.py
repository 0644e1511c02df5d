"""`csv`, `jsonl`, `parquet`: results.* with a row an image, instances.* with a row a component."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator
from typing import Any

from wsol_deploy.batch.folder import Folder
from wsol_deploy.batch.writers.base import EVERYTHING_BUT_MAPS, Entries
from wsol_deploy.card import ModelCard
from wsol_deploy.errors import MissingExtra
from wsol_deploy.files import readable

Row = dict[str, Any]
ROWS_AT_ONCE = 5000
INTEGERS = ("width", "height", "components", "instance", "area", "x", "y")
STRINGS = ("image", "label", "review")
RESULT_COLUMNS = (
    "image", "width", "height", "label", "{probabilities}", "{localizer_probabilities}",
    "foreground_fraction", "components", "boxes", "foreground_entropy", "background_entropy",
    "mask_contrast", "review",
)  # fmt: skip
INSTANCE_COLUMNS = (
    "image", "instance", "label", "area", "centroid_x", "centroid_y", "x", "y", "width", "height",
    "mean_probability", "area_um2", "centroid_x_um", "centroid_y_um", "width_um", "height_um",
)  # fmt: skip


class Table:
    """A table over all images.

    Args:
        kind: csv, jsonl or parquet.
        section: `row` for results.*, `instances` for instances.*.

    Raises:
        MissingExtra: parquet needs pyarrow.
    """

    outputs = EVERYTHING_BUT_MAPS

    def __init__(self, kind: str, section: str) -> None:
        self.section = section
        self._kind = kind
        self._file = f"{'results' if section == 'row' else 'instances'}.{kind}"
        if kind == "parquet":
            try:
                import pyarrow  # noqa: F401
            except ImportError as error:
                raise MissingExtra("--save parquet", "parquet") from error

    def collect(self, entries: Entries, folder: Folder, card: ModelCard) -> None:
        if self._kind == "jsonl":
            with folder.open(self._file) as stream:
                stream.writelines(json.dumps(row) + "\n" for row in self._rows(entries))
            return
        flat = (_flat(row) for row in self._rows(entries))
        write = _write_csv if self._kind == "csv" else _write_parquet
        write(folder, self._file, self._columns(card), flat)

    def _rows(self, entries: Entries) -> Iterator[Row]:
        for entry in entries():
            section = entry[self.section]
            yield from section if isinstance(section, list) else [section]

    def _columns(self, card: ModelCard) -> list[str]:
        if self.section == "instances":
            return list(INSTANCE_COLUMNS)
        return [
            name
            for column in RESULT_COLUMNS
            for name in (
                [f"{column[1:-1]}:{label}" for label in card.classes]
                if column.startswith("{")
                else [column]
            )
        ]


def _flat(row: Row) -> Row:
    """Probabilities become a column a class."""
    flat: Row = {}
    for key, value in row.items():
        if isinstance(value, dict):
            flat |= {f"{key}:{name}": part for name, part in value.items()}
        else:
            flat[key] = value
    return flat


def _write_csv(folder: Folder, name: str, columns: list[str], rows: Iterator[Row]) -> None:
    with folder.open(name) as stream:
        table = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        for row in rows:
            lists = {key: json.dumps(row[key]) for key in row if isinstance(row[key], list)}
            table.writerow(row | lists)


def _write_parquet(folder: Folder, name: str, columns: list[str], rows: Iterator[Row]) -> None:
    import pyarrow
    import pyarrow.parquet

    types = {"boxes": pyarrow.list_(pyarrow.list_(pyarrow.int32()))}
    types |= dict.fromkeys(STRINGS, pyarrow.string()) | dict.fromkeys(INTEGERS, pyarrow.int64())
    schema = pyarrow.schema([(column, types.get(column, pyarrow.float64())) for column in columns])
    with folder.open(name, "wb") as stream, pyarrow.parquet.ParquetWriter(stream, schema) as writer:
        while batch := list(itertools.islice(rows, ROWS_AT_ONCE)):
            texts = [row | {"image": readable(row["image"])} for row in batch]
            writer.write_table(pyarrow.Table.from_pylist(texts, schema))
