"""What a network's outputs are, in words, for its card."""

from __future__ import annotations

from collections.abc import Sequence

from wsol_deploy.model.config import CONSTANTS

DESCRIPTIONS = {
    "mask": "float32, N x 1 x H x W in [0, 1]: soft mask of the foreground, not thresholded",
    "probs": "float32, N x c in [0, 1]: classifier's posterior on the foreground",
    "localizer_probs": "float32, N x c in [0, 1]: localizer's own posterior on the whole image",
    "background_probs": "float32, N x c in [0, 1]: classifier's posterior on the background",
    "class_maps": "float32, N x c x h' x w': raw signed activation map of each class",
    "class_masks": "float32, N x c x H x W in [0, 1]: soft mask of each class, not thresholded",
}
PRIOR = {"probs": "float32, N x c in [0, 1]: how frequent the classes were in training"}
WHOLE_IMAGE = {"probs": "float32, N x c in [0, 1]: classifier's posterior on the whole image"}
ATTENTION = {"class_maps": "float32, N x c x h' x w': each class's attention over its mean"}
OTHERWISE: dict[str, dict[str, str]] = {
    **dict.fromkeys(("cam-avg", "cam-max", "cam-lse", "wildcat"), WHOLE_IMAGE),
    "deep-mil": WHOLE_IMAGE | ATTENTION,
    **dict.fromkeys(CONSTANTS, PRIOR),
}


def described(outputs: Sequence[str], method: str) -> dict[str, str]:
    """Each output's name with its type, shape and meaning.

    Args:
        outputs: names the network gives, in the contract's order.
        method: of the network.
    """
    words = DESCRIPTIONS | OTHERWISE.get(method, {})
    return {name: words[name] for name in outputs}
