"""What runs the stages: this machine, or a cluster (`ray_engine`)."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from wsol_deploy.batch import pools
from wsol_deploy.batch.folder import Folder
from wsol_deploy.batch.options import Options
from wsol_deploy.batch.sources import Item
from wsol_deploy.batch.stages import Stages
from wsol_deploy.batch.writers import choose
from wsol_deploy.card import ModelCard
from wsol_deploy.runtime import Predictor

Entry = dict[str, Any]


class Engine(Protocol):
    """A model, and machines that run it.

    Attributes:
        path: the model file.
        card: what it says of itself.
        device: where it runs, `cpu`, `cuda` or `cuda:N`.
        batch_size: images of equal graph size run at once, unless the options say otherwise.
    """

    path: Path
    card: ModelCard
    device: str
    batch_size: int

    def run(
        self,
        batches: Iterable[list[Item]],
        options: Options,
        folder: Folder,
        stop: threading.Event,
    ) -> Iterator[Entry]:
        """Predict and write every image; its journal entry once its files are in the folder.

        Args:
            batches: images to predict together; they end soon after `stop` is set.
            options: what to write.
            folder: the output.
            stop: when set, nothing new is begun.
        """
        ...


class LocalEngine:
    """The threads of this machine.

    Args:
        predictor: opened by `open_model` with the options of the run.
        output: the folder where the files end up, if it is not the one they are written to.
    """

    def __init__(self, predictor: Predictor, output: Path | None = None) -> None:
        self.path = predictor.path
        self.card = predictor.card
        self.device = predictor.device
        self.batch_size = predictor.batch_size
        self._predictor = predictor
        self._output = output

    def run(
        self,
        batches: Iterable[list[Item]],
        options: Options,
        folder: Folder,
        stop: threading.Event,
    ) -> Iterator[Entry]:
        streams = pools.CPU_STREAMS if self.device == "cpu" else 1
        writers = choose(options, self._output or folder.root)
        stages = Stages(self._predictor, options, writers, folder, streams)
        return pools.run(stages, batches, streams, pools.default_workers(self.device))
