"""The Batch tab: many pictures or a zip in, a gallery, a table and one zip out."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from wsol_deploy.batch.writers import NAMES, impossible
from wsol_deploy.card import SEPARATOR
from wsol_deploy.demo import batch, panels
from wsol_deploy.demo.parts import files, gallery
from wsol_deploy.demo.room import BATCH_QUEUE, Room
from wsol_deploy.demo.speech import sentence
from wsol_deploy.demo.uploads import MB

COLUMNS = ["Picture", "Label", "Score %", "Foreground %", "Regions", "Look again"]
KINDS: list[Any] = ["str", "str", "number", "number", "number", "str"]


class BatchTab:
    """Builds the tab's components and binds its handlers.

    Args:
        room: what all tabs share.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        limits = room.limits
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                self._files = files(
                    label="Pictures or a zip", file_count="multiple", height=190,
                    elem_id="batch-files",
                )  # fmt: skip
                gr.HTML(
                    f'<p class="quiet">Up to {limits.files} pictures at once, '
                    f"{limits.file_bytes // MB} MB a file; wsol predict takes any number.</p>",
                    apply_default_css=False,
                )
            with gr.Column(scale=3, min_width=300):
                never = impossible(room.card)
                self._save = gr.CheckboxGroup(
                    [name for name in NAMES if name not in never],
                    value=list(batch.DEFAULT_SAVE),
                    label="Write",
                    info="As wsol predict --save",
                    elem_id="batch-save",
                )
                self._threshold = gr.Slider(
                    0, 1, room.card.threshold.value, step=0.01, label="Threshold",
                    buttons=["reset"], elem_id="batch-threshold",
                )  # fmt: skip
                with gr.Row():
                    self._go = gr.Button("Predict all", variant="primary", elem_id="batch-go")
                    self._stop = gr.Button("Stop", elem_id="batch-stop", interactive=False)
        self._message = gr.HTML(elem_id="batch-message", apply_default_css=False)
        self._progress = gr.HTML(elem_id="batch-progress", apply_default_css=False)
        self._archive = files(
            label="Everything, in one zip", visible=False, interactive=False, elem_id="batch-zip"
        )
        self._gallery = gallery(
            label="Gallery", columns=5, height="auto", visible=False, object_fit="contain",
            elem_id="batch-gallery", buttons=["fullscreen"],
        )  # fmt: skip
        self._table = gr.Dataframe(
            headers=COLUMNS, datatype=KINDS, visible=False, interactive=False, label="Results",
            elem_id="batch-table", buttons=["fullscreen"], max_height=480,
        )  # fmt: skip
        self._bind()

    def _bind(self) -> None:
        told = [
            self._message, self._progress, self._archive, self._gallery, self._table, self._stop
        ]  # fmt: skip
        self._go.click(
            self._run, [self._files, self._save, self._threshold], told,
            concurrency_id=BATCH_QUEUE, concurrency_limit=1, api_visibility="private",
            show_progress="hidden",
        )  # fmt: skip
        self._stop.click(self._halt, None, None, queue=False, api_visibility="private")

    def _halt(self, request: gr.Request) -> None:
        self._room.session(request).stop.set()

    def _run(
        self, files: list[Path] | None, save: list[str], threshold: float, request: gr.Request
    ) -> Iterator[dict]:
        yield {
            self._message: "",
            self._progress: _progress(0, len(files or ()), "Looking at the files …"),
            self._stop: gr.update(interactive=True),
            self._archive: gr.update(visible=False),
        }
        try:
            session = self._room.session(request)
            for step in self._room.batch(session, files or [], save, threshold):
                yield {self._progress: _progress(step.done + len(step.failed), step.total)}
            yield self._told(step)
        except Exception as error:
            yield {
                self._message: panels.alert(sentence(error)),
                self._progress: "",
                self._stop: gr.update(interactive=False),
            }

    def _told(self, progress: batch.Progress) -> dict[Any, Any]:
        rows = [_row(row) for row in progress.rows]
        return {
            self._message: _failures(progress),
            self._progress: _summary(progress),
            self._archive: gr.update(value=progress.archive, visible=bool(progress.archive)),
            self._gallery: gr.update(
                value=[(str(path), name) for path, name in progress.shown],
                visible=bool(progress.shown),
            ),
            self._table: gr.update(value=rows, visible=bool(rows)),
            self._stop: gr.update(interactive=False),
        }


def _row(row: dict[str, Any]) -> list[Any]:
    scores = row["probabilities"] or row["localizer_probabilities"] or {}
    found = (row["label"] or "").split(SEPARATOR)
    score = min((scores[name] for name in found if name in scores), default=None)
    return [
        row["image"],
        row["label"] or "–",
        None if score is None else round(100 * score, 1),
        round(100 * row["foreground_fraction"], 1),
        row["components"],
        row["review"] or "",
    ]


def _progress(done: int, total: int, words: str = "") -> str:
    words = words or f"{done} of {total} pictures"
    return (
        f'<div class="progress"><label>{words}<progress max="{max(total, 1)}" value="{done}">'
        "</progress></label></div>"
    )


def _summary(progress: batch.Progress) -> str:
    again = sum(row["review"] is not None for row in progress.rows)
    left = progress.total - progress.done - len(progress.failed)
    pictures = "picture" if progress.total == 1 else "pictures"
    words = f"{progress.done} of {progress.total} {pictures} done"
    words += f", {again} to look at again" if again else ""
    words += f", {left} left out because you stopped" if left else ""
    if len(progress.shown) < progress.done:
        words += f". The gallery shows the first {len(progress.shown)}"
    return f'<p class="legend" role="status">{words}.</p>'


def _failures(progress: batch.Progress) -> str:
    if not progress.failed:
        return ""
    count = len(progress.failed)
    items = "".join(f"<li>{escape(_reason(name, why))}</li>" for name, why in progress.failed[:20])
    more = f"<li>and {count - 20} more</li>" if count > 20 else ""
    title = "One picture was left out:" if count == 1 else f"{count} pictures were left out:"
    return f'<div class="alert" role="alert">{title}<ul>{items}{more}</ul></div>'


def _reason(name: str, why: str) -> str:
    return why if why.startswith(Path(name).name) else f"{name}: {why}"
