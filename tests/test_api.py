"""What a call from Python or the shell may write, and where: refused before anything is computed."""

import errno
import json
import sys

import numpy as np
import pytest
from PIL import Image

import metamusic
from metamusic import api, cli
from metamusic.errors import MetaMusicError, SettingsError

SMALL = {"width": 64, "height": 64, "steps": 2, "cutouts": 2, "duration": 1.0}


@pytest.fixture
def here(tmp_path, store, pack, tune, monkeypatch):
    """A folder with inputs of every kind, which is the current one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "song.mp4").write_bytes(tune.read_bytes())
    for name in ("target.png", "mask.png", "first.png", "prompt.png"):
        Image.fromarray(np.full((20, 30, 3), 99, np.uint8)).save(folder / name)
    (folder / "words.lrc").write_text("[0:00.50]The tide\n")
    (folder / "mine.json").write_text(json.dumps(SMALL))
    return folder


def shell(*words: str, monkeypatch, capsys) -> tuple[int, str]:
    """The status and the complaint of a command line."""
    monkeypatch.setattr(sys, "argv", ["metamusic", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0), " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("words", "culprit"), [
    (("video", "song.mp4", "-o", "song.mp4"), "song"), (("video", "song.mp4", "-o", "link.mp4"), "song"),
    (("image", "song.mp4", "-o", "./target.png", "--target", "target.png"), "target"),
    (("image", "song.mp4", "-o", "prompt.png", "--image-prompts", "prompt.png:0.5"), "image_prompts"),
    (("image", "song.mp4", "-o", "mask.png", "--text", "sea @ [mask.png]"), "text"),
    (("image", "song.mp4", "-o", "first.png", "--init-image", "first.png"), "init_image"),
    (("image", "song.mp4", "-o", "mask.png", "--story", "0:00 sea @ [mask.png]"), "story"),
    (("image", "song.mp4", "-o", "mine.png", "--settings", "mine.json", "--sidecar"), "settings")])
def test_what_a_render_is_made_from_is_not_written_over(here, monkeypatch, capsys, words, culprit):
    (here / "link.mp4").symlink_to("song.mp4")
    before = {path: path.read_bytes() for path in here.iterdir()}
    status, said = shell(*words, monkeypatch=monkeypatch, capsys=capsys)
    assert status == 2 and f"made from ({culprit})" in said
    assert {path: path.read_bytes() for path in here.iterdir()} == before


@pytest.mark.parametrize("words", [
    ("--target", "~nosuchuser/x.png"), ("--image-prompts", "~nosuchuser/x.png:0.5"), 
    ("--lyrics", "~nosuchuser/x.lrc"),
    ("--story", "~nosuchuser/x.txt"), ("--text", "sea @ [~nosuchuser/x.png]"), ("-o", "~nosuchuser/x.png")])
def test_the_home_of_nobody_is_one_sentence(here, monkeypatch, capsys, words):
    status, said = shell("image", "song.mp4", "-o", "x.png", *words, monkeypatch=monkeypatch, capsys=capsys)
    assert status == 2 and "~nosuchuser" in said and "Traceback" not in said


@pytest.mark.parametrize("wish", [{"target": "a\0b"}, {"lyrics": "a\0b.lrc"}, {"story": "a\0b.txt"}])
def test_a_null_byte_in_a_name_is_one_sentence(here, wish):
    for song, output, settings in (("song.mp4", "x.png", wish), ("so\0ng.mp4", "x.png", {}),
                                   ("song.mp4", "\0.png", {})):
        with pytest.raises(SettingsError, match="null byte"):
            metamusic.generate_image(song, output, **settings)


@pytest.mark.parametrize(("output", "kind", "says", "cure"), [
    ("x.gif", "image", "does not end in .png, .jpg or .jpeg.", "A picture is written as .png, .jpg or .jpeg;"),
    ("x.png", "video", "does not end in .mp4.", "A video is written as .mp4;")])
def test_endings_are_listed_as_one_says_them(here, output, kind, says, cure):
    with pytest.raises(SettingsError) as refusal:
        api.check_output(output, kind)
    assert says in str(refusal.value) and cure in str(refusal.value)


def test_a_sidecar_that_cannot_be_written_is_known_before_anything_is_computed(here):
    (here / "x.json").mkdir()
    with pytest.raises(SettingsError, match="sidecar .* is a folder"):
        metamusic.generate_image("song.mp4", "x.png", sidecar=True)


def test_when_only_the_sidecar_fails_the_picture_is_said_to_be_there(here, monkeypatch):
    def full(path, record):
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(api, "write_sidecar", full)
    with pytest.raises(MetaMusicError) as refusal:
        metamusic.generate_image("song.mp4", "x.png", sidecar=True, **SMALL)
    assert "x.json" in refusal.value.message and "x.png" in refusal.value.cure and (here / "x.png").is_file()


@pytest.mark.parametrize(("wish", "says"), [
    ({"story": "mystory.md"}, "does not end in .txt"), ({"lyrics": "words.docx"}, "does not end in .lrc or .srt"),
    ({"story": "a story"}, "does not end in .txt"), ({"lyrics": "https://x.org/a.lrc"}, "nothing is fetched"),
    ({"story": "https://x.org/story"}, "nothing is fetched"),
    ({"judges": "sketch:0.5:3"}, "The judge 'sketch:0.5:3'")])
def test_what_is_no_text_to_read_is_refused_with_what_is(here, wish, says):
    (here / "a story").write_text("0:00 sea")
    with pytest.raises(SettingsError, match=says) as refusal:
        metamusic.generate_image("song.mp4", "x.png", **wish, **SMALL)
    assert refusal.value.cure
