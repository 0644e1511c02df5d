"""Is an image that is flagged for review really worse? Risk against coverage on a data set.

    python benchmarks/trust.py MODEL.onnx DATA [--subset test] [--chart risk.png]

Images are put in the order of their suspicion: how far the entropy on X+ is above the card's
limit, or that on X- or the mask's contrast below it, whichever is most. Risk at a coverage is the
mean of 1 - quality over the least suspicious share of the images; quality is the mean of F1+ and
F1-, or the box IoU. The area under that curve stands beside the best possible order's and a random
one's, and each sign's own rank correlation with quality below.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wsol_deploy.card import Trust
from wsol_deploy.evaluation.evaluate import evaluate
from wsol_deploy.evaluation.held_out import select
from wsol_deploy.evaluation.results import ImageResult
from wsol_deploy.evaluation.run import Predictions, open_model
from wsol_deploy.evaluation.sections import quality_name

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
SIGNS = ("foreground_entropy", "background_entropy", "mask_contrast")


def suspicion(result: ImageResult, limits: Trust) -> float:
    """Above 0 for an image that is flagged."""
    excess = [-1.0]
    if result.foreground_entropy is not None:
        excess.append(result.foreground_entropy - limits.foreground_entropy_max)
    if result.background_entropy is not None:
        excess.append(limits.background_entropy_min - result.background_entropy)
    if result.mask_contrast is not None:
        excess.append(limits.mask_contrast_min - result.mask_contrast)
    return max(excess)


def risks(order: np.ndarray, risk: np.ndarray) -> np.ndarray:
    """Mean risk of the first image, the first two, and so on."""
    return np.cumsum(risk[order]) / np.arange(1, len(risk) + 1)


def describe(name: str, group: Sequence[ImageResult]) -> str:
    if not group:
        return f"{name:12s}   0 images"
    quality = np.mean([result.quality for result in group])
    wrong = np.mean([result.label_error for result in group])
    return f"{name:12s} {len(group):3d} images  quality {quality:.1%}  error {wrong:.1%}"


def agreement(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's rank correlation."""
    ranks = [np.argsort(np.argsort(values)) for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


def chart(path: Path, curves: dict[str, np.ndarray]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 3.5), layout="constrained")
    for name, curve in curves.items():
        axes.plot(np.arange(1, len(curve) + 1) / len(curve), curve, label=name)
    axes.set(xlabel="coverage", ylabel="risk (1 - quality)", xlim=(0, 1), ylim=(0, None))
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--subset", default="test")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--chart", type=Path)
    given = parser.parse_args()
    predictor = open_model(given.model, given.device)
    card = predictor.card
    chosen = select(given.data, card, subset=given.subset).dataset
    predictions = Predictions(predictor, chosen.samples)
    found = evaluate(predictions, chosen.classes, card.threshold.value)
    results = found.images
    risk = np.array([1 - result.quality for result in results])
    score = np.array([suspicion(result, card.trust) for result in results])
    shuffled = np.full(len(risk), risk.mean())
    curves = {
        "trust": risks(np.argsort(score, kind="stable"), risk),
        "best order": risks(np.argsort(risk, kind="stable"), risk),
        "random order": shuffled,
    }
    print(f"{given.data}, {given.subset}; limits {card.trust.calibrated_on}")
    print(f"quality is {quality_name(found)}")
    print(describe("flagged", [result for result in results if result.flagged]))
    print(describe("not flagged", [result for result in results if result.flagged is False]))
    shares = [(share, max(1, round(share * len(risk)))) for share in COVERAGES]
    for name, curve in curves.items():
        line = "  ".join(f"{share:.0%} {curve[count - 1]:.3f}" for share, count in shares)
        print(f"risk, {name:12s}  {line}  area {curve.mean():.4f}")
    print(f"rank correlation of suspicion and risk {agreement(score, risk):.3f}")
    for sign in SIGNS:
        values = [getattr(result, sign) for result in results]
        if None not in values:
            print(f"rank correlation of {sign} and quality {agreement(values, -risk):.2f}")
    if given.chart:
        chart(given.chart, curves)


if __name__ == "__main__":
    main()
