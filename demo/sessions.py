"""Each user's own drawer: what was predicted, a private folder, and a bound on all together."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import OrderedDict, deque
from pathlib import Path

from wsol_deploy.demo.look import Look
from wsol_deploy.errors import WsolError

KEEP_PICTURES = 8
GONE = "there is no picture here yet, or it was put away after a while: choose it again"


class Session:
    """One browser tab or API client.

    Attributes:
        folder: its own, under a name nobody can guess; gone when the session ends.
        look: the picture on the stage, or None.
        stop: ends the batch that runs; set when the session ends.
        used: when it was last used, seconds of the monotonic clock.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / secrets.token_hex(16)
        self.folder.mkdir(parents=True)
        self.look: Look | None = None
        self.stop = threading.Event()
        self.used = time.monotonic()
        self._shown: deque[Path] = deque()

    def current(self) -> Look:
        """The picture on the stage.

        Raises:
            WsolError: there is none, or it was put away.
        """
        if self.look is None:
            raise WsolError(GONE)
        return self.look

    def show(self, content: bytes, name: str) -> Path:
        """Write a picture to show; only the last few are kept."""
        path = self.place(name)
        path.write_bytes(content)
        self._shown.append(path.parent)
        while len(self._shown) > KEEP_PICTURES:
            shutil.rmtree(self._shown.popleft(), ignore_errors=True)
        return path

    def place(self, name: str) -> Path:
        """A path of this name in a new folder of the session."""
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir()
        return folder / name

    def end(self) -> None:
        """Stop what runs, and remove every file."""
        self.look = None
        self.stop.set()
        shutil.rmtree(self.folder, ignore_errors=True)

    def forget(self) -> None:
        """Drop the picture on the stage and its files."""
        self.look = None
        while self._shown:
            shutil.rmtree(self._shown.popleft(), ignore_errors=True)


class Sessions:
    """All sessions, by the server's own session key.

    Args:
        root: the folder of all their folders.
        memory: bytes that all pictures together may hold; beyond it the longest unused go.
        idle: seconds after which an unused session ends.
    """

    def __init__(self, root: Path, memory: int = 1_000_000_000, idle: float = 3600) -> None:
        self._root = root
        self._memory = memory
        self._idle = idle
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    def of(self, key: str | None) -> Session:
        """The session of this key, made if new.

        Raises:
            WsolError: the caller has no key, so nothing can be kept for it.
        """
        if not key:
            raise WsolError("this call has no session: use gradio_client, or send a session_hash")
        with self._lock:
            self._end_idle()
            if key not in self._sessions:
                self._sessions[key] = Session(self._root)
            self._sessions.move_to_end(key)
            session = self._sessions[key]
            session.used = time.monotonic()
            return session

    def keep(self, session: Session, look: Look) -> None:
        """Put a picture on a session's stage; others' oldest go if the memory is full."""
        with self._lock:
            session.look = look
            held = sum(other.look.nbytes for other in self._sessions.values() if other.look)
            for other in list(self._sessions.values()):
                if held <= self._memory:
                    break
                if other is not session and other.look:
                    held -= other.look.nbytes
                    other.look = None

    def close(self, key: str | None) -> None:
        """End a session: its picture and its files are gone."""
        with self._lock:
            session = self._sessions.pop(key or "", None)
        if session:
            session.end()

    def _end_idle(self) -> None:
        now = time.monotonic()
        for key, session in list(self._sessions.items()):
            if now - session.used > self._idle:
                del self._sessions[key]
                session.end()
