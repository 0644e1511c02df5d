"""`wsol reproduce` from the outside: tables, page, what is skipped, resumed, refused."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_lines import one_line
from training import write_both, write_images

from wsol_deploy.datasets.paper import CUB5_VALID
from wsol_deploy.datasets.synthetic import generate

PROCESS = [sys.executable, "-c", "from wsol_deploy.cli import main; main()"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TINY = [
    "--backbone", "mobilenetv3_small_050", "--weights", "none", "--device", "cpu",
    "--set", "model.output_stride=8", "--set", "data.size.size=64", "--set", "data.crop=48",
    "--set", "data.workers=0", "--set", "optim.batch_size=4",
]  # fmt: skip
SHORT = [*TINY, "--set", "optim.epochs=2"]
OFFICIAL = ["--set", "data.split=official"]


def glas_tree(root: Path, scratch: Path) -> Path:
    """Discs and squares in GlaS's published layout: 8 to train, 4 to test, masks beside."""
    root.mkdir()
    shapes = write_images(scratch, images=12)
    lines = ["name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)"]
    for number, image in enumerate(sorted(shapes.glob("*/*/*.png"))):
        mask = shapes / "masks" / image.relative_to(shapes)
        part = "train" if image.parts[-3] == "train" else "testA"
        grade = "benign" if image.parts[-2] == "disc" else "malignant"
        image.rename(root / f"{part}_{number}.png")
        mask.rename(root / f"{part}_{number}_anno.png")
        lines.append(f"{part}_{number},{number}, {grade}, adenomatous")
    (root / "Grade.csv").write_text("\r\n".join(lines) + "\r\n")
    return root


@pytest.fixture(scope="module")
def glas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("glas")
    return glas_tree(folder / "glas", folder / "shapes")


def figures(folder: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    """tables.csv: (table, row, column) to its line."""
    with (folder / "tables.csv").open(newline="") as stream:
        return {(one["table"], one["row"], one["column"]): one for one in csv.DictReader(stream)}


def test_tables_are_the_evaluations_beside_the_published(wsol, glas, tmp_path):
    folder = tmp_path / "out"
    asked = ["reproduce", "glas", glas, "-o", folder, *SHORT, *OFFICIAL]
    rows = ["--row", "minmax-u0", "--row", "minmax-u4", "--seeds", 2]
    code, out, err = wsol(*asked, *rows)
    assert code == 0, err
    assert out.strip() == (folder / "tables.md").read_text().strip()

    found = figures(folder)
    errors, slowdowns = [], []
    for seed in (0, 1):
        runs = [folder / "runs" / row / f"seed-{seed}" for row in ("minmax-u0", "minmax-u4")]
        code, told, _ = wsol("evaluate", glas, "-m", runs[1], "--json", "-q")
        assert code == 0
        errors.append(100 * json.loads(told)["metrics"]["f1_plus"]["value"])
        seconds = [json.loads((run / "evaluation.json").read_text()) for run in runs]
        slowdowns.append(seconds[1]["epoch_seconds"] / seconds[0]["epoch_seconds"])
    cell = found["2", "minmax-u4", "f1_plus"]
    assert float(cell["mean"]) == pytest.approx(np.mean(errors))
    assert float(cell["sd"]) == pytest.approx(np.std(errors, ddof=1))
    assert (cell["seeds"], cell["published"], cell["gap"]) == ("2", "72.54", "")
    assert float(found["3", "minmax-u4", "slowdown"]["mean"]) == pytest.approx(np.mean(slowdowns))
    assert found["1", "minmax-u4", "f1_plus"]["mean"] == cell["mean"]
    assert found["1", "cam-avg", "f1_plus"]["gap"] == "not trained yet"
    assert found["1", "cam-avg", "f1_plus"]["mean"] == ""

    page = (folder / "index.html").read_text()
    assert page.count('<img src="data:image/') == 4 * (2 + 2), "image, truth and two methods"
    assert "http" not in page
    assert cell["published"] in page and f"{float(cell['mean']):.2f} ± " in page

    best = folder / "runs" / "minmax-u0" / "seed-0" / "best.safetensors"
    before = best.stat().st_mtime_ns
    code, again, err = wsol(*asked, *rows)
    assert (code, again) == (0, out), err
    assert "minmax-u0, seed 0: complete" in err
    assert best.stat().st_mtime_ns == before
    code, _, err = wsol(*asked, *rows[:4], "--first-seed", 1)
    assert code == 0 and "minmax-u4, seed 1: complete" in err and "seed 0" not in err
    cell = figures(folder)["2", "minmax-u4", "f1_plus"]
    assert (float(cell["mean"]), cell["seeds"]) == (pytest.approx(errors[1]), "1")
    code, _, err = wsol(*asked, *rows, "--set", "training.seed=5")
    assert code == 2 and "say --first-seed and --seeds" in one_line(err)
    code, _, err = wsol(*asked, *rows, "--set", "optim.lr=0.5")
    assert code == 2
    assert "minmax-u0/seed-0: its run has another recipe: optim.lr is 0.0003 there and 0.5 now" in (
        one_line(err)
    )
    recipe = best.with_name("recipe.toml")
    recipe.write_text(recipe.read_text().replace("[loss]", "[loss]\nsure = 0.75"))
    code, _, err = wsol(*asked, *rows)
    assert code == 2
    assert "no recipe key loss.sure" in one_line(err) and "another version" in one_line(err)


def test_a_plan_of_ones_own_and_a_row_that_fails(wsol, glas, tmp_path):
    plan = tmp_path / "mine.toml"
    plan.write_text("""
        title = "Mine"
        default = ["depths"]
        budgets.small = { about = "short", set.optim.epochs = 1 }
        rows.one = { title = "One depth", set.model.depths = 1 }
        rows.broken = { title = "Broken", set.model.backbone = "resnet19" }
        rows.two = { title = "Two depths", set.model.depths = 2 }
        tables.depths = { title = "Depths", columns = ["f1_plus"], rows = ["one", "broken", "two"] }
    """)
    # `--backbone` would mend the broken row.
    tiny = [*TINY[2:], "--set", "data.size.mode=longer-side", *OFFICIAL]
    text = plan.read_text().replace("depths = 1 }", 'depths = 1, set.model.backbone = "X" }')
    text = text.replace("depths = 2 }", 'depths = 2, set.model.backbone = "X" }')
    plan.write_text(text.replace('"X"', '"mobilenetv3_small_050"'))
    code, _, err = wsol("reproduce", plan, glas, "-o", tmp_path / "out", *tiny)
    assert code == 1
    assert "1 of 3 trainings failed, the first is broken with seed 0:" in one_line(err)
    found = figures(tmp_path / "out")
    assert found["depths", "broken", "f1_plus"]["gap"].startswith("failed: ")
    assert all(float(found["depths", row, "f1_plus"]["mean"]) >= 0 for row in ("one", "two"))
    assert "Broken *" in (tmp_path / "out" / "tables.md").read_text()


def test_unet_without_masks_costs_its_row_only(wsol, tmp_path):
    data = glas_tree(tmp_path / "glas", tmp_path / "shapes")
    for mask in data.glob("train_*_anno.png"):
        mask.unlink()
    asked = ["reproduce", "glas", data, "-o", tmp_path / "out", *SHORT, *OFFICIAL]
    code, out, err = wsol(*asked, "--row", "unet", "--row", "all-ones")
    assert (code, out[:2]) == (1, "# ")
    assert "the first is unet with seed 0: " in one_line(err)
    assert "learns from masks" in one_line(err)
    found = figures(tmp_path / "out")
    assert "learns from masks" in found["1", "unet", "f1_plus"]["gap"]
    assert float(found["1", "all-ones", "f1_minus"]["mean"]) == 0
    assert float(found["1", "all-ones", "f1_plus"]["mean"]) > 0


def start(*arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [*PROCESS, *map(str, arguments)], env=ENVIRONMENT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for(path: Path, process: subprocess.Popen, newer_than: int = 0) -> int:
    until = time.monotonic() + 600
    while not path.exists() or path.stat().st_mtime_ns <= newer_than:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.01)
    return path.stat().st_mtime_ns


@pytest.mark.slow
def test_interrupted_then_killed_then_gone_on_with(wsol, glas, tmp_path):
    folder = tmp_path / "out"
    run = folder / "runs" / "minmax-u0" / "seed-0"
    asked = ["reproduce", "glas", glas, "-o", folder, *TINY, *OFFICIAL, "--row", "minmax-u0"]
    asked += ["--set", "optim.epochs=60", "--set", "optim.batch_size=1"]
    for number in (signal.SIGINT, signal.SIGKILL):
        process = start(*asked)
        before = wait_for(run / "state.safetensors", process)
        wait_for(run / "state.safetensors", process, newer_than=before)
        code, _, told = wsol(*asked)
        assert code == 1
        assert "another wsol reproduce is writing to it" in one_line(told)
        process.send_signal(number)
        _, err = process.communicate(timeout=300)
        assert not (run / "evaluation.json").exists()
        if number == signal.SIGINT:
            assert process.returncode == 130, err
            assert err.splitlines()[-1].startswith("stopped; nothing is lost, go on with: wsol ")
    code, _, err = wsol(*asked)
    assert code == 0, err
    assert "minmax-u0, seed 0: going on" in err
    assert "epoch 60/60" in err and "epoch 1/60" not in err
    assert json.loads((run / "evaluation.json").read_text())["epochs"] == 60


def cub_tree(root: Path) -> Path:
    """CUB-200-2011 as published, with the five classes of the paper's folds and one more."""
    rng = np.random.default_rng(0)
    numbers = [(number, "1") for number in sorted(CUB5_VALID)]
    numbers += [(number, "1") for number in range(1, 121)]
    numbers += [(number, "0") for number in range(121, 266)] + [(266, "0")]
    species = ["019.Gray_Catbird", "099.Ovenbird", "108.White_necked_Raven"]
    species += ["171.Myrtle_Warbler", "178.Swainson_Warbler"]
    found = [
        (f"{species[at % 5]}/Bird_{at:04d}_{number}", part)
        for at, (number, part) in enumerate(numbers[:-1])
    ]
    found.append(("001.Black_footed_Albatross/Bird_0000_266", "0"))
    for stem, _ in found:
        mask = np.zeros((32, 40), np.uint8)
        cv2.circle(mask, (20, 16), 9, 255, -1)
        image = rng.integers(0, 255, (32, 40, 3), np.uint8)
        for folder, suffix, pixels in (("images", "jpg", image), ("segmentations", "png", mask)):
            path = root / folder / f"{stem}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), pixels)
    classes = [*sorted({stem.split("/")[0] for stem, _ in found})]
    tables = {
        "images.txt": [f"{stem}.jpg" for stem, _ in found],
        "image_class_labels.txt": [1 + classes.index(stem.split("/")[0]) for stem, _ in found],
        "classes.txt": classes,
        "train_test_split.txt": [part for _, part in found],
        "bounding_boxes.txt": ["11 7 18 18"] * len(found),
    }
    for name, values in tables.items():
        lines = "".join(f"{number} {value}\n" for number, value in enumerate(values, start=1))
        (root / name).write_text(lines)
    return root


def test_cub5_in_the_paper_s_folds(wsol, tmp_path):
    data = cub_tree(tmp_path / "CUB_200_2011")
    folder = tmp_path / "out"
    small = ["--set", "data.size.size=40", "--set", "data.crop=32", "--set", "optim.epochs=1"]
    code, out, err = wsol(
        "reproduce", "cub5", data, "-o", folder, *TINY, *small, "--set", "training.max_steps=2",
        "--row", "minmax-u4",
    )  # fmt: skip
    assert code == 0, err
    assert "120 train, 30 valid, 145 test images" in out
    found = figures(folder)
    assert found["1", "minmax-u4", "f1_minus"]["published"] == "90.69"
    assert 0 <= float(found["1", "minmax-u4", "top1_loc"]["mean"]) <= 100
    assert (folder / "index.html").read_text().count("<img") == 5 * 3


def boxed_tree(root: Path) -> Path:
    """Class folders with boxes.csv and no masks."""
    write_images(root.parent / "shapes")
    lines = ["image,label,x0,y0,x1,y1"]
    for image in sorted((root.parent / "shapes").glob("[tv]*/*/*.png")):
        name = f"{image.parts[-2]}/{image.parts[-3]}-{image.name}"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        image.rename(root / name)
        lines.append(f"{name},{image.parts[-2]},10,10,40,40")
    (root / "boxes.csv").write_text("\n".join(lines) + "\n")
    return root


def test_boxes_give_box_metrics_and_no_boxes_one_line(wsol, tmp_path):
    data = boxed_tree(tmp_path / "animals")
    asked = ["reproduce", "animals", data, *SHORT, "--set", "data.split=stratified"]
    code, _, err = wsol(*asked, "-o", tmp_path / "out", "--row", "minmax-u0")
    assert code == 0, err
    found = figures(tmp_path / "out")
    run = tmp_path / "out" / "runs" / "minmax-u0" / "seed-0"
    code, told, _ = wsol("evaluate", data, "-m", run, "--json", "-q")
    for name in ("max_box_acc", "max_box_acc_v2", "top1_loc"):
        value = json.loads(told)["metrics"][name]["value"]
        assert float(found["2", "minmax-u0", name]["mean"]) == pytest.approx(100 * value)

    lines = (data / "boxes.csv").read_text().splitlines()
    (data / "boxes.csv").write_text("\n".join(lines[:2]) + "\n")
    code, _, err = wsol(*asked, "-o", tmp_path / "other")
    assert code == 1
    assert re.search(r"the test image \S+ has no boxes; MaxBoxAcc needs boxes", one_line(err))
    assert not (tmp_path / "other").exists()


def test_the_quickstarts_images(wsol, tmp_path):
    data = generate(tmp_path / "data", size=64, train=8, valid=4, test=4).root
    for budget in ("small", "paper"):
        asked = ["reproduce", "synthetic", data, "-o", tmp_path / budget, "--budget", budget]
        code, _, err = wsol(*asked, "--row", "all-ones")
        assert code == 0, err
        assert float(figures(tmp_path / budget)["1", "all-ones", "f1_plus"]["mean"]) > 0


def test_images_of_several_classes_and_a_second_time(wsol, tmp_path):
    data = write_both(tmp_path / "both", 24)
    plan = tmp_path / "mine.toml"
    plan.write_text("""
        title = "Mine"
        default = ["one"]
        budgets.small = { about = "short", set.optim.epochs = 1 }
        rows.one = { title = "One" }
        rows.masks = { title = "U-Net", method = "unet" }
        tables.one = { title = "One", columns = ["class_f1"], rows = ["one", "masks"] }
    """)
    asked = ["reproduce", plan, data, "-o", tmp_path / "out", *TINY, "--set", "data.split=hash",
             "--set", "data.size.mode=longer-side"]  # fmt: skip
    for _ in range(2):
        code, _, err = wsol(*asked)
        assert code == 1
        assert "1 of 2 trainings failed, the first is masks with seed 0" in one_line(err)
    assert "one, seed 0: complete" in err
    assert float(figures(tmp_path / "out")["one", "one", "class_f1"]["mean"]) >= 0


def no_test_masks(data: Path) -> str:
    next(data.glob("testA_*_anno.png")).unlink()
    return "has no masks; F1+ and F1- need a truth mask"


def empty_class(data: Path) -> str:
    lines = (data / "Grade.csv").read_text().splitlines()
    kept = [one for one in lines if "testA" not in one or "malignant" not in one]
    (data / "Grade.csv").write_text("\n".join(kept) + "\n")
    return "no image of malignant for test"


@pytest.mark.parametrize("spoil", [no_test_masks, empty_class])
def test_bad_data_is_one_line_before_any_training(wsol, tmp_path, spoil):
    data = glas_tree(tmp_path / "glas", tmp_path / "shapes")
    words = spoil(data)
    code, out, err = wsol("reproduce", "glas", data, "-o", tmp_path / "out", *TINY, *OFFICIAL)
    assert (code, out) == (1, "")
    assert words in one_line(err)
    assert not (tmp_path / "out").exists()


def test_a_csv_with_unknown_columns(wsol, tmp_path):
    table = tmp_path / "images.csv"
    table.write_text("image,label,colour\na.png,cat,red\n")
    code, _, err = wsol("reproduce", "animals", table, "-o", tmp_path / "out")
    assert code == 1
    assert "unknown column 'colour'" in one_line(err)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["glass"], "no plan glass; did you mean glas?"),
        (["cub5", *OFFICIAL], "is GlaS, and the plan is for CUB-200-2011"),
        (["glas", "--table", "4"], "no table 4 in this plan; it has 1, 2, 3"),
        (["glas", "--budget", "huge"], "no budget huge in this plan; it has small, paper"),
        (["glas", *OFFICIAL, "--row", "cam"], "no row cam in this plan; it has all-ones"),
        (
            ["glas", *OFFICIAL, "--row", "less-local"],
            "row less-local is in table ablation: add --table ablation",
        ),
        (["glas", "--set", "optim.learnrate=1"], "did you mean optim."),
    ],
)
def test_bad_usage_is_exit_2(wsol, glas, tmp_path, arguments, words):
    code, _, err = wsol("reproduce", arguments[0], glas, *arguments[1:], "-o", tmp_path / "out")
    assert code == 2
    assert words in one_line(err)


def test_a_broken_plan_is_one_line(wsol, glas, tmp_path):
    plan = tmp_path / "plan.toml"
    text = 'title="T"\ndefault=["a"]\nbudgets.small={about=""}\nrows.r={title="R"}\n'
    plan.write_text(text + 'tables.a={title="A", columns=["error"], rows=["s"]}\n')
    code, _, err = wsol("reproduce", plan, glas)
    assert code == 2
    assert "tables.a: row s is not there" in one_line(err)
