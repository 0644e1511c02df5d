"""Serve the page: its own temporary folder, the gate before it, and a clean end."""

from __future__ import annotations

import ctypes
import ipaddress
import logging
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wsol_deploy.demo import examples
from wsol_deploy.demo.sessions import Sessions
from wsol_deploy.demo.shelf import Shelf
from wsol_deploy.demo.uploads import Limits
from wsol_deploy.errors import UsageError, WsolError

logger = logging.getLogger(__name__)
PREFIX = "wsol-demo-"
KEPT_SESSIONS = 500
POLL = 0.2  # seconds
M_MMAP_THRESHOLD, MMAP_FROM = -3, 1 << 20
M_ARENA_MAX, ARENAS = -8, 2


@dataclass(frozen=True)
class Options:
    """How to serve.

    Attributes:
        models: files; the first is the page's model, all can be compared.
        host, port: where to listen.
        auth: (user, password), or None for an open page.
        examples: folder of pictures to begin with, or None for the built-in ones.
        open_browser: open the page when it is up.
        device: auto, cpu, cuda or cuda:N.
        trust: open TorchScript and `.pt2` files of unknown origin.
        limits: what may come in.
    """

    models: Sequence[Path]
    host: str = "127.0.0.1"
    port: int = 7860
    auth: tuple[str, str] | None = None
    examples: Path | None = None
    open_browser: bool = False
    device: str = "auto"
    trust: bool = False
    limits: Limits = field(default_factory=Limits)


def serve(options: Options) -> None:
    """Serve until Ctrl-C or SIGTERM; then every temporary file is gone.

    Raises:
        WsolError: a model cannot be opened, the port is taken, or a folder is missing.
    """
    with running(options) as address:
        print(address, flush=True)
        logger.info("The demo is up; Ctrl-C ends it.")
        _wait()
    logger.info("Next: wsol predict PICTURES -o OUT")


@contextmanager
def running(options: Options) -> Iterator[str]:
    """The page's address, while it is served in threads of this process."""
    _check_port(options.host, options.port)
    _give_memory_back()
    shelf = Shelf(options.models, options.device, options.trust)
    if warning := exposure(options.host, options.auth):
        logger.warning("%s", warning)
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        limits = _within(options.limits, folder)
        drawn = examples.gather(
            options.examples, shelf.cards[shelf.first], folder / "examples", limits
        )
        _settle(folder)
        from wsol_deploy.demo.app import build
        from wsol_deploy.demo.room import Room

        room = Room(shelf, Sessions(folder), drawn, limits)
        page = build(room)
        try:
            yield _launch(page, folder, options, limits)
        finally:
            page.close(verbose=False)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def exposure(host: str, auth: tuple[str, str] | None) -> str | None:
    """The warning about a page that strangers can open, or None."""
    if auth is not None or is_loopback(host):
        return None
    return (
        f"warning: anyone who can reach {host} can use this page; add --auth user:password, or "
        "leave --host out"
    )


def parse_auth(text: str) -> tuple[str, str]:
    """`user:password` in two.

    Raises:
        UsageError: one of them is missing.
    """
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise UsageError("--auth wants user:password, both with at least one letter")
    return user, password


def _check_port(host: str, port: int) -> None:
    """Before anything else, since all else takes seconds."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason, *_ = str(error.strerror).partition(" (while")  # Python repeats the address
        raise WsolError(
            f"cannot listen on {host}:{port} ({reason}); choose another --port or --host"
        ) from error


def _within(limits: Limits, folder: Path) -> Limits:
    """The limits, with at most half of what the disk has free."""
    free = shutil.disk_usage(folder).free
    return replace(limits, folder_bytes=min(limits.folder_bytes, free // 2))


def _give_memory_back() -> None:
    """Have glibc return pictures to the system as they are dropped; elsewhere do nothing.

    Left alone it comes to keep freed blocks of up to 32 MB, and an arena of them for each of many
    threads.
    """
    with suppress(OSError, AttributeError, TypeError):
        allocator = ctypes.CDLL(None)
        allocator.mallopt(M_MMAP_THRESHOLD, MMAP_FROM)
        allocator.mallopt(M_ARENA_MAX, ARENAS)


def _settle(folder: Path) -> None:
    """Gradio reads these when it is imported and when it serves; nothing calls out."""
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_EXAMPLES_CACHE"] = str(folder / "unused")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


def _launch(page: Any, folder: Path, options: Options, limits: Limits) -> str:
    from starlette.middleware import Middleware

    from wsol_deploy.demo.gate import Gate
    from wsol_deploy.demo.theme import SCRIPT, STYLE, theme

    _, address, _ = page.launch(
        server_name=options.host,
        server_port=options.port,
        auth=options.auth,
        auth_message="This demo asks for a name and a password.",
        inbrowser=options.open_browser,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        max_file_size=limits.file_bytes,
        footer_links=["api"],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        state_session_capacity=KEPT_SESSIONS,
        app_kwargs={
            "middleware": [Middleware(Gate, folder=folder, limits=limits)],
            "docs_url": None,
            "redoc_url": None,
        },
        theme=theme(),
        css_paths=[STYLE],
        js=_script(SCRIPT, limits),
    )
    return address


def _script(path: Path, limits: Limits) -> str:
    return path.read_text("utf-8").replace("FILE_BYTES", str(limits.file_bytes))


def _wait() -> None:
    """Until Ctrl-C or SIGTERM.

    The handler only appends: one that took a lock could wait for the thread it interrupts.
    """
    signals: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: signals.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        while not signals:
            time.sleep(POLL)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
