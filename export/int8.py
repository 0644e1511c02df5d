"""Static quantisation of an ONNX graph by ONNX Runtime: int8 weights and activations."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from wsol_deploy.errors import UsageError
from wsol_deploy.runtime.onnx_outputs import keep_outputs

QUANTISED = ("Conv", "Add", "Clip", "Relu", "MaxPool")
BACKBONE = "network.backbone"
PICTURES_COMPARED, BLOCKS_NAMED = 4, 3


class _Reader(CalibrationDataReader):
    def __init__(self, batches: Sequence[np.ndarray]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"image": batch}


def quantise(
    graph: onnx.ModelProto,
    batches: Sequence[np.ndarray],
    keep_float: Sequence[str] = (),
    ranges: Path | None = None,
) -> onnx.ModelProto:
    """Quantise the backbone; heads, pooling and mask stay in float32.

    Args:
        graph: float32, batch normalisation merged into the convolutions.
        batches: what the ranges of the activations are taken from: uint8, N x H x W x 3.
        keep_float: names of nodes, or of the modules they come from, that stay in float32.
        ranges: a file that keeps the ranges from one call to the next.

    Raises:
        UsageError: no node has one of those names.
    """
    kept = [node.name for node in graph.graph.node if _stays(node.name, keep_float)]
    for name in keep_float:
        if not any(_of(node.name, name) for node in graph.graph.node):
            raise UsageError(f"--keep-float {name}: no such layer in the ONNX graph")
    with tempfile.TemporaryDirectory(prefix="wsol-int8-") as folder, _quietly():
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(graph, source)
        quantize_static(
            source,
            target,
            _Reader(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_exclude=kept,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibration_cache_path=ranges,
        )
        return onnx.load(target)


def advice(graph: onnx.ModelProto, batches: Sequence[np.ndarray]) -> str:
    """What the user can do about an int8 artifact that lost too much, for the error message."""
    names = " ".join(f"--keep-float {name}" for name in worst_layers(graph, batches))
    return f"; try {names}, or keep it all the same with --force-int8"


def worst_layers(graph: onnx.ModelProto, batches: Sequence[np.ndarray]) -> list[str]:
    """The blocks of the backbone that int8 hurts most, the worst first.

    Measured: each block in turn stays in float32, and the masks of a few images tell how much
    nearer they come to those of the float32 graph.
    """
    blocks = dict.fromkeys(_block(node.name) for node in graph.graph.node)
    few = batches[:PICTURES_COMPARED]
    expected = _masks(graph, few)
    apart = {}
    with tempfile.TemporaryDirectory(prefix="wsol-int8-") as folder:
        ranges = Path(folder) / "ranges.json"
        for block in filter(None, blocks):
            found = _masks(quantise(graph, few, [block], ranges), few)
            apart[block] = float(
                np.mean([np.abs(a - b).mean() for a, b in zip(found, expected, strict=True)])
            )
    return sorted(apart, key=apart.__getitem__)[:BLOCKS_NAMED]


def _masks(graph: onnx.ModelProto, batches: Sequence[np.ndarray]) -> list[np.ndarray]:
    content = keep_outputs(graph.SerializeToString(), ["mask"])
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return [session.run(["mask"], {"image": batch})[0] for batch in batches]


def _block(node: str) -> str:
    """The module a node comes from, cut after its second number: a block, or a stage's part."""
    if not node.startswith(BACKBONE):
        return ""
    parts = node.partition("/")[0].split(".")
    numbers = [at for at, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[1] + 1] if len(numbers) > 1 else parts)


def _stays(node: str, keep_float: Sequence[str]) -> bool:
    return not node.startswith(BACKBONE) or any(_of(node, name) for name in keep_float)


def _of(node: str, name: str) -> bool:
    return node == name or node.startswith((f"{name}.", f"{name}/"))


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
