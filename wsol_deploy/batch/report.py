"""What is written when a run ends: the tables, failed.csv, timings.csv and manifest.json."""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from wsol_deploy.batch.folder import Folder
from wsol_deploy.batch.journal import Journal
from wsol_deploy.batch.stages import STAGES
from wsol_deploy.batch.writers import Writers
from wsol_deploy.card import ModelCard

PACKAGES = (
    "wsol-deploy", "numpy", "onnxruntime-gpu", "onnxruntime", "torch",
    "opencv-python-headless", "pillow",
)  # fmt: skip

MANIFEST = "manifest.json"
RESULTS = (
    "results.csv", "results.jsonl", "results.parquet", "instances.csv", "instances.jsonl",
    "instances.parquet", "coco.json", "yolo/data.yaml", "timings.csv", "failed.csv",
    MANIFEST,
)  # fmt: skip


class Counts(NamedTuple):
    """Of images: done, failed, and to be looked at; None for the last if none was judged."""

    images: int
    failed: int
    to_review: int | None


def remove_all(folder: Folder) -> None:
    """Remove what an earlier run gathered."""
    for name in RESULTS:
        folder.remove(name)


def concluded(manifest: Path) -> bool:
    """Whether a local run came to its end; a run that starts takes the manifest away."""
    return manifest.is_file() and json.loads(manifest.read_text(encoding="utf-8"))["complete"]


def write_all(
    journal: Journal,
    writers: Writers,
    folder: Folder,
    card: ModelCard,
    run: dict[str, Any],
    complete: bool,
) -> Counts:
    """Gather the journal, sorted by name, so that the same images give the same files.

    Only timings.csv differs from run to run.

    Returns:
        Of all images that are done, in this run and before.
    """

    def done() -> Iterator[dict[str, Any]]:
        return (entry for entry in journal.entries() if "failed" not in entry)

    for writer in writers.tables:
        writer.collect(done, folder, card)
    _write_csv(
        folder,
        "timings.csv",
        ("image", *STAGES),
        ([e["image"], *(f"{e['seconds'][stage]:.6f}" for stage in STAGES)] for e in done()),
    )
    failed = ([e["image"], e["failed"]] for e in journal.entries() if "failed" in e)
    if journal.failures:
        _write_csv(folder, "failed.csv", ("image", "reason"), failed)
    else:
        folder.remove("failed.csv")
    reviews = [bool(entry["row"].get("review")) for entry in done() if "row" in entry]
    counts = Counts(len(journal), journal.failures, sum(reviews) if reviews else None)
    document = {
        "run": run,
        "counts": counts._asdict(),
        "complete": complete,
        "versions": _versions(),
        "card": card.model_dump(),
    }
    folder.write(MANIFEST, json.dumps(document, indent=2, default=str).encode() + b"\n")
    return counts


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _write_csv(
    folder: Folder, name: str, columns: tuple[str, ...], rows: Iterator[list[str]]
) -> None:
    with folder.open(name) as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)
