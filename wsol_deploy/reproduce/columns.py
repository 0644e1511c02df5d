"""What a table can show of a row: every metric of the evaluation, and the time of the training."""

from __future__ import annotations

from dataclasses import dataclass

from wsol_deploy.evaluation.metrics import DEFINITIONS


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: with its unit.
        meaning: one sentence.
        decimals: shown.
        relative: the value is divided by that of the table's first row, this column's.
    """

    title: str
    meaning: str
    decimals: int = 2
    relative: str | None = None


COLUMNS = {
    name: Column(f"{metric.title} %", metric.meaning) for name, metric in DEFINITIONS.items()
} | {
    "minutes": Column("training, min", "Minutes of it, validation and self-training included.", 1),
    "epoch_seconds": Column("epoch, s", "Median seconds of an epoch, validation included.", 1),
    "passes": Column(
        "passes", "Images forwarded through the localizer, an image, in the last epoch."
    ),
    "slowdown": Column(
        "times", "Seconds of an epoch, over those of the first row.", 2, "epoch_seconds"
    ),
}
