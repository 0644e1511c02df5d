"""Masks from an exported .onnx with nothing but onnxruntime, numpy and Pillow.

    python predict.py model.onnx image.png [...] -o masks/

Writes a mask (PNG, 0 or 255, at the image's own size) for each image, and a line of JSON to
standard output: label, probabilities, share of foreground.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def main() -> None:
    """Parse the command line and go through the images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, default=Path("masks"))
    arguments = parser.parse_args()

    session = onnxruntime.InferenceSession(str(arguments.model), providers=["CPUExecutionProvider"])
    card = json.loads(session.get_modelmeta().custom_metadata_map["wsol"])
    arguments.output.mkdir(parents=True, exist_ok=True)
    for path in arguments.images:
        probability, probs = predict(session, card, read(path))
        mask = probability > card["threshold"]["value"]
        Image.fromarray(mask.astype(np.uint8) * 255).save(arguments.output / f"{path.stem}.png")
        said = {"image": path.name, "foreground": round(float(mask.mean()), 6)}
        if probs is not None:
            several = card["task"] == "multi-label"
            found = np.flatnonzero(probs > 0.5) if several else [probs.argmax()]
            said["label"] = ";".join(card["classes"][int(at)] for at in found)
            said["probs"] = {
                name: round(float(probs[at]), 6) for at, name in enumerate(card["classes"])
            }
        print(json.dumps(said, ensure_ascii=False))


def read(path: Path) -> Image.Image:
    """The image as people see it: rotated by its EXIF tag, transparency over white, RGB."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def predict(
    session: onnxruntime.InferenceSession, card: dict, image: Image.Image
) -> tuple[np.ndarray, np.ndarray | None]:
    """(soft mask, H x W in [0, 1]; probability of each class, None from a model of masks alone)."""
    pixels = np.asarray(image)
    seen = graph_size(card["input"], *pixels.shape[:2])
    batch = resize(pixels, *seen).round().astype(np.uint8)[None]  # the graph does the rest
    wanted = [name for name in ("mask", "probs") if name in card["outputs"]]
    mask, *probs = session.run(wanted, {card["input"]["name"]: batch})
    return resize(mask[0, 0], *pixels.shape[:2]), probs[0][0] if probs else None


def graph_size(said: dict, height: int, width: int) -> tuple[int, int]:
    """(height, width) the graph is to see, by the card's size policy."""
    policy = said["size"]
    if policy["mode"] == "exact":
        return policy["height"], policy["width"]
    sides = {"shorter-side": min(height, width), "longer-side": max(height, width)}
    side = sides.get(policy["mode"])
    scale = policy["size"] / side if side else 1.0
    least = said["min_side"]
    return max(least, round(height * scale)), max(least, round(width * scale))


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Area averaging when shrinking, bilinear when growing."""
    old_height, old_width = pixels.shape[:2]
    if (old_height, old_width) == (height, width):
        return pixels
    weights = area if height * width < old_height * old_width else linear
    rows, columns = weights(old_height, height), weights(old_width, width)
    return np.einsum("yh,hw...,xw->yx...", rows, pixels, columns, optimize=True)


def area(source: int, target: int) -> np.ndarray:
    """target x source: the share of each source pixel in each target pixel."""
    low = np.arange(target)[:, None] * source / target
    high = low + source / target
    pixel = np.arange(source)
    covered = np.minimum(high, pixel + 1) - np.maximum(low, pixel)
    return (covered.clip(0) * target / source).astype(np.float32)


def linear(source: int, target: int) -> np.ndarray:
    """target x source: weights of the two nearest source pixels."""
    centre = ((np.arange(target) + 0.5) * source / target - 0.5).clip(0, source - 1)
    return (1 - np.abs(centre[:, None] - np.arange(source))).clip(0).astype(np.float32)


if __name__ == "__main__":
    main()
