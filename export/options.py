"""What can be asked of an export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from wsol_deploy.artifacts import Format
from wsol_deploy.errors import UsageError
from wsol_deploy.export.shape import DYNAMIC, Shape

Precision = Literal["float32", "float16", "int8"]
NAMES: dict[Precision, str] = {"float32": "", "float16": ".fp16", "int8": ".int8"}


@dataclass(frozen=True, slots=True)
class Options:
    """How to export.

    Attributes:
        precision: of the weights and of the backbone's arithmetic; outputs are always float32.
        shape: which axes of the input are fixed.
        simplify: pass the ONNX graph through onnxslim, and keep that if it is faster.
        keep_float: ONNX nodes that int8 leaves in float32.
        force: keep an int8 artifact that loses too much, marked in its card.
        proof_data: images for the proof; None for the validation images of the training.
        words: fields of the card to set: licence, author, description.
    """

    precision: Precision = "float32"
    shape: Shape = DYNAMIC
    simplify: bool = False
    keep_float: tuple[str, ...] = ()
    force: bool = False
    proof_data: Path | None = None
    words: dict[str, str] = field(default_factory=dict)

    def stem(self) -> str:
        """The artifact's file name without its suffix."""
        return f"model{NAMES[self.precision]}{self.shape.suffix}"

    def check(self, kinds: Sequence[Format]) -> None:
        """Raise UsageError if a format cannot be had like this."""
        if self.precision == "int8" and set(kinds) != {"onnx"}:
            raise UsageError("--int8 is for --format onnx alone")
        if self.simplify and "onnx" not in kinds:
            raise UsageError("--simplify is for --format onnx")
        if (self.force or self.keep_float) and self.precision != "int8":
            raise UsageError("--force-int8 and --keep-float go with --int8")
        if "safetensors" in kinds and (self.precision != "float32" or self.shape != DYNAMIC):
            raise UsageError(
                "--format safetensors holds the weights and no graph: it cannot be had in another "
                "precision or with a fixed shape"
            )
