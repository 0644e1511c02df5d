"""The page's actions by name, for `gradio_client` and plain HTTP; examples/client.py shows them."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import gradio as gr

from wsol_deploy.demo import batch, compare, save, views
from wsol_deploy.demo.look import Drawing, Look
from wsol_deploy.demo.parts import files, picture
from wsol_deploy.demo.room import BATCH_QUEUE, MODEL_QUEUE, Room
from wsol_deploy.demo.sessions import Session
from wsol_deploy.demo.speech import raised
from wsol_deploy.runtime import render

Answer = tuple[dict[str, Any], Path]


class Api:
    """The public functions; what a client looked at stays with its session.

    Args:
        room: what the page's tabs share.
    """

    def __init__(self, room: Room) -> None:
        self._room = room

    def look(self, picture: Path, threshold: float, request: gr.Request) -> Answer:
        """Run the model on a picture.

        Returns the row that wsol predict writes (label, probabilities, foreground_fraction,
        components, boxes, entropies, review) with the seconds it took, and the overlay as PNG.
        /view and /download then work on this picture without the model.
        """
        session = self._room.session(request)
        return self._answer(session, self._room.look(picture), threshold)

    def example(self, index: float, threshold: float, request: gr.Request) -> Answer:
        """As /look, on one of the page's examples (0 is the first)."""
        session = self._room.session(request)
        return self._answer(session, self._room.look_at_example(int(index)), threshold)

    def view(
        self, view: str, threshold: float, opacity: float, label: str, boxes: bool,
        request: gr.Request,
    ) -> Path:  # fmt: skip
        """Draw the picture of the last /look in another way, as PNG at the size it is shown.

        view: Overlay, Soft mask, Foreground R⁺, Background R⁻, Class heat map or Picture;
        opacity: of the overlay's veil; label: the class of the heat map; boxes: draw them.
        """
        session = self._room.session(request)
        look = session.current()
        picture = look.picture(Drawing(view, threshold, opacity, label, boxes))
        return session.show(views.png(picture), f"{Path(look.name).stem}.png")

    def download(self, kind: str, threshold: float, opacity: float, request: gr.Request) -> Path:
        """One file about the picture of the last /look, at its full size.

        kind: mask (the bytes of wsol predict), overlay, geojson or json.
        """
        return save.write(self._room.session(request), kind, threshold, opacity)

    def batch(
        self, files: list[Path], save: list[str], threshold: float, request: gr.Request
    ) -> Answer:
        """wsol predict on pictures and zips of pictures.

        save: what to write, as wsol predict --save. Returns counts, a row a picture, the reasons
        of those left out, and one zip of everything written.
        """
        steps = self._room.batch(self._room.session(request), files, save, threshold)
        last = deque(steps, maxlen=1).pop()
        report = {
            "pictures": last.total,
            "done": last.done,
            "failed": [{"image": name, "reason": reason} for name, reason in last.failed],
            "rows": last.rows,
        }
        return report, last.archive  # type: ignore[return-value]

    def compare(
        self, picture: Path, first: str, second: str, truth: Path | None = None,
        request: gr.Request = None,  # type: ignore[assignment]
    ) -> Answer:  # fmt: skip
        """Two methods (see /methods) on one picture.

        Returns how far they agree, each one's label and foreground, with a truth mask F1+, F1-
        and IoU beside those of a mask of ones, and the map of where they differ as PNG.
        """
        session = self._room.session(request)
        found = self._room.compare(picture, first, second, truth)
        *_, difference = found.pictures()
        return found.report, session.show(views.png(difference), "difference.png")

    def methods(self) -> list[str]:
        """The names that /compare takes."""
        return compare.methods(self._room.shelf)

    def card(self, model: str) -> dict[str, Any]:
        """The card of a model: classes, threshold, metrics with baselines, origin, proof."""
        predictor = self._room.shelf.predictor(model)
        return predictor.card.model_dump()

    def _answer(self, session: Session, look: Look, threshold: float) -> Answer:
        self._room.sessions.keep(session, look)
        picture = look.picture(Drawing(views.OVERLAY, threshold))
        name = f"{Path(look.name).stem}-overlay.png"
        return look.report(threshold), session.show(views.png(picture), name)


def publish(room: Room) -> None:
    """Add the API to the page that is being built; none of it is seen there."""
    api, card = Api(room), room.card
    pair = compare.first_pair(room.shelf)
    bell = gr.Button(visible=False)
    photo, truth = picture(label="picture", visible=False), picture(label="truth", visible=False)
    sent = files(label="files", file_count="multiple", visible=False)
    threshold = gr.Number(card.threshold.value, label="threshold", minimum=0, maximum=1,
                          visible=False)  # fmt: skip
    opacity = gr.Number(render.OPACITY, label="opacity", minimum=0, maximum=1, visible=False)
    index = gr.Number(0, label="index", precision=0, visible=False)
    view = gr.Textbox(views.OVERLAY, label="view", visible=False)
    label = gr.Textbox(card.classes[0], label="label", visible=False)
    boxes = gr.Checkbox(False, label="boxes", visible=False)
    kind = gr.Textbox("mask", label="kind", visible=False)
    written = gr.JSON(list(batch.DEFAULT_SAVE), label="save", visible=False)
    first = gr.Textbox(pair[0], label="first", visible=False)
    second = gr.Textbox(pair[1], label="second", visible=False)
    model = gr.Textbox(room.shelf.first, label="model", visible=False)
    report, found = gr.JSON(label="report", visible=False), files(label="file", visible=False)
    queued: dict[str, Any] = {"concurrency_id": MODEL_QUEUE}
    later: dict[str, Any] = {"concurrency_id": BATCH_QUEUE}
    quick: dict[str, Any] = {"queue": False}
    for function, inputs, outputs, how in (
        (api.look, [photo, threshold], [report, found], queued),
        (api.example, [index, threshold], [report, found], queued),
        (api.view, [view, threshold, opacity, label, boxes], [found], quick),
        (api.download, [kind, threshold, opacity], [found], quick),
        (api.batch, [sent, written, threshold], [report, found], later),
        (api.compare, [photo, first, second, truth], [report, found], queued),
        (api.methods, [], [report], quick),
        (api.card, [model], [report], quick),
    ):
        bell.click(
            raised(function), inputs, outputs, api_name=function.__name__,
            api_description=function.__doc__, **how,
        )  # fmt: skip
