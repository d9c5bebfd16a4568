"""Pictures that somebody brings: whatever the file holds, eight bits of red, green and blue come out.

Turned as the camera says, transparency over white, grey and print colours converted; of an animation its
first picture, of a film its last frame. No torch here.
"""

import io
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from metamusic.errors import EncodingError, PictureError
from metamusic.video import last_frame

LARGEST = 100_000_000  # pixels; opened whole, such a picture takes about a gigabyte
# Named one by one: some of Pillow's other readers start programs or only pass numbers on.
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM")
_WHITE = (255, 255, 255, 255)
# Pictures that come in the same wrapping as films.
_BRANDS = {b"avif": ".avif", b"avis": ".avif", b"heic": ".heic", b"heix": ".heic", b"hevc": ".heic",
           b"mif1": ".heic", b"msf1": ".heic"}
_STARTS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"BM": ".bmp", b"II*\0": ".tif",
           b"MM\0*": ".tif", b"P5": ".ppm", b"P6": ".ppm", b"\x1a\x45\xdf\xa3": ".webm"}
_CHOOSE = "Choose a PNG, JPEG, WebP, AVIF, GIF, BMP or TIFF picture, or an mp4, mov or webm film."
_one_at_a_time = threading.Lock()


def read_picture(source: Path | bytes, name: str = "") -> np.ndarray:
    """A picture as uint8 [H, W, 3], at least 1 x 1 and at most 100 megapixels.

    source: a file, or its content; name: what errors call it (default: the file's name).
    Raises PictureError for what is missing, empty, damaged, too large or no picture.
    """
    name = name or (source.name if isinstance(source, Path) else "The picture")
    suffix = suffix_of(source, name)
    if suffix in (".mp4", ".webm"):
        return _end_of_film(source, suffix, name)
    with quiet(), _explained(source, name), _open(source) as image:
        _check_size(image.width, image.height, name)
        image.load()
        return np.array(_flat(_upright(image)))


def suffix_of(source: Path | bytes, name: str = "") -> str:
    """The suffix that suits the content, whatever the file is called; "" for an unknown one.

    Raises PictureError if there is no such file, if it is empty or cannot be read.
    """
    start = _start(source, name or (source.name if isinstance(source, Path) else "The picture"))
    if start[4:8] in (b"moov", b"mdat", b"wide"):  # QuickTime from before there were brands
        return ".mp4"
    if start[4:8] == b"ftyp":
        return _BRANDS.get(start[8:12], ".mp4")
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return ".webp"
    return next((suffix for magic, suffix in _STARTS.items() if start.startswith(magic)), "")


def _start(source: Path | bytes, name: str) -> bytes:
    """The first bytes, enough to know the format by."""
    if isinstance(source, bytes):
        start = source[:64]
    else:
        try:
            with source.open("rb") as file:
                start = file.read(64)
        except FileNotFoundError:
            raise PictureError(f"There is no file {str(source)!r}.", "Check the picture's name.") from None
        except (OSError, ValueError) as error:  # ValueError: a name with a null byte
            reason = getattr(error, "strerror", None) or str(error)
            raise PictureError(f"The picture {str(source)!r} cannot be read: {reason}.", _CHOOSE) from error
    if not start:
        raise PictureError(f"{name!r} is empty.", "Choose the picture again; it may not have been copied whole.")
    return start


def _open(source: Path | bytes) -> Image.Image:
    return Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=FORMATS)


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > LARGEST:
        raise PictureError(f"{name!r} has {width} x {height} pixels, more than {LARGEST // 1_000_000} million.",
                           "Make it smaller first; no side needs more than 4000 pixels.")


@contextmanager
def quiet() -> Iterator[None]:
    """Pillow's warnings are about files that are read all the same, or that are refused here in words.

    One at a time: Python's list of warning filters belongs to all threads, and so does the memory.
    """
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _explained(source: Path | bytes, name: str) -> Iterator[None]:
    """What Pillow says about a file, as a PictureError."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise _no_picture(source, name) from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name!r} has far more than {LARGEST // 1_000_000} million pixels.",
                           "Make it smaller first; no side needs more than 4000 pixels.") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError) as error:
        raise PictureError(f"{name!r} is damaged or of an unusual kind: {error}.",
                           "Open it in an image editor and save it as PNG.") from error


def _no_picture(source: Path | bytes, name: str) -> PictureError:
    """Why it is none, as exactly as its first bytes tell."""
    start = _start(source, name).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<svg", b"<?xml", b"<!doctype svg", b"<!--")):
        return PictureError(f"{name!r} is a drawing of lines (SVG), not of pixels.",
                            "Export it as PNG, in the size you want.")
    if suffix_of(source, name) == ".heic":
        return PictureError(f"{name!r} is a HEIC photo, which cannot be read here.",
                            "Save or export it as JPEG or PNG.")
    return PictureError(f"{name!r} is no picture that can be read.", _CHOOSE)


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF says; a damaged EXIF turns nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the reader of EXIF stumbles in many ways; the pixels are whole
        return image


def _flat(image: Image.Image) -> Image.Image:
    """Eight bits of RGB, transparency over white."""
    if image.mode.startswith("I"):
        return _from_16_bits(image)
    if image.mode == "F":
        raise ValueError("its pixels are fractions without a range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image).convert("RGB")
    return image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Grey of 0..65535; one of its values may stand for transparent."""
    values = np.asarray(image, np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its pixels have more than 16 bits")
    grey = np.round(values / 257).astype(np.uint8)
    if isinstance(clear := image.info.get("transparency"), int):
        grey[values == clear] = 255
    return Image.fromarray(grey).convert("RGB")


def _end_of_film(source: Path | bytes, suffix: str, name: str) -> np.ndarray:
    if isinstance(source, bytes):
        with tempfile.TemporaryDirectory(prefix="metamusic-") as folder:
            path = Path(folder) / f"film{suffix}"
            path.write_bytes(source)
            return _end_of_film(path, suffix, name)
    try:
        pixels = last_frame(source)
    except EncodingError as error:
        raise PictureError(f"{name!r} has no last frame that can be decoded.",
                           "Choose a picture, or a film that plays.") from error
    _check_size(pixels.shape[1], pixels.shape[0], name)
    return pixels
