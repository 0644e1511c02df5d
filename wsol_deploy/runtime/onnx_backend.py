"""ONNX Runtime, opened for the outputs that will be used and on a device that is really used."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from wsol_deploy.errors import ArtifactError, ImageError
from wsol_deploy.runtime import devices, tensorrt
from wsol_deploy.runtime.backend import choose_outputs
from wsol_deploy.runtime.binding import run_bound
from wsol_deploy.runtime.onnx_outputs import keep_outputs, output_names

logger = logging.getLogger(__name__)
CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
ERRORS_ONLY = 4


class OnnxBackend:
    """A session on an .onnx file.

    Args:
        path: the file.
        device: auto, cpu, cuda:N or tensorrt:N. `auto` falls back to the CPU with a warning; a
            GPU asked for never does.
        wanted: outputs to compute, or None for all.
        threads: threads inside one operator on the CPU, or None for one a core.

    Raises:
        ArtifactError: ONNX Runtime cannot open the file, or it lacks an output wanted.
        DeviceError: the GPU asked for cannot be used; the message names what is missing.
    """

    def __init__(
        self, path: Path, device: str, wanted: Sequence[str] | None, threads: int | None
    ) -> None:
        self.device = devices.resolve(device, tensorrt=True)
        model, self.outputs = _cut(path, wanted)
        try:
            self._session = _open(path, model, self.device, threads)
        except devices.DeviceError as error:
            if device != "auto":
                raise
            logger.warning("%s; running on the CPU", error)
            self.device = "cpu"
            self._session = _open(path, model, self.device, threads)

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """The graph's outputs, float32, for uint8 N x H x W x 3.

        Raises:
            ImageError: ONNX Runtime failed, mostly for want of memory.
        """
        try:
            arrays = self._arrays(batch)
        except Exception as error:
            raise ImageError(
                f"the model cannot run on {batch.shape[0]} x {batch.shape[1]} x {batch.shape[2]} "
                f"pixels ({str(error).strip()}); try a smaller --batch-size or smaller images"
            ) from error
        return dict(zip(self.outputs, arrays, strict=True))

    def _arrays(self, batch: np.ndarray) -> list[np.ndarray]:
        if self.device == "cpu":
            name = self._session.get_inputs()[0].name
            return self._session.run(list(self.outputs), {name: batch})
        index = devices.index_of(self.device)
        return run_bound(self._session, self.outputs, batch, "cuda", index)


def _cut(path: Path, wanted: Sequence[str] | None) -> tuple[bytes, tuple[str, ...]]:
    """The file's bytes with only the outputs to compute, and their names."""
    model = path.read_bytes()
    try:
        names = choose_outputs(path, output_names(model), wanted)
        return keep_outputs(model, names), names
    except ValueError as error:
        raise ArtifactError(f"{path}: damaged or cut short ({error})") from error


def _open(
    path: Path, model: bytes, device: str, threads: int | None
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.intra_op_num_threads = threads or 0
    # Idle threads that spin take the cores that decode and write.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A pattern is kept for every input shape ever seen: memory would grow with the sizes met.
    options.enable_mem_pattern = False
    providers, missing = ([CPU], "") if device == "cpu" else _gpu_providers(device, model)
    try:
        session = onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:
        if device == "cpu":
            raise ArtifactError(f"{path}: ONNX Runtime cannot open it ({error})") from error
        raise devices.DeviceError(_unusable(device, missing or str(error))) from error
    # A provider that cannot be loaded is silently left out. The CPU's own stays beside the GPU's:
    # nodes that compute shapes are given to it on purpose.
    if device != "cpu" and session.get_providers()[0] != providers[0][0]:
        raise devices.DeviceError(_unusable(device, missing or f"no {providers[0][0]}"))
    return session


def _unusable(device: str, why: str) -> str:
    return f"--device {device}: ONNX Runtime cannot use the GPU: {why}"


def _gpu_providers(device: str, model: bytes) -> tuple[list[Any], str]:
    """The providers to ask for, the wanted one first, and which library could not be loaded."""
    index = devices.index_of(device)
    missing = _load_cuda_libraries(device)
    cuda = (CUDA, _cuda_options(index))
    if not device.startswith("tensorrt"):
        return [cuda], missing
    folder = tensorrt.cache_folder(model)
    missing = tensorrt.load_libraries() or missing
    if not missing:
        tensorrt.prepare(folder)
    return [(tensorrt.PROVIDER, tensorrt.options(index, folder)), cuda], missing


def _cuda_options(index: int) -> dict[str, str]:
    """Reproducible choices: heuristic algorithms (no timing race), full float32."""
    return {
        "device_id": str(index),
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "0",
        "arena_extend_strategy": "kSameAsRequested",
    }


def _load_cuda_libraries(device: str) -> str:
    """Load CUDA and cuDNN from where pip puts them; what could not be loaded, in words."""
    if CUDA not in onnxruntime.get_available_providers():
        raise devices.DeviceError(
            f"--device {device}: the onnxruntime installed here has no CUDA support; "
            "pip install onnxruntime-gpu in place of onnxruntime"
        )
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        onnxruntime.preload_dlls()
    return "; ".join(
        line.strip() for line in printed.getvalue().splitlines() if line.startswith("Failed")
    )
