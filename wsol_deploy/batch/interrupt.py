"""Ctrl-C once finishes what is in flight, and says so; twice stops at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
FINISHING = b"\nfinishing what is in flight; Ctrl-C again stops at once\n"


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets; a second one raises KeyboardInterrupt.

    Ask it by `is_set`: the main thread must not `wait` for it, since the handler runs there too
    and would wait for the same lock.
    """
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        with suppress(OSError, ValueError):
            os.write(sys.stderr.fileno(), FINISHING)

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
