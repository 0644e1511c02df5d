"""The Compare tab: two models or methods side by side, and where they differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from wsol_deploy.demo import compare, panels, views
from wsol_deploy.demo.parts import picture
from wsol_deploy.demo.room import MODEL_QUEUE, Room
from wsol_deploy.demo.sessions import Session
from wsol_deploy.demo.speech import sentence, spoken
from wsol_deploy.demo.uploads import read_picture, read_truth
from wsol_deploy.errors import WsolError
from wsol_deploy.runtime import render

INTRO = (
    "Each method at its own threshold, on the same picture. With a truth mask (white, or any "
    "value above 0, is foreground) both are measured against it."
)
PERCENT = ("f1_plus", "f1_minus", "iou")
TITLES = {"f1_plus": "F1+", "f1_minus": "F1−", "iou": "IoU"}
BROWSER_SHOWS = frozenset((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"))
TAKE: dict[str, Any] = {"queue": False, "show_progress": "minimal", "api_visibility": "private"}
RUN: dict[str, Any] = {"concurrency_id": MODEL_QUEUE, "api_visibility": "private"}


class CompareTab:
    """Builds the tab's components and binds its handlers.

    Args:
        room: what all tabs share.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        known, (first, second) = compare.methods(room.shelf), compare.first_pair(room.shelf)
        gr.HTML(f'<p class="quiet">{INTRO}</p>', apply_default_css=False)
        with gr.Row(elem_classes="bring-row"):
            self._picture = picture(
                label="Picture", sources=["upload", "clipboard"], height=274, buttons=[],
                elem_id="compare-picture", placeholder="Drop a picture here",
            )  # fmt: skip
            self._truth = picture(
                label="Truth, if known", sources=["upload"], height=274, buttons=[],
                elem_id="compare-truth", placeholder="Drop its mask here",
            )  # fmt: skip
            with gr.Column(min_width=260):
                self._first = gr.Dropdown(
                    known, value=first, label="First", elem_id="compare-first"
                )
                self._second = gr.Dropdown(
                    known, value=second, label="Second",
                    elem_id="compare-second",
                )  # fmt: skip
                self._go = gr.Button("Compare", variant="primary", elem_id="compare-go")
                self._example = gr.Button(
                    "Try an example with its truth", size="sm", elem_id="compare-example",
                    visible=any(example.truth for example in room.examples),
                )  # fmt: skip
        self._message = gr.HTML(elem_id="compare-message", apply_default_css=False)
        with gr.Row(elem_classes="three"):
            self._stages = [
                picture(
                    label=label, interactive=False, buttons=["fullscreen"],
                    elem_id=f"compare-stage-{index}", alt_text=f"{label}: no picture yet",
                )
                for index, label in enumerate(("First", "Second", "Where they differ"))
            ]  # fmt: skip
        self._result = gr.HTML(elem_id="compare-result", apply_default_css=False)
        self._bind()

    def _bind(self) -> None:
        asked = [self._picture, self._truth, self._first, self._second]
        told = [self._message, *self._stages, self._result]
        say = spoken(self._message)
        for zone, take in ((self._picture, self._take_picture), (self._truth, self._take_truth)):
            zone.upload(self._or_empty(zone, take), zone, [self._message, zone], **TAKE)
        self._go.click(say(self._compare), asked, told, **RUN)
        for method in (self._first, self._second):
            method.input(say(self._again), asked, told, **RUN)
        self._example.click(
            say(self._try), [self._first, self._second], [*told, self._picture, self._truth], **RUN
        )

    def _or_empty(self, zone: gr.Image, take: Callable[..., Path]) -> Callable[..., dict]:
        """Look at a file as it arrives, so that what is shown is what will be used."""

        def taken(path: Path | None, request: gr.Request) -> dict:
            if path is None:
                return {self._message: ""}
            try:
                session = self._room.session(request)
                return {self._message: "", zone: take(path, session)}
            except Exception as error:
                return {self._message: panels.alert(sentence(error)), zone: None}

        return taken

    def _take_picture(self, path: Path, session: Session) -> Path:
        pixels = read_picture(path, self._room.limits)
        if path.suffix.lower() in BROWSER_SHOWS:
            return path
        return session.show(views.png(pixels), f"{path.stem}.png")

    def _take_truth(self, path: Path, session: Session) -> Path:
        truth = read_truth(path, self._room.limits)
        return session.show(render.png(render.mask_pixels(truth)), f"{path.stem}.png")

    def _again(
        self, picture: Path | None, truth: Path | None, first: str, second: str, request: gr.Request
    ) -> dict:
        return {} if picture is None else self._compare(picture, truth, first, second, request)

    def _try(self, first: str, second: str, request: gr.Request) -> dict:
        session = self._room.session(request)
        example = next(example for example in self._room.examples if example.truth)
        assert example.truth is not None
        picture = session.show(example.path.read_bytes(), example.path.name)
        truth = session.show(example.truth.read_bytes(), example.truth.name)
        return {
            self._picture: picture,
            self._truth: truth,
            **self._compare(picture, truth, first, second, request),
        }

    def _compare(
        self, picture: Path | None, truth: Path | None, first: str, second: str, request: gr.Request
    ) -> dict:
        if picture is None:
            raise WsolError("choose a picture first")
        session = self._room.session(request)
        found = self._room.compare(picture, first, second, truth)
        titles = (first, second, "Where they differ")
        shown: dict[Any, Any] = {self._result: _result(found.report)}
        for stage, title, pixels in zip(self._stages, titles, found.pictures(), strict=True):
            content, suffix = views.shown(views.OVERLAY, pixels)
            path = session.show(content, f"{picture.stem}{suffix}")
            words = f"{title}, on {picture.name}"
            shown[stage] = gr.update(value=path, label=title, alt_text=words)
        return shown


def _result(report: dict[str, Any]) -> str:
    return _legend(report) + _table(report)


def _legend(report: dict[str, Any]) -> str:
    shares = (("only-first", "only the first", report["only_first"]),
              ("only-second", "only the second", report["only_second"]),
              ("both", "both", report["both"]))  # fmt: skip
    keys = "".join(
        f'<span><i class="{kind}"></i>{words} {share:.1%}</span>' for kind, words, share in shares
    )
    agree = (
        f"They agree on {report['agreement']:.1%} of the pixels; "
        f"their masks overlap by {report['iou_between']:.1%} (IoU)."
    )
    return f'<div class="keys">{keys}</div><p class="legend" role="status">{agree}</p>'


def _table(report: dict[str, Any]) -> str:
    measured = report["all_ones"] is not None
    keys = PERCENT if measured else ()
    columns = ["Method", *(TITLES[key] for key in keys), "Foreground", "Threshold", "Label"]
    rows = []
    for method in report["methods"]:
        label = "–" if method["label"] is None else f"{method['label']} {method['score']:.1%}"
        share, threshold = f"{method['foreground_fraction']:.1%}", f"{method['threshold']:.2f}"
        numbers = [f"{method[key]:.1%}" for key in keys]
        rows.append([method["method"], *numbers, share, threshold, label])
    if measured:
        ones = [f"{report['all_ones'][key]:.1%}" for key in keys]
        rows.append(["a mask of ones", *ones, "100.0%", "–", "–"])
    return panels.table(columns, rows)
