"""Exported graphs against eager PyTorch on the CPU: latency of masks alone and of all outputs.

    python benchmarks/export.py --backbone mobilenet_v2 --size 522x775 --threads 2

Builds networks with random weights (their speed is that of trained ones), exports and proves them,
and measures each file in a process of its own, taking turns with eager PyTorch.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from wsol_deploy.card import ModelCard
from wsol_deploy.export import Options, export_model
from wsol_deploy.export.bench import Settings, benchmark
from wsol_deploy.model import checkpoint
from wsol_deploy.model.build import build
from wsol_deploy.model.config import ModelConfig

BACKBONES = ("mobilenet_v2", "efficientnet_lite0", "resnet18")
CLASSES = ["benign", "malignant"]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", action="append", help="repeatable")
    parser.add_argument("--size", default="522x775", help="HxW of the images")
    parser.add_argument("--stride", type=int, default=16, choices=(8, 16, 32))
    parser.add_argument("--stages", default="drop", choices=("drop", "dilate"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--format", action="append", help="repeatable; default: onnx")
    given = parser.parse_args()
    height, width = (int(side) for side in given.size.split("x"))
    head = f"{'backbone':20}{'file':20}{'outputs':8}{'ms':>8}{'p95':>8}{'x eager':>9}{'RAM MB':>8}"
    print(f"{given.size}, {given.threads} threads, stride {given.stride}\n{head}")
    for name in given.backbone or BACKBONES:
        with tempfile.TemporaryDirectory() as folder:
            images = _images(Path(folder) / "images", height, width)
            config = ModelConfig(
                backbone=name,
                weights="none",
                output_stride=given.stride,
                last_stages=given.stages,
                rescale="running",  # a random network's own range would magnify its rounding
            )
            saved = _checkpoint(Path(folder) / "best.safetensors", config)
            options = Options(proof_data=images)
            done = export_model(saved, given.format or ["onnx"], options=options)
            settings = Settings(data=images, threads=given.threads, seconds=given.seconds)
            found = benchmark([saved, *(one.path for one in done)], ["cpu"], settings)
        for row in found.rows:
            print(
                f"{name:20}{Path(row.file).name:20}{row.outputs:8}{row.latency_ms:8.1f}"
                f"{row.p95_ms:8.1f}{row.speedup or 0:9.2f}{row.memory_mb:8.0f}"
            )
            sys.stdout.flush()


def _images(folder: Path, height: int, width: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def _checkpoint(path: Path, config: ModelConfig) -> Path:
    torch.manual_seed(0)
    network = build(config, len(CLASSES))
    card = ModelCard(name="random", method="minmax", classes=CLASSES, model=config.model_dump())
    checkpoint.save(path, network, card)
    return path


if __name__ == "__main__":
    main()
