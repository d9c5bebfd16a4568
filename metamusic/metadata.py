"""Records inside files: a picture or a film carries the JSON it was made from, so that it can be made again.

A PNG keeps it in an iTXt chunk named 'metamusic', a JPEG in the user comment of its EXIF (packed where it would
not fit otherwise), an mp4 in its comment, a sidecar is the record itself. No torch here.
"""

import base64
import errno
import json
import os
import secrets
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from metamusic.errors import DiskFullError, SettingsError
from metamusic.pictures import quiet, suffix_of
from metamusic.settings import RenderSettings
from metamusic.video import read_comment

KEY = "metamusic"
JPEG_QUALITY = 95
LARGEST_FILE = 4_000_000  # bytes of JSON: what is more is not settings

_PACKED = "metamusic:zlib:"
_ASCII = b"ASCII\0\0\0"  # how EXIF says in which letters a comment is written
_LARGEST_COMMENT = 65_000  # bytes; a JPEG's segment ends at 65,533, and EXIF has other entries
_LARGEST_RECORD = 50_000_000  # characters; what unpacks to more is not ours
_NO_PICTURE = (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError)
_ANY_FILE = ("Name a JSON file, as `python -m metamusic settings` prints it, or a picture or film that MetaMusic "
             "has made.")


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


def write_jpeg(pixels: np.ndarray, path: Path | str, record: dict[str, Any]) -> None:
    """Write uint8 [H, W, 3] as JPEG (quality 95, colours in full resolution) with its record.

    The file appears at `path` whole, or not at all. Raises SettingsError for a record too large, DiskFullError.
    """
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = _comment(record)
    image = Image.fromarray(pixels)
    _write(Path(path), lambda file: image.save(file, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4",
                                               exif=exif))


def to_jpeg(png: Path | str, path: Path | str) -> None:
    """Write a PNG of ours as JPEG, its record with it. Raises as `read_png` and `write_jpeg` do."""
    record = read_png(png) or {}
    with Image.open(png, formats=("PNG",)) as image:
        write_jpeg(np.asarray(image.convert("RGB")), path, record)


def check_fits_jpeg(settings: RenderSettings) -> None:
    """SettingsError if these are too large for a JPEG: better known before the picture is painted."""
    _comment({"settings": settings.model_dump(mode="json")}, spare=8000)


def _comment(record: dict[str, Any], spare: int = 0) -> bytes:
    """A record as EXIF's user comment: letters of ASCII, packed if they are many. spare: bytes to leave free."""
    plain = json.dumps(record, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    if len(plain) > _LARGEST_COMMENT:
        plain = _PACKED + base64.b64encode(zlib.compress(encode(record).encode(), 9)).decode()
    if len(plain) > _LARGEST_COMMENT - spare:
        raise SettingsError(f"The settings do not fit into a JPEG: packed they take {len(plain):,} of "
                            f"{_LARGEST_COMMENT:,} bytes.", "Write a PNG, or shorten the lyrics or the story.")
    return _ASCII + plain.encode("ascii")


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
        with quiet(), Image.open(path, formats=("PNG",)) as image:
            image.load()  # the text may stand behind the pixels
            return _decode(image.info.get(KEY), path)
    except FileNotFoundError:
        raise _missing(path) from None
    except _NO_PICTURE as error:
        raise _unreadable(path, "PNG", error) from error


def read_jpeg(path: Path | str) -> dict[str, Any] | None:
    """The record of a JPEG, or None where it carries none of ours.

    Raises SettingsError if there is no such file, if it is no JPEG, or if the record is damaged.
    """
    try:
        with quiet(), Image.open(path, formats=("JPEG",)) as image:
            raw = image.info.get("exif", b"")
            comment = _user_comment(image)
    except FileNotFoundError:
        raise _missing(path) from None
    except _NO_PICTURE as error:
        raise _unreadable(path, "JPEG", error) from error
    if comment is None and any(mark in raw for mark in (_PACKED.encode(), b'{"made by":"MetaMusic')):
        raise _damaged(path, "the EXIF around it cannot be read")
    return _decode(comment, path)


def _user_comment(image: Image.Image) -> str | None:
    """The user comment of a picture's EXIF, if there is one and it can be read."""
    try:
        comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    except Exception:  # the reader of EXIF stumbles in many ways; `read_jpeg` looks whether it was ours
        return None
    if not isinstance(comment, bytes) or not comment.startswith(_ASCII):
        return None
    return comment.removeprefix(_ASCII).rstrip(b"\0 ").decode("utf-8", "replace")


def read_record(path: Path | str) -> dict[str, Any] | None:
    """The record of a PNG, a JPEG or a film, known by its content; None where it carries none of ours.

    Raises SettingsError if there is no such file, if it is none of these, or if the record is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise _missing(path)
    readers = {".png": read_png, ".jpg": read_jpeg, ".mp4": read_video}
    reader = readers.get(suffix_of(path)) if path.stat().st_size else None
    if reader is None:
        raise SettingsError(f"{path.name!r} is neither PNG, JPEG nor MP4.",
                            "Choose a picture or a film that MetaMusic has made.")
    return reader(path)


def read_settings(path: Path | str) -> RenderSettings:
    """The settings in a file: JSON of settings, a sidecar, or a picture or film that MetaMusic made.

    Only what the file names is set (`model_fields_set`). Raises SettingsError for any other file.
    """
    path = Path(path)
    text = _json_text(path)
    if text is not None:
        values = _object(text, path)
        return RenderSettings.parse(values["settings"] if _is_record(values) else values)
    record = read_record(path)
    if record is None or not _is_record(record):
        raise SettingsError(f"{path.name!r} carries no settings of MetaMusic.",
                            "Programs that edit or send pictures often drop them. Choose the original file.")
    return RenderSettings.parse(record["settings"])


def _is_record(values: dict[str, Any]) -> bool:
    return isinstance(values.get("settings"), dict)


def _json_text(path: Path) -> str | None:
    """The text of a file, or None if it is a picture or a film."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else \
            getattr(error, "strerror", None) or str(error)
        raise SettingsError(f"The settings file {str(path)!r} cannot be read: {reason}.", _ANY_FILE) from error
    if suffix_of(content[:64] or b"-"):
        return None
    if len(content) > LARGEST_FILE:
        raise SettingsError(f"The settings file {path.name!r} is larger than {LARGEST_FILE // 1_000_000} MB.",
                            _ANY_FILE)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(f"The settings file {path.name!r} is not text.", _ANY_FILE) from error


def _object(text: str, path: Path) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or a number of thousands of digits
        raise SettingsError(f"The settings file {path.name!r} is not valid JSON: {error}.", _ANY_FILE) from error
    if not isinstance(values, dict):
        raise SettingsError(f"The settings in {path.name!r} must be a JSON object, not a "
                            f"{type(values).__name__}.", _ANY_FILE)
    return values


def write_sidecar(path: Path | str, record: dict[str, Any]) -> None:
    """Write a record as JSON for people and programs; `read_settings` reads it. Raises DiskFullError."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, indent=2)
    _write(Path(path), lambda file: file.write(text.encode() + b"\n"))


def read_video(path: Path | str) -> dict[str, Any] | None:
    """The record of an mp4, or None where it carries none of ours.

    Raises SettingsError if there is no such file, or if the record is damaged.
    """
    if not Path(path).is_file():
        raise _missing(path)
    return _decode(read_comment(path), path)


def _decode(text: Any, path: Path | str) -> dict[str, Any] | None:
    """A record from its text; any other program's comment is no record."""
    if isinstance(text, str) and text.startswith(_PACKED):
        text = _unpack(text.removeprefix(_PACKED), path)
    if not isinstance(text, str) or not text.startswith("{"):
        return None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    return record


def _unpack(packed: str, path: Path | str) -> str:
    """The text of a packed record."""
    try:
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(base64.b64decode(packed, validate=True), _LARGEST_RECORD)
        if not unpacker.eof:
            raise ValueError("it ends too early or is too long")
        return plain.decode()
    except (ValueError, zlib.error) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path | str, reason: object) -> SettingsError:
    return SettingsError(f"The record in {Path(path).name!r} is damaged: {reason}.",
                         "Use the original file; a copy may have been cut or edited.")


def _unreadable(path: Path | str, kind: str, error: Exception) -> SettingsError:
    fault = "has more pixels than any picture of ours" if isinstance(error, Image.DecompressionBombError) \
        else f"is not a {kind} that can be read"
    return SettingsError(f"{Path(path).name!r} {fault}.", "Choose a picture that MetaMusic has made.")


def _missing(path: Path | str) -> SettingsError:
    return SettingsError(f"There is no file {str(path)!r}.", "Check the name.")


def _write(path: Path, save: Callable[[IO[bytes]], object]) -> None:
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
