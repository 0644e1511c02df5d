"""The page: header, four tabs, and the API."""

from __future__ import annotations

import gradio as gr

from wsol_deploy.demo import api, panels
from wsol_deploy.demo.batch_tab import BatchTab
from wsol_deploy.demo.compare_tab import CompareTab
from wsol_deploy.demo.look_tab import LookTab
from wsol_deploy.demo.model_tab import model_tab
from wsol_deploy.demo.room import Room

CLEAN_EVERY, CLEAN_AFTER = 300, 1800
WAITING = 200


def build(room: Room) -> gr.Blocks:
    """The page of a room, ready to launch."""
    with gr.Blocks(
        title=f"wsol · {room.card.name}",
        analytics_enabled=False,
        delete_cache=(CLEAN_EVERY, CLEAN_AFTER),
        fill_width=False,
    ) as page:
        gr.HTML(panels.header(room.card), apply_default_css=False, elem_id="header")
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Look", id="look"):
                look = LookTab(room)
            with gr.Tab("Batch", id="batch"):
                BatchTab(room)
            with gr.Tab("Compare", id="compare"):
                CompareTab(room)
            with gr.Tab("Model", id="model"):
                model_tab(room)
        look.open_first_example(page)
        api.publish(room)

        def leave(request: gr.Request) -> None:
            room.sessions.close(request.session_hash)
            forget(page, request.session_hash)

        page.unload(leave)
    return page.queue(max_size=WAITING, default_concurrency_limit=1)


def forget(page: gr.Blocks, key: str | None) -> None:
    """Drop Gradio's own state of a session that has ended, which it would keep for many others.

    Args:
        page: that was launched.
        key: of the session, or None where there is none.
    """
    holder = page.state_holder
    with holder.lock:
        holder.session_data.pop(key or "", None)
        holder.time_last_used.pop(key or "", None)
