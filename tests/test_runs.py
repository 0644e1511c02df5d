"""Which file of a run `--model` means."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from wsol_deploy import runs
from wsol_deploy.card import ModelCard
from wsol_deploy.errors import ArtifactError


def make_run(folder: Path, weights: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose files hold these weights (relative path to sha256)."""
    for name in weights:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")

    def read_card(path: Path) -> ModelCard:
        name = path.relative_to(folder).as_posix()
        return ModelCard(
            name="m", method="minmax", classes=["a", "b"], weights_sha256=weights[name]
        )

    monkeypatch.setattr(runs, "read_card", read_card)
    return folder


def test_an_export_of_the_best_weights_is_taken(tmp_path, monkeypatch):
    run = make_run(tmp_path, {runs.BEST: "1", "export/model.onnx": "1"}, monkeypatch)
    assert runs.resolve(run, want="artifact") == run / "export" / "model.onnx"
    assert runs.resolve(run, want="checkpoint") == run / runs.BEST


def test_an_export_from_before_more_training_is_passed_over_aloud(tmp_path, monkeypatch, caplog):
    run = make_run(tmp_path, {runs.BEST: "2", "export/model.onnx": "1"}, monkeypatch)
    with caplog.at_level(logging.WARNING):
        assert runs.resolve(run, want="artifact") == run / runs.BEST
    assert "wsol export renews it" in caplog.text


def test_an_exported_folder_alone_is_taken(tmp_path, monkeypatch):
    run = make_run(tmp_path, {"model.onnx": "1"}, monkeypatch)
    assert runs.resolve(run, want="artifact") == run / "model.onnx"


def test_without_a_run_the_quickstarts_is_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WSOL_RUNS", raising=False)
    with pytest.raises(ArtifactError, match="wsol quickstart"):
        runs.newest()
    make_run(tmp_path / "quickstart" / "run", {runs.BEST: "1"}, monkeypatch)
    assert runs.newest() == runs.QUICKSTART
    make_run(tmp_path / "runs" / "own", {runs.BEST: "1"}, monkeypatch)
    assert runs.newest() == Path("runs/own")


def test_a_folder_above_a_run_names_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "quickstart" / "run", {runs.BEST: "1"}, monkeypatch)
    with pytest.raises(ArtifactError, match="no model in it; did you mean quickstart/run"):
        runs.resolve("quickstart", want="artifact")
    with pytest.raises(ArtifactError, match="expected best"):
        runs.resolve(tmp_path, want="artifact")


@pytest.mark.skipif(os.name == "nt", reason="names of bytes")
def test_a_run_remembers_data_of_any_name(tmp_path: Path) -> None:
    data = tmp_path / os.fsdecode(b"gl\xe4ser")
    data.mkdir()
    runs.remember_data(tmp_path, data)
    assert runs.data_of(tmp_path / "best.safetensors") == data
