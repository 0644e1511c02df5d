"""What does the probe of each image give a model, trained with one or without?

    python benchmarks/probing.py CHECKPOINT DATA --shares 0 0.5 0.75 1
    python benchmarks/probing.py CHECKPOINT DATA --subset train --ridge 0.3

Gives a model that was trained without one a probe that has seen the training images, sets
`model.probe` to each of the shares and prints the figures on the test images, in percent, at the
threshold fitted on the validation masks with that share. With --subset train they are those of the
training images: the model knows their labels and nobody has looked at their masks. --ridge and
--move change two more settings of the probe (wsol_deploy/model/probe.py).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from figures import HEAD, line

from wsol_deploy import images
from wsol_deploy.card import ModelCard
from wsol_deploy.evaluation.held_out import select
from wsol_deploy.model import checkpoint, probe
from wsol_deploy.model.build import build
from wsol_deploy.model.config import ModelConfig
from wsol_deploy.model.deploy import DeployedModel

ROUNDS = 2  # over the training images


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.5, 0.75, 1.0])
    parser.add_argument("--subset", choices=["test", "train"], default="test")
    parser.add_argument("--ridge", type=float, default=probe.RIDGE)
    parser.add_argument("--move", type=float, default=probe.MOVE)
    asked = parser.parse_args()
    probe.RIDGE, probe.MOVE = asked.ridge, asked.move
    trained, card = checkpoint.load(asked.checkpoint)
    weights = trained.state_dict()
    if not trained.config.probe:
        weights = follow(asked.data, weights, card)
    print(HEAD)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probed.safetensors"
        for share in asked.shares:
            checkpoint.save(path, *with_share(share, weights, card))
            name = f"{share:g} of the mask" if share else "without"
            print(line(name, path, asked.data, asked.subset), flush=True)


def with_share(share: float, weights: dict[str, Any], card: ModelCard) -> tuple[Any, ModelCard]:
    """The network of those weights, its probe drawing so much of the mask, and its card."""
    model = card.model | {"probe": share}
    network: Any = build(ModelConfig(**model), len(card.classes))
    network.load_state_dict(weights, strict=False)
    return network.eval(), card.model_copy(update={"model": model})


@torch.no_grad()
def follow(data: Path, weights: dict[str, Any], card: ModelCard) -> dict[str, Any]:
    """The weights, and those of a probe that has seen the training images."""
    network, _ = with_share(1.0, weights, card)
    normalise = DeployedModel(network).normalise
    samples = select(data, card, subset="train").dataset.samples
    for sample in samples * ROUNDS:
        image = images.fit(sample.read_image(), card.input.size)
        x = normalise(torch.from_numpy(image.copy())[None])
        network.follow(network.localize(x), (x.shape[2], x.shape[3]))
    return network.eval().state_dict()


if __name__ == "__main__":
    main()
