"""The page's words and numbers as HTML; everything from outside is escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from wsol_deploy.card import ModelCard, Trust
from wsol_deploy.demo import views

SHADE = (
    '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 3a9 9 0 1 0 0 18V3z"/>'
    '<path d="M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20zm0 2a8 8 0 1 1 0 16 8 8 0 0 1 0-16z"/></svg>'
)
FROM_MASKS = ("unet",)  # methods that learn from outlines, not from labels
MOST_BOXES, MOST_BARS = 12, 8
MOSTLY_DOUBT = 0.5  # of an entropy in [0, 1]
EMPTY = (
    '<div class="empty"><p>Choose a picture, and what the model sees in it appears here.</p>'
    "<p>Drop a file, paste one, or pick an example.</p></div>"
)
NO_TRUST = "This model does not judge its own foreground, so nothing here says when to look again."
CAPTIONS = {
    views.OVERLAY: "The model's foreground as it is, the rest darkened.",
    views.SOFT: "R⁺: how sure the model is, pixel by pixel, that this is foreground.",
    views.FOREGROUND: "The picture times R⁺, the rest erased to grey: what the class has to be "
    "told from.",
    views.BACKGROUND: "The picture times R⁻ = 1 − R⁺: what should speak for no class.",
    views.HEAT: "How far each place speaks for {label}, among the classes.",
    views.PLAIN: "The picture as it came.",
}
FILE_FIRST = re.compile(r"[^:;]*\.\w")
LINED = (views.OVERLAY, views.SOFT, views.HEAT)


def header(card: ModelCard) -> str:
    """Name, model, and what it is not."""
    source = "masks" if card.method in FROM_MASKS else "image labels"
    return (
        '<header class="top"><div><h1><span class="mark" aria-hidden="true"></span>wsol</h1>'
        f"<p>Pixel masks from {source}. Model <b>{escape(card.name)}</b>: "
        f"{escape(', '.join(card.classes[:6]))}{' …' if len(card.classes) > 6 else ''}.</p></div>"
        f'<div class="side"><p class="notice">Trained on {source}. Not a medical device.</p>'
        '<button id="shade" type="button" aria-label="Dark mode" aria-pressed="false">'
        f"{SHADE}</button></div></header>"
    )


def alert(sentence: str) -> str:
    """A sentence about what went wrong; empty for none. A file's name at its start stays as is."""
    if not sentence:
        return ""
    if not FILE_FIRST.match(sentence):
        sentence = sentence[0].upper() + sentence[1:]
    end = "" if sentence.endswith((".", "!", "?")) else "."
    return f'<div class="alert" role="alert">{escape(sentence)}{end}</div>'


def quiet(sentence: str) -> str:
    """A remark."""
    return f'<p class="quiet">{escape(sentence)}</p>'


def legend(view: str, threshold: float, label: str) -> str:
    """What the colours on the stage mean, with the view's fixed scale from 0 to 1."""
    caption = CAPTIONS[view].format(label=label)
    if view in LINED:
        caption += f" The line is the mask's edge, at {threshold:.2f}."
    stops = views.colour_bar(view)
    if not stops:
        return f'<p class="legend">{escape(caption)}</p>'
    mark = f'<i style="left:{threshold:.1%}"></i>' if view == views.SOFT else ""
    return (
        f'<p class="legend">{escape(caption)}</p>'
        '<div class="scale" role="img" aria-label="Colour scale from 0 to 1"><span>0</span>'
        f'<div style="background:linear-gradient(90deg,{",".join(stops)})">{mark}</div>'
        "<span>1</span></div>"
    )


def verdict(report: dict[str, Any], card: ModelCard) -> str:
    """Label, probabilities as bars, and the trust line."""
    scores = report["probabilities"] or report["localizer_probabilities"]
    if not scores:
        return quiet("This model gives masks without a label.")
    return (
        f'<p class="eyebrow">{escape(report["image"])}</p>'
        f'<h2 class="label">{escape(report["label"] or "no class found")}</h2>'
        f"{bars(scores)}{trust(report, card)}"
    )


def bars(scores: dict[str, float]) -> str:
    """Probabilities as bars on one scale from 0 to 100 %, the highest first."""
    highest = sorted(scores.items(), key=lambda item: -item[1])[:MOST_BARS]
    rows = "".join(
        f"<li><span>{escape(name)}</span><b>{value:.1%}</b>"
        f'<div class="track"><i style="width:{value:.2%}"></i></div></li>'
        for name, value in highest
    )
    rest = len(scores) - len(highest)
    more = quiet(f"and {rest:,} less likely, all in the JSON") if rest else ""
    return f'<ul class="bars" aria-label="Class probabilities">{rows}</ul>{more}'


def trust(report: dict[str, Any], card: ModelCard) -> str:
    """Whether to look again, and why, in plain words."""
    inside, outside = report["foreground_entropy"], report["background_entropy"]
    if inside is None:
        return quiet(NO_TRUST)
    reasons = _doubts(inside, outside, report["mask_contrast"], card.trust)
    if report["review"]:
        words = " ".join(reasons) or f"{report['review'].capitalize()}."
        return f'<div class="trust again"><b>Look again</b><p>{escape(words)}</p></div>'
    words = _as_usual(inside, outside)
    return f'<div class="trust fine"><b>Nothing stands out</b><p>{words}</p></div>'


def _as_usual(inside: float, outside: float | None) -> str:
    """Entropies within this model's limits, in words; no model that is mostly in doubt is sure."""
    undecided = inside > MOSTLY_DOUBT
    if outside is None:
        state = (
            "is in doubt about the class, as it often is" if undecided else "is sure of the class"
        )
        return f"The model {state} (doubt {inside:.2f}); it does not judge its mask."
    if undecided:
        return (
            f"The foreground leaves the class in doubt ({inside:.2f}), as it often does with this "
            f"model; what the mask left out speaks for no class (doubt {outside:.2f})."
        )
    return (
        f"The foreground settles the class (doubt {inside:.2f}), and what the mask left out "
        f"speaks for no class (doubt {outside:.2f})."
    )


def _doubts(inside: float, outside: float | None, clear: float, limits: Trust) -> list[str]:
    """What is beyond its limit; a model without a posterior on the background judges no mask."""
    reasons = []
    if inside > limits.foreground_entropy_max:
        whose = "The model is not sure of the class"
        if outside is not None:
            whose = "The foreground alone does not settle the class"
        reasons.append(f"{whose} (doubt {inside:.2f}, limit {limits.foreground_entropy_max:.2f}).")
    if outside is not None and outside < limits.background_entropy_min:
        reasons.append(
            "What the mask left out still looks like a class "
            f"(doubt {outside:.2f}, at least {limits.background_entropy_min:.2f} is wanted), "
            "so the mask may be incomplete."
        )
    if clear < limits.mask_contrast_min:
        reasons.append(
            f"The mask is faint: inside and outside it differ by {clear:.2f} on average (at least "
            f"{limits.mask_contrast_min:.2f} is wanted)."
        )
    return reasons


def numbers(report: dict[str, Any]) -> str:
    """Foreground, regions, size, time; and the boxes."""
    share, count = report["foreground_fraction"], report["components"]
    facts = [
        ("Foreground", f"{share:.1%}"),
        ("Regions", f"{count:,}"),
        ("Picture", f"{report['width']} × {report['height']}"),
        ("Model took", f"{report['seconds']:.2f} s"),
    ]
    status = f"{share:.1%} foreground in {count} regions at threshold {report['threshold']:.2f}"
    return (
        f'<p class="unseen" role="status">{status}</p>{definitions(facts)}'
        f"{box_table(report['boxes'])}"
    )


def definitions(facts: Sequence[tuple[str, str]]) -> str:
    """Names and values as a grid."""
    cells = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
    return f'<dl class="facts">{cells}</dl>'


def box_table(boxes: list[list[int]]) -> str:
    """The largest boxes, folded away."""
    if not boxes:
        return ""
    largest = sorted(boxes, key=lambda box: -box[2] * box[3])
    rest = len(boxes) - MOST_BOXES
    more = quiet(f"and {rest:,} smaller, all in the JSON") if rest > 0 else ""
    body = table(("x", "y", "width", "height"), largest[:MOST_BOXES])
    word = "box" if len(boxes) == 1 else "boxes"
    return f"<details><summary>{len(boxes):,} {word}, in pixels</summary>{body}{more}</details>"


def table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "", strong: int = -1
) -> str:
    """A table that can be scrolled by keyboard; numbers to the right; row `strong` in bold."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = ""
    for index, row in enumerate(rows):
        cells = "".join(f"<td>{escape(str(cell))}</td>" for cell in row)
        body += f"<tr{' class=strong' if index == strong else ''}>{cells}</tr>"
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll" tabindex="0"><table>{title}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
