"""The Model tab: the card, for people."""

from __future__ import annotations

from html import escape

import gradio as gr

from wsol_deploy.card import Measured, ModelCard
from wsol_deploy.demo import panels
from wsol_deploy.demo.room import Room

TITLES = {
    "error": "Error", "f1_plus": "F1+", "f1_minus": "F1−", "iou": "IoU", "pxap": "PxAP",
    "max_box_acc": "MaxBoxAcc", "max_box_acc_v2": "MaxBoxAccV2",
    "box_acc": "BoxAcc", "top1_loc": "Top-1 Loc", "auroc": "AUROC",
}  # fmt: skip
FROM_LABELS = (
    "<b>Trained on image labels, not on outlines.</b> It was told what each picture shows, never "
    "where. Edges follow what helped to tell the classes apart, so they can be too generous, too "
    "tight, or beside the point."
)
FROM_MASKS = (
    "<b>Trained on outlines.</b> People drew masks for it, which the other methods do without. "
    "Its edges repeat their habits."
)
LIMITS = (
    "<b>Not a medical device.</b> For research. No diagnosis may rest on it.",
    "<b>Good only near its data.</b> Another scanner, stain, organ or kind of photograph can "
    "change its numbers without a sign.",
    "<b>It always answers.</b> A picture of something else gets one of its classes as well. "
    "“Look again” marks doubt; its absence is no proof.",
)
GIVES = {
    "mask": "the soft mask",
    "probs": "the class",
    "localizer_probs": "the localizer's own guess at the class",
    "background_probs": "whether the background still shows a class",
    "class_maps": "a heat map for each class",
    "class_masks": "a soft mask for each class",
}
PROVED = {"mask_iou": "Masks overlap (IoU)", "labels_agree": "Labels agree"}
MEANING = (
    "F1+ is the Dice score of the foreground, F1− that of the background. They stand together "
    "because a mask of ones alone can reach a high F1+. Error: lower is better."
)


def model_tab(room: Room) -> None:
    """Show the card of every model; a choice appears when there is more than one."""
    names = room.shelf.names
    choice = gr.Dropdown(
        names, value=names[0], label="Model", visible=len(names) > 1, elem_id="model-choice"
    )
    shown = gr.HTML(
        card_page(room.shelf.cards[names[0]]), elem_id="model-card", apply_default_css=False
    )
    choice.input(
        lambda name: card_page(room.shelf.cards[name]), choice, shown, queue=False,
        api_visibility="private",
    )  # fmt: skip


def card_page(card: ModelCard) -> str:
    """A card as HTML, the limits first."""
    learnt = FROM_MASKS if card.method in panels.FROM_MASKS else FROM_LABELS
    limits = "".join(f"<li>{sentence}</li>" for sentence in (learnt, *LIMITS))
    return (
        f'<article class="model"><h2>{escape(card.name)}</h2>{_said(card.description)}'
        f'<aside class="limits"><h3>What to keep in mind</h3><ul>{limits}</ul></aside><div>'
        f"<section><h3>Numbers</h3>{_numbers(card)}</section>"
        f"<section><h3>How it decides</h3>{panels.definitions(_decides(card))}</section>"
        f"<section><h3>Where it comes from</h3>{panels.definitions(_origin(card))}</section>"
        f"<section><h3>Proof of the export</h3>{_proof(card)}</section></div></article>"
    )


def _said(text: str) -> str:
    return f'<p class="lead">{escape(text)}</p>' if text else ""


def _numbers(card: ModelCard) -> str:
    if not card.metrics:
        return (
            '<p class="quiet">This file holds no measurements. Measure it on your own masks with '
            "<code>wsol evaluate</code>.</p>"
        )
    tables = "".join(_measured(row) for row in card.metrics)
    return f'{tables}<p class="quiet">{MEANING}</p>'


def _measured(found: Measured) -> str:
    names = [name for name in (*TITLES, *found.values) if name in found.values]
    names = list(dict.fromkeys(names))
    lines = {"this model": found.values, **found.baselines}
    rows = [
        [who, *(f"{values[n]:.1%}" if n in values else "–" for n in names)]
        for who, values in lines.items()
    ]
    caption = f"{found.dataset}, {found.split}: {found.images} images"
    return panels.table(["Method", *(TITLES.get(n, n) for n in names)], rows, caption, strong=0)


def _decides(card: ModelCard) -> list[tuple[str, str]]:
    size = card.input.size
    policy = "the picture's own size" if size.size is None else f"{size.mode} {size.size} pixels"
    given = [name for name in GIVES if not card.outputs or name in card.outputs]
    rows = [
        ("Classes", ", ".join(card.classes)),
        ("Threshold", f"{card.threshold.value:.2f}: {card.threshold.chosen_on}"),
        ("Computed at", policy),
        ("Gives", "; ".join(GIVES[name] for name in given)),
        ("Does not give", "; ".join(words for name, words in GIVES.items() if name not in given)),
        ("Look again if", _doubts(card, given)),
    ]
    return [(name, value) for name, value in rows if value]


def _doubts(card: ModelCard, given: list[str]) -> str:
    if "probs" not in given:
        return ""
    trust = card.trust
    words = f"doubt about the class is above {trust.foreground_entropy_max:.2f}"
    if "background_probs" in given:
        words += f", or doubt in the background below {trust.background_entropy_min:.2f}"
    words += f", or the contrast of the mask below {trust.mask_contrast_min:.2f}"
    return f"{words} ({trust.calibrated_on})"


def _origin(card: ModelCard) -> list[tuple[str, str]]:
    counts = ", ".join(f"{count} {split}" for split, count in card.data.images.items() if count)
    rows = [
        ("Method", card.method),
        ("Backbone", str(card.model.get("backbone", ""))),
        ("Trained on", f"{card.data.name} ({counts})" if card.data.name else ""),
        ("Made", card.created[:10]),
        ("By", card.author),
        ("Seed", str(card.seed)),
        ("Licence", card.licence),
        ("Licence of the data", card.data_licence),
        ("Licence of the first weights", card.weights_licence),
        ("Weights", f"sha256 {card.weights_sha256[:16]}" if card.weights_sha256 else ""),
        ("Precision", card.precision),
        ("Made with", ", ".join(f"{k} {v}" for k, v in card.packages.items())),
    ]
    return [(name, value) for name, value in rows if value]


def _proof(card: ModelCard) -> str:
    if not card.proof:
        return (
            '<p class="quiet">None in this file. <code>wsol export</code> compares the exported '
            "file with PyTorch and writes the result into it.</p>"
        )
    summary = str(card.proof.get("summary", ""))
    facts = [
        (title, f"{card.proof[key]:.2%}")
        for key, title in PROVED.items()
        if isinstance(card.proof.get(key), float | int)
    ]
    return f"<p>{escape(summary)}</p>{panels.definitions(facts)}"
