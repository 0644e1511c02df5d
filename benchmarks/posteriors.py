"""Who names the class better: the localizer, the classifier on X+, or both together?

    python benchmarks/posteriors.py MODEL DATA

Prints the share of test images named wrong, in percent, by the likeliest class of the localizer's
posterior, of the classifier's, and of their product.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from wsol_deploy.evaluation.held_out import select
from wsol_deploy.evaluation.run import open_model


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    asked = parser.parse_args()
    predictor = open_model(asked.model, "cpu")
    samples = select(asked.data, predictor.card, subset="test").dataset.samples
    wrong = dict.fromkeys(("localizer", "classifier on X+", "product"), 0)
    for sample in samples:
        found = predictor.predict(sample.read_image())
        posteriors = (found.localizer_probs, found.probs, found.localizer_probs * found.probs)
        for name, posterior in zip(wrong, posteriors, strict=True):
            wrong[name] += posterior.argmax() != sample.label
    for name, count in wrong.items():
        print(f"{name:<18} {100 * count / len(samples):5.1f}")


if __name__ == "__main__":
    main()
