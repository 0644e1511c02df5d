"""Whether a model file still has the bytes that were written: one flipped bit changes masks.

An ONNX file ends in a metadata entry with the sha256 of all that is before it. TorchScript and
`.pt2` files are zip archives, whose checksums PyTorch does not look at. A checkpoint's weights
have their sha256 in its card, and are checked where they are loaded.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path

from wsol_deploy.artifacts import format_of
from wsol_deploy.errors import ArtifactError

KEY = b"wsol_sha256"
DIGEST = 64
# A field 14 of onnx.ModelProto (metadata_props): its key and the head of its value.
ENTRY = b"\x0a" + bytes([len(KEY)]) + KEY + b"\x12" + bytes([DIGEST])
HEAD = b"\x72" + bytes([len(ENTRY) + DIGEST]) + ENTRY


def seal(model: bytes) -> bytes:
    """An ONNX file's bytes with their own sha256 after them."""
    return model + HEAD + hashlib.sha256(model).hexdigest().encode()


def check(path: Path) -> None:
    """Compare a file with its checksums; a file without any passes.

    Raises:
        ArtifactError: it is not what was written.
    """
    kind = format_of(path)
    intact = _onnx_is(path) if kind == "onnx" else kind == "safetensors" or _zip_is(path)
    if not intact:
        raise ArtifactError(
            f"{path}: damaged, or changed since wsol export wrote it; copy it or export it again"
        )


def _onnx_is(path: Path) -> bool:
    content = memoryview(path.read_bytes())
    end = len(content) - len(HEAD) - DIGEST
    if end < 0 or content[end : end + len(HEAD)] != HEAD:
        return True
    return hashlib.sha256(content[:end]).hexdigest().encode() == content[end + len(HEAD) :]


def _zip_is(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError):
        return False
