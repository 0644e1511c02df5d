"""What a writer is: files for one image, or a table over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Protocol

from wsol_deploy.batch.folder import Folder
from wsol_deploy.batch.page import Page
from wsol_deploy.card import ModelCard

Entries = Callable[[], Iterator[dict[str, Any]]]
LABEL = ("mask", "probs", "localizer_probs")
EVERYTHING_BUT_MAPS = (*LABEL, "background_probs")


class FileWriter(Protocol):
    """Writes files of its own for every image.

    Attributes:
        outputs: of the graph that it uses.
        needs_image: whether it draws on the pixels of the image.
    """

    outputs: ClassVar[tuple[str, ...]]
    needs_image: ClassVar[bool]

    def files(self, page: Page) -> Iterator[tuple[str, bytes | Path]]:
        """(path below the output folder, content, or file to link to) of each file."""
        ...


class TableWriter(Protocol):
    """Gathers one section of every image's journal entry when the run ends.

    Attributes:
        outputs: of the graph that its section uses.
        section: the part of the entry it reads.
    """

    outputs: ClassVar[tuple[str, ...]]
    section: ClassVar[str]

    def collect(self, entries: Entries, folder: Folder, card: ModelCard) -> None:
        """Write the table.

        Args:
            entries: gives the images' entries, sorted by name, as often as it is called.
            folder: the output.
            card: of the model.
        """
        ...
