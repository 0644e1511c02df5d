"""The running demo in a real Chromium: what a person sees and does, and what the page loads."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import demo_page
import numpy as np
import pytest
from artifacts import make_artifact
from test_demo_uploads import picture_bytes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(demo_page.chromium() is None, reason="no Chromium: apt install chromium"),
]
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
    "--disable-component-update", "--no-first-run",
)  # fmt: skip
PATIENCE = 90_000  # milliseconds: a busy machine is slow, not wrong
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PIXELS = """async () => {
  const image = document.querySelector('#look-stage img');
  await image.decode();
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
  canvas.getContext('2d').drawImage(image, 0, 0);
  return canvas.toDataURL('image/png').split(',')[1];
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return make_artifact(folder / "tiny.onnx")


@pytest.fixture(scope="module")
def pictures(folder: Path) -> Path:
    for seed, name in enumerate(("a.png", "b.jpg", "c.tif")):
        demo_page.save(folder / "pictures" / name, demo_page.blobs(240, 320, seed))
    return folder / "pictures"


@pytest.fixture(scope="module")
def predicted(folder: Path, model: Path, pictures: Path) -> Path:
    """What `wsol predict` writes for the pictures at 0.4."""
    return demo_page.predict(pictures, folder / "out", model, 0.4)


@pytest.fixture(scope="module")
def address(folder: Path, model: Path) -> Iterator[str]:
    with demo_page.serving(
        "--model", str(model), "--device", "cpu", temporary=folder / "tmp"
    ) as page:
        yield page.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api.expect.set_options(timeout=PATIENCE)
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=demo_page.chromium(), args=list(QUIET))
        yield found
        found.close()


class Tab:
    """A page in the browser, with what it asked of the network and what went wrong in it."""

    def __init__(self, browser: Any, address: str, **how: Any) -> None:
        self.context = browser.new_context(**{"viewport": DESKTOP, "accept_downloads": True, **how})
        self.context.set_default_timeout(PATIENCE)
        self.page = self.context.new_page()
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda socket: self.asked.append(socket.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(address)
        self.wait_for_result("synthetic-benign-1.png")

    def wait_for_result(self, name: str) -> None:
        sync_api.expect(self.page.locator("#look-verdict")).to_contain_text(name)
        sync_api.expect(self.page.locator("#look-stage img")).to_be_visible()

    def choose(self, path: Path) -> None:
        self.page.set_input_files("#look-picture input[type=file]", str(path))

    def look(self, path: Path) -> None:
        self.choose(path)
        self.wait_for_result(path.name)

    def pixels(self) -> np.ndarray:
        """uint8, H x W x 3: what the stage shows."""
        packed = np.frombuffer(base64.b64decode(self.page.evaluate(PIXELS)), np.uint8)
        return cv2.imdecode(packed, cv2.IMREAD_COLOR)

    def changed(self, before: str) -> None:
        """Wait until the stage shows another picture."""
        self.page.wait_for_function(
            "(before) => document.querySelector('#look-stage img')?.src !== before", arg=before
        )

    def shown(self) -> str:
        return self.page.get_attribute("#look-stage img", "src")

    def slide(self, slider: str, key: str, times: int = 1) -> None:
        handle = self.page.locator(f"{slider} input[type=range]")
        for _ in range(times):
            before = self.shown()
            handle.press(key)
            self.changed(before)

    def download(self, button: str) -> bytes:
        with self.page.expect_download() as waiting:
            self.page.click(button)
        return Path(waiting.value.path()).read_bytes()


@pytest.fixture
def tab(browser: Any, address: str) -> Iterator[Tab]:
    found = Tab(browser, address)
    yield found
    found.context.close()
    assert not found.errors


def test_nothing_is_asked_of_any_other_machine(tab: Tab, address: str, pictures: Path) -> None:
    tab.look(pictures / "a.png")
    for name in ("Batch", "Compare", "Model"):
        tab.page.get_by_role("tab", name=name).click()
    tab.page.wait_for_timeout(1500)
    strangers = [url for url in tab.asked if not url.startswith((address, "data:", "blob:"))]
    assert strangers == [] and len(tab.asked) > 10


def test_fonts_are_loaded_from_here(tab: Tab) -> None:
    loaded = tab.page.evaluate(
        "() => document.fonts.ready.then(() =>"
        " [...document.fonts].filter((f) => f.status === 'loaded').map((f) => f.family))"
    )
    assert any("IBM Plex Sans" in family for family in loaded)


def test_upload_shows_the_mask_the_label_and_the_trust(tab: Tab, pictures: Path) -> None:
    tab.look(pictures / "a.png")
    assert tab.pixels().shape == (600, 800, 3)
    verdict = tab.page.inner_text("#look-verdict")
    assert "benign" in verdict and "%" in verdict
    assert "Nothing stands out" in verdict or "Look again" in verdict
    assert "320 × 240" in tab.page.inner_text("#look-numbers")
    assert "a.png" in tab.page.get_attribute("#look-stage img", "alt")


def test_a_format_the_browser_cannot_show_is_shown(tab: Tab, pictures: Path) -> None:
    tab.look(pictures / "c.tif")
    assert tab.pixels().shape == (600, 800, 3)


def test_the_threshold_slider_changes_pixels_by_keyboard(tab: Tab, pictures: Path) -> None:
    tab.look(pictures / "a.png")
    before, numbers = tab.pixels(), tab.page.inner_text("#look-numbers")
    tab.slide("#look-threshold", "ArrowRight", times=5)
    assert (tab.pixels() != before).any()
    assert tab.page.inner_text("#look-numbers") != numbers
    assert "0.55" in tab.page.inner_text("#look-legend")


def test_the_opacity_slider_darkens_the_background(tab: Tab, pictures: Path) -> None:
    tab.look(pictures / "a.png")
    before = tab.pixels().astype(int)
    tab.slide("#look-opacity", "ArrowRight", times=4)
    after = tab.pixels().astype(int)
    assert after.mean() < before.mean() - 1


def test_views_turn_by_arrow_keys_and_maps_have_a_scale(tab: Tab, pictures: Path) -> None:
    tab.look(pictures / "a.png")
    tab.page.locator("#look-view input").first.focus()
    before = tab.shown()
    tab.page.keyboard.press("ArrowRight")
    tab.changed(before)
    assert tab.page.locator("#look-view input[value='Soft mask']").is_checked()
    assert tab.page.inner_text("#look-legend .scale").split() == ["0", "1"]
    assert not tab.page.locator("#look-opacity").is_visible()
    before = tab.shown()
    tab.page.get_by_label("Class heat map").check(force=True)
    tab.changed(before)
    assert tab.page.locator("#look-class").is_visible()


def test_an_example_is_picked_by_keyboard(tab: Tab) -> None:
    tab.page.locator("#look-examples button").nth(1).focus()
    tab.page.keyboard.press("Enter")
    tab.wait_for_result("synthetic-malignant-1.png")


def test_a_picture_can_be_pasted_anywhere(tab: Tab) -> None:
    tab.page.evaluate(
        """async () => {
          const canvas = document.createElement('canvas'); canvas.width = canvas.height = 64;
          const blob = await new Promise((done) => canvas.toBlob(done, 'image/png'));
          const carrier = new DataTransfer();
          carrier.items.add(new File([blob], 'pasted.png', {type: 'image/png'}));
          document.body.dispatchEvent(
            new ClipboardEvent('paste', {clipboardData: carrier, bubbles: true}));
        }"""
    )
    tab.wait_for_result("pasted.png")


def test_downloads(tab: Tab, pictures: Path, predicted: Path) -> None:
    tab.look(pictures / "a.png")
    tab.slide("#look-threshold", "ArrowLeft", times=10)
    mask = tab.download("#look-mask")
    assert mask == (predicted / "masks" / "a.png.png").read_bytes()
    assert tab.download("#look-geojson") == (predicted / "geojson" / "a.png.geojson").read_bytes()
    overlay = cv2.imdecode(np.frombuffer(tab.download("#look-overlay"), np.uint8), 1)
    assert overlay.shape == (240, 320, 3)
    assert b'"threshold": 0.4' in tab.download("#look-json")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("cut.png", picture_bytes()[:200], "damaged or cut short"),
        ("page.png", b"<html><script>alert(1)</script>", "is not a picture this page can read"),
    ],
)
def test_a_bad_picture_is_a_sentence_in_the_page(
    tab: Tab, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    tab.choose(tmp_path / name)
    alert = tab.page.locator("#look-message [role=alert]")
    sync_api.expect(alert).to_contain_text(name)
    sync_api.expect(alert).to_contain_text(words, ignore_case=True)
    sync_api.expect(tab.page.locator("#look-stage img")).to_have_count(0)
    sync_api.expect(tab.page.locator("#look-verdict")).to_have_text("No picture yet.")
    assert tab.page.locator("[data-testid=toast-body], .toast-body").count() == 0
    tab.page.locator("#look-examples button").first.click()
    sync_api.expect(alert).to_have_count(0)


def test_a_file_too_large_is_told_of_before_it_is_sent(tab: Tab, tmp_path: Path) -> None:
    path = tmp_path / "heavy.png"
    with path.open("wb") as stream:
        stream.truncate(201_000_000)
    sent = len(tab.asked)
    tab.page.evaluate(
        """() => {
          const file = new File(['x'], 'heavy.png', {type: 'image/png'});
          Object.defineProperty(file, 'size', {value: 201e6});
          const field = document.querySelector('#look-picture input[type=file]');
          Object.defineProperty(field, 'files', {value: [file], configurable: true});
          field.dispatchEvent(new Event('change', {bubbles: true}));
        }"""
    )
    alert = tab.page.locator("#look-message [role=alert]")
    sync_api.expect(alert).to_contain_text("heavy.png has 201 MB; this page takes files up to 200")
    assert not [url for url in tab.asked[sent:] if "upload" in url]


def test_an_upload_that_is_refused_is_a_sentence_in_the_page(tab: Tab, pictures: Path) -> None:
    tab.page.route(
        "**/gradio_api/upload*",
        lambda route: route.fulfill(status=507, body="There is no room for more files now."),
    )
    tab.choose(pictures / "a.png")
    alert = tab.page.locator("#look-message [role=alert]")
    sync_api.expect(alert).to_have_text("There is no room for more files now.")
    sync_api.expect(tab.page.locator("[data-testid=toast-body]")).to_have_count(0)
    tab.page.unroute("**/gradio_api/upload*")
    tab.look(pictures / "b.jpg")
    sync_api.expect(alert).to_have_count(0)


def test_batch(tab: Tab, pictures: Path, predicted: Path, tmp_path: Path) -> None:
    (tmp_path / "page.png").write_text("<html>")
    tab.page.get_by_role("tab", name="Batch").click()
    sent = [*sorted(pictures.iterdir()), tmp_path / "page.png"]
    tab.page.set_input_files("#batch-files input[type=file]", [str(path) for path in sent])
    sync_api.expect(tab.page.locator("#batch-files")).to_contain_text("page")
    tab.page.locator("#batch-threshold input[type=number]").fill("0.4")
    tab.page.click("#batch-go")
    sync_api.expect(tab.page.locator("#batch-progress")).to_contain_text("3 of 4 pictures done")
    assert "page.png is not a picture" in tab.page.inner_text("#batch-message")
    sync_api.expect(tab.page.locator("#batch-gallery img")).to_have_count(3)
    header = tab.page.locator("#batch-table th", has_text="Foreground %").first
    header.click()
    sync_api.expect(tab.page.locator("#batch-table")).to_contain_text("a.png")
    with tab.page.expect_download() as waiting:
        tab.page.locator("#batch-zip a").first.click()
    with zipfile.ZipFile(io.BytesIO(Path(waiting.value.path()).read_bytes())) as content:
        mask = content.read("masks/a.png.png")
    assert mask == (predicted / "masks" / "a.png.png").read_bytes()


def test_compare_an_example_with_its_truth(tab: Tab) -> None:
    tab.page.get_by_role("tab", name="Compare").click()
    tab.page.click("#compare-example")
    result = tab.page.locator("#compare-result")
    sync_api.expect(result).to_contain_text("They agree on")
    assert "a mask of ones" in result.inner_text() and "F1−" in result.inner_text()
    sync_api.expect(tab.page.locator("#compare-stage-2 img")).to_be_visible()


def test_compare_says_what_is_missing(tab: Tab) -> None:
    tab.page.get_by_role("tab", name="Compare").click()
    tab.page.click("#compare-go")
    sync_api.expect(tab.page.locator("#compare-message")).to_contain_text("Choose a picture first")


def test_the_model_tab_says_what_it_is_not(tab: Tab) -> None:
    tab.page.get_by_role("tab", name="Model").click()
    card = tab.page.locator("#model-card")
    sync_api.expect(card).to_contain_text("Not a medical device")
    sync_api.expect(card).to_contain_text("minmax-entropy")


def test_dark_follows_the_system_and_the_button(browser: Any, address: str) -> None:
    found = Tab(browser, address, color_scheme="dark")
    brightness = (
        "() => { const [r, g, b] = getComputedStyle(document.body).backgroundColor"
        ".match(/\\d+/g).map(Number); return r + g + b; }"
    )
    assert found.page.evaluate(brightness) < 150
    found.page.click("#shade")
    found.page.wait_for_timeout(400)
    assert found.page.evaluate(brightness) > 600
    assert found.page.get_attribute("#shade", "aria-pressed") == "false"
    found.page.reload()
    found.wait_for_result("synthetic-benign-1.png")
    assert found.page.evaluate(brightness) > 600
    found.context.close()


@pytest.mark.parametrize("name", ["Look", "Batch", "Compare", "Model"])
def test_a_phone_need_not_scroll_sideways(browser: Any, address: str, name: str) -> None:
    found = Tab(browser, address, viewport=PHONE, is_mobile=True, has_touch=True)
    found.page.get_by_role("tab", name=name).click()
    found.page.wait_for_timeout(300)
    assert found.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    found.context.close()


def test_everything_has_a_name_for_a_screen_reader(tab: Tab) -> None:
    nameless = tab.page.evaluate(
        """() => {
          const shown = (e) => e.offsetParent !== null;
          const named = (e) => (e.getAttribute('aria-label') || e.title || e.innerText ||
            e.labels?.[0]?.innerText || e.closest('label')?.innerText ||
            e.querySelector('img')?.alt ||
            document.getElementById(e.getAttribute('aria-labelledby'))?.innerText || '').trim();
          return [...document.querySelectorAll('button, input, select, textarea, a[href]')]
            .filter((e) => shown(e) && !named(e)).map((e) => e.outerHTML.slice(0, 200));
        }"""
    )
    assert nameless == []
    assert tab.page.evaluate("document.documentElement.lang") == "en"
    assert tab.page.locator("h1").count() == 1


def test_two_tabs_keep_their_own_picture(browser: Any, address: str, pictures: Path) -> None:
    one, two = Tab(browser, address), Tab(browser, address)
    one.look(pictures / "a.png")
    two.look(pictures / "b.jpg")
    one.slide("#look-threshold", "ArrowRight")
    assert "a.png" in one.page.get_attribute("#look-stage img", "alt")
    assert b'"image": "a.png"' in one.download("#look-json")
    one.context.close()
    two.context.close()
