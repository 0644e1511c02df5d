"""What a writer is: files for one image, or a table over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from wsol_deploy.batch.folder import Content, Folder
from wsol_deploy.batch.page import Page
from wsol_deploy.card import ModelCard

Entries = Callable[[], Iterator[dict[str, Any]]]
LABEL = ("mask", "probs", "localizer_probs", "class_masks")
EVERYTHING_BUT_MAPS = (*LABEL, "background_probs")


class Writer(Protocol):
    """Any writer."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs of the graph that it uses."""
        ...


class FileWriter(Writer, Protocol):
    """Writes files of its own for every image."""

    @property
    def needs_image(self) -> bool:
        """Whether it draws on the pixels of the image."""
        ...

    def files(self, page: Page) -> Iterator[tuple[str, Content]]:
        """(path below the output folder, content) of each file; see `Folder.write`."""
        ...


class TableWriter(Writer, Protocol):
    """Gathers one section of every image's journal entry when the run ends."""

    @property
    def section(self) -> str:
        """The part of the entry that it reads."""
        ...

    def collect(self, entries: Entries, folder: Folder, card: ModelCard) -> None:
        """Write the table.

        Args:
            entries: gives the images' entries, sorted by name, as often as it is called.
            folder: the output.
            card: of the model.
        """
        ...
