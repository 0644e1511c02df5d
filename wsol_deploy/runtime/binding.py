"""One run with the input and the outputs bound to a device: nothing is copied but what must be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime


def run_bound(
    session: onnxruntime.InferenceSession,
    outputs: Sequence[str],
    batch: np.ndarray,
    device: str,
    index: int = 0,
) -> list[np.ndarray]:
    """The named outputs of a batch, which goes to the device once.

    Args:
        session: with one input.
        outputs: names.
        batch: uint8, N x H x W x 3.
        device: `cpu` or `cuda`, where the session runs.
        index: of the GPU.
    """
    binding = session.io_binding()
    placed = onnxruntime.OrtValue.ortvalue_from_numpy(batch, device, index)
    binding.bind_ortvalue_input(session.get_inputs()[0].name, placed)
    for name in outputs:
        binding.bind_output(name, device, index)
    session.run_with_iobinding(binding)
    return binding.copy_outputs_to_cpu()
