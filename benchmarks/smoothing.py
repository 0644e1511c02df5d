"""What does smoothing the pixel head's logits give a model that is trained already?

    python benchmarks/smoothing.py CHECKPOINT DATA --cells 1 3 5 7 9

Sets `model.smooth` to each of the sizes and prints the figures on the test images, in percent, at
the threshold fitted on the validation masks with that size.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from figures import HEAD, line

from wsol_deploy.model import checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cells", type=int, nargs="+", default=[1, 3, 5, 7, 9])
    asked = parser.parse_args()
    network, card = checkpoint.load(asked.checkpoint)
    print(HEAD)
    with tempfile.TemporaryDirectory() as folder:
        smooth = Path(folder) / "smooth.safetensors"
        for cells in asked.cells:
            model = card.model | {"smooth": cells}
            checkpoint.save(smooth, network, card.model_copy(update={"model": model}))
            print(line(f"{cells} cells", smooth, asked.data), flush=True)


if __name__ == "__main__":
    main()
