"""Memory does not grow with the number of images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from artifacts import make_artifact
from batch_tools import draw
from PIL import Image

PROGRAM = """
import atexit, resource
from wsol_deploy.cli import main
atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
main()
"""


def peak_mib(folder: Path, count: int) -> float:
    """Of `wsol predict` on `count` links to eight pictures of 0.7 MB in memory each."""
    source = folder / f"in{count}"
    source.mkdir()
    for number in range(count):
        (source / f"{number:05d}.png").symlink_to(folder / f"{number % 8}.png")
    command = [sys.executable, "-c", PROGRAM, "predict", source, "-o", folder / f"out{count}"]
    command += ["-m", folder / "m.onnx", "-q", "--save", "mask", "--save", "csv"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return int(done.stdout) / 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted in other units")
def test_memory_is_flat(tmp_path):
    make_artifact(tmp_path / "m.onnx")
    for number in range(8):
        Image.fromarray(np.kron(draw(number), np.ones((9, 9, 1), np.uint8))).save(
            tmp_path / f"{number}.png"
        )
    few, many = peak_mib(tmp_path, 40), peak_mib(tmp_path, 640)
    assert many - few < 40, "600 pictures of 0.7 MB were seen: none may stay"
