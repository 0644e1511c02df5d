"""A small real ONNX artifact for tests: the whole contract, no training, deterministic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from wsol_deploy.card import CARD_KEY, OUTPUTS, ModelCard, SizePolicy, Threshold, Trust

CLASSES = ("benign", "malignant")
OMEGA, SIGMA_PRIME = 10.0, 0.5
STRIDE = 8
EPSILON = 1e-6


def make_artifact(
    path: Path | str,
    classes: Sequence[str] = CLASSES,
    outputs: Sequence[str] = OUTPUTS,
    *,
    size: SizePolicy | None = None,
    threshold: float = 0.5,
    trust: Trust | None = None,
    name: str = "tiny",
) -> Path:
    """Write an ONNX whose foreground is what is dark, and whose classes are hues of the dark.

    The class maps A_k are the local darkness plus a little of the hue of class k (red for the
    first of two classes, blue for the second); mask, probabilities and their masked counterparts
    follow from them as in the paper. `outputs` leaves out what a partial artifact lacks.
    """
    path = Path(path)
    card = ModelCard(
        name=name,
        method="minmax-entropy",
        classes=list(classes),
        outputs=dict.fromkeys(outputs, "see the contract"),
        threshold=Threshold(value=threshold, chosen_on="fixed by the test"),
        trust=trust or Trust(),
        model={"backbone": "none", "omega": OMEGA, "sigma_prime": SIGMA_PRIME},
    )
    if size is not None:
        card.input.size = size
    model = _graph(len(classes), tuple(outputs))
    entry = model.metadata_props.add()
    entry.key, entry.value = CARD_KEY, card.to_json()
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def hues(count: int) -> np.ndarray:
    """float32, c x 3: one direction in RGB a class, red first, evenly round the colour wheel."""
    angles = 2 * np.pi * np.arange(count)[:, None] / count
    return np.cos(angles + np.array([0.0, 2.0, 4.0]) * np.pi / 3).astype(np.float32)


def _graph(count: int, outputs: tuple[str, ...]) -> onnx.ModelProto:
    constants: dict[str, np.ndarray] = {
        "scale": np.float32(1 / 255),
        "one": np.float32(1),
        "epsilon": np.float32(EPSILON),
        "omega": np.float32(OMEGA),
        "sigma": np.float32(SIGMA_PRIME),
        "sharp": np.float32(8),
        "channel": np.array([1], np.int64),
        "pixels": np.array([2, 3], np.int64),
        "map_weight": (0.2 * hues(count) - 1 / 3).reshape(count, 3, 1, 1).astype(np.float32),
        "map_bias": np.ones(count, np.float32),
        "hues": np.ascontiguousarray(10 * hues(count).T),
        "to_map": np.array([0, -1, 1, 1], np.int64),
    }
    nodes = [
        _node("Cast", "image", "pixels_float", to=TensorProto.FLOAT),
        _node("Transpose", "pixels_float", "channels_first", perm=[0, 3, 1, 2]),
        _node("Mul", "channels_first scale", "x"),
        _node("AveragePool", "x", "small", kernel_shape=[STRIDE] * 2, strides=[STRIDE] * 2),
        _node("Conv", "small map_weight map_bias", "class_maps"),
        _node("ReduceMean", "class_maps pixels", "scores", keepdims=0),
        _node("Mul", "scores sharp", "logits"),
        _node("Softmax", "logits", "localizer_probs", axis=1),
        _node("Reshape", "localizer_probs to_map", "weights"),
        _node("Mul", "class_maps weights", "weighted"),
        _node("ReduceSum", "weighted channel", "t_small", keepdims=1),
        _node("Shape", "x", "size", start=2),
        _node("Shape", "t_small", "front", end=2),
        _node("Concat", "front size", "full", axis=0),
        helper.make_node(
            "Resize",
            ["t_small", "", "", "full"],
            ["t"],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        ),
        _node("ReduceMin", "t pixels", "low", keepdims=1),
        _node("ReduceMax", "t pixels", "high", keepdims=1),
        _node("Sub", "high low", "range"),
        _node("Max", "range epsilon", "guarded"),
        _node("Sub", "t low", "lifted"),
        _node("Div", "lifted guarded", "normalised"),
        _node("Sub", "normalised sigma", "centred"),
        _node("Mul", "centred omega", "steep"),
        _node("Sigmoid", "steep", "mask"),
        _node("Sub", "one mask", "background"),
        *_masked_posterior("mask", "probs"),
        *_masked_posterior("background", "background_probs"),
    ]
    shapes = {
        "mask": ["batch", 1, "height", "width"],
        "probs": ["batch", count],
        "localizer_probs": ["batch", count],
        "background_probs": ["batch", count],
        "class_maps": ["batch", count, "map_height", "map_width"],
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(
                "image", TensorProto.UINT8, ["batch", "height", "width", 3]
            )
        ],
        [helper.make_tensor_value_info(key, TensorProto.FLOAT, shapes[key]) for key in outputs],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _masked_posterior(mask: str, output: str) -> list[onnx.NodeProto]:
    return [
        _node("Mul", f"x {mask}", f"{output}_masked"),
        _node("ReduceSum", f"{output}_masked pixels", f"{output}_sum", keepdims=0),
        _node("ReduceSum", f"{mask} pixels", f"{output}_area", keepdims=0),
        _node("Max", f"{output}_area one", f"{output}_guarded"),
        _node("Div", f"{output}_sum {output}_guarded", f"{output}_colour"),
        _node("MatMul", f"{output}_colour hues", f"{output}_logits"),
        _node("Softmax", f"{output}_logits", output, axis=1),
    ]


def _node(operator: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], name=output, **attributes)
