"""`load` a model file and `predict` images with it: the very code every command runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np

from wsol_deploy import images, integrity
from wsol_deploy.artifacts import format_of, read_card
from wsol_deploy.card import ModelCard
from wsol_deploy.errors import ArtifactError, ImageError
from wsol_deploy.runtime.backend import Backend
from wsol_deploy.runtime.fixed_batch import FixedBatch
from wsol_deploy.runtime.postprocess import NO_POST, PostProcess
from wsol_deploy.runtime.prediction import Prediction
from wsol_deploy.runtime.trust import assess

Source = Path | str | np.ndarray
MAX_GRAPH_PIXELS = 32_000_000


def load(
    path: Path | str,
    *,
    device: str = "auto",
    outputs: Sequence[str] | None = None,
    trust: bool = False,
    threads: int | None = None,
) -> Predictor:
    """Open an ONNX, TorchScript, `.pt2` or checkpoint file.

    Args:
        path: the file; its card says the rest.
        device: auto, cpu, cuda or cuda:N. Only `auto` may end on the CPU when there is a GPU.
        outputs: names of the contract to compute, None for all. Fewer cost less: `("mask",)`
            is one pass of the backbone.
        trust: open a TorchScript or `.pt2` file of unknown origin; such files can run code.
        threads: threads inside one operator on the CPU; None for one a core.

    Raises:
        ArtifactError: missing, damaged, without a card, not trusted, or lacking an output.
        DeviceError: the GPU asked for cannot be used; the message names what is missing.
        MissingExtra: the format needs torch, which is not installed.
    """
    path = Path(path)
    kind = format_of(path)
    card = read_card(path)
    integrity.check(path)
    backend: Backend
    if kind == "onnx":
        from wsol_deploy.runtime.onnx_backend import OnnxBackend

        backend = OnnxBackend(path, device, outputs, threads)
    else:
        from wsol_deploy.runtime.torch_backend import TorchBackend

        backend = TorchBackend(path, kind, card, device, outputs, trust=trust, threads=threads)
    if card.input.batch:
        backend = FixedBatch(backend, card.input.batch)
    return Predictor(path, card, backend)


def batch_size(card: ModelCard, device: str) -> int:
    """Images of equal graph size to run at once, if nobody says otherwise."""
    return card.input.batch or (1 if device == "cpu" else 8)


class Predictor:
    """An opened model.

    Attributes:
        path: the file.
        card: what it says of itself.
        device: where it really runs, `cpu` or `cuda:N`.
        outputs: the names it computes.
        batch_size: images of equal graph size that `predict` runs at once.
    """

    def __init__(self, path: Path, card: ModelCard, backend: Backend) -> None:
        self.path = path
        self.card = card
        self.device = backend.device
        self.outputs = backend.outputs
        self.batch_size = batch_size(card, backend.device)
        self._backend = backend

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """The raw graph.

        Args:
            batch: uint8, N x H x W x 3, RGB, H and W from 32 up.

        Returns:
            float32 by name: mask N x 1 x H x W, probs, localizer_probs and background_probs
            N x c, class_maps N x c x h' x w'; those in `outputs`.

        Raises:
            ImageError: the batch is of another type or shape.
        """
        low = self.card.input.min_side
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[3] != 3:
            raise ImageError(f"a batch is uint8 N x H x W x 3, this is {batch.dtype} {batch.shape}")
        if min(batch.shape[1:3]) < low:
            raise ImageError(f"the graph takes sides from {low} up, this is {batch.shape}")
        return self._backend.run(np.ascontiguousarray(batch))

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is one source, not a sequence of them
        self, source: Source, *, threshold: float | None = None, post: PostProcess = NO_POST
    ) -> Prediction: ...
    @overload
    def predict(
        self,
        source: Sequence[Source],
        *,
        threshold: float | None = None,
        post: PostProcess = NO_POST,
    ) -> list[Prediction]: ...
    def predict(
        self,
        source: Source | Sequence[Source],
        *,
        threshold: float | None = None,
        post: PostProcess = NO_POST,
    ) -> Prediction | list[Prediction]:
        """Masks, probabilities and trust for one image or many.

        Args:
            source: a path or RGB pixels (uint8, H x W x 3), or a list of these.
            threshold: of the soft mask, in [0, 1]; None for the card's.
            post: steps between soft mask and mask, none by default.

        Returns:
            One `Prediction` at the original size for one source, a list for a list.

        Raises:
            ImageError: an image cannot be read, or is too large for one pass.
            ArtifactError: the predictor was opened without its `mask` output.
        """
        if isinstance(source, (Path, str, np.ndarray)):
            return self.predict([source], threshold=threshold, post=post)[0]
        pictures = [_pixels(item) for item in source]
        fitted = [self.prepare(picture) for picture in pictures]
        found: dict[int, Prediction] = {}
        for group in _groups([item.shape for item in fitted], self.batch_size):
            results = self.run(np.stack([fitted[index] for index in group]))
            for row, index in enumerate(group):
                found[index] = self.finish(
                    {name: values[row] for name, values in results.items()},
                    pictures[index].shape[:2],
                    threshold=threshold,
                    post=post,
                    image=pictures[index],
                )
        return [found[index] for index in range(len(pictures))]

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Resize RGB pixels (uint8, H x W x 3) to what the graph sees, by the card's policy.

        Raises:
            ImageError: the graph would see more than `MAX_GRAPH_PIXELS`.
        """
        height, width = self.card.input.size.target(*image.shape[:2])
        if height * width > MAX_GRAPH_PIXELS:
            raise ImageError(
                f"an image of {image.shape[1]} x {image.shape[0]} becomes {width} x {height} for "
                f"the graph, over {MAX_GRAPH_PIXELS:,} pixels; cut it into smaller pieces"
            )
        return images.resize(image, height, width)

    def finish(
        self,
        outputs: dict[str, np.ndarray],
        size: tuple[int, int],
        *,
        threshold: float | None = None,
        post: PostProcess = NO_POST,
        image: np.ndarray | None = None,
    ) -> Prediction:
        """One image's outputs of `run` (without the batch axis) at its original (height, width).

        Args:
            outputs: arrays by name.
            size: (height, width) of the image before `prepare`.
            threshold: of the soft mask; None for the card's.
            post: steps between soft mask and mask.
            image: the RGB pixels to keep in the prediction, or None.
        """
        if "mask" not in outputs:
            raise ArtifactError(f"{self.path}: opened without its output mask")
        probability = images.resize(outputs["mask"][0], *size)
        probs, background = outputs.get("probs"), outputs.get("background_probs")
        return Prediction(
            probability=probability,
            threshold=self.card.threshold.value if threshold is None else threshold,
            classes=tuple(self.card.classes),
            probs=probs,
            localizer_probs=outputs.get("localizer_probs"),
            background_probs=background,
            class_maps=outputs.get("class_maps"),
            trust=assess(self.card, probability, probs, background),
            post=post,
            image=image,
            task=self.card.task,
            class_probabilities=outputs.get("class_masks"),
        )


def _pixels(source: Source) -> np.ndarray:
    if not isinstance(source, np.ndarray):
        return images.read(source)
    if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
        raise ImageError(
            f"an image is uint8 H x W x 3, RGB; this array is {source.dtype} {source.shape}"
        )
    return source


def _groups(shapes: Sequence[tuple[int, ...]], size: int) -> list[list[int]]:
    """Indices of equal shape, at most `size` together, in order of first appearance."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for index, shape in enumerate(shapes):
        by_shape.setdefault(shape, []).append(index)
    return [
        members[start : start + size]
        for members in by_shape.values()
        for start in range(0, len(members), size)
    ]
