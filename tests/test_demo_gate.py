"""What the demo's gate lets through, and the options of the server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from artifacts import make_artifact

import wsol_deploy.demo
from wsol_deploy.demo import server
from wsol_deploy.demo.gate import Gate
from wsol_deploy.demo.uploads import Limits
from wsol_deploy.errors import UsageError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_artifact(tmp_path_factory.mktemp("model") / "tiny.onnx")


def ask(gate: Gate, path: str, headers: dict[bytes, bytes] | None = None) -> tuple[int, dict]:
    """Status and headers of one request."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "path": path, "headers": list((headers or {}).items())}
    asyncio.run(gate(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"])


async def behind(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/config", 200),
        ("/assets/index.js", 200),
        ("/gradio_api/file=/tmp/x/a.png", 200),
        ("/gradio_api/call/look", 200),
        ("/gradio_api/file=http://169.254.169.254/latest", 404),
        ("/gradio_api/file=https:/elsewhere.example", 404),
        ("/gradio_api/proxy=https://x.hf.space/file", 404),
        ("/gradio_api/deep_link", 404),
        ("/gradio_api/runs", 404),
        ("/monitoring/summary", 404),
        ("/docs", 404),
    ],
)
def test_the_gate_opens_only_what_the_page_uses(tmp_path: Path, path: str, status: int) -> None:
    found, headers = ask(Gate(behind, tmp_path, Limits()), path)
    assert found == status
    assert b"connect-src 'self'" in headers[b"content-security-policy"]


def test_the_gate_measures_uploads(tmp_path: Path) -> None:
    limits = Limits(unpacked_bytes=1_000_000, folder_bytes=3_000_000)
    gate = Gate(behind, tmp_path, limits)
    upload = "/gradio_api/upload"
    assert ask(gate, upload)[0] == 411
    assert ask(gate, upload, {b"content-length": b"9000000"})[0] == 413
    assert ask(gate, upload, {b"content-length": b"1000"})[0] == 200
    (tmp_path / "held").write_bytes(bytes(2_999_500))
    assert ask(Gate(behind, tmp_path, limits), upload, {b"content-length": b"1000"})[0] == 507


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("lab", False)],
)
def test_loopback_is_recognised(host: str, local: bool) -> None:
    assert server.is_loopback(host) is local


def test_an_open_page_on_the_network_is_warned_of() -> None:
    assert "add --auth user:password" in (server.exposure("0.0.0.0", None) or "")
    assert server.exposure("0.0.0.0", ("ana", "secret")) is None
    assert server.exposure("127.0.0.1", None) is None


def test_a_password_may_hold_colons_and_must_be_there() -> None:
    assert server.parse_auth("ana:pa:ss") == ("ana", "pa:ss")
    for text in ("ana", "ana:", ":secret"):
        with pytest.raises(UsageError, match="user:password"):
            server.parse_auth(text)


def test_the_page_needs_no_torch_and_writes_nothing_beside_itself(model: Path) -> None:
    room = Path(wsol_deploy.demo.__file__).parent
    code = (
        "import sys; from pathlib import Path; from wsol_deploy.demo import app, server, shelf;"
        f"shelf.Shelf([Path({str(model)!r})], 'cpu');"
        "found = [n for n in sys.modules if n.split('.')[0] in ('torch', 'onnx')"
        " or n.startswith(('wsol_deploy.train', 'wsol_deploy.export'))];"
        "sys.exit(' '.join(found) or 0)"
    )
    before = {path.name for path in room.iterdir()}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in room.iterdir()} - before <= {"__pycache__"}
