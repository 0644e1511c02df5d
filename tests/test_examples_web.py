"""The static page, in a real browser: Python's mask, and not a byte sent anywhere."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from artifacts import make_artifact
from exporting import exports
from PIL import Image

from wsol_deploy import runtime
from wsol_deploy.card import SizePolicy

WEB = Path(__file__).parents[1] / "examples" / "web"
RUNTIME = Path("node_modules/onnxruntime-web/dist/ort.wasm.min.mjs")
MOST_APART = 0.001
PATIENCE = 120_000
OFFLINE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH")

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    if not (WEB / RUNTIME).exists():
        if shutil.which("npm") is None:
            pytest.skip("no npm here")
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"]
        done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=300)
        if done.returncode and any(code in done.stderr for code in OFFLINE):
            pytest.skip(f"npm has no network: {done.stderr[-200:]}")
        assert done.returncode == 0, done.stderr
    root = tmp_path_factory.mktemp("site")
    for path in (*WEB.glob("*.html"), *WEB.glob("*.js"), *WEB.glob("*.css")):
        shutil.copy(path, root)
    (root / "node_modules").symlink_to(WEB / "node_modules")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(root))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", root
    server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium here")
    with sync_api.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    rng = np.random.default_rng(5)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 10, 3), dtype=np.uint8))
    image = coarse.resize((167, 121), Image.Resampling.BICUBIC)
    folder = tmp_path_factory.mktemp("pictures")
    clear = image.copy()
    clear.putalpha(Image.fromarray(np.tile(np.arange(167, dtype=np.uint8), (121, 1))))
    versions = {
        "rgb.png": image,
        "palette.png": image.convert("P"),
        "gray.png": image.convert("L"),
        "lossless.webp": image,
        "photo.jpg": image,
        "clear.png": clear,
    }
    for name, version in versions.items():
        options = {"lossless": True} if name.endswith("webp") else {}
        version.save(folder / name, **options)
    return {name: folder / name for name in versions}


def _look(page: sync_api.Page, url: str, picture: Path, save: Path) -> np.ndarray:
    page.goto(url)
    page.wait_for_selector("#status:has-text(':')", timeout=PATIENCE)
    page.set_input_files("#image", picture)
    page.wait_for_selector("#result:not([hidden])", timeout=PATIENCE)
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(save)
    return np.asarray(Image.open(save).convert("L")) > 0


def test_the_page_gives_pythons_masks_and_uploads_nothing(
    site: tuple[str, Path], browser: sync_api.Browser, pictures: dict[str, Path], tmp_path: Path
) -> None:
    url, root = site
    model = exports()["onnx"].path
    shutil.copy(model, root / "model.onnx")
    predictor = runtime.load(model, device="cpu")
    page = browser.new_page()
    requests: list[sync_api.Request] = []
    page.on("request", lambda request: requests.append(request))
    for name, picture in pictures.items():
        found = _look(page, url, picture, tmp_path / f"{name}.png")
        expected = predictor.predict(picture)
        assert found.shape == expected.mask.shape
        limit = 0.01 if name in ("photo.jpg", "clear.png") else MOST_APART  # decoders differ by 1
        assert (found != expected.mask).mean() <= limit, name
        assert page.inner_text("#scores li:first-child").startswith(str(expected.label))
    assert requests
    assert {request.method for request in requests} == {"GET"}
    assert all(request.url.startswith((url, "blob:", "data:")) for request in requests)
    loaded = len(requests)
    page.set_input_files("#image", pictures["gray.png"])
    page.wait_for_selector("#busy", state="hidden")
    assert [request.url for request in requests[loaded:] if request.url.startswith("http")] == []
    page.close()


@pytest.mark.parametrize(("mode", "size"), [("shorter-side", 64), ("longer-side", 240)])
def test_the_page_follows_the_size_policy(
    site: tuple[str, Path],
    browser: sync_api.Browser,
    pictures: dict[str, Path],
    tmp_path: Path,
    mode: str,
    size: int,
) -> None:
    url, root = site
    policy = SizePolicy(mode=mode, size=size)  # type: ignore[arg-type]
    model = make_artifact(root / "model.onnx", size=policy)
    page = browser.new_page()
    found = _look(page, url, pictures["rgb.png"], tmp_path / "mask.png")
    expected = runtime.load(model, device="cpu").predict(pictures["rgb.png"]).mask
    assert (found != expected).mean() <= MOST_APART
    page.close()


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x0a"])
def test_a_foreign_file_costs_one_line(
    site: tuple[str, Path], browser: sync_api.Browser, tmp_path: Path, content: bytes
) -> None:
    url, root = site
    (root / "model.onnx").unlink(missing_ok=True)
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(content)
    page = browser.new_page()
    page.goto(url)
    page.wait_for_selector("#status:has-text('Choose')")
    page.set_input_files("#model", bad)
    page.wait_for_selector("#status.error")
    assert page.inner_text("#status").startswith("The model: this file")
    page.close()
