"""The product with its own weights: a song in, a picture and a film out, from Python and from the shell."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import metamusic
from metamusic import packs
from metamusic.cutouts import CUTOUTS
from metamusic.errors import MetaMusicError
from metamusic.events import Started, Step
from metamusic.metadata import read_png, read_record, read_settings, read_video
from metamusic.render import render
from metamusic.settings import CHECKOUT, RenderSettings
from metamusic.song import load_song
from metamusic.video import check_in_step, decode_frames, probe_video

SMALL = {"width": 96, "height": 96, "steps": 12, "cutouts": 6}


@pytest.fixture(scope="module")
def song(tmp_path_factory) -> Path:
    """The demo song, as the first-run gallery offers it."""
    from metamusic.sketch.demo import write_demo

    path = tmp_path_factory.mktemp("song") / "demo song.wav"
    write_demo(path)
    return path


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Every test has a data folder of its own."""
    monkeypatch.setenv("METAMUSIC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("METAMUSIC_DATABASE_URL", raising=False)


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    """`python -m metamusic ...` as a user runs it, from a folder that is not the checkout."""
    return subprocess.run(
        [sys.executable, "-m", "metamusic", *map(str, arguments)], capture_output=True, text=True, timeout=300,
        cwd=os.environ["METAMUSIC_HOME"] if Path(os.environ["METAMUSIC_HOME"]).is_dir() else "/",
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), **environment})


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("method", CUTOUTS)
def test_painting_brings_the_picture_nearer_to_what_is_heard(song, method):
    settings = RenderSettings(seed=3, cut_method=method, steps=25, coarse_share=0, init="smooth",
                              width=96, height=96, cutouts=8, init_pull=0)
    events = list(render(load_song(song, 0, 4), settings, packs.load("sketch")))
    audio = [event.losses["audio"] for event in events if isinstance(event, Step)]
    assert np.mean(audio[-4:]) < 0.9 * np.mean(audio[:4])


def test_a_picture_carries_its_settings_and_they_give_it_again(song, tmp_path):
    first = metamusic.generate_image(song, tmp_path / "one.png", text="a calm sea:0.5", **SMALL)
    assert pixels(first.path).shape == (96, 96, 3) and pixels(first.path).std() > 5
    assert first.settings.seed is not None and set(first.scores) == {"audio", "text 1: a calm sea"}
    record = read_png(first.path)
    settings = RenderSettings.parse(record["settings"])
    assert settings == first.settings
    again = metamusic.generate_image(song, tmp_path / "two.png", **settings.model_dump(exclude={"kind"}))
    assert np.array_equal(pixels(first.path), pixels(again.path))
    other = metamusic.generate_image(song, tmp_path / "three.png", **SMALL, seed=1 + first.settings.seed % 1000)
    assert not np.array_equal(pixels(first.path), pixels(other.path))


def test_a_two_second_film_is_in_step_with_its_sound(song, tmp_path):
    events = []
    film = metamusic.generate_video(song, tmp_path / "film.mp4", duration=2.0, start=1.0, fps=6, chunk=0.5,
                                    steps_per_frame=1, seed=0, on_event=events.append, sidecar=True, **SMALL)
    facts = probe_video(film.path)
    assert (facts.frames, facts.fps, facts.width, facts.height) == (12, 6, 96, 96) and facts.has_audio
    check_in_step(film.path, 6)
    assert RenderSettings.parse(read_video(film.path)["settings"]) == film.settings
    assert read_settings(tmp_path / "film.json") == film.settings == read_settings(film.path)
    assert next(e for e in events if isinstance(e, Started)).frames == 12
    frames = np.stack(list(decode_frames(film.path))).astype(int)
    assert len(frames) == 12 and np.abs(np.diff(frames, axis=0)).mean() > 0.2


def test_without_keep_nothing_enters_the_store(song, tmp_path):
    result = metamusic.generate_image(song, tmp_path / "out.png", keep=False, **SMALL)
    assert result.render_id is None and result.path.is_file()
    assert not (tmp_path / "home").exists()


def test_the_command_line_makes_a_picture_and_keeps_it(song, tmp_path):
    out = tmp_path / "from shell.png"
    run = command("image", song, "-o", out, "--steps", 8, "--width", 96, "--height", 64, "--seed", 0)
    assert run.returncode == 0, run.stderr
    assert pixels(out).shape == (64, 96, 3) and "kept as render" in run.stderr
    from metamusic import studio

    (row,) = studio.open_store().list_renders().rows
    assert row.state == "done" and row.seed == 0 and row.settings["width"] == 96


def test_a_settings_file_and_flags_go_together(song, tmp_path):
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"steps": 6, "width": 96, "height": 96, "seed": 7}))
    run = command("image", song, "-o", tmp_path / "a.png", "--settings", file, "--height", 64, "--no-keep")
    assert run.returncode == 0, run.stderr
    settings = read_png(tmp_path / "a.png")["settings"]
    assert (settings["steps"], settings["width"], settings["height"], settings["seed"]) == (6, 96, 64, 7)


@pytest.mark.parametrize(("arguments", "culprit"), [
    (["image", "missing.mp3", "-o", "x.png"], "missing.mp3"),
    (["image", "{song}", "-o", "x.gif"], ".png, .jpg or .jpeg"),
    (["video", "{song}", "-o", "x.png"], ".mp4"),
    (["image", "{song}", "-o", "x.png", "--settings", "{text}"], "notes.mp3"),
    (["image", "{song}", "-o", "x.png", "--settings", "nowhere.png"], "no such file"),
    (["image", "{song}", "-o", "x.png", "--target", "nowhere.png"], "nowhere.png"),
    (["image", "{song}", "-o", "x.png", "--init-image", "{text}"], "no picture"),
    (["image", "{song}", "-o", "x.png", "--init", "image"], "init_image"),
    (["image", "{song}", "-o", "x.png", "--image-prompts", "#99"], "render 99"),
    (["image", "{song}", "-o", "x.png", "--image-prompts", "https://x.org/a.png"], "network"),
    (["image", "{song}", "-o", "x.png", "--lyrics", "nowhere.lrc"], "nowhere.lrc"),
    (["image", "{song}", "-o", "x.png", "--story", "0:00 a {{colour=1}}"], "colour"),
    (["image", "{song}", "-o", "x.png", "--judges", "sketch | sketch"], "twice"),
    (["settings", "--from", "{text}"], "notes.mp3"),
    (["image", "{song}", "-o", "no/such/folder/x.png"], "folder"),
    (["image", "{song}", "-o", "x.png", "--width", "0"], "width"),
    (["image", "{song}", "-o", "x.png", "--width", "10000"], "width"),
    (["image", "{song}", "-o", "x.png", "--width", "wide"], "--width"),
    (["image", "{song}", "-o", "x.png", "--optimiser", "sgd"], "optimiser"),
    (["image", "{song}", "-o", "x.png", "--text", ":0.5"], "no text"),
    (["image", "{song}", "-o", "x.png", "--pack", "unknown"], "unknown"),
    (["image", "{song}", "-o", "x.png", "--preset", "Nothing"], "Nothing"),
    (["image", "{song}", "-o", "x.png", "--settings", "{bad}"], "colour"),
    (["image", "{song}", "-o", "x.png", "--start", "9999"], "start"),
    (["image", "{text}", "-o", "x.png"], "notes.mp3"),
])
def test_a_users_mistake_is_one_sentence_and_status_2(song, tmp_path, arguments, culprit):
    (tmp_path / "home").mkdir()
    bad, text = tmp_path / "bad.json", tmp_path / "notes.mp3"
    bad.write_text('{"colour": "red"}')
    text.write_text("These are notes, not music.\n" * 50)
    run = command(*(a.format(song=song, bad=bad, text=text) for a in arguments))
    assert run.returncode == 2, run.stderr
    assert culprit in run.stderr and "Traceback" not in run.stderr
    assert run.stdout == "" and not list(tmp_path.glob("home/x.*"))


def test_python_refuses_with_the_same_words(song, tmp_path):
    with pytest.raises(MetaMusicError) as refusal:
        metamusic.generate_video(song, tmp_path / "x.mp4", width=10_000)
    assert "width" in refusal.value.message and refusal.value.cure


def test_settings_print_as_json():
    run = command("settings")
    assert RenderSettings.from_json(run.stdout) == RenderSettings()


def test_pictures_lyrics_and_a_story_go_in_from_the_shell_and_come_back_out_of_a_jpeg(song, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    Image.fromarray(np.dstack(np.broadcast_arrays(ramp[:, None], ramp, 255 - ramp))).save(home / "sea pic.png")
    (home / "words.lrc").write_text("[0:00.00] hello darkness\n[0:02.00] my old friend\n")
    (home / "story.txt").write_text("0:00 an owl\n0:02 a fox {audio_weight=0.5}\n")
    first = command("image", song, "-o", "one.jpg", "--sidecar", "--steps", 6, "--width", 96, "--height", 96,
                    "--cutouts", 4, "--image-prompts", "sea pic.png:0.5 @ left", "--target", "sea pic.png",
                    "--init-image", "sea pic.png", "--lyrics", "words.lrc", "--story", "story.txt")
    assert first.returncode == 0, first.stderr
    record = read_record(home / "one.jpg")
    settings = RenderSettings.parse(record["settings"])
    assert settings.lyrics.startswith("[0:00.00] hello") and "a fox" in settings.story
    assert settings.init == "image" and settings.target == settings.init_image and len(settings.target) == 64
    assert json.loads((home / "one.json").read_text(encoding="utf-8")) == record
    assert pixels(home / "one.jpg").shape == (96, 96, 3) and "commit" in record["versions"]
    printed = command("settings", "--from", "one.jpg")
    assert RenderSettings.from_json(printed.stdout) == settings
    again = command("image", song, "-o", "two.jpg", "--settings", "one.json")
    assert again.returncode == 0, again.stderr
    assert np.array_equal(pixels(home / "one.jpg"), pixels(home / "two.jpg"))
    onward = command("image", song, "-o", "three.png", "--settings", "one.jpg", "--init-image", "#1", "--no-keep",
                     "--target", "")
    assert onward.returncode == 0, onward.stderr
    from metamusic import studio

    store = studio.open_store()
    assert store.list_renders().total == 2 and len(store.list_pictures()) == 2
    store.close()
    elsewhere = command("image", song, "-o", tmp_path / "four.png", "--settings", home / "one.jpg",
                        METAMUSIC_HOME=str(tmp_path / "other"))
    assert elsewhere.returncode == 2 and settings.target[:12] in elsewhere.stderr
    assert "not in this data folder" in elsewhere.stderr and "image_prompts" in elsewhere.stderr
