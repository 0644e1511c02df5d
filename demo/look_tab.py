"""The Look tab: one picture, what the model sees in it, and the means to question it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.blocks import Block

from wsol_deploy.demo import examples, panels, save, views
from wsol_deploy.demo.look import Drawing, Look
from wsol_deploy.demo.parts import files, picture
from wsol_deploy.demo.room import MODEL_QUEUE, Room
from wsol_deploy.demo.sessions import Session
from wsol_deploy.demo.speech import sentence, spoken
from wsol_deploy.runtime import render

PICK = (
    "element.addEventListener('click', (event) => {"
    " const button = event.target.closest('button');"
    " if (button) trigger('select', {index: Number(button.dataset.index)}); });"
)
FETCH = (
    "(file) => { const link = document.createElement('a'); link.href = file.url;"
    " link.download = file.orig_name; document.body.append(link); link.click(); link.remove(); }"
)
DRAW: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
RUN: dict[str, Any] = {"concurrency_id": MODEL_QUEUE, "api_visibility": "private"}
NO_PICTURE = "No picture yet."
Values = dict[Any, Any]  # what the page's components hold, by component


class LookTab:
    """Builds the tab's components and binds its handlers.

    Args:
        room: what all tabs share.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        with gr.Row(elem_classes="look"):
            with gr.Column(scale=3, min_width=240, elem_classes="bring"):
                self._build_input()
            with gr.Column(scale=8, min_width=320, elem_classes="see"):
                self._build_stage()
            with gr.Column(scale=4, min_width=260, elem_classes="know"):
                self._build_findings()
        self._bind()

    def open_first_example(self, page: gr.Blocks) -> None:
        """Show the first example when the page opens."""
        if self._room.examples:
            page.load(self._say(self._first), **self._opening, **RUN)

    def _build_input(self) -> None:
        self.picture = picture(
            label="Picture", sources=["upload", "clipboard"], height=170, buttons=[],
            elem_id="look-picture", placeholder="Drop a picture here\nor click to choose one",
        )  # fmt: skip
        with gr.Group(elem_classes="examples", visible=bool(self._room.examples)):
            gr.HTML('<p class="eyebrow">Examples</p>', apply_default_css=False)
            self._gallery = gr.HTML(
                examples.gallery(self._room.examples), js_on_load=PICK, elem_id="look-examples",
                apply_default_css=False,
            )  # fmt: skip

    def _build_stage(self) -> None:
        card, outputs = self._room.card, self._room.shelf.predictor().outputs
        choices = [v for v in views.VIEWS if v != views.HEAT or "class_maps" in outputs]
        self._message = gr.HTML(elem_id="look-message", apply_default_css=False)
        self._view = gr.Radio(
            choices, value=views.OVERLAY, label="View", elem_id="look-view", elem_classes="segments"
        )
        self._stage = picture(
            label="Result", interactive=False, show_label=False, buttons=["fullscreen"],
            elem_id="look-stage", alt_text=NO_PICTURE,
        )  # fmt: skip
        self._legend = gr.HTML(panels.EMPTY, elem_id="look-legend", apply_default_css=False)
        with gr.Row(elem_classes="sliders"):
            self._threshold = gr.Slider(
                0, 1, card.threshold.value, step=0.01, label="Threshold", elem_id="look-threshold",
                info="Foreground is what is above it", buttons=["reset"],
            )  # fmt: skip
            self._opacity = gr.Slider(
                0, 1, render.OPACITY, step=0.05, label="Opacity", elem_id="look-opacity",
                info="Of the dark veil over the background", buttons=["reset"],
            )  # fmt: skip
            self._class = gr.Dropdown(
                card.classes, value=card.classes[0], label="Class", elem_id="look-class",
                info="Whose evidence to show", visible=False,
            )  # fmt: skip
        self._boxes = gr.Checkbox(label="Draw boxes", elem_id="look-boxes", container=False)

    def _build_findings(self) -> None:
        self._verdict = gr.HTML(
            panels.quiet(NO_PICTURE), elem_id="look-verdict", apply_default_css=False
        )
        self._numbers = gr.HTML(elem_id="look-numbers", apply_default_css=False)
        gr.HTML('<p class="eyebrow">Download</p>', apply_default_css=False)
        with gr.Row(elem_classes="downloads"):
            self._buttons = {
                kind: gr.Button(title, size="sm", min_width=110, elem_id=f"look-{kind}")
                for kind, title in save.TITLES.items()
            }
        self._file = files(visible=False)

    def _bind(self) -> None:
        controls: set[Block] = {
            self._view,
            self._threshold,
            self._opacity,
            self._class,
            self._boxes,
        }
        drawn = [self._message, self._stage, self._legend, self._numbers]
        everything = [*drawn, self._verdict, self._class, self.picture]
        self._opening: dict[str, Any] = {
            "inputs": controls,
            "outputs": everything,
            "show_progress": "hidden",
        }
        self.picture.upload(self._say(self._read), {self.picture, *controls}, everything, **RUN)
        self._gallery.select(self._say(self._example), controls, everything, **RUN)
        self.picture.clear(self._say(self._clear), None, everything, **DRAW)
        for control in (self._threshold, self._opacity):
            control.input(
                self._say(self._draw), controls, drawn, trigger_mode="always_last", **DRAW
            )
        for other in (self._class, self._boxes):
            other.input(self._say(self._draw), controls, drawn, **DRAW)
        self._view.input(
            self._say(self._turn), controls, [*drawn, self._opacity, self._class], **DRAW
        )
        for kind, button in self._buttons.items():
            button.click(
                self._say(self._saver(kind)), controls, [self._message, self._file], **DRAW
            ).success(None, self._file, None, js=FETCH)

    def _say(self, handler: Callable[..., dict]) -> Callable[..., dict]:
        return spoken(self._message)(handler)

    def _asked(self, values: Values) -> Drawing:
        return Drawing(
            values[self._view], values[self._threshold], values[self._opacity],
            values[self._class], values[self._boxes],
        )  # fmt: skip

    def _read(self, values: Values, request: gr.Request) -> dict:
        path = values[self.picture]
        if path is None:
            return {}
        try:
            look = self._room.look(path)
        except Exception as error:
            return {**self._clear(request), self._message: panels.alert(sentence(error))}
        return self._present(look, values, request)

    def _example(self, values: Values, request: gr.Request, event: gr.EventData) -> dict:
        return self._present(self._room.look_at_example(int(event.index)), values, request)

    def _first(self, values: Values, request: gr.Request) -> dict:
        return self._present(self._room.look_at_example(0), values, request)

    def _present(self, look: Look, values: Values, request: gr.Request) -> dict:
        session, asked = self._room.session(request), self._asked(values)
        self._room.sessions.keep(session, look)
        asked = asked._replace(label=next(iter(look.prediction.labels), asked.label))
        return {
            self.picture: None,
            self._class: asked.label,
            self._verdict: panels.verdict(look.report(asked.threshold), self._room.card),
            **self._drawing(session, asked),
        }

    def _draw(self, values: Values, request: gr.Request) -> dict:
        return self._drawing(self._room.session(request), self._asked(values))

    def _turn(self, values: Values, request: gr.Request) -> dict:
        view = values[self._view]
        return {
            self._opacity: gr.update(visible=view == views.OVERLAY),
            self._class: gr.update(visible=view == views.HEAT),
            **self._draw(values, request),
        }

    def _drawing(self, session: Session, asked: Drawing) -> dict:
        look = session.current()
        report = look.report(asked.threshold)
        content, suffix = views.shown(asked.view, look.picture(asked))
        stem = f"{Path(look.name).stem}-{asked.view.split()[0].lower()}"
        words = (
            f"{asked.view} of {look.name}: {report['foreground_fraction']:.0%} foreground "
            f"at threshold {asked.threshold:.2f}"
        )
        return {
            self._stage: gr.update(value=session.show(content, stem + suffix), alt_text=words),
            self._legend: panels.legend(asked.view, asked.threshold, asked.label),
            self._numbers: panels.numbers(report),
        }

    def _clear(self, request: gr.Request) -> dict:
        self._room.session(request).forget()
        return {
            self._stage: gr.update(value=None, alt_text=NO_PICTURE),
            self._legend: panels.EMPTY,
            self._numbers: "",
            self._verdict: panels.quiet(NO_PICTURE),
        }

    def _saver(self, kind: str) -> Callable[..., dict]:
        def saved(values: Values, request: gr.Request) -> dict:
            asked = self._asked(values)
            session = self._room.session(request)
            return {self._file: save.write(session, kind, asked.threshold, asked.opacity)}

        return saved
