"""Pictures that somebody brings: eight bits of RGB come out, or a refusal in words."""

import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from metamusic.errors import PictureError
from metamusic.pictures import read_picture, suffix_of
from metamusic.video import ChunkEncoder

RED, WHITE = (255, 0, 0), (255, 255, 255)
CORNERS = np.zeros((8, 12, 3), np.uint8)
CORNERS[0, 0], CORNERS[-1, -1] = RED, WHITE


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Thirty seconds, each frame a little lighter than the one before."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with ChunkEncoder(path, 32, 16, 2, 1) as encoder:
        for number in range(60):
            encoder.write(np.full((16, 32, 3), 4 * number, np.uint8))
    return path


def test_a_picture_comes_as_it_is_from_a_file_and_from_bytes(tmp_path):
    content = saved(Image.fromarray(CORNERS))
    path = tmp_path / "ü [1] name without suffix"
    path.write_bytes(content)
    for source in (path, content):
        pixels = read_picture(source)
        assert np.array_equal(pixels, CORNERS) and pixels.dtype == np.uint8 and pixels.flags.writeable


@pytest.mark.parametrize(("orientation", "red"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0))])
def test_a_photo_is_turned_as_the_camera_says(orientation, red):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = read_picture(saved(Image.fromarray(CORNERS), exif=exif))
    assert pixels.shape == ((12, 8, 3) if orientation > 4 else (8, 12, 3))
    assert tuple(pixels[red]) == RED


@pytest.mark.parametrize("exif", [
    b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\1"])
def test_a_damaged_exif_turns_nothing(exif):
    assert read_picture(saved(Image.fromarray(CORNERS), "JPEG", exif=exif)).shape == CORNERS.shape


@pytest.mark.parametrize(("image", "kind", "expected"), [
    (Image.new("L", (3, 2), 100), "PNG", (100, 100, 100)),
    (Image.new("1", (3, 2), 1), "PNG", WHITE),
    (Image.new("LA", (3, 2), (0, 51)), "PNG", (204, 204, 204)),
    (Image.new("RGBA", (3, 2), (255, 0, 0, 0)), "PNG", WHITE),
    (Image.new("RGBA", (3, 2), (255, 0, 0, 51)), "PNG", (255, 204, 204)),
    (Image.new("RGBA", (3, 2), (255, 0, 0, 255)), "WEBP", RED),
    (Image.new("CMYK", (3, 2), (0, 255, 255, 0)), "TIFF", RED),
    (Image.new("CMYK", (3, 2), (0, 0, 0, 0)), "JPEG", WHITE),
    (Image.new("YCbCr", (3, 2), (128, 128, 128)), "TIFF", (128, 128, 128)),
    (Image.fromarray(np.full((2, 3), 25_700, np.uint16)), "PNG", (100, 100, 100)),
    (Image.fromarray(np.full((2, 3), 65_535, np.uint16)), "TIFF", WHITE),
    (Image.new("RGB", (3, 2), RED), "BMP", RED),
    (Image.new("RGB", (3, 2), RED), "GIF", RED),
    (Image.new("RGB", (3, 2), RED), "PPM", RED),
    (Image.new("RGB", (1, 1), RED), "PNG", RED),
    (Image.new("RGB", (3000, 1), RED), "PNG", RED),
])
def test_every_kind_of_pixel_becomes_rgb(image, kind, expected):
    pixels = read_picture(saved(image, kind))
    assert pixels.shape == (image.height, image.width, 3)
    assert np.abs(pixels.astype(int) - expected).max() <= (2 if kind in ("JPEG", "WEBP") else 0)


@pytest.mark.parametrize("transparency", [0, b"\0\xff"])
def test_a_palette_with_a_transparent_colour_lies_on_white(transparency):
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 255, *RED])
    image.putpixel((1, 0), 1)
    pixels = read_picture(saved(image, transparency=transparency))
    assert [tuple(pixel) for pixel in pixels[0]] == [WHITE, RED]


def test_a_transparent_grey_of_16_bits_lies_on_white():
    content = saved(Image.fromarray(np.array([[25_700, 0]], np.uint16)), transparency=25_700)
    assert read_picture(content)[0, :, 0].tolist() == [255, 0]


def test_an_animation_shows_its_first_picture():
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, WHITE)]
    content = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert tuple(read_picture(content)[0, 0]) == RED


def test_a_film_shows_its_last_frame(film):
    for source in (film, film.read_bytes()):
        pixels = read_picture(source)
        assert pixels.shape == (16, 32, 3) and np.abs(pixels.astype(int) - 236).max() <= 3


def test_a_torn_film_is_refused(film, tmp_path):
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(film.read_bytes()[:600])
    with pytest.raises(PictureError, match="torn.mp4.*no last frame"):
        read_picture(torn)


@pytest.mark.parametrize(("content", "says", "cure"), [
    (b"", "empty", "again"),
    (b"these are only words\n" * 20, "no picture", "PNG"),
    (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG", "Export"),
    (b"\xef\xbb\xbf  <svg/>", "SVG", "Export"),
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC", "JPEG"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture", "PNG"),
    (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "names.png", "PNG"),
    (saved(Image.fromarray(CORNERS))[:-30], "damaged", "editor"),
    (saved(Image.new("RGB", (99, 99), RED), "JPEG")[:-200], "damaged", "editor"),
    (saved(Image.new("F", (2, 2), 0.5), "TIFF"), "fractions", "editor"),
    (saved(Image.fromarray(np.full((2, 2), 1 << 20, np.int32)), "TIFF"), "16 bits", "editor"),
])
def test_what_is_no_picture_is_refused_in_words(tmp_path, content, says, cure):
    path = tmp_path / "names.png"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(PictureError) as refusal:
            read_picture(source, "names.png")
        assert says in refusal.value.message and cure in refusal.value.cure and "names.png" in refusal.value.message


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "nowhere.png", tmp_path):
        with pytest.raises(PictureError) as refusal:
            read_picture(path)
        assert str(path) in refusal.value.message and refusal.value.cure


@pytest.mark.parametrize(("width", "height"), [(20_000, 5_001), (60_000, 60_000)])
def test_a_huge_panorama_is_refused_before_it_is_opened(width, height):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    content = (b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(head)) + chunk + struct.pack(">I", zlib.crc32(chunk))
               + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT")))
    with pytest.raises(PictureError, match="100 million"):
        read_picture(content)


def test_a_large_one_just_below_is_read_without_a_warning():
    content = saved(Image.new("1", (12_000, 8_000)))  # more than Pillow warns of
    assert read_picture(content).shape == (8_000, 12_000, 3)


def test_readers_in_several_threads_leave_the_warnings_as_they_were():
    before = list(warnings.filters)
    content = saved(Image.fromarray(CORNERS))
    threads = [threading.Thread(target=read_picture, args=(content,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", ".png"), ("JPEG", ".jpg"), ("GIF", ".gif"), ("WEBP", ".webp"),
                                              ("TIFF", ".tif"), ("BMP", ".bmp"), ("AVIF", ".avif")])
def test_the_content_tells_the_suffix(kind, suffix, film):
    assert suffix_of(saved(Image.fromarray(CORNERS), kind)) == suffix
    assert suffix_of(film) == ".mp4" and suffix_of(b"words") == ""
