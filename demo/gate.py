"""What the web server answers at all, how much it takes in, and what a browser may load."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

from wsol_deploy.demo.uploads import MB, Limits

Scope = dict[str, Any]
OPEN = re.compile(
    r"/|/config/?|/theme\.css|/manifest\.json|/robots\.txt|/favicon\.ico|/pwa_icon(/\d+)?"
    r"|/(assets|static|svelte)/.*|/log(in|out)/?"
    r"|/gradio_api/(info|openapi\.json|app_id|startup-events|login_check|user|theme\.css)/?"
    r"|/gradio_api/(upload|upload_progress|cancel|reset|queue/join|queue/data)/?"
    r"|/gradio_api/(run|api|call|call/v2)/[\w/-]+"
    r"|/gradio_api/heartbeat/[\w-]+"
    r"|/gradio_api/file=/?(?!\w+:).+"
)
UPLOAD = re.compile(r"/gradio_api/upload/?")
HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        b"connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
        b"form-action 'self'; frame-ancestors 'self' https://huggingface.co",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
MULTIPART_ROOM = MB  # headers and boundaries around the files of one upload
MEASURE_EVERY = 2.0


class Gate:
    """ASGI middleware: closed unless the page needs it.

    Gradio serves more than this page uses: a proxy for other sites, monitoring, deep links that
    store sessions. They are not found here.

    Args:
        app: the application behind it.
        folder: the server's temporary folder.
        limits: of one upload and of the folder.
    """

    def __init__(self, app: Any, folder: Path, limits: Limits) -> None:
        self._app = app
        self._folder = folder
        self._limits = limits
        self._measured = (0.0, 0)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        refusal = self._refusal(path, dict(scope["headers"]))
        if refusal:
            await _answer(send, *refusal)
            return

        async def guarded(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *HEADERS]}
            await send(message)

        await self._app(scope, receive, guarded)

    def _refusal(self, path: str, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        if not OPEN.fullmatch(path):
            return 404, "There is nothing here."
        if UPLOAD.fullmatch(path):
            length = headers.get(b"content-length", b"")
            most = self._limits.unpacked_bytes + MULTIPART_ROOM
            if not length.isdigit():
                return 411, "An upload has to say how long it is."
            if int(length) > most:
                return 413, f"An upload takes up to {most // MB} MB."
            if self._held() + int(length) > self._limits.folder_bytes:
                return 507, "There is no room for more files now; try again in a while."
        return None

    def _held(self) -> int:
        """Bytes in the temporary folder, measured at most every few seconds."""
        when, size = self._measured
        now = time.monotonic()
        if now - when > MEASURE_EVERY:
            size = sum(
                _size(Path(folder, name))
                for folder, _, names in os.walk(self._folder)  # folders may vanish meanwhile
                for name in names
            )
            self._measured = (now, size)
        return size


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


async def _answer(send: Any, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
