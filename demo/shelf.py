"""The models the page offers; each is opened when it is first used."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from wsol_deploy.artifacts import read_card
from wsol_deploy.card import ModelCard
from wsol_deploy.errors import UsageError
from wsol_deploy.runtime import Predictor, load


class Shelf:
    """Models by a name of their own; the first is the page's model and is opened at once.

    Args:
        paths: model files.
        device: auto, cpu, cuda or cuda:N.
        trust: open TorchScript and `.pt2` files of unknown origin.

    Raises:
        ArtifactError: a file is no model.
        DeviceError: the GPU asked for cannot be used.
    """

    def __init__(self, paths: Sequence[Path], device: str = "auto", trust: bool = False) -> None:
        self._device, self._trust = device, trust
        self._lock = threading.Lock()
        self._opened: dict[str, Predictor] = {}
        self.cards: dict[str, ModelCard] = {}
        self.paths: dict[str, Path] = {}
        for path in paths:
            card = read_card(path)
            name = _distinct(card.name or path.stem, path, self.paths)
            self.cards[name], self.paths[name] = card, path
        self.first = next(iter(self.paths))
        self.predictor(self.first)

    @property
    def names(self) -> list[str]:
        """Every model's name, the page's model first."""
        return list(self.paths)

    def predictor(self, name: str | None = None) -> Predictor:
        """The opened model of this name, or the page's model.

        Raises:
            UsageError: no such model.
        """
        name = name or self.first
        if name not in self.paths:
            raise UsageError(f"no model {name!r} here; known: {', '.join(self.names)}")
        with self._lock:
            if name not in self._opened:
                self._opened[name] = load(self.paths[name], device=self._device, trust=self._trust)
            return self._opened[name]


def _distinct(name: str, path: Path, taken: dict[str, Path]) -> str:
    """The card's name; if that is taken with what tells the files apart, file name or folder."""
    folder = path.parent.parent if path.parent.name == "export" else path.parent
    same_file = any(path.name == other.name for other in taken.values())
    apart = folder.name if same_file else path.name
    for candidate in (name, f"{name} ({apart})", f"{name} ({path})"):
        if candidate not in taken:
            return candidate
    return f"{name} ({len(taken) + 1})"
