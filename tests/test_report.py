"""The report and the contact sheet: self-contained, complete, true to the numbers."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from evaluation_samples import CLASSES, HEIGHT, WIDTH, Folder, blob, predict
from PIL import Image

from wsol_deploy.errors import DataError
from wsol_deploy.evaluation import SheetRow, contact_sheet, evaluate, pictures
from wsol_deploy.evaluation.report import Shown, choose, sheet_row, write_report

RIGHT = [0.9, 0.1]


class Page(HTMLParser):
    """What a page refers to, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.images: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            if key in ("src", "href"):
                (self.images if tag == "img" else self.links).append(value)

    def handle_data(self, data) -> None:
        if self.tags[-1:] != ["style"]:
            self.text += data


def pairs(folder: Folder, count: int = 12, masks: bool = True, boxes: bool = False):
    """Images from the worst (0) to the best mask."""
    truth = blob(10, 10, 60, 40)
    found = []
    for number in range(count):
        name = f"image <{number:02d}> & co.png"
        scores = blob(10, 10, min(5 * number + 4, 60), 40) * 0.9
        picture = np.full((HEIGHT, WIDTH, 3), 6 * number, np.uint8)
        Image.fromarray(picture).save(folder.root / name)
        box = ((10.0, 10.0, 70.0, 50.0),) if boxes else ()
        sample = folder.sample(name, number % 2, truth if masks else None, box)
        found.append((sample, predict(scores, probs=RIGHT, background_probs=RIGHT)))
    return found


def report(folder: Folder, found, copies: int = 20) -> tuple[str, Page]:
    evaluation = evaluate(found, CLASSES, 0.5, copies=copies)
    by_name = {sample.name: (sample, prediction) for sample, prediction in found}
    gallery = {
        group: [Shown(*by_name[result.name], result) for result in results]
        for group, results in choose(evaluation).items()
    }
    path = folder.root / "report.html"
    write_report(path, evaluation, gallery, "A <b> title", {"model": "a & b", "warning": ""})
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_the_page_needs_no_network(folder):
    text, page = report(folder, pairs(folder))
    assert page.links == []
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(uri.startswith("data:image/") for uri in page.images)
    assert not re.search(r"url\(|@import|https?://", text)


def test_every_picture_of_the_gallery_is_an_image(folder):
    _, page = report(folder, pairs(folder))
    assert len(page.images) == 3 * 3 * 4  # worst, median, best; three each; four pictures
    for uri in page.images:
        kind, _, content = uri.partition(";base64,")
        image = Image.open(io.BytesIO(base64.b64decode(content)))
        assert image.size == (420, 315)
        assert kind.endswith(image.format.lower())


def test_the_numbers_stand_beside_the_constant_rows(folder):
    found = pairs(folder)
    _, page = report(folder, found)
    evaluation = evaluate(found, CLASSES, 0.5)
    for name in ("f1_plus", "f1_minus", "iou", "pxap", "error"):
        assert f"{evaluation.values[name] * 100:.1f}" in page.text
    for row in ("all-ones", "centre-box", "majority class"):
        assert row in page.text
    assert f"{evaluation.baselines['all-ones']['f1_plus'] * 100:.1f}" in page.text
    assert page.tags.count("polyline") == 5  # F1+, F1-, their mean; precision and its constant


def test_names_and_titles_are_escaped(folder):
    text, page = report(folder, pairs(folder))
    assert "<b> title" not in text
    assert "A <b> title" in page.text
    assert "image <00> & co.png" in page.text
    assert "a & b" in page.text


def test_worst_median_and_best_in_order(folder):
    _, page = report(folder, pairs(folder))
    order = [int(number) for number in re.findall(r"image <(\d\d)>", page.text)]
    assert order[:9] == [0, 1, 2, 4, 5, 6, 11, 10, 9]
    assert order[9:] == list(range(12))  # the table, worst first


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 40])
def test_the_gallery_shows_no_image_twice(folder, count):
    evaluation = evaluate(pairs(folder, count), CLASSES, 0.5)
    shown = [result.name for group in choose(evaluation).values() for result in group]
    assert len(shown) == len(set(shown)) == min(count, 9, max(1, count // 3) * 3)
    assert "worst" in choose(evaluation)


def test_a_report_without_masks(folder):
    _, page = report(folder, pairs(folder, masks=False, boxes=True))
    assert "by true class" in page.text.lower()
    assert "all-ones" in page.text
    assert "MaxBoxAcc" in page.text
    assert "polyline" not in page.tags
    assert "no truth masks" in page.text
    assert "missed" not in page.text
    _, page = report(folder, pairs(folder, masks=False), copies=0)
    assert "classification only" in page.text
    assert len(page.images) == 3 * 3 * 3  # no truth to show


def test_a_report_is_whole_or_not_there(folder):
    found = pairs(folder)
    evaluation = evaluate(found, CLASSES, 0.5)
    shown = Shown(*found[0], evaluation.images[0])
    found[0][0].image.write_bytes(b"")
    path = folder.root / "broken.html"
    with pytest.raises(Exception, match="empty"):
        write_report(path, evaluation, {"worst": [shown]}, "title", {})
    assert not list(folder.root.glob("*broken*"))


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium")
@pytest.mark.slow
def test_a_browser_draws_it_in_light_and_dark(folder):
    report(folder, pairs(folder))
    corners = []
    for scheme in (1, 0):
        shot = folder.root / f"{scheme}.png"
        subprocess.run(
            [
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                f"--blink-settings=preferredColorScheme={scheme}",
                "--window-size=900,1200",
                f"--screenshot={shot}",
                (folder.root / "report.html").as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        pixels = np.asarray(Image.open(shot).convert("L"))
        corners.append(int(pixels[5, 5]))
        assert pixels.std() > 5
    assert corners[0] > 240
    assert corners[1] < 40


def test_colours_of_the_overlay_say_what_is_right():
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    mask, truth = blob(0, 0, 40, 60), blob(20, 0, 40, 60)
    picture = pictures.overlay(image, mask, truth).astype(int)
    hit, false, missed, rest = (picture[30, x] for x in (30, 10, 50, 70))
    assert hit.argmax() == 1
    assert false.argmax() == 0
    assert missed.argmax() == 2
    assert rest.tolist() == [128, 128, 128]


def test_the_heat_scale_is_fixed():
    dim = pictures.heat(np.array([[0.0, 0.1]]))
    wide = pictures.heat(np.array([[0.0, 0.1, 1.0]]))
    assert np.array_equal(dim[0], wide[0, :2])


def test_the_box_of_a_soft_mask_in_its_own_pixels():
    scores = blob(20, 15, 40, 30) * 0.9
    assert pictures.predicted_box(scores, 0.5) == pytest.approx((20, 15, 60, 45), abs=0.5)


@pytest.mark.parametrize("truth", [None, blob(10, 10, 40, 20)])
def test_the_contact_sheet_has_a_column_for_each_picture(tmp_path, truth):
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    rows = [SheetRow(image, blob(10, 10, 40, 20) * 0.8, 0.5, "caption " * 40, truth)] * 3
    contact_sheet(rows, tmp_path / "out" / "sheet.png")
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        columns = 3 if truth is None else 4
        assert sheet.width == 12 + columns * 272
        assert sheet.height > 3 * 195


def test_a_row_of_the_sheet_from_the_gallery(folder):
    found = pairs(folder)
    evaluation = evaluate(found, CLASSES, 0.5)
    row = sheet_row(Shown(*found[1], evaluation.images[1]), 0.5)
    assert row.caption.startswith("image <01> & co.png     malignant     taken for benign     F1+ ")
    assert row.truth is not None
    assert row.image.shape == (HEIGHT, WIDTH, 3)


def test_an_empty_contact_sheet_is_refused(tmp_path):
    with pytest.raises(DataError, match="at least one image"):
        contact_sheet([], tmp_path / "sheet.png")
    assert not list(tmp_path.iterdir())
