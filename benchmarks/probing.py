"""What does the probe of each image give a model that was trained without one?

    python benchmarks/probing.py CHECKPOINT DATA --shares 0 0.5 0.75 1

Gives the model a probe that has seen the training images, sets `model.probe` to each of the shares
and prints the figures on the test images, in percent, at the threshold fitted on the validation
masks with that share.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from figures import HEAD, line

from wsol_deploy import images
from wsol_deploy.evaluation.held_out import select
from wsol_deploy.model import checkpoint
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
    asked = parser.parse_args()
    trained, card = checkpoint.load(asked.checkpoint)
    model = card.model | {"probe": 1.0}
    network = build(ModelConfig(**model), len(card.classes))
    network.load_state_dict(trained.state_dict(), strict=False)
    normalise = DeployedModel(network.eval()).normalise
    samples = select(asked.data, card, subset="train").dataset.samples
    with torch.no_grad():
        for sample in samples * ROUNDS:
            image = images.fit(sample.read_image(), card.input.size)
            x = normalise(torch.from_numpy(image.copy())[None])
            network.follow(network.localize(x), (x.shape[2], x.shape[3]))
    network.eval()
    print(HEAD)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probed.safetensors"
        for share in asked.shares:
            if share == 0:
                print(line("without", asked.checkpoint, asked.data), flush=True)
                continue
            own = card.model_copy(update={"model": model | {"probe": share}})
            checkpoint.save(path, network, own)
            print(line(f"{share:g} of the mask", path, asked.data), flush=True)


if __name__ == "__main__":
    main()
