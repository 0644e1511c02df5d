"""`wsol evaluate` through the real entry point, on a real artifact."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from artifacts import make_artifact
from evaluation_samples import write_data
from PIL import Image
from safetensors.numpy import save_file

from wsol_deploy.artifacts import read_card
from wsol_deploy.card import CARD_KEY

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Path:
    return make_artifact(tmp_path_factory.mktemp("artifact") / "model.onnx")


def test_the_table_has_the_metrics_beside_the_constant_rows(wsol, artifact, tmp_path):
    code, out, err = wsol("evaluate", write_data(tmp_path), "-m", artifact)
    assert code == 0
    head, *lines = out.splitlines()
    assert head.split("  ")[0] == "%"
    assert all(name in head for name in ("model", "all-ones", "centre-box", "majority class"))
    rows = {line.split("  ")[0]: line for line in lines}
    assert rows["error"].split()[1] == "0.00"
    assert float(rows["F1+"].split()[1]) > 80 > float(rows["F1+"].split()[-3])
    assert rows["F1-"].split()[-3] == "0.00"
    assert {"IoU", "PxAP", "MaxBoxAcc", "MaxBoxAccV2", "Top-1 loc"} <= set(rows)
    assert "8 images, threshold 0.5" in out
    assert "test images of the auto split (seed 0): 8 images" in err
    assert "next: wsol" in err


def test_json_on_stdout_alone(wsol, artifact, tmp_path):
    data = write_data(tmp_path)
    code, out, _ = wsol("evaluate", data, "-m", artifact, "--json", "--bootstrap", 0)
    found = json.loads(out)
    assert code == 0
    assert (found["subset"], found["split"], found["images"]) == ("test", "auto", 8)
    assert found["metrics"]["f1_plus"]["low"] is None
    assert found["baselines"]["majority class"]["error"] == 0.5


def test_subset_all_takes_every_image_and_threshold_changes_the_masks(wsol, artifact, tmp_path):
    data = write_data(tmp_path)
    options = ("-m", artifact, "--subset", "all", "--json")
    _, low, _ = wsol("evaluate", data, *options, "--threshold", 0.05)
    _, high, _ = wsol("evaluate", data, *options, "--threshold", 0.9)
    low, high = json.loads(low), json.loads(high)
    assert low["images"] == high["images"] == 24
    assert low["threshold"] == 0.05
    assert low["metrics"]["f1_plus"]["value"] != high["metrics"]["f1_plus"]["value"]
    assert low["metrics"]["pxap"] == high["metrics"]["pxap"]


def test_report_and_csv_are_written(wsol, artifact, tmp_path):
    data, page, table = write_data(tmp_path), tmp_path / "out" / "r.html", tmp_path / "images.csv"
    code, _, err = wsol("evaluate", data, "-m", artifact, "--report", page, "--csv", table)
    assert code == 0
    assert f"the report is {page}" in err
    assert "tiny on data" in page.read_text(encoding="utf-8")
    with table.open() as stream:
        qualities = [float(row["quality"]) for row in csv.DictReader(stream)]
    assert len(qualities) == 8
    assert qualities == sorted(qualities)


@pytest.mark.parametrize("option", ["--report", "--sheet", "--csv"])
@pytest.mark.parametrize(
    ("place", "told"), [("pages", "pages: is a folder; name a file"), ("file/page", "file is no")]
)
def test_what_cannot_be_written_is_refused_before_measuring(
    wsol, artifact, tmp_path, option, place, told
):
    (tmp_path / "pages").mkdir()
    (tmp_path / "file").write_text("")
    code, out, err = wsol(
        "evaluate", write_data(tmp_path / "data"), "-m", artifact, option, tmp_path / place
    )
    assert (code, out) == (2, "")
    assert told in err
    assert "images" not in err


def test_without_masks_classification_only(wsol, artifact, tmp_path):
    code, out, _ = wsol("evaluate", write_data(tmp_path, masks=False), "-m", artifact)
    assert code == 0
    assert "F1+" not in out
    assert "note: no truth masks and no truth boxes: classification only" in out


def test_a_corrupt_image_costs_a_line_and_exit_3(wsol, artifact, tmp_path):
    data = write_data(tmp_path)
    (tmp_path / "test_benign_1.png").write_bytes(b"not an image")
    code, out, err = wsol("evaluate", data, "-m", artifact)
    assert code == 3
    assert "7 images, threshold" in out
    assert sum("test_benign_1.png" in line for line in err.splitlines()) == 1
    assert "1 of 8 images failed" in err


def test_a_mask_of_another_size_names_both_sizes(wsol, artifact, tmp_path):
    data = write_data(tmp_path)
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(tmp_path / "test_benign_1_mask.png")
    page = tmp_path / "report.html"
    code, out, err = wsol("evaluate", data, "-m", artifact, "--report", page)
    assert (code, out) == (1, "")
    assert "test_benign_1.png: its mask" in err
    assert "is 40 x 30, the image 80 x 60 pixels" in err
    assert not page.exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--subset", "tests"), 2, "no such subset: 'tests'; use one of train, valid, test, all"),
        (("--split", "papier"), 2, "no such split"),
        (("--split", "paper"), 1, "use --split auto"),
        (("--threshold", "1.5"), 2, "less than or equal to 1"),
        (("-m", "nowhere.onnx"), 1, "nowhere.onnx: no such"),
    ],
)
def test_bad_usage_is_one_line(wsol, artifact, tmp_path, options, code, message):
    found, out, err = wsol("evaluate", write_data(tmp_path), "-m", artifact, *options)
    assert (found, out) == (code, "")
    assert message in err
    assert "Traceback" not in err


def test_classes_the_model_does_not_know(wsol, artifact, tmp_path):
    data = write_data(tmp_path)
    data.write_text(data.read_text().replace("malignant,", "adenoma,"))
    code, _, err = wsol("evaluate", data, "-m", artifact)
    assert code == 1
    told = f"{data}: has classes that {artifact} does not know: adenoma; it knows benign, malignant"
    assert f"{told}; name the model of this data with -m" in err


def test_a_model_that_was_not_named_is_said(wsol, artifact, tmp_path, monkeypatch):
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    monkeypatch.setenv("WSOL_RUNS", str(run.parent))
    (run / "model.onnx").write_bytes(artifact.read_bytes())
    save_file({}, run / "best.safetensors", {CARD_KEY: read_card(artifact).to_json()})
    data = write_data(tmp_path)
    code, _, err = wsol("evaluate", data, "--bootstrap", 0)
    assert code == 0, err
    assert f"model: {run / 'model.onnx'}\n" in err
    assert "model: " not in wsol("evaluate", data, "-m", run, "--bootstrap", 0)[2]


def test_an_empty_subset_says_what_there_is(wsol, artifact, tmp_path):
    data = write_data(tmp_path)
    lines = data.read_text().splitlines(keepends=True)
    data.write_text("".join(line for line in lines if not line.startswith("test_")))
    code, _, err = wsol("evaluate", data, "-m", artifact)
    assert code == 1
    assert "no images in the test subset of the auto split (8 train, 8 valid, 0 test)" in err


@pytest.mark.slow
def test_checkpoint_and_artifact_give_the_same_numbers(wsol, tmp_path):
    from exporting import a_checkpoint, exports

    data = write_data(tmp_path)
    found = []
    for path in (a_checkpoint(), exports()["onnx"].path):
        code, out, _ = wsol("evaluate", data, "-m", path, "--json", "--device", "cpu")
        assert code == 0
        found.append({k: m["value"] for k, m in json.loads(out)["metrics"].items()})
    assert found[0] == pytest.approx(found[1], abs=2e-3)


def test_it_runs_without_torch(artifact, tmp_path):
    data = write_data(tmp_path)
    code = "import sys; sys.modules['torch'] = None; from wsol_deploy.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "evaluate", str(data), "-m", str(artifact), "--quiet"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
    assert "F1+" in done.stdout
    assert done.stderr == ""


@pytest.mark.skipif(not (SHARED / "glas").is_dir(), reason="no GlaS data beside the repository")
@pytest.mark.slow
def test_all_ones_on_glas_is_the_papers(wsol, artifact):
    options = ("-m", artifact, "--split", "paper", "--json", "--bootstrap", 0)
    code, out, _ = wsol("evaluate", SHARED / "glas", *options)
    row = json.loads(out)["baselines"]["all-ones"]
    assert code == 0
    assert row["f1_plus"] == pytest.approx(0.6601, abs=2e-4)  # Table 1
    assert row["f1_minus"] == 0
