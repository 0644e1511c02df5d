"""TorchScript, `.pt2` and checkpoints through PyTorch; torch is imported when one is opened."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wsol_deploy import provenance
from wsol_deploy.artifacts import Format
from wsol_deploy.card import CONTRACT, OUTPUTS, ModelCard
from wsol_deploy.errors import ArtifactError, ImageError, MissingExtra
from wsol_deploy.runtime import devices
from wsol_deploy.runtime.backend import choose_outputs

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


class TorchBackend:
    """A torch module opened from a file, run without gradients.

    Args:
        path: a TorchScript, `.pt2` or safetensors file.
        kind: its format.
        card: the card in it, which names the outputs it has.
        device: auto, cpu, cuda or cuda:N.
        wanted: outputs to return, or None for all.
        trust: open TorchScript and `.pt2` files of unknown origin, which can run code.
        threads: threads inside one operator on the CPU, or None for torch's default.

    Raises:
        ArtifactError: not trusted, damaged, or it lacks an output wanted.
        DeviceError: the GPU asked for cannot be used.
        MissingExtra: torch is not installed.
    """

    def __init__(
        self,
        path: Path,
        kind: Format,
        card: ModelCard,
        device: str,
        wanted: Sequence[str] | None,
        *,
        trust: bool,
        threads: int | None,
    ) -> None:
        if kind != "safetensors" and not (trust or provenance.is_own(path)):
            raise ArtifactError(
                f"{path}: {path.suffix} files can run code when loaded, and this one was not "
                "exported here; add --trust if you know where it comes from, or use the .onnx"
            )
        try:
            import torch
        except ImportError as error:
            raise MissingExtra(f"Opening {path.name}", "train") from error
        self._torch = torch
        if threads:
            torch.set_num_threads(threads)
        self.device = _device(device)
        self._module = _load(path, kind, self.device, wanted)
        written = tuple(name for name in CONTRACT if name in (card.outputs or OUTPUTS))
        self._names = getattr(self._module, "names", written)
        self.outputs = choose_outputs(path, self._names, wanted)

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """The graph's outputs, float32, for uint8 N x H x W x 3.

        Raises:
            ImageError: torch failed, mostly for want of memory.
        """
        torch = self._torch
        try:
            with torch.inference_mode():
                returned = self._module(torch.tensor(batch, device=self.device))
        except RuntimeError as error:
            first = str(error).strip().partition("\n")[0]
            raise ImageError(
                f"the model cannot run on {batch.shape[0]} x {batch.shape[1]} x {batch.shape[2]} "
                f"pixels ({first}); try a smaller --batch-size or smaller images"
            ) from error
        named = dict(zip(self._names, returned, strict=True))
        return {name: named[name].float().cpu().numpy() for name in self.outputs}


def _device(device: str) -> str:
    import torch

    chosen = devices.resolve(device)
    if chosen == "cpu" or torch.cuda.is_available():
        return chosen
    reason = f"this torch ({torch.__version__}) cannot use the GPU; install a CUDA build of torch"
    if device != "auto":
        raise devices.DeviceError(f"--device {device}: {reason}")
    logger.warning("%s; running on the CPU", reason)
    return "cpu"


def _load(path: Path, kind: Format, device: str, wanted: Sequence[str] | None) -> Any:
    try:
        if kind == "torchscript":
            return _load_torchscript(path, device)
        if kind == "pt2":
            return _load_pt2(path, device)
        from wsol_deploy.model.deploy import load_deployed

        return load_deployed(path, wanted).to(device).eval()
    except (RuntimeError, ValueError, KeyError, OSError, EOFError) as error:
        first = str(error).strip().partition("\n")[0]
        raise ArtifactError(f"{path}: PyTorch cannot open it ({first})") from error


def _load_torchscript(path: Path, device: str) -> torch.nn.Module:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return torch.jit.load(str(path), map_location=device).eval()


def _load_pt2(path: Path, device: str) -> torch.nn.Module:
    import torch
    from torch.export.passes import move_to_device_pass

    program = torch.export.load(path)
    if device != "cpu":
        program = move_to_device_pass(program, device)
    return program.module()
