"""A model whose tiles have borders, and pictures large for it, as TIFF files of every kind."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import tifffile
from artifacts import EPSILON, OMEGA, SIGMA_PRIME, STRIDE, make_artifact
from onnx import helper, numpy_helper

from wsol_deploy.card import CARD_KEY, MaskRule, ModelCard

CONTEXT = 9  # cells the maps are averaged over: zeros around a tile darken its border
MICROMETRES = 0.5


def make_model(path: Path, **rule: object) -> Path:
    """`make_artifact`'s model with class maps that look around them, and with its rule."""
    make_artifact(path)
    model = onnx.load(path)
    graph = model.graph
    for tensor in graph.initializer:
        if tensor.name == "sharp":
            tensor.CopyFrom(numpy_helper.from_array(np.float32(1), "sharp"))
    for node in graph.node:
        if node.op_type == "Conv":
            node.output[0] = "narrow_maps"
        if node.op_type == "Resize":
            for attribute in node.attribute:
                if attribute.name == "coordinate_transformation_mode":
                    attribute.s = b"half_pixel"
    place = next(i for i, node in enumerate(graph.node) if node.op_type == "Conv")
    context = helper.make_node(
        "AveragePool",
        ["narrow_maps"],
        ["class_maps"],
        kernel_shape=[CONTEXT] * 2,
        pads=[CONTEXT // 2] * 4,
        count_include_pad=1,
    )
    graph.node.insert(place + 1, context)
    entry = model.metadata_props[0]
    assert entry.key == CARD_KEY
    card = ModelCard.from_json(entry.value)
    card.mask_rule = MaskRule(
        **{
            "stride": STRIDE,
            "alignment": "middle",
            "kmax": 1.0,
            "omega": OMEGA,
            "sigma_prime": SIGMA_PRIME,
            **rule,
        }
    )
    entry.value = card.to_json()
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def tissue(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8, H x W x 3: dark blobs of every size on white glass, the left eighth empty."""
    rng = np.random.default_rng(seed)
    noise = cv2.resize(
        rng.random((height // 48 + 2, width // 48 + 2)).astype(np.float32),
        (width, height),
        interpolation=cv2.INTER_CUBIC,
    )
    shade = np.clip(255 - 260 * np.clip(noise - 0.45, 0, 1), 0, 255)
    shade[:, : width // 8] = 250
    image = np.stack([shade, shade * 0.85, shade], axis=2)
    image[:, : width // 8] = 250
    return image.astype(np.uint8)


def write_pyramid(path: Path, image: np.ndarray, levels: int = 3, **how: object) -> Path:
    """A tiled, pyramidal BigTIFF, or an OME-TIFF by its name, half a micrometre a pixel."""
    ome = path.name.endswith(".ome.tif")
    how = {"tile": (256, 256), "photometric": "rgb", "compression": "zlib", **how}
    size = {"resolution": (1e4 / MICROMETRES,) * 2, "resolutionunit": "CENTIMETER"}
    words = {f"PhysicalSize{axis}": MICROMETRES for axis in "XY"}
    with tifffile.TiffWriter(path, bigtiff=True, ome=ome) as tiff:
        metadata = {"axes": "YXS", **words} if ome else None
        tiff.write(image, subifds=levels - 1, metadata=metadata, **how, **({} if ome else size))
        for level in range(1, levels):
            half = cv2.resize(
                image,
                (image.shape[1] >> level, image.shape[0] >> level),
                interpolation=cv2.INTER_AREA,
            )
            tiff.write(half, subfiletype=1, metadata=None, **how)
    return path


__all__ = ["EPSILON", "MICROMETRES", "STRIDE", "make_model", "tissue", "write_pyramid"]
