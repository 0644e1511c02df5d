"""Do masks lie where they belong? The figures of a trained model with its masks moved.

    python benchmarks/shift.py CHECKPOINT DATA --pixels 0 2 3 4

Moves each mask so many pixels, of the image as the graph sees it, up and to the left, and prints
the figures on the test images, in percent, each at the threshold fitted on the validation masks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from figures import HEAD, line
from torch import Tensor
from torch.nn import functional as F

from wsol_deploy.model.minmax import MinMaxNetwork

drawn = MinMaxNetwork.drawn


def move(pixels: int) -> None:
    """Let the masks that a pixel head draws lie so much further up and to the left."""

    def moved(*given: Tensor) -> Tensor:
        wider = F.pad(drawn(*given), (0, pixels, 0, pixels), mode="replicate")
        return wider[:, :, pixels:, pixels:]

    MinMaxNetwork.drawn = moved


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pixels", type=int, nargs="+", default=[0, 2, 3, 4])
    asked = parser.parse_args()
    print(HEAD)
    for pixels in asked.pixels:
        move(pixels)
        print(line(f"{pixels} pixels", asked.checkpoint, asked.data), flush=True)


if __name__ == "__main__":
    main()
