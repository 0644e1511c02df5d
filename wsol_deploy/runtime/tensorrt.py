"""NVIDIA TensorRT under ONNX Runtime: its libraries, and the engines it keeps on disk.

An engine is compiled on the machine for its GPU and for the image sizes met, which takes minutes.
It is kept in a folder named by the model's bytes, so that a changed model never meets an old one.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import logging
import os
import sys
from pathlib import Path

logger = logging.getLogger(__name__)
PROVIDER = "TensorrtExecutionProvider"
LIBRARIES = ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10")
INSTALL = "pip install 'tensorrt-cu13<11'"


def cache_folder(model: bytes) -> Path:
    """Where a model's engines lie: $XDG_CACHE_HOME/wsol-deploy/tensorrt/HASH, or below ~/.cache."""
    cache = os.environ.get("XDG_CACHE_HOME")
    root = Path(cache) if cache else Path.home() / ".cache"
    return root / "wsol-deploy" / "tensorrt" / hashlib.sha256(model).hexdigest()[:16]


def options(index: int, folder: Path) -> dict[str, str]:
    """The provider's options: engines and kernel timings are kept in the folder.

    Args:
        index: of the GPU.
        folder: see `cache_folder`.
    """
    return {
        "device_id": str(index),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
    }


def prepare(folder: Path) -> None:
    """Make the folder; warn before a build if it has no engine yet.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.glob("*.engine")):
        logger.warning(
            "TensorRT compiles this model for this GPU at the first image, and again at sizes "
            "beyond those met; that takes minutes, and is kept in %s",
            folder,
        )


def load_libraries() -> str:
    """Load TensorRT from where pip or the system puts it; what could not be loaded, in words."""
    if sys.platform == "win32":  # found on PATH, or ONNX Runtime says what it misses
        return ""
    found = importlib.util.find_spec("tensorrt_libs")
    folder = Path(found.origin).parent if found and found.origin else None
    for name in LIBRARIES:
        path = folder / name if folder and (folder / name).is_file() else name
        try:
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            return f"{error}; {INSTALL}"
    return ""
