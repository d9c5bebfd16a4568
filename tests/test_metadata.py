"""Records travel inside pictures and films, and come back as they were."""

import errno

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from metamusic import ffmpeg, metadata
from metamusic.errors import DiskFullError, SettingsError
from metamusic.metadata import KEY, encode, read_png, read_video, thumbnail, write_png
from metamusic.settings import RenderSettings
from metamusic.video import ChunkEncoder, join_chunks

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
TEXT = "Föhn über 雨 🎵: \"quoted\" | a=b; #c \\ 'd'"
RECORD = {"settings": RenderSettings(text=TEXT).model_dump(mode="json"),
          "seed": 0, "notes": ["one", "two\nlines"], "long": "ä" * 4096}
JSON = st.dictionaries(st.text(max_size=8), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8), max_size=5)


@pytest.fixture(scope="session")
def chunk(tmp_path_factory):
    path = tmp_path_factory.mktemp("chunk") / "c.mp4"
    with ChunkEncoder(path, 32, 32, 10, 17) as encoder:
        encoder.write(np.zeros((32, 32, 3), np.uint8))
    return path


@pytest.fixture(scope="session")
def song(tmp_path_factory):
    path = tmp_path_factory.mktemp("song") / "s.wav"
    assert ffmpeg.run(["-f", "lavfi", "-i", "sine=440:d=1", ffmpeg.spell(path)])[0] == 0
    return path


def test_png_round_trip(tmp_path):
    path = tmp_path / "it's ü.png"
    write_png(PIXELS, path, RECORD)
    assert read_png(path) == RECORD
    assert np.array_equal(np.asarray(Image.open(path)), PIXELS)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@settings(max_examples=30)
@given(JSON)
def test_any_record_comes_back_from_a_png(tmp_path_factory, record):
    path = tmp_path_factory.getbasetemp() / "any.png"
    write_png(PIXELS, path, record)
    assert read_png(path) == record


def test_film_round_trip(tmp_path, chunk, song):
    join_chunks([chunk], song, 0, 0.1, tmp_path / "f.mp4", encode(RECORD))
    assert read_video(tmp_path / "f.mp4") == RECORD


@settings(max_examples=8, deadline=None)
@given(JSON)
def test_any_record_comes_back_from_a_film(tmp_path_factory, chunk, song, record):
    path = tmp_path_factory.getbasetemp() / "any.mp4"
    join_chunks([chunk], song, 0, 0.1, path, encode(record))
    assert read_video(path) == record


def test_other_peoples_files_carry_no_record(tmp_path, chunk, song):
    Image.fromarray(PIXELS).save(tmp_path / "p.png")
    assert read_png(tmp_path / "p.png") is None
    assert read_video(chunk) is None
    join_chunks([chunk], song, 0, 0.1, tmp_path / "f.mp4", "made with love")
    assert read_video(tmp_path / "f.mp4") is None


def test_damaged_records_are_told(tmp_path, chunk, song):
    note = PngInfo()
    note.add_itxt(KEY, encode(RECORD)[:-20])
    Image.fromarray(PIXELS).save(tmp_path / "p.png", pnginfo=note)
    join_chunks([chunk], song, 0, 0.1, tmp_path / "f.mp4", encode(RECORD)[:-20])
    for read, name in ((read_png, "p.png"), (read_video, "f.mp4")):
        with pytest.raises(SettingsError, match=f"record in '{name}' is damaged"):
            read(tmp_path / name)


def test_what_is_no_picture_is_told(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    write_png(PIXELS, tmp_path / "cut.png", RECORD)
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:-900])
    Image.fromarray(PIXELS).save(tmp_path / "jpeg.png", "JPEG")
    for name in ("text.png", "cut.png", "jpeg.png"):
        with pytest.raises(SettingsError, match="not a PNG"):
            read_png(tmp_path / name)
    for read in (read_png, read_video):
        with pytest.raises(SettingsError, match="no file"):
            read(tmp_path / "missing")


def test_a_record_that_is_no_json_is_a_bug(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_png(PIXELS, tmp_path / "p.png", {"loss": float("nan")})


@pytest.mark.parametrize(("shape", "expected"), [
    ((600, 800), (320, 240)), ((800, 600), (240, 320)), ((24, 40), (40, 24))])
def test_thumbnail(tmp_path, shape, expected):
    thumbnail(np.zeros((*shape, 3), np.uint8), tmp_path / "t.webp", 320)
    with Image.open(tmp_path / "t.webp") as image:
        assert (image.format, image.size) == ("WEBP", expected)


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    write_png(PIXELS, tmp_path / "old.png", {"old": True})
    monkeypatch.setattr(metadata.os, "fsync", full)
    for path in (tmp_path / "new.png", tmp_path / "old.png"):
        with pytest.raises(DiskFullError, match="disk is full"):
            write_png(PIXELS, path, RECORD)
    assert [p.name for p in tmp_path.iterdir()] == ["old.png"]
    assert read_png(tmp_path / "old.png") == {"old": True}  # what was there, is there
