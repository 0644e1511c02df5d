"""Static quantisation of an ONNX graph by ONNX Runtime: int8 weights and activations."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    qdq_loss_debug,
    quantize_static,
)

from wsol_deploy.errors import UsageError

QUANTISED = ("Conv", "Add", "Clip", "Relu", "MaxPool")
BACKBONE = "network.backbone"
PICTURES_COMPARED, LAYERS_NAMED = 3, 5


class _Reader(CalibrationDataReader):
    def __init__(self, batches: Sequence[np.ndarray]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"image": batch}


def quantise(
    graph: onnx.ModelProto, batches: Sequence[np.ndarray], keep_float: Sequence[str]
) -> onnx.ModelProto:
    """Quantise the backbone; heads, pooling and mask stay in float32.

    Args:
        graph: float32, batch normalisation merged into the convolutions.
        batches: what the ranges of the activations are taken from: uint8, N x H x W x 3.
        keep_float: names of nodes, or of the modules they come from, that stay in float32.

    Raises:
        UsageError: no node has one of those names.
    """
    kept = [node.name for node in graph.graph.node if _stays(node.name, keep_float)]
    for name in keep_float:
        if not any(_of(node.name, name) for node in graph.graph.node):
            raise UsageError(f"--keep-float {name}: no such layer in the ONNX graph")
    with _files(graph) as (source, target), _quietly():
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
        )
        return onnx.load(target)


def advice(
    graph: onnx.ModelProto, quantised: onnx.ModelProto, batches: Sequence[np.ndarray]
) -> str:
    """What the user can do about an int8 artifact that lost too much, for the error message."""
    names = " ".join(f"--keep-float {name}" for name in worst_layers(graph, quantised, batches))
    return f"; try {names}, or keep it all the same with --force-int8"


def worst_layers(
    graph: onnx.ModelProto, quantised: onnx.ModelProto, batches: Sequence[np.ndarray]
) -> list[str]:
    """The modules whose output suffers most from its own quantisation, the worst first.

    Args:
        graph: the float32 graph.
        quantised: what `quantise` made of it.
        batches: a few images.
    """
    with _files(graph, quantised) as (source, target), _quietly():
        found = []
        for path in (source, target):
            probed = path.with_suffix(".probed.onnx")
            qdq_loss_debug.modify_model_output_intermediate_tensors(path, probed)
            reader = _Reader(batches[:PICTURES_COMPARED])
            found.append(qdq_loss_debug.collect_activations(str(probed), reader))
        matched = qdq_loss_debug.create_activation_matching(found[1], found[0])
        errors = qdq_loss_debug.compute_activation_error(matched)
    producer = {name: node.name for node in graph.graph.node for name in node.output}
    decibels = sorted(
        (float(error["qdq_err"]), producer[tensor].partition("/")[0])
        for tensor, error in errors.items()
        if tensor in producer and not _stays(producer[tensor], ())
    )
    return list(dict.fromkeys(name for _, name in decibels))[:LAYERS_NAMED]


def _stays(node: str, keep_float: Sequence[str]) -> bool:
    return not node.startswith(BACKBONE) or any(_of(node, name) for name in keep_float)


def _of(node: str, name: str) -> bool:
    return node == name or node.startswith((f"{name}.", f"{name}/"))


@contextlib.contextmanager
def _files(*graphs: onnx.ModelProto) -> Iterator[tuple[Path, Path]]:
    with tempfile.TemporaryDirectory(prefix="wsol-int8-") as folder:
        paths = Path(folder) / "first.onnx", Path(folder) / "second.onnx"
        for graph, path in zip(graphs, paths, strict=False):
            onnx.save(graph, path)
        yield paths


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
