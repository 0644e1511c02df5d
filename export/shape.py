"""Which of a graph's batch, height and width are fixed, and the batch its exporters trace."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wsol_deploy.card import MIN_SIDE, ImageInput, SizePolicy
from wsol_deploy.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

AXES = ("batch", "height", "width")
TRACED = (2, 96, 112)


@dataclass(frozen=True, slots=True)
class Shape:
    """A graph's input shape; None is a dynamic axis."""

    batch: int | None = None
    height: int | None = None
    width: int | None = None

    @classmethod
    def parse(cls, batch: int | None, size: str | None) -> Shape:
        """The shape for `--batch-size N` and `--image-size HxW`.

        Raises:
            UsageError: the size is not two numbers from 32 up.
        """
        if size is None:
            return cls(batch)
        match = re.fullmatch(r"(\d+)[xX](\d+)", size)
        if match is None or min(sides := [int(side) for side in match.groups()]) < MIN_SIDE:
            raise UsageError(
                f"--image-size {size}: must be HEIGHTxWIDTH, sides from {MIN_SIDE} up, "
                "such as 320x480"
            )
        return cls(batch, *sides)

    @property
    def sizes(self) -> tuple[int | None, int | None, int | None]:
        """Batch, height, width."""
        return self.batch, self.height, self.width

    @property
    def dynamic(self) -> dict[int, str]:
        """Names of the dynamic axes by their index."""
        return {at: AXES[at] for at, size in enumerate(self.sizes) if size is None}

    @property
    def suffix(self) -> str:
        """What a file of this shape adds to its name: "" or, say, ".4x320x480"."""
        if self == DYNAMIC:
            return ""
        sizes = (str(size or letter) for size, letter in zip(self.sizes, "NHW", strict=True))
        return "." + "x".join(sizes)

    def example(self) -> Tensor:
        """uint8, N x H x W x 3 noise; no two dynamic sizes are equal."""
        import torch

        sizes = [fixed or traced for fixed, traced in zip(self.sizes, TRACED, strict=True)]
        noise = torch.Generator().manual_seed(0)
        return torch.randint(0, 256, (*sizes, 3), dtype=torch.uint8, generator=noise)

    def describe(self, image: ImageInput) -> ImageInput:
        """The card's input with the fixed sizes."""
        fixed: dict[str, object] = {"batch": self.batch}
        if self.height:
            fixed["size"] = SizePolicy(mode="exact", height=self.height, width=self.width)
        return image.model_copy(update=fixed)


DYNAMIC = Shape()
