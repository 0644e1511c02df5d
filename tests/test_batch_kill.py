"""Killed at any moment and started again, a run ends with the bytes of an undisturbed one."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from artifacts import make_artifact
from batch_tools import COMMAND, contents, fill, predict

IMAGES = 400
KILLS = 20
FORMATS = ("mask", "prob", "overlay", "csv", "jsonl", "coco", "geojson")


def arguments(root: Path, out: str) -> list[str]:
    save = [word for name in FORMATS for word in ("--save", name)]
    return [str(root / "in"), "-o", str(root / out), "-m", str(root / "m.onnx"), *save]


def journalled(journal: Path) -> list[bytes]:
    return journal.read_bytes().split(b"\n")[1:-1] if journal.exists() else []


def kill_after(root: Path, more: int, delay: float) -> None:
    """Start the command and kill it `delay` seconds after `more` further images are done."""
    journal = root / "out" / "journal.jsonl"
    before = len(journalled(journal))
    running = subprocess.Popen([*COMMAND, *arguments(root, "out")], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while running.poll() is None and len(journalled(journal)) < before + more:
        assert time.monotonic() < end
        time.sleep(0.002)
    time.sleep(delay)
    running.send_signal(signal.SIGKILL)
    running.wait()


def masks(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (root / "out/masks").rglob("*.png")}


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path):
    make_artifact(tmp_path / "m.onnx")
    fill(tmp_path / "in", IMAGES)
    (tmp_path / "in/bad.png").write_bytes(b"bad")
    predict(*arguments(tmp_path, "undisturbed"), check=3)
    chance = random.Random(0)
    for _ in range(KILLS):
        kill_after(tmp_path, chance.randrange(2 * IMAGES // (3 * KILLS)), chance.random() * 0.03)
        done = len(journalled(tmp_path / "out/journal.jsonl"))
        written = set(masks(tmp_path))
        assert len(written) <= done + 8, "more in flight than there should be"
        for path in written:
            assert path.read_bytes().endswith(b"IEND\xaeB`\x82"), "half a file under its final name"
    before = masks(tmp_path)
    assert 0 < len(before) < IMAGES, "the kills came too early or too late to mean anything"
    predict(*arguments(tmp_path, "out"), check=3)
    undisturbed = contents(tmp_path / "undisturbed")
    assert contents(tmp_path / "out") == undisturbed
    redone = sum(path.stat().st_mtime_ns != stamp for path, stamp in before.items())
    assert redone <= 8
    names = [line.split(b",")[0] for line in journalled(tmp_path / "out/journal.jsonl")]
    assert len([n for n in names if b"bad.png" not in n]) == IMAGES


def test_leftovers_of_a_kill_are_cleared(tmp_path):
    make_artifact(tmp_path / "m.onnx")
    fill(tmp_path / "in", 12)
    predict(*arguments(tmp_path, "undisturbed"))
    predict(*arguments(tmp_path, "out"))
    journal = tmp_path / "out/journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:7]) + lines[7][:30])
    (tmp_path / "out/.partial").mkdir()
    (tmp_path / "out/.partial/3").write_bytes(b"half")
    (tmp_path / "out/results.csv").unlink()
    predict(*arguments(tmp_path, "out"))
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")
