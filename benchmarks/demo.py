"""Latency of `wsol demo` as a person feels it, and many users at once.

    python benchmarks/demo.py latency MODEL.onnx [IMAGE...]
    python benchmarks/demo.py users MODEL.onnx [IMAGE...] --users 20 --rounds 6

`latency` measures in Chromium, from the act (a file chosen, a slider moved) until the picture
that follows is on the screen. `users` acts as so many browser tabs: each sends its own picture,
moves the slider, downloads the mask and leaves; it checks that everybody got their own, that
answers came in the order of asking, and prints the server's memory after each round. `latency`
needs playwright and a Chromium. Without images, synthetic micrographs of 1000 x 1000 pixels are
used. Both print the machine's load, before and after, since a busy machine is slower.

`latency` waits for a built-in example, so its model needs the classes benign and malignant.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import secrets
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
from demo_server import browsing, serving
from PIL import Image

from wsol_deploy.datasets import synthetic

SIDE, MOVES = 1000, 20
MOVE = """(value) => new Promise((done) => {
  const stage = document.querySelector('#look-stage');
  const field = document.querySelector('#look-threshold input[type=range]');
  const before = stage.querySelector('img').src;
  const start = performance.now();
  const watch = new MutationObserver(async () => {
    const image = stage.querySelector('img');
    if (!image || image.src === before) return;
    watch.disconnect();
    await image.decode();
    requestAnimationFrame(() => done(performance.now() - start));
  });
  watch.observe(stage, {subtree: true, attributes: true, childList: true});
  field.value = value;
  field.dispatchEvent(new Event('input', {bubbles: true}));
})"""


def pictures(given: list[Path], count: int, folder: Path) -> list[Path]:
    """The images given, in turn, or synthetic ones; each under a name of its own."""
    made = []
    for number in range(count):
        if given:
            source = given[number % len(given)]
            path = folder / f"{number:03d}{source.suffix}"
            shutil.copyfile(source, path)
        else:
            path = folder / f"{number:03d}.png"
            rng = np.random.default_rng(number)
            image, _ = synthetic.render(rng, ("benign", "malignant")[number % 2], SIDE)
            Image.fromarray(image).save(path, compress_level=1)
        made.append(path)
    return made


def latency(model: Path, given: list[Path]) -> None:
    """The table of `latency`."""
    with tempfile.TemporaryDirectory() as name, serving(model) as (url, _, up):
        files = pictures(given, 4, Path(name))
        with browsing() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            start = time.perf_counter()
            page.goto(url)
            page.wait_for_selector("#look-stage img")
            rows = [
                ("server up", [up]),
                ("page open, example shown", [time.perf_counter() - start]),
            ]
            looks = []
            for path in files:
                start = time.perf_counter()
                page.set_input_files("#look-picture input[type=file]", str(path))
                page.wait_for_function(
                    "(name) => document.querySelector('#look-verdict').innerText.includes(name)",
                    arg=path.name,
                )
                looks.append(time.perf_counter() - start)
                page.wait_for_timeout(300)
            rows += [("first image", looks[:1]), ("second image", looks[1:2])]
            rows += [("later images", looks[2:])]
            for view in ("Overlay", "Soft mask"):
                page.get_by_label(view).check(force=True)
                page.wait_for_timeout(500)
                moves = [page.evaluate(MOVE, 0.2 + 0.03 * k) / 1000 for k in range(MOVES)]
                rows.append((f"slider move, {view}", moves))
    print("| what | median | slowest | n |\n|---|---|---|---|")
    for what, seconds in rows:
        middle, most = statistics.median(seconds), max(seconds)
        print(f"| {what} | {middle * 1000:.0f} ms | {most * 1000:.0f} ms | {len(seconds)} |")


class User:
    """One browser tab, as far as the server can tell.

    Args:
        url: of the demo.
        path: the user's picture.
    """

    def __init__(self, url: str, path: Path) -> None:
        self.path = path
        self.session = secrets.token_hex(8)
        self.http = httpx.Client(base_url=url + "gradio_api/", timeout=600)
        self.alive = threading.Event()
        self.gone = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()
        self.alive.wait(30)
        with path.open("rb") as stream:
            reply = self.http.post("upload", files={"files": (path.name, stream)})
        self.uploaded = {"path": reply.json()[0], "meta": {"_type": "gradio.FileData"}}

    def ask(self, action: str, *data: object) -> str:
        """Stand in the queue; the ticket."""
        body = {"data": list(data), "session_hash": self.session}
        return self.http.post(f"call/{action}", json=body).json()["event_id"]

    def answer(self, action: str, ticket: str) -> Any:
        """Wait for an answer."""
        event = ""
        with self.http.stream("GET", f"call/{action}/{ticket}") as lines:
            for line in lines.iter_lines():
                kind, _, value = line.partition(": ")
                event = value if kind == "event" else event
                if kind == "data" and event == "complete":
                    return json.loads(value)
                if kind == "data" and event == "error":
                    raise RuntimeError(value)
        raise RuntimeError("no answer")

    def fetch(self, file: dict[str, Any]) -> bytes:
        """A file of an answer."""
        return self.http.get(f"file={file['path']}").content

    def leave(self) -> None:
        """Close the tab."""
        self.gone.set()
        self._heart.join(30)
        self.http.close()

    def _beat(self) -> None:
        with (
            httpx.Client(timeout=600) as own,
            own.stream("GET", f"{self.http.base_url}heartbeat/{self.session}") as stream,
        ):
            beats = stream.iter_bytes()  # held: dropping it would close the connection
            next(beats)
            self.alive.set()
            self.gone.wait()


def one_round(url: str, files: list[Path]) -> tuple[list[float], bool]:
    """Everybody at once: seconds each waited for the first answer, and whether order was kept."""
    people = [User(url, path) for path in files]
    asked = []
    for person in people:
        asked.append((person, person.ask("look", person.uploaded, 0.5), time.perf_counter()))
    waits: dict[int, float] = {}
    ends: dict[int, float] = {}
    errors: list[BaseException] = []

    def live(number: int) -> None:
        person, ticket, since = asked[number]
        try:
            report, _ = person.answer("look", ticket)
            ends[number] = time.perf_counter()
            waits[number] = ends[number] - since
            assert report["image"] == person.path.name, "somebody else's picture"
            for step in range(3):
                view = person.ask("view", "Overlay", 0.3 + 0.1 * step, 0.6, "", False)
                person.answer("view", view)
            (file,) = person.answer("download", person.ask("download", "mask", 0.5, 0.6))
            mask = cv2.imdecode(np.frombuffer(person.fetch(file), np.uint8), cv2.IMREAD_GRAYSCALE)
            share = float((mask > 0).mean())
            assert abs(share - report["foreground_fraction"]) < 1e-5, "somebody else's mask"
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=live, args=(number,)) for number in range(len(people))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for person in people:
        person.leave()
    if errors:
        raise errors[0]
    in_order = [ends[number] for number in range(len(people))]
    slack = 0.05  # the answers travel in threads of their own
    kept = all(a <= b + slack for a, b in itertools.pairwise(in_order))
    return list(waits.values()), kept


def users(model: Path, given: list[Path], count: int, rounds: int) -> None:
    """The table of `users`."""
    with tempfile.TemporaryDirectory() as name, serving(model) as (url, process, _):
        files = pictures(given, count, Path(name))
        print(f"{count} users, server at {memory(process):.0f} MB before the first")
        print("| round | first waits | last waits | order kept | errors | server memory |")
        print("|---|---|---|---|---|---|")
        for number in range(1, rounds + 1):
            waits, kept = one_round(url, files)
            time.sleep(2)
            print(
                f"| {number} | {min(waits):.2f} s | {max(waits):.2f} s | {'yes' if kept else 'NO'} "
                f"| 0 | {memory(process):.0f} MB |",
                flush=True,
            )


def memory(process: subprocess.Popen) -> float:
    """Resident memory of a process, MB (Linux)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("latency", "users"):
        command = commands.add_parser(name)
        command.add_argument("model", type=Path)
        command.add_argument("images", type=Path, nargs="*")
    command.add_argument("--users", type=int, default=20)
    command.add_argument("--rounds", type=int, default=6)
    chosen = parser.parse_args()
    before = load()
    if chosen.command == "latency":
        latency(chosen.model, chosen.images)
    else:
        users(chosen.model, chosen.images, chosen.users, chosen.rounds)
    print(f"{os.cpu_count()} cores; load a minute before {before}, at the end {load()}")


def load() -> str:
    """What else the machine had to do, as the system's load average of the last minute."""
    return f"{os.getloadavg()[0]:.2f}"


if __name__ == "__main__":
    main()
