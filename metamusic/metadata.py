"""Records inside files: a picture or a film carries the JSON it was made from, so that it can be made again.

A PNG keeps it in an iTXt chunk named 'metamusic', an mp4 in its comment. No torch here.
"""

import errno
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from metamusic.errors import DiskFullError, SettingsError
from metamusic.video import read_comment

KEY = "metamusic"


def encode(record: dict[str, Any]) -> str:
    """A record as it is written into files: one line of JSON."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def write_png(pixels: np.ndarray, path: Path | str, record: dict[str, Any]) -> None:
    """Write uint8 [H, W, 3] as PNG with its record; the file appears at `path` whole, or not at all.

    Raises DiskFullError.
    """
    note = PngInfo()
    note.add_itxt(KEY, encode(record))
    image = Image.fromarray(pixels)
    _write(Path(path), lambda file: image.save(file, "PNG", pnginfo=note))


def thumbnail(pixels: np.ndarray, path: Path | str, size: int) -> None:
    """Write uint8 [H, W, 3] as WebP, at most `size` pixels wide and high, never enlarged.

    Raises DiskFullError.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    _write(Path(path), lambda file: image.save(file, "WEBP", quality=82, method=4))


def read_png(path: Path | str) -> dict[str, Any] | None:
    """The record of a PNG, or None where it carries none.

    Raises SettingsError if there is no such file, if it is no picture, or if the record is damaged.
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.load()  # the text may stand behind the pixels
            return _decode(image.info.get(KEY), path)
    except FileNotFoundError:
        raise _missing(path) from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise SettingsError(f"{Path(path).name!r} is not a PNG that can be read.",
                            "Choose a picture that MetaMusic has made.") from error


def read_video(path: Path | str) -> dict[str, Any] | None:
    """The record of an mp4, or None where it carries none of ours.

    Raises SettingsError if there is no such file, or if the record is damaged.
    """
    if not Path(path).is_file():
        raise _missing(path)
    return _decode(read_comment(path), path)


def _decode(text: Any, path: Path | str) -> dict[str, Any] | None:
    """A record from its text; any other program's comment is no record."""
    if not isinstance(text, str) or not text.startswith("{"):
        return None
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"The record in {Path(path).name!r} is damaged: {error}.",
                            "Use the original file; a copy may have been cut or edited.") from error
    return record


def _missing(path: Path | str) -> SettingsError:
    return SettingsError(f"There is no file {str(path)!r}.", "Check the name.")


def _write(path: Path, save: Callable[[IO[bytes]], None]) -> None:
    """Write a file under a temporary name, on the disk, then let it take its place."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("wb") as file:
            save(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"There is no room for {path.name!r}: the disk is full.",
                                "Free some space on the disk and continue the render.") from error
        raise
