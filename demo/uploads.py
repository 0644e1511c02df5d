"""What may come in: sizes, counts, formats, and archives that can do no harm."""

from __future__ import annotations

import shutil
import stat
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from wsol_deploy import images
from wsol_deploy.errors import DataError, ImageError

MB = 1_000_000
KNOWN = "PNG, JPEG, TIFF, BMP, WebP, GIF, PPM, JPEG 2000 or TGA"
DIRECTORY_BYTES = 8 * MB
END_RECORD, ZIP64_LOCATOR = b"PK\x05\x06", b"PK\x06\x07"
END_SIZE, LOCATOR_SIZE, COMMENT_MAX = 22, 20, 65_535
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one user may send.

    Attributes:
        file_bytes: one uploaded file, picture or zip.
        pixels: one picture.
        files: pictures in one batch.
        batch_pixels: all pictures of one batch.
        unpacked_bytes: all of a zip's content.
        folder_bytes: everything in the temporary folder, all users together.
    """

    file_bytes: int = 200 * MB
    pixels: int = min(40 * MB, images.MAX_PIXELS)
    files: int = 200
    batch_pixels: int = 1_000 * MB
    unpacked_bytes: int = 1_000 * MB
    folder_bytes: int = 8_000 * MB


def read_picture(path: Path, limits: Limits) -> np.ndarray:
    """Decode an uploaded picture: uint8, H x W x 3, RGB.

    Raises:
        ImageError: too large, of a format not taken here, or damaged. Names the file, no folder.
    """
    check_picture(path, limits)
    try:
        return images.read(path.read_bytes())
    except ImageError as error:
        raise ImageError(f"{path.name}: {_without_place(error)}") from error


def read_truth(path: Path, limits: Limits) -> np.ndarray:
    """Decode an uploaded truth mask: bool, H x W.

    Raises:
        ImageError: as `read_picture`.
    """
    check_picture(path, limits)
    try:
        return images.read_mask(path)
    except ImageError as error:
        raise ImageError(f"{path.name}: the mask is damaged or cut short") from error


def check_picture(path: Path, limits: Limits) -> int:
    """Look at a file's size, format and header, without decoding it; its number of pixels.

    Raises:
        ImageError: too large, or of a format not taken here.
    """
    _check_bytes(path, limits)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=images.FORMATS) as header:
                width, height = header.size
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path.name} claims far more pixels than this page takes "
            f"({limits.pixels // MB} megapixels); use wsol predict for very large pictures"
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path.name} is not a picture this page can read: {KNOWN}") from error
    except Exception as error:  # Pillow's plugins raise nearly anything on hostile headers
        raise ImageError(f"{path.name} is damaged: its header cannot be read") from error
    if width * height > limits.pixels:
        raise ImageError(
            f"{path.name} has {width} x {height} pixels; this page takes up to "
            f"{limits.pixels // MB} megapixels, wsol predict takes more"
        )
    return width * height


def gather(files: Sequence[Path], into: Path, limits: Limits) -> int:
    """Put uploaded pictures and the content of uploaded zips into one folder.

    Returns:
        How many pictures there are.

    Raises:
        DataError: too many, too large, or an archive that is damaged or hostile.
    """
    into.mkdir(parents=True)
    loose = [path for path in files if path.suffix.lower() != ".zip"]
    _check_count(len(loose), limits)
    for path in loose:
        _check_bytes(path, limits)
        shutil.copyfile(path, free_name(into, path.name))
    count, room = len(loose), limits.unpacked_bytes
    for path in files:
        if path.suffix.lower() == ".zip":
            _check_bytes(path, limits)
            folder = free_name(into, path.stem or "zip")
            found, used = unpack(path, folder, limits, room)
            count, room = count + found, room - used
            _check_count(count, limits)
    if not count:
        raise DataError(f"there is no picture in it; pictures are {KNOWN}")
    return count


def unpack(archive: Path, into: Path, limits: Limits, room: int | None = None) -> tuple[int, int]:
    """Unpack a zip's pictures into a new folder; hidden files and other kinds are left out.

    Nothing is written outside `into`, and no more than `room` bytes, whatever the archive says.

    Returns:
        Pictures unpacked, and their bytes.

    Raises:
        DataError: damaged, locked, too large, or it names a place outside itself.
    """
    room = limits.unpacked_bytes if room is None else room
    _check_directory(archive)
    used = count = 0
    try:
        with zipfile.ZipFile(archive) as content:
            members = [info for info in content.infolist() if not info.is_dir()]
            for info in members:
                _check_member(archive.name, info)
            wanted = [info for info in members if _is_wanted(info)]
            _check_count(len(wanted), limits)
            if sum(info.file_size for info in wanted) > room:
                raise _too_large(archive.name, room)
            for info in wanted:
                target = into.joinpath(*PurePosixPath(info.filename).parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with content.open(info) as source, target.open("xb") as sink:
                    used += _copy(source, sink, room - used, archive.name)
                count += 1
    except DataError:
        raise
    except Exception as error:  # a damaged archive fails in as many ways as it has codecs
        raise DataError(f"{archive.name} is damaged, or not a zip") from error
    return count, used


def _check_member(archive: str, info: zipfile.ZipInfo) -> None:
    name = info.filename
    path = PurePosixPath(name)
    drive = len(name) > 1 and name[1] == ":"
    if path.is_absolute() or ".." in path.parts or "\\" in name or drive:
        raise DataError(f"{archive} was refused: it names a place outside itself ({name[:80]})")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise DataError(f"{archive} was refused: it holds a link ({name[:80]})")
    if info.flag_bits & 1:
        raise DataError(f"{archive} is locked with a password")


def _is_wanted(info: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(info.filename).parts
    visible = not any(part.startswith((".", "__MACOSX")) for part in parts)
    return bool(parts) and visible and images.is_image(Path(parts[-1]))


def _check_directory(archive: Path) -> None:
    """Refuse an archive whose table of contents alone would fill the memory."""
    with archive.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - END_SIZE - COMMENT_MAX - LOCATOR_SIZE))
        tail = stream.read()
    end = tail.rfind(END_RECORD)
    if end < 0 or len(tail) - end < END_SIZE:
        raise DataError(f"{archive.name} is damaged, or not a zip")
    listed = int.from_bytes(tail[end + 12 : end + 16], "little")
    if listed > DIRECTORY_BYTES or ZIP64_LOCATOR in tail[max(0, end - LOCATOR_SIZE) : end]:
        raise DataError(f"{archive.name} lists far more files than this page takes")


def _copy(source: IO[bytes], sink: BinaryIO, room: int, archive: str) -> int:
    used = 0
    while chunk := source.read(CHUNK):
        used += len(chunk)
        if used > room:
            raise _too_large(archive, room)
        sink.write(chunk)
    return used


def _too_large(archive: str, room: int) -> DataError:
    return DataError(
        f"{archive} unpacks to more than the {max(room, 0) // MB} MB this page takes; "
        "use wsol predict for large folders"
    )


def _check_bytes(path: Path, limits: Limits) -> None:
    size = path.stat().st_size
    if not size:
        raise ImageError(f"{path.name} is empty")
    if size > limits.file_bytes:
        raise ImageError(
            f"{path.name} has {size // MB} MB; this page takes files up to "
            f"{limits.file_bytes // MB} MB"
        )


def _check_count(count: int, limits: Limits) -> None:
    if count > limits.files:
        raise DataError(
            f"{count:,} pictures are too many for this page, which takes {limits.files} at once; "
            "for more, run wsol predict FOLDER -o OUT"
        )


def free_name(folder: Path, name: str) -> Path:
    """A path in the folder that nothing has yet: a second a.png becomes a (2).png."""
    path, count = folder / name, 1
    while path.exists():
        count += 1
        path = folder / f"{Path(name).stem} ({count}){Path(name).suffix}"
    return path


def _without_place(error: ImageError) -> str:
    return str(error).removeprefix("the image: ")
