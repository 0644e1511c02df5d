"""Screenshots of `wsol demo`: the README's two, or every tab at two widths, light and dark.

    python benchmarks/screenshots.py readme MODEL.onnx docs/images
    python benchmarks/screenshots.py all MODEL.onnx FOLDER [--image IMAGE] [--truth MASK]
        [--other MODEL.onnx]

Needs playwright and a Chromium. `readme` shows the built-in synthetic images only; `all` shows
the image given, in every tab.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

from demo_server import browsing, serving
from PIL import Image

TABS = ("Look", "Batch", "Compare", "Model")
WIDTHS = {"desktop": (1280, 860), "phone": (390, 844)}
SHADES = ("light", "dark")
SETTLE = 2000  # milliseconds: pictures are loaded, sliders have come to rest


def readme(model: Path, folder: Path) -> None:
    """`demo-look.png` and `demo-compare.png`."""
    with serving(model) as (url, *_), browsing() as browser:
        page = opened(browser, url, "desktop", "light")
        page.locator("#look-examples button").nth(1).click()
        keep(page, folder / "demo-look.png")
        show_tab(page, "Compare")
        page.click("#compare-example")
        page.wait_for_selector("#compare-stage-2 img", timeout=0)
        keep(page, folder / "demo-compare.png")


def everything(models: list[Path], folder: Path, image: Path | None, truth: Path | None) -> None:
    """One PNG a tab, width and shade."""
    with serving(*models) as (url, *_), browsing() as browser:
        for width in WIDTHS:
            for shade in SHADES:
                page = opened(browser, url, width, shade)
                for tab in TABS:
                    show_tab(page, tab)
                    if image:
                        use(page, tab, image, truth)
                    keep(page, folder / f"{tab.lower()}-{width}-{shade}.png")
                page.context.close()


def opened(browser: Any, url: str, width: str, shade: str) -> Any:
    """The page in a window of this width, in this shade."""
    across, down = WIDTHS[width]
    context = browser.new_context(
        viewport={"width": across, "height": down}, color_scheme=shade, has_touch=width == "phone"
    )
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(url)
    page.wait_for_selector("#tabs [role=tab]")
    page.wait_for_timeout(SETTLE)
    return page


def show_tab(page: Any, name: str) -> None:
    """Open a tab, through the menu that hides those for which a phone has no room."""
    page.get_by_role("tab", name=name).click()


def use(page: Any, tab: str, image: Path, truth: Path | None) -> None:
    """Do in a tab what it is for."""
    if tab == "Look":
        page.set_input_files("#look-picture input[type=file]", str(image))
        page.wait_for_function(
            "(name) => document.querySelector('#look-verdict').innerText.includes(name)",
            arg=image.name,
        )
    elif tab == "Batch":
        page.set_input_files("#batch-files input[type=file]", [str(image)])
        page.wait_for_timeout(SETTLE)
        page.click("#batch-go")
        page.wait_for_selector("#batch-gallery img")
    elif tab == "Compare":
        page.set_input_files("#compare-picture input[type=file]", str(image))
        page.wait_for_selector("#compare-picture img")
        if truth:
            page.set_input_files("#compare-truth input[type=file]", str(truth))
            page.wait_for_selector("#compare-truth img")
        page.wait_for_timeout(SETTLE)
        page.click("#compare-go")
        page.wait_for_selector("#compare-stage-2 img")


def keep(page: Any, path: Path) -> None:
    """Save the whole page as a PNG, packed as small as it gets."""
    page.wait_for_timeout(SETTLE)
    path.parent.mkdir(parents=True, exist_ok=True)
    shot = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    shot.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1000} kB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("readme", "all"):
        command = commands.add_parser(name)
        command.add_argument("model", type=Path)
        command.add_argument("folder", type=Path)
    command.add_argument("--image", type=Path)
    command.add_argument("--truth", type=Path)
    command.add_argument("--other", type=Path, action="append", default=[])
    chosen = parser.parse_args()
    if chosen.command == "readme":
        readme(chosen.model, chosen.folder)
    else:
        everything([chosen.model, *chosen.other], chosen.folder, chosen.image, chosen.truth)


if __name__ == "__main__":
    main()
