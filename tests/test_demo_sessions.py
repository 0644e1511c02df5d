"""The demo's sessions without a server: what they keep, and what goes with them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import demo_page
import gradio as gr
import pytest
from artifacts import make_artifact
from gradio.state_holder import StateHolder

from wsol_deploy.card import Trust
from wsol_deploy.demo import save
from wsol_deploy.demo.app import forget
from wsol_deploy.demo.look import Look, look_at
from wsol_deploy.demo.sessions import Sessions
from wsol_deploy.demo.shelf import Shelf
from wsol_deploy.errors import UsageError, WsolError

SURE = Trust(foreground_entropy_max=1, background_entropy_min=0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_artifact(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def shelf(model: Path) -> Shelf:
    return Shelf([model], device="cpu")


@pytest.fixture
def look(shelf: Shelf) -> Look:
    return look_at(shelf.predictor(), Path("discs.png"), demo_page.blobs(120, 160))


def test_a_session_forgets_the_oldest_when_the_memory_is_full(tmp_path: Path, look: Look) -> None:
    sessions = Sessions(tmp_path, memory=2 * look.nbytes)
    for key in ("one", "two", "three"):
        sessions.keep(sessions.of(key), look)
    assert sessions.of("one").look is None
    with pytest.raises(WsolError, match="choose it again"):
        sessions.of("one").current()
    assert sessions.of("two").current() is sessions.of("three").current() is look


def test_sessions_have_folders_of_their_own_that_go_with_them(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    one, two = sessions.of("one"), sessions.of("two")
    shown = one.show(b"x", "a.png"), two.show(b"y", "a.png")
    assert shown[0].read_bytes() == b"x" and shown[1].read_bytes() == b"y"
    assert sessions.of("one") is one and one.folder != two.folder
    sessions.close("one")
    assert not one.folder.exists() and two.folder.exists() and len(sessions) == 1
    assert one.stop.is_set()


def test_an_idle_session_ends(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path, idle=0.05)
    old = sessions.of("old")
    time.sleep(0.1)
    sessions.of("new")
    assert not old.folder.exists() and len(sessions) == 1


def test_only_the_last_pictures_stay_on_disk(tmp_path: Path) -> None:
    session = Sessions(tmp_path).of("one")
    paths = [session.show(b"x", f"{index}.png") for index in range(30)]
    assert [path.exists() for path in paths[:-8]] == [False] * 22
    assert all(path.exists() for path in paths[-8:])


def test_a_call_without_a_session_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(WsolError, match="session"):
        Sessions(tmp_path).of(None)


def test_downloads_are_what_their_name_says(tmp_path: Path, look: Look) -> None:
    sessions = Sessions(tmp_path)
    session = sessions.of("one")
    sessions.keep(session, look)
    report = json.loads(save.write(session, "json", 0.4, 0.6).read_text())
    assert report["threshold"] == 0.4 and report["components"] == len(report["boxes"])
    features = json.loads(save.write(session, "geojson", 0.4, 0.6).read_text())["features"]
    assert len(features) == report["components"]
    assert save.write(session, "mask", 0.4, 0.6).name == "discs-mask.png"
    with pytest.raises(UsageError, match="no download 'exe'"):
        save.write(session, "exe", 0.4, 0.6)


def test_a_session_that_ended_leaves_nothing_in_gradio() -> None:
    with gr.Blocks() as page:
        gr.Textbox()
    holder = StateHolder()
    holder.set_blocks(page)
    for key in ("mine", "another"):
        assert holder[key] is not None
    forget(page, "mine")
    forget(page, None)
    assert list(holder.session_data) == list(holder.time_last_used) == ["another"]
