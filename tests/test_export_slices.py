"""Crops are one step each in an exported graph."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import parser
from onnxscript import ir

from wsol_deploy.export import slices

CROP = """
<ir_version: 10, opset_import: ["" : 18]>
crop (float[n, 4, h, w] x, int64[1] last) => (float[n, a, b, c] y)
<int64[1] one = {1}, int64[1] two = {2}, int64[1] three = {3}, int64[1] back = {-1}>
{
  BODY
}
"""


def merged(body: str) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    graph = parser.parse_model(CROP.replace("BODY", body))
    return graph, ir.to_proto(slices.merge(ir.from_proto(graph)))


def run(graph: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    x = np.random.default_rng(0).random((2, 4, 9, 11), np.float32)
    return session.run(None, {"x": x, "last": np.array([7])})[0]


def count(graph: onnx.ModelProto) -> int:
    return sum(node.op_type == "Slice" for node in graph.graph.node)


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("a = Slice(x, one, last, two, one)  y = Slice(a, two, last, three, one)", 1),
        ("a = Slice(x, one, last, two, two)  y = Slice(a, two, last, three, one)", 1),
        ("a = Slice(x, one, last, two, one)  y = Slice(a, two, last, two, one)", 2),
        ("a = Slice(x, one, last, three, one)  y = Slice(a, two, last, back, one)", 2),
        ("a = Slice(x, one, last, two, one)  b = Slice(a, two, last, three, one) "
         "s = ReduceSum(a)  y = Add(b, s)", 2),
    ],
    ids=["sides", "steps", "same-side", "counted-from-the-back", "read-twice"],
)  # fmt: skip
def test_slices_along_other_axes_are_one(body: str, left: int) -> None:
    graph, smaller = merged(body)
    assert count(smaller) == left
    np.testing.assert_array_equal(run(smaller), run(graph))
