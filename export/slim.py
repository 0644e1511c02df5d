"""onnxslim on an ONNX graph, kept only where it helps."""

from __future__ import annotations

import logging
import time

import numpy as np
import onnx
import onnxruntime

from wsol_deploy.export import onnx_format
from wsol_deploy.export.shape import Shape

logger = logging.getLogger(__name__)
ROUNDS = 9


def slim(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with constants folded and batch normalisation merged into convolutions."""
    import onnxslim

    copied = onnx.ModelProto()
    copied.CopyFrom(graph)
    return onnxslim.slim(copied)


def simplify(graph: onnx.ModelProto, shape: Shape) -> onnx.ModelProto:
    """The slimmed graph if it runs or opens faster here, else the graph as it is."""
    slimmed = slim(graph)
    onnx_format.check(slimmed, shape)
    (load, run), (slim_load, slim_run) = _times([graph, slimmed], shape)
    helps = slim_run < 0.97 * run or (slim_run < 1.03 * run and slim_load < 0.9 * load)
    logger.info(
        "onnxslim: %d nodes become %d, a run of %.1f ms takes %.1f ms, opening in %.0f ms takes "
        "%.0f ms: %s",
        len(graph.graph.node), len(slimmed.graph.node), 1e3 * run, 1e3 * slim_run, 1e3 * load,
        1e3 * slim_load, "kept" if helps else "not worth it, left out",
    )  # fmt: skip
    return slimmed if helps else graph


def _times(graphs: list[onnx.ModelProto], shape: Shape) -> list[tuple[float, float]]:
    """(seconds to open, median seconds a run) of each, taking turns."""
    batch = shape.example().numpy()
    loads, sessions = [], []
    for graph in graphs:
        start = time.perf_counter()
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        content = graph.SerializeToString()
        sessions.append(
            onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        )
        loads.append(time.perf_counter() - start)
    runs: list[list[float]] = [[] for _ in graphs]
    for _ in range(ROUNDS):
        for session, taken in zip(sessions, runs, strict=True):
            start = time.perf_counter()
            session.run(None, {"image": batch})
            taken.append(time.perf_counter() - start)
    return [(load, float(np.median(taken))) for load, taken in zip(loads, runs, strict=True)]
