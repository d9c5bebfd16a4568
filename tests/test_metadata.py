"""Records travel inside pictures and films, and come back as they were."""

import errno
import io
import json
import random
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from metamusic import ffmpeg, metadata
from metamusic.errors import DiskFullError, SettingsError
from metamusic.metadata import (
    KEY,
    check_fits_jpeg,
    encode,
    read_jpeg,
    read_png,
    read_record,
    read_settings,
    read_video,
    thumbnail,
    to_jpeg,
    write_jpeg,
    write_png,
    write_sidecar,
)
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


def test_a_film_carries_a_record_longer_than_a_command_line(tmp_path, chunk, song):
    record = {"lyrics": "雨" * 60_000}
    join_chunks([chunk], song, 0, 0.1, tmp_path / "f.mp4", encode(record))
    assert read_record(tmp_path / "f.mp4") == record


# -- JPEG ---------------------------------------------------------------------------------------------


def test_jpeg_round_trip(tmp_path):
    path = tmp_path / "it's ü.jpg"
    smooth = np.tile(np.arange(64, dtype=np.uint8)[:, None, None] * 4, (1, 48, 3))
    smooth[:, ::2, 0] = 255 - smooth[:, ::2, 0]  # colour from pixel to pixel, which half resolution would lose
    write_jpeg(smooth, path, RECORD)
    assert read_jpeg(path) == RECORD == read_record(path)
    with Image.open(path) as image:
        assert np.abs(np.asarray(image).astype(int) - smooth).mean() < 4
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@settings(max_examples=30)
@given(JSON)
def test_any_record_comes_back_from_a_jpeg(tmp_path_factory, record):
    path = tmp_path_factory.getbasetemp() / "any.jpg"
    write_jpeg(PIXELS, path, record)
    assert read_jpeg(path) == record


@pytest.mark.parametrize("lyrics", ["line upon line of ordinary words\n" * 1800, "雨が降る\n" * 12_000])
def test_huge_lyrics_are_packed_into_a_jpeg(tmp_path, lyrics):
    write_jpeg(PIXELS, tmp_path / "p.jpg", {"settings": {"lyrics": lyrics[:60_000]}})
    assert read_record(tmp_path / "p.jpg") == {"settings": {"lyrics": lyrics[:60_000]}}
    with Image.open(tmp_path / "p.jpg") as image:
        assert image.size == (40, 24)


def test_what_does_not_fit_into_a_jpeg_even_packed_is_refused_before_it_is_painted(tmp_path):
    draw = random.Random(0)
    noise = RenderSettings(lyrics="".join(chr(draw.randint(0x4E00, 0x9000)) for _ in range(60_000)))
    with pytest.raises(SettingsError, match="do not fit into a JPEG") as refusal:
        check_fits_jpeg(noise)
    assert "PNG" in refusal.value.cure
    with pytest.raises(SettingsError, match="do not fit"):
        write_jpeg(PIXELS, tmp_path / "p.jpg", {"settings": noise.model_dump()})
    assert list(tmp_path.iterdir()) == []
    check_fits_jpeg(RenderSettings())


def test_a_png_becomes_a_jpeg_with_its_record(tmp_path):
    write_png(PIXELS, tmp_path / "p.png", RECORD)
    to_jpeg(tmp_path / "p.png", tmp_path / "p.jpg")
    assert read_record(tmp_path / "p.jpg") == RECORD


def with_exif(path, raw: bytes):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "JPEG", exif=raw)
    path.write_bytes(buffer.getvalue())
    return path


def exif_of(path) -> bytes:
    with Image.open(path) as image:
        return image.info["exif"]


@pytest.mark.parametrize("long", [False, True])
def test_a_damaged_record_of_a_jpeg_is_told(tmp_path, long):
    record = {"made by": "MetaMusic 0.1.0", "lyrics": "words " * (20_000 if long else 20)}
    write_jpeg(PIXELS, tmp_path / "p.jpg", record)
    exif = exif_of(tmp_path / "p.jpg")
    at = exif.index(b"metamusic:zlib:" if long else b"words") + 60
    changed = with_exif(tmp_path / "changed.jpg", exif[:at] + (b"!" if long else b'"') + exif[at + 1:])
    cut = with_exif(tmp_path / "cut.jpg", exif[:at])
    no_head = with_exif(tmp_path / "no head.jpg", exif[:10] + b"\xff" * 16 + exif[26:])
    for path in (changed, cut, no_head):
        with pytest.raises(SettingsError, match=f"record in '{path.name}' is damaged") as refusal:
            read_jpeg(path)
        assert "original" in refusal.value.cure


@pytest.mark.parametrize("raw", [b"", b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"nonsense"])
def test_a_jpeg_of_another_program_carries_no_record(tmp_path, raw):
    assert read_jpeg(with_exif(tmp_path / "p.jpg", raw)) is None
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + "{holiday".encode("utf-16")
    assert read_jpeg(with_exif(tmp_path / "q.jpg", exif.tobytes())) is None


# -- whatever it is -----------------------------------------------------------------------------------


def test_a_record_is_found_by_content_and_not_by_name(tmp_path, chunk, song):
    write_png(PIXELS, tmp_path / "a.mp4", RECORD)
    write_jpeg(PIXELS, tmp_path / "b.png", RECORD)
    join_chunks([chunk], song, 0, 0.1, tmp_path / "c.mp4", encode(RECORD))
    (tmp_path / "c.mp4").rename(tmp_path / "c.jpg")
    for name in ("a.mp4", "b.png", "c.jpg"):
        assert read_record(tmp_path / name) == RECORD
        assert read_settings(tmp_path / name) == RenderSettings(text=TEXT)


@pytest.mark.parametrize("content", [b"", b"GIF89a" + b"\0" * 30, b"words"])
def test_what_carries_no_record_by_its_kind_is_told(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(SettingsError, match="neither PNG, JPEG nor MP4"):
        read_record(tmp_path / "x")


def test_settings_come_from_json_a_sidecar_or_what_was_made(tmp_path):
    (tmp_path / "plain.json").write_text('\ufeff{"version": 1, "steps": 7}', encoding="utf-8")
    found = read_settings(tmp_path / "plain.json")
    assert found.model_dump(exclude_unset=True) == {"version": 1, "steps": 7}
    write_sidecar(tmp_path / "side.json", RECORD)
    assert read_settings(tmp_path / "side.json").text == TEXT
    assert json.loads((tmp_path / "side.json").read_text(encoding="utf-8")) == RECORD


def test_settings_of_the_first_version_still_parse(tmp_path):
    """What an earlier MetaMusic wrote: every setting it had, and none of those that came later."""
    old = {"version": 1, "kind": "image", "pack": "sketch", "canvas": "vqgan", "width": 256, "height": 256, "fps": 12,
           "seed": 5, "start": 0.0, "duration": None, "audio_weight": 1.0, "text": "a storm:0.5", "bank_mix": 0.6,
           "init": "nearest", "init_pull": 0.15, "cut_method": "crops", "cutouts": 12, "cut_power": 0.8,
           "augments": ["affine", "erasing"], "cut_noise": 0.1, "steps": 40, "coarse_share": 0.7, "optimiser": "adam",
           "learning_rate": 0.04, "offset_levels": 3, "total_variation": 0.1, "steps_per_frame": 2, "zoom": 0.04,
           "scene_pull": 0.5, "smoothing": 0.5, "beats_per_segment": 2, "longest_segment": 4.0, "fade": 1.0,
           "chunk": 2.0, "crf": 17}
    write_png(PIXELS, tmp_path / "p.png", {"settings": old})
    found = read_settings(tmp_path / "p.png")
    assert found.model_dump(mode="json", exclude_unset=True) == old
    assert (found.lyrics, found.story, found.image_prompts, found.target, found.judges) == ("", "", "", "", "")


@pytest.mark.parametrize(("content", "says"), [
    (b"", "JSON"), (b"[1]", "object"), (b"\xff\xfe\0", "not text"), (b'{"steps": ', "JSON"), (b"[" * 100_000, "JSON"),
    (b'{"colour": 1}', "colour"), (b'{"settings": {"colour": 1}}', "colour"), (b'{"version": 9}', "version 9")])
def test_what_holds_no_settings_is_refused(tmp_path, content, says):
    (tmp_path / "s.json").write_bytes(content)
    with pytest.raises(SettingsError, match=says) as refusal:
        read_settings(tmp_path / "s.json")
    assert refusal.value.cure


def bomb(path):
    """A PNG or JPEG that says it has far more pixels than Pillow opens."""
    Image.new("RGB", (8, 8)).save(path)
    data = bytearray(path.read_bytes())
    if path.suffix == ".png":
        data[16:24] = struct.pack(">II", 50_000, 50_000)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    else:
        at = data.index(b"\xff\xc0")
        data[at + 5:at + 9] = struct.pack(">HH", 50_000, 50_000)
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["huge.png", "huge.jpg"])
def test_a_picture_of_far_too_many_pixels_is_refused(tmp_path, name):
    bomb(tmp_path / name)
    with pytest.raises(SettingsError, match=f"{name}.*more pixels"):
        read_settings(tmp_path / name)


@pytest.mark.parametrize(("content", "says"), [
    (b'{"seed": ' + b"9" * 5000 + b"}", "not valid JSON"), (b" " * 4_000_001, "larger than 4 MB")])
def test_json_that_python_does_not_read_is_refused(tmp_path, content, says):
    (tmp_path / "mine.json").write_bytes(content)
    with pytest.raises(SettingsError, match=says):
        read_settings(tmp_path / "mine.json")
    if says == "not valid JSON":
        with pytest.raises(SettingsError, match=says):
            RenderSettings.from_json(content)
    with pytest.raises(SettingsError, match="null"):
        read_settings("a\0b.json")


def test_a_picture_without_settings_and_a_missing_file_are_refused(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "p.jpg")
    with pytest.raises(SettingsError, match="'p.jpg' carries no settings"):
        read_settings(tmp_path / "p.jpg")
    write_png(PIXELS, tmp_path / "p.png", {"other": 1})
    with pytest.raises(SettingsError, match="'p.png' carries no settings"):
        read_settings(tmp_path / "p.png")
    with pytest.raises(SettingsError, match="no such file"):
        read_settings(tmp_path / "nowhere.json")


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
