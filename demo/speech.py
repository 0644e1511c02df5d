"""Errors become sentences in the page, and for API clients the same sentences as errors."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import gradio as gr

from wsol_deploy.demo.panels import alert
from wsol_deploy.errors import WsolError

logger = logging.getLogger(__name__)
OURS = "this did not work, through a fault of the program; the server's log says more"

Handler = Callable[..., Any]


def spoken(message: gr.HTML) -> Callable[[Handler], Handler]:
    """Wrap a handler that returns a dict of outputs: `message` tells what went wrong, or empties.

    The other outputs stay as they are when it fails.
    """

    def decorate(handler: Handler) -> Handler:
        @functools.wraps(handler)
        def run(*arguments: Any, **named: Any) -> dict[Any, Any]:
            try:
                return {message: "", **handler(*arguments, **named)}
            except Exception as error:
                return {message: alert(sentence(error))}

        return run

    return decorate


def raised(handler: Handler) -> Handler:
    """Wrap an API function: what goes wrong reaches the client as one sentence."""

    @functools.wraps(handler)
    def run(*arguments: Any, **named: Any) -> Any:
        try:
            return handler(*arguments, **named)
        except Exception as error:
            raise gr.Error(sentence(error), print_exception=False) from error

    return run


def sentence(error: Exception) -> str:
    """What to tell the user; surprises are logged and not shown."""
    if isinstance(error, WsolError):
        return str(error)
    logger.exception("the demo failed")
    return OURS
