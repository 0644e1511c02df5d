"""Do the masks gain by flips and scales at test time?

    python benchmarks/views.py MODEL DATA

The same model sees each image as it is, mirrored, in all four flips, and at several scales; the
masks are turned back and averaged, and so are the posteriors. Each way has its own threshold,
fitted on the validation masks. Prints the figures on the test images, in percent, and the seconds
that validation and test took.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from figures import HEAD, line

from wsol_deploy.evaluation.run import open_model
from wsol_deploy.runtime.predictor import Predictor


@dataclass(frozen=True)
class View:
    """One way to see an image."""

    left_right: bool = False
    upside_down: bool = False
    scale: float = 1.0

    def see(self, batch: np.ndarray) -> np.ndarray:
        """The batch, N x H x W x 3, as this view shows it."""
        batch = self._flipped(batch, 1)
        if self.scale == 1:
            return batch
        height, width = (round(side * self.scale) for side in batch.shape[1:3])
        ways = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_LINEAR
        return np.stack([cv2.resize(one, (width, height), interpolation=ways) for one in batch])

    def back(self, masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Its masks, N x 1 x h x w, on the images of `size` pixels."""
        if masks.shape[2:] != size:
            laid = [cv2.resize(one[0], size[::-1], interpolation=cv2.INTER_LINEAR) for one in masks]
            masks = np.stack(laid)[:, None]
        return self._flipped(masks, 2)

    def _flipped(self, array: np.ndarray, rows: int) -> np.ndarray:
        array = np.flip(array, rows) if self.upside_down else array
        return np.ascontiguousarray(np.flip(array, rows + 1) if self.left_right else array)


FLIPS = [View(across, down) for across in (False, True) for down in (False, True)]
WAYS = {
    "one view": [View()],
    "mirrored too": [View(), View(left_right=True)],
    "four flips": FLIPS,
    "scales 0.75, 1, 1.25": [View(scale=scale) for scale in (0.75, 1.0, 1.25)],
    "four flips, three scales": [
        replace(view, scale=scale) for view in FLIPS for scale in (0.75, 1.0, 1.25)
    ],
}


class Views:
    """A backend whose masks and posteriors are a model's means over several views."""

    def __init__(self, model: Predictor, views: list[View]) -> None:
        self.model, self.views = model, views
        self.outputs = model.outputs
        self.device = model.device

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """See `Backend.run`."""
        size = batch.shape[1:3]
        seen = [(view, self.model.run(view.see(batch))) for view in self.views]
        for view, result in seen:
            result["mask"] = view.back(result["mask"], size)
        names = [name for name in seen[0][1] if name == "mask" or name.endswith("probs")]
        return {name: np.mean([result[name] for _, result in seen], axis=0) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    model = open_model(asked.model, asked.device)
    print(f"{HEAD} {'s':>6}")
    for name, views in WAYS.items():
        started = time.perf_counter()
        figures = line(name, Predictor(asked.model, model.card, Views(model, views)), asked.data)
        print(f"{figures} {time.perf_counter() - started:>6.0f}", flush=True)


if __name__ == "__main__":
    main()
