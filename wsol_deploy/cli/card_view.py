"""The card as a readable table."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from wsol_deploy.card import OUTPUTS, Measured, ModelCard
from wsol_deploy.evaluation.metrics import DEFINITIONS


def print_card(path: Path, card: ModelCard) -> None:
    """Print a card to standard output."""
    console = Console(soft_wrap=True)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for field, value in _rows(path, card):
        if value:
            table.add_row(field, value)
    console.print(table)
    for measured in card.metrics:
        console.print()
        console.print(_metrics(measured))


def _rows(path: Path, card: ModelCard) -> list[tuple[str, str]]:
    batch = card.input.batch or "N"
    counts = ", ".join(f"{split} {count}" for split, count in card.data.images.items() if count)
    return [
        ("file", f"{path} ({path.stat().st_size / 1e6:.1f} MB, {card.precision})"),
        ("name", card.name),
        ("method", card.method),
        ("classes", ", ".join(card.classes)),
        ("description", card.description),
        ("author", card.author),
        ("licence", card.licence),
        (
            "input",
            f"uint8, {batch} x H x W x 3, RGB, sides from {card.input.min_side}; "
            f"size: {card.input.size}",
        ),
        ("outputs", "\n".join(f"{name}: {text}" for name, text in card.outputs.items())),
        ("threshold", f"{card.threshold.value:.3f} ({card.threshold.chosen_on})"),
        ("trust", _trust(card)),
        ("trained on", f"{card.data.name} ({counts})" if card.data.name else ""),
        ("seed", str(card.seed)),
        ("created", card.created),
        ("made with", ", ".join(f"{name} {version}" for name, version in card.packages.items())),
        ("weights", f"sha256 {card.weights_sha256[:16]}" if card.weights_sha256 else ""),
        ("proof", str(card.proof.get("summary", "")) if card.proof else ""),
    ]


def _trust(card: ModelCard) -> str:
    """The limits on what the model gives; nothing for a model without posteriors."""
    trust, known = card.trust, card.outputs or OUTPUTS
    if "probs" not in known:
        return ""
    has_background = "background_probs" in known
    seen = "on X+" if has_background else "of probs"
    words = f"review if entropy {seen} > {trust.foreground_entropy_max:.2f}"
    if has_background:
        words += f" or on X- < {trust.background_entropy_min:.2f}"
    words += f" or the mask's contrast < {trust.mask_contrast_min:.2f}"
    return f"{words} ({trust.calibrated_on})"


def _metrics(measured: Measured) -> Table:
    """A metric a line, the model's value beside the constant rows'."""
    who = {"model": measured.values, **measured.baselines}
    table = Table(
        title=f"measured on {measured.dataset}, {measured.split}, {measured.images} images",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("%")
    for name in who:
        table.add_column(name, justify="right")
    for name in measured.values:
        title = DEFINITIONS[name].title if name in DEFINITIONS else name
        cells = (f"{row[name] * 100:.2f}" if name in row else "-" for row in who.values())
        table.add_row(title, *cells)
    return table
