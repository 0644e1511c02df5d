"""What a network's outputs are, in words, for its card."""

from __future__ import annotations

from collections.abc import Sequence

DESCRIPTIONS = {
    "mask": "float32, N x 1 x H x W in [0, 1]: soft mask of the foreground, not thresholded",
    "probs": "float32, N x c in [0, 1]: classifier's posterior on the foreground",
    "localizer_probs": "float32, N x c in [0, 1]: localizer's own posterior on the whole image",
    "background_probs": "float32, N x c in [0, 1]: classifier's posterior on the background",
    "class_maps": "float32, N x c x h' x w': raw signed activation map of each class",
}
WHOLE_IMAGE = "float32, N x c in [0, 1]: classifier's posterior on the whole image"


def described(outputs: Sequence[str]) -> dict[str, str]:
    """Each output's name with its type, shape and meaning.

    Args:
        outputs: all that the network has, in the contract's order; one without a posterior on
            the background classifies whole images.
    """
    words = DESCRIPTIONS if "background_probs" in outputs else DESCRIPTIONS | {"probs": WHOLE_IMAGE}
    return {name: words[name] for name in outputs}
