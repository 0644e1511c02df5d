"""The running demo through `gradio_client` and plain HTTP: every action, hostile users too."""

from __future__ import annotations

import csv
import json
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import demo_page
import pytest
from artifacts import make_artifact
from demo_page import Page
from test_demo_uploads import archive, picture_bytes, png_header

pytest.importorskip("gradio_client")
from gradio_client import Client, handle_file

THRESHOLD = 0.4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return make_artifact(folder / "tiny.onnx")


@pytest.fixture(scope="module")
def page(folder: Path, model: Path) -> Iterator[Page]:
    other = make_artifact(folder / "other.onnx", name="other", threshold=0.8,
                          outputs=("mask", "localizer_probs"))  # fmt: skip
    with demo_page.serving(
        "--model", str(model), "--model", str(other), "--device", "cpu", temporary=folder / "tmp",
    ) as found:  # fmt: skip
        yield found


@contextmanager
def opened(page: Page, folder: Path, **options: Any) -> Iterator[Client]:
    """A client of the page with a session and a folder of its own."""
    place = folder / uuid.uuid4().hex
    found = Client(page.url, verbose=False, download_files=str(place), **options)
    yield found
    found.close()


@pytest.fixture
def client(page: Page, tmp_path: Path) -> Iterator[Client]:
    with opened(page, tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def pictures(folder: Path) -> Path:
    for seed, name in enumerate(("a.png", "b.jpg", "c.tif")):
        demo_page.save(folder / "pictures" / name, demo_page.blobs(140, 180, seed))
    return folder / "pictures"


@pytest.fixture(scope="module")
def predicted(folder: Path, model: Path, pictures: Path) -> Path:
    """What `wsol predict` writes for the pictures."""
    return demo_page.predict(pictures, folder / "out", model, THRESHOLD)


def look(client: Client, path: Path, threshold: float = THRESHOLD) -> tuple[dict[str, Any], str]:
    return client.predict(handle_file(path), threshold, api_name="/look")


def rows(predicted: Path) -> dict[str, dict[str, Any]]:
    lines = (predicted / "results.jsonl").read_text().splitlines()
    return {row["image"]: row for row in map(json.loads, lines)}


# Every action


@pytest.mark.parametrize("name", ["a.png", "b.jpg", "c.tif"])
def test_look_says_what_predict_writes(
    client: Client, pictures: Path, predicted: Path, name: str
) -> None:
    report, overlay = look(client, pictures / name)
    assert rows(predicted)[name].items() <= report.items()
    assert report["model"] == "tiny" and report["seconds"] > 0
    assert cv2.imread(overlay).shape == (622, 800, 3)


@pytest.mark.parametrize(("kind", "place"), [("mask", "masks/{}.png"),
                                             ("geojson", "geojson/{}.geojson")])  # fmt: skip
@pytest.mark.parametrize("name", ["a.png", "c.tif"])
def test_downloads_are_the_bytes_of_predict(
    client: Client, pictures: Path, predicted: Path, kind: str, place: str, name: str
) -> None:
    look(client, pictures / name)
    found = client.predict(kind, THRESHOLD, 0.6, api_name="/download")
    assert Path(found).read_bytes() == (predicted / place.format(name)).read_bytes()


def test_other_downloads(client: Client, pictures: Path) -> None:
    look(client, pictures / "a.png")
    overlay = client.predict("overlay", 0.5, 0.6, api_name="/download")
    assert cv2.imread(overlay).shape == (140, 180, 3)
    found = client.predict("json", 0.7, 0.6, api_name="/download")
    assert json.loads(Path(found).read_text())["threshold"] == 0.7


def test_every_view_is_its_own_picture(client: Client, pictures: Path) -> None:
    look(client, pictures / "a.png")
    views = ("Overlay", "Soft mask", "Foreground R⁺", "Background R⁻", "Class heat map", "Picture")
    found = [client.predict(view, 0.5, 0.6, "malignant", False, api_name="/view") for view in views]
    assert len({Path(path).read_bytes() for path in found}) == len(views)


def test_the_example_needs_no_upload(client: Client) -> None:
    report, overlay = client.predict(1, 0.5, api_name="/example")
    assert report["image"] == "synthetic-malignant-1.png" and Path(overlay).is_file()
    with pytest.raises(Exception, match="no example 99"):
        client.predict(99, 0.5, api_name="/example")


def test_batch_gives_the_folder_of_predict(
    client: Client, pictures: Path, predicted: Path, tmp_path: Path
) -> None:
    packed = archive(tmp_path / "more.zip", {"deep/d.png": picture_bytes()})
    sent = [handle_file(path) for path in (*sorted(pictures.iterdir()), packed)]
    report, found = client.predict(sent, ["mask", "geojson", "csv"], THRESHOLD, api_name="/batch")
    assert (report["pictures"], report["done"], report["failed"]) == (4, 4, [])
    with zipfile.ZipFile(found) as content:
        for name in ("a.png", "b.jpg", "c.tif"):
            for place in (f"masks/{name}.png", f"geojson/{name}.geojson"):
                assert content.read(place) == (predicted / place).read_bytes()
        assert "masks/more/deep/d.png.png" in content.namelist()
        table = list(csv.DictReader(content.read("results.csv").decode().splitlines()))
    expected = rows(predicted)
    assert {row["image"] for row in table} == {*expected, "more/deep/d.png"}
    assert all(row == expected.get(row["image"], row) for row in report["rows"])


def test_a_bad_picture_in_a_batch_is_told_and_the_rest_goes_on(
    client: Client, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "page.png").write_text("<html>")
    sent = [handle_file(pictures / "a.png"), handle_file(tmp_path / "page.png")]
    report, _ = client.predict(sent, ["mask"], 0.5, api_name="/batch")
    assert report["done"] == 1
    assert [entry["image"] for entry in report["failed"]] == ["page.png"]
    assert "is not a picture" in report["failed"][0]["reason"]


def test_compare_two_models_with_the_truth(client: Client, pictures: Path, predicted: Path) -> None:
    assert client.predict(api_name="/methods") == ["tiny", "tiny · class map", "other"]
    truth = handle_file(predicted / "masks" / "a.png.png")
    report, picture = client.predict(
        handle_file(pictures / "a.png"), "tiny", "other", truth, api_name="/compare"
    )
    tiny, other = report["methods"]
    assert tiny["foreground_fraction"] > other["foreground_fraction"]
    assert 0.9 < tiny["f1_plus"] < 1 and report["all_ones"]["f1_minus"] == 0
    assert cv2.imread(picture).shape == (622, 800, 3)
    without, _ = client.predict(
        handle_file(pictures / "a.png"), "tiny", "tiny", api_name="/compare"
    )
    assert without["agreement"] == 1 and without["all_ones"] is None


def test_the_card_of_each_model(client: Client) -> None:
    assert client.predict("other", api_name="/card")["threshold"]["value"] == 0.8
    with pytest.raises(Exception, match="no model 'zebra' here"):
        client.predict("zebra", api_name="/card")


def test_every_action_is_named_and_documented(client: Client) -> None:
    actions = client.view_api(return_format="dict")["named_endpoints"]
    assert set(actions) == {
        "/look", "/example", "/view", "/download", "/batch", "/compare", "/methods", "/card",
    }  # fmt: skip
    assert all(action["description"] for action in actions.values())


# Users beside each other


def test_users_do_not_see_each_other(
    page: Page, client: Client, pictures: Path, tmp_path: Path
) -> None:
    look(client, pictures / "a.png")
    with opened(page, tmp_path) as stranger:
        with pytest.raises(Exception, match="there is no picture here yet"):
            stranger.predict("mask", 0.5, 0.6, api_name="/download")
        look(stranger, pictures / "b.jpg")
    mine = json.loads(Path(client.predict("json", 0.5, 0.6, api_name="/download")).read_text())
    assert mine["image"] == "a.png"


def test_many_at_once_get_their_own(page: Page, tmp_path: Path) -> None:
    found: dict[int, str] = {}

    def use(number: int) -> None:
        name = demo_page.save(tmp_path / f"{number}.png", demo_page.blobs(64, 64 + number))
        with opened(page, tmp_path) as user:
            report, _ = look(user, name)
            mask = user.predict("mask", THRESHOLD, 0.6, api_name="/download")
            found[number] = f"{report['image']} {cv2.imread(mask).shape[1]}"

    users = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert found == {number: f"{number}.png {64 + number}" for number in range(8)}


def test_a_session_that_ends_leaves_no_file(page: Page, client: Client, pictures: Path) -> None:
    look(client, pictures / "a.png")
    (server,) = page.temporary.glob("wsol-demo-*")
    mine = set(server.rglob("a-overlay.png"))
    assert mine
    with urllib.request.urlopen(f"{page.url}gradio_api/heartbeat/{client.session_hash}") as tab:
        tab.read(1)
    for _ in range(100):
        if not any(path.exists() for path in mine):
            return
        time.sleep(0.1)
    raise AssertionError("the session's files are still there")


# Hostile users


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("page.png", b"<!doctype html><script>alert(1)</script>", "page.png is not a picture"),
        ("huge.png", png_header(50_000, 50_000), "huge.png claims far more pixels"),
        ("cut.png", picture_bytes()[:200], "cut.png: damaged or cut short"),
    ],
)
def test_a_hostile_picture_gets_a_sentence(
    client: Client, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Exception, match=words):
        look(client, tmp_path / name)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"../evil.png": picture_bytes()}, "names a place outside itself"),
        ({f"{n}.png": b"x" for n in range(1000)}, "1,000 pictures are too many"),
        ({"notes.txt": b"nothing"}, "there is no picture in it"),
    ],
)
def test_a_hostile_zip_gets_a_sentence(
    client: Client, tmp_path: Path, members: dict[str, bytes], words: str
) -> None:
    packed = archive(tmp_path / "bad.zip", members)
    with pytest.raises(Exception, match=words):
        client.predict([handle_file(packed)], ["mask"], 0.5, api_name="/batch")


def answer(page: Page, path: str, body: object = None) -> tuple[int, str]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        page.url.rstrip("/") + path, data, {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, reply.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=../../../../etc/passwd",
        "/gradio_api/file=%2e%2e%2f%2e%2e%2fetc/passwd",
        "/gradio_api/file=file:///etc/passwd",
        "/gradio_api/file=http://127.0.0.1:1/",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/static/../../../../etc/passwd",
        "/gradio_api/deep_link?session_hash=x",
    ],
)
def test_nothing_outside_is_served(page: Page, path: str) -> None:
    status, text = answer(page, path)
    assert status in (403, 404, 405) and "root:" not in text


@pytest.mark.parametrize("place", ["/etc/passwd", "http://127.0.0.1:1/a.png", "../../etc/passwd"])
def test_a_path_that_was_not_uploaded_is_not_read(page: Page, place: str) -> None:
    sent = {"path": place, "meta": {"_type": "gradio.FileData"}}
    _, reply = answer(page, "/gradio_api/call/look", {"data": [sent, 0.5], "session_hash": "abc"})
    _, text = answer(page, f"/gradio_api/call/look/{json.loads(reply)['event_id']}")
    assert "event: error" in text and "root:" not in text


def test_a_bomb_gets_a_sentence(client: Client, tmp_path: Path) -> None:
    packed = archive(tmp_path / "bomb.zip", {"bomb.png": bytes(777_777)})
    sizes = struct.pack("<I", 777_777), struct.pack("<I", 1_100_000_000)
    packed.write_bytes(packed.read_bytes().replace(*sizes))
    with pytest.raises(Exception, match="unpacks to more than the 1000 MB"):
        client.predict([handle_file(packed)], ["mask"], 0.5, api_name="/batch")


def test_a_thousand_files_get_a_sentence(page: Page, client: Client, pictures: Path) -> None:
    look(client, pictures / "a.png")
    (server,) = page.temporary.glob("wsol-demo-*")
    uploaded = next(path for path in server.rglob("a.png"))
    sent = [{"path": str(uploaded), "meta": {"_type": "gradio.FileData"}}] * 1000
    body = {"data": [sent, ["mask"], 0.5], "session_hash": "thousand"}
    _, reply = answer(page, "/gradio_api/call/batch", body)
    _, text = answer(page, f"/gradio_api/call/batch/{json.loads(reply)['event_id']}")
    assert "1,000 pictures are too many" in text


def test_the_server_is_alive_after_all_this(page: Page, client: Client, pictures: Path) -> None:
    assert page.process.poll() is None
    assert look(client, pictures / "a.png")[0]["image"] == "a.png"


# The command


def test_the_page_asks_for_the_password(model: Path, tmp_path: Path) -> None:
    with demo_page.serving(
        "--model", str(model), "--auth", "ana:secret", temporary=tmp_path / "tmp"
    ) as page:
        assert answer(page, "/config")[0] == 401
        assert answer(page, "/gradio_api/call/methods", {"data": []})[0] == 401
        with opened(page, tmp_path, auth=("ana", "secret")) as user:
            assert user.predict(api_name="/methods")[0] == "tiny"
        with pytest.raises(Exception, match="Could not login"):
            Client(page.url, auth=("ana", "wrong"), verbose=False)
        (server,) = (tmp_path / "tmp").glob("wsol-demo-*")
    assert page.process.returncode == 0 and not server.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--model", "missing.onnx"], 1, "missing.onnx: no such"),
        ([], 1, "wsol quickstart"),
        (["--auth", "nobody"], 2, "user:password"),
        (["--examples", "nowhere"], 1, "no such folder of examples"),
    ],
)
def test_mistakes_are_one_line(
    model: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    if arguments and "--model" not in arguments:
        arguments = [*arguments, "--model", str(model)]
    done = subprocess.run(
        [*demo_page.wsol(), "demo", *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == code and not done.stdout
    assert words in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_a_taken_port_is_one_line(page: Page, model: Path, tmp_path: Path) -> None:
    port = page.url.rstrip("/").rpartition(":")[2]
    done = subprocess.run(
        [*demo_page.wsol(), "demo", "--model", str(model), "--port", port],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port} (Address already in use); choose" in done.stderr
