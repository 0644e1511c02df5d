"""Which model files this user exported here: TorchScript and `.pt2` run code when they are opened.

Nothing that travels with a file can vouch for it, a proof beside it least of all. So `wsol export`
notes the sha256 of such a file in a list of the user's own, and that list alone is believed.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)
FOLDER, LIST = "wsol-deploy", "exported"
NOWHERE = (OSError, RuntimeError)  # RuntimeError: there is no home folder


def ledger() -> Path:
    """The list: $XDG_STATE_HOME/wsol-deploy/exported, by default under ~/.local/state."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / FOLDER / LIST


def remember(digest: str) -> None:
    """Note the sha256 of a file as this user's own; where that cannot be, say what it costs."""
    try:
        place = ledger()
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with place.open("a", encoding="ascii") as stream:
            stream.write(f"{digest}\n")
    except NOWHERE as error:
        logger.warning("opening it will need --trust: it cannot be noted as yours (%s)", error)


def is_own(path: Path) -> bool:
    """Whether this user exported these very bytes here."""
    try:
        known = ledger().read_text("ascii").split()
    except (*NOWHERE, UnicodeDecodeError):
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() in known
