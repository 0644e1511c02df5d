"""`auto`, `cpu`, `cuda:N` or `tensorrt:N`: which device is meant, and whether it is there."""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache

from wsol_deploy.errors import UsageError, WsolError

GPUS = ("cuda", "tensorrt")
DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


class DeviceError(WsolError):
    """The device asked for cannot be used."""


def resolve(device: str, *, tensorrt: bool = False) -> str:
    """`cpu`, `cuda:N` or `tensorrt:N` for what the user asked; `auto` is the first GPU, or `cpu`.

    Args:
        device: the user's word.
        tensorrt: whether what is to run is an ONNX file, which alone TensorRT can run.

    Raises:
        UsageError: not a device's name, or TensorRT for another kind of file.
        DeviceError: a GPU is asked for and the driver shows none, or not so many.
    """
    if device == "auto":
        return "cuda:0" if gpus() else "cpu"
    if device == "cpu":
        return "cpu"
    kind, _, number = device.partition(":")
    if kind not in GPUS or not (number.isdigit() or device == kind):
        raise UsageError(
            f"--device {device}: no such device; known: auto, cpu, cuda, cuda:N, and for .onnx "
            "files tensorrt, tensorrt:N"
        )
    if kind == "tensorrt" and not tensorrt:
        raise UsageError(f"--device {device}: TensorRT runs .onnx files alone; use --device cuda")
    index = int(number or 0)
    if gpus() == 0:
        raise DeviceError(
            f"--device {device}: no NVIDIA GPU, or its driver ({DRIVER}) is not installed; "
            "use --device cpu"
        )
    if index >= gpus():
        raise DeviceError(
            f"--device {device}: the driver shows only {gpus()} GPU; they count from 0"
        )
    return f"{kind}:{index}"


def index_of(device: str) -> int:
    """N of `cuda:N` or `tensorrt:N`."""
    return int(device.partition(":")[2])


@lru_cache(maxsize=1)
def gpus() -> int:
    """How many GPUs the NVIDIA driver shows; 0 without a driver."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value
