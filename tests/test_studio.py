"""The studio's verbs: refused early with a cure, or kept with everything decided."""

import errno
import json
import shutil
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from db import NewAsset, Store
from metamusic import studio
from metamusic.effort import effort
from metamusic.errors import (
    DiskFullError,
    MetaMusicError,
    PackError,
    PictureError,
    SettingsError,
    SongError,
    StoreError,
)
from metamusic.material import references
from metamusic.metadata import write_png
from metamusic.packs import PackInfo, check
from metamusic.settings import BUILT_IN_PRESETS, LARGEST_SEED, RenderSettings
from metamusic.song import Analysis, hash_file
from metamusic.video import ChunkEncoder

STILL = RenderSettings(seed=1, width=64, height=64, steps=3)


@pytest.fixture
def ask(store, tune, pack):
    return lambda settings=STILL, **more: studio.submit(store, tune, settings, **more)


def silence(path, seconds):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(b"\0\0" * int(16_000 * seconds))
    return path


# -- songs --------------------------------------------------------------------------------------------


def test_a_dropped_file_becomes_a_song_under_its_own_name(store, tune):
    row = studio.add_song(store, tune.read_bytes(), "../My Song.wav")
    assert row.title == "My Song" and row.duration_s == pytest.approx(3.0, abs=0.05)
    assert row.file.read_bytes() == tune.read_bytes()
    assert studio.add_song(store, tune).id == row.id, "the same file is the same song"
    assert list(store.files.tmp.iterdir()) == []


@pytest.mark.parametrize(("name", "content"), [
    ("words.mp3", b"these are only words\n" * 50), ("nothing.mp3", b""),
    ("torn.mp3", b"ID3\x03" + b"\0" * 400)])
def test_what_is_no_song_is_refused_by_its_name(store, name, content):
    with pytest.raises(SongError, match=name) as refusal:
        studio.add_song(store, content, name)
    assert refusal.value.cure and store.list_songs() == [] and list(store.files.tmp.iterdir()) == []


@pytest.mark.parametrize("name", ["音" * 100 + ".wav", "🎵" * 200 + ".wav", "a" * 300 + ".wav", "\ud800.wav"])
def test_a_name_of_any_length_keeps_its_suffix(store, tune, name):
    row = studio.add_song(store, tune.read_bytes(), name)
    assert row.file.suffix == ".wav" and row.file.is_file()


@pytest.mark.parametrize(("number", "error", "says"), [
    (errno.ENOSPC, DiskFullError, "no room"), (errno.EDQUOT, DiskFullError, "no room"),
    (errno.EIO, StoreError, "could not be written")])
def test_a_song_that_cannot_be_written_is_refused_with_a_cure(store, tune, monkeypatch, number, error, says):
    content = tune.read_bytes()

    def refuse(self, data):
        raise OSError(number, "refused")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(error, match=says) as refusal:
        studio.add_song(store, content, "Song.wav")
    assert type(refusal.value) is error and refusal.value.cure and list(store.files.tmp.iterdir()) == []


def test_too_short_a_song_is_refused(store, tmp_path):
    with pytest.raises(SongError, match="0.5 s"):
        studio.add_song(store, silence(tmp_path / "short.wav", 0.3))


def test_a_missing_file_is_refused(store, tmp_path):
    with pytest.raises(SongError, match="no file"):
        studio.add_song(store, tmp_path / "nowhere.mp3")


def test_an_analysis_is_computed_once(store, tune, monkeypatch):
    known = Analysis(3.0, 0.0, (), (0.1,), (0.5,), False)
    calls = []
    monkeypatch.setattr(studio.library, "analyse", lambda path: calls.append(path) or known)
    row = studio.add_song(store, tune)
    assert studio.analysis(store, row.id) == known == studio.analysis(store, row.id)
    assert len(calls) == 1
    store.set_analysis(row.id, {"from": "another version"})
    assert studio.analysis(store, row.id) == known and len(calls) == 2
    with pytest.raises(SongError, match="no song 99"):
        studio.analysis(store, 99)


def test_the_demo_song_is_composed_once(store, monkeypatch):
    from metamusic.sketch import demo

    monkeypatch.setattr(demo, "write_demo", lambda path: silence(path, 1.0))
    row = studio.demo_song(store)
    assert row.title == demo.TITLE
    monkeypatch.setattr(demo, "write_demo", lambda path: 1 / 0)
    assert studio.demo_song(store).id == row.id


# -- submitting ---------------------------------------------------------------------------------------


def test_what_is_left_open_is_decided_and_kept(ask, store):
    render = ask(STILL.changed(seed=None), preset="Draft", title="Sea")
    kept = studio.settings_of(render)
    assert kept.seed == render.seed and 0 <= render.seed <= LARGEST_SEED
    assert kept.init == "nearest", "the tiny pack has a bank"
    assert (render.title, render.preset, render.pack_digest) == ("Sea", "Draft", check("sketch").digest)
    assert render.versions == studio.versions() and ask(STILL.changed(seed=None)).seed != render.seed


def test_zero_is_a_seed_and_a_chosen_start_is_kept(ask):
    kept = studio.settings_of(ask(STILL.changed(seed=0, init="smooth")))
    assert (kept.seed, kept.init) == (0, "smooth")


def test_a_double_click_is_one_render(ask):
    assert ask(submit_key="k").id == ask(submit_key="k").id


@pytest.mark.parametrize(("change", "error", "says"), [
    ({"start": 2.8}, SongError, "3.0 s long"),
    ({"pack": "missing"}, PackError, "missing"),
    ({"text": ":0.5"}, SettingsError, "no text"),
])
def test_the_impossible_is_refused_before_anything_begins(ask, store, change, error, says):
    with pytest.raises(error, match=says) as refusal:
        ask(STILL.changed(**change))
    assert refusal.value.cure and store.list_renders().total == 0


def test_a_pack_that_cannot_do_it_is_refused():
    judge = PackInfo(name="judge", title="", space="s", licence="", files={}, perceptor={})
    with pytest.raises(PackError, match="no VQGAN"):
        studio.resolve(STILL, judge)
    with pytest.raises(PackError, match="no bank"):
        studio.resolve(STILL.changed(canvas="pixels", init="nearest"), judge)
    assert studio.resolve(STILL.changed(canvas="pixels"), judge).init == "random"


def test_too_full_a_disk_is_refused_with_a_cure(ask, store, monkeypatch):
    monkeypatch.setattr(store.files, "free_bytes", lambda: 1_000_000)
    with pytest.raises(DiskFullError, match="1 MB are free") as refusal:
        ask()
    assert refusal.value.cure and store.list_renders().total == 0


def test_a_song_that_is_gone_is_said_in_words(ask, store, tune):
    render = ask()
    with pytest.raises(SongError, match="no song 99"):
        studio.submit(store, 99, STILL)
    render.song.file.unlink()
    with pytest.raises(SongError, match="missing from the data folder"):
        studio.submit(store, render.song.id, STILL)


def test_a_claimed_render_is_in_the_hands_of_this_process(ask, store):
    render = ask(claim=True)
    assert render.state == "running" and store.claim_render("elsewhere/0:1:1:1") is None


# -- once more ----------------------------------------------------------------------------------------


def test_run_again_repeats_settings_seed_and_plan(ask, store):
    first = ask(STILL.changed(seed=None), title="Sea", preset="Fine")
    plan = {"device": "cpu", "threads": 1}
    store.set_plan(first.id, plan)
    again = studio.run_again(store, first.id)
    assert (again.settings, again.parent_id, again.plan) == (first.settings, first.id, plan)
    assert (again.title, again.preset, again.state) == ("Sea", "Fine", "queued")
    with pytest.raises(StoreError, match="no render 99"):
        studio.run_again(store, 99)


def test_what_differs_is_named_exactly(ask, store, monkeypatch):
    from metamusic.plan import choose_plan

    render = ask()
    assert any("never began" in sentence for sentence in studio.what_differs(store, render.id))
    now = choose_plan().to_dict()
    store.set_plan(render.id, now, versions=studio.versions())
    assert studio.what_differs(store, render.id) == []
    store.set_plan(render.id, {**now, "torch": "1.0"}, versions={**studio.versions(), "kornia": "0.1"},
                   pack_digest="f" * 64)
    weights, torch, kornia = studio.what_differs(store, render.id)
    assert weights == "The weights of pack 'sketch' are others now."
    assert torch == f"Torch: 1.0 then, {now['torch']} now."
    assert kornia == f"kornia: 0.1 then, {studio.versions()['kornia']} now."
    render.song.file.unlink()
    assert "The song's file is missing." in studio.what_differs(store, render.id)


def test_weights_that_are_missing_are_named_too(ask, store, monkeypatch, tmp_path):
    render = ask()
    monkeypatch.setenv("METAMUSIC_CHECKPOINTS", str(tmp_path))
    assert any("no pack 'sketch'" in sentence for sentence in studio.what_differs(store, render.id))


def test_settings_of_a_newer_metamusic_are_refused(store, ask):
    store.save_preset("Tomorrow", {**STILL.model_dump(), "version": 2})
    with pytest.raises(SettingsError, match="version 2"):
        studio.settings_of(store.list_presets()[0])


# -- presets and estimates ----------------------------------------------------------------------------


def test_presets_of_a_newer_metamusic_are_kept_and_named(store):
    studio.save_preset(store, "Night", STILL)
    store.save_preset("Tomorrow", {**STILL.model_dump(), "version": 2})
    assert list(studio.presets(store)) == [*BUILT_IN_PRESETS, "Night"]
    assert studio.presets(store)["Night"] == STILL
    assert list(studio.unreadable_presets(store)) == ["Tomorrow"]
    studio.delete_preset(store, "Tomorrow")
    assert studio.unreadable_presets(store) == {}
    with pytest.raises(SettingsError, match="own presets"):
        studio.save_preset(store, "Draft", STILL)


def test_an_estimate_is_a_guess_until_there_are_past_renders(ask, store):
    guess = studio.estimate(store, STILL, 3.0)
    assert not guess.measured and guess.seconds > 0
    render = ask(claim=True)
    store.finish(render.id, render.worker, "done", seconds=30.0)
    measured = studio.estimate(store, STILL, 3.0)
    assert measured.measured and measured.seconds == pytest.approx(30.0)
    assert studio.estimate(store, STILL.changed(steps=6), 3.0).seconds == pytest.approx(60.0)
    assert not studio.estimate(store, STILL.changed(kind="video"), 3.0).measured


def test_effort_adds_up_and_never_falls():
    for settings, frames in ((RenderSettings(), 1), (RenderSettings(kind="video", steps_per_frame=3), 24)):
        steps = settings.steps + (frames - 1) * settings.steps_per_frame
        so_far = [effort(settings, frames, step) for step in range(steps + 1)]
        assert so_far[0] == 0 and so_far[-1] == pytest.approx(effort(settings, frames))
        assert all(a < b for a, b in zip(so_far, so_far[1:], strict=False))


# -- the store's complaints ---------------------------------------------------------------------------


def test_the_data_folder_is_the_one_that_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("METAMUSIC_HOME", str(tmp_path / "here"))
    monkeypatch.setenv("METAMUSIC_DATABASE_URL", f"sqlite:///{tmp_path / 'other.sqlite3'}")
    store = studio.open_store()
    store.close()
    assert (tmp_path / "other.sqlite3").exists() and (tmp_path / "here" / "blobs").is_dir()


@pytest.mark.parametrize("verb", [studio.cancel, studio.continue_render, studio.trash, studio.restore])
def test_a_render_that_is_not_there_is_said_in_words(store, verb):
    with pytest.raises(StoreError, match="no render 99"):
        verb(store, 99)


def test_the_verbs_pass_on_what_the_store_did(ask, store):
    render = ask()
    assert studio.cancel(store, render.id).state == "cancelled"
    assert studio.continue_render(store, render.id).state == "queued"
    assert studio.trash(store, render.id).deleted_at and not studio.restore(store, render.id).deleted_at


def test_a_data_folder_that_is_in_the_way_is_said_in_words(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("METAMUSIC_HOME", str(tmp_path / "file"))
    with pytest.raises(MetaMusicError):
        studio.open_store()


# -- pictures -----------------------------------------------------------------------------------------


@pytest.fixture
def picture(tmp_path):
    """A picture of one colour as a file."""
    def picture(name="sea.png", colour=(0, 0, 255), size=(12, 8)):
        Image.new("RGB", size, colour).save(tmp_path / name)
        return tmp_path / name
    return picture


@pytest.fixture
def made(store, ask, tmp_path, picture):
    """A render that is done, with a picture (or a film) as its output."""
    def made(kind="image", trashed=False):
        render = ask(STILL.changed(kind=kind), claim=True)
        file = store.files.work_folder(render.id) / ("final.png" if kind == "image" else "final.mp4")
        if kind == "image":
            picture(size=(20, 10)).rename(file)
        else:
            with ChunkEncoder(file, 32, 16, 12, 1) as encoder:
                for shade in (0, 100, 200):
                    encoder.write(np.full((16, 32, 3), shade, np.uint8))
        store.finish(render.id, render.worker, "done", assets=[NewAsset("final", file, "image/png", 20, 10)])
        return store.trash(render.id) if trashed else store.get_render(render.id)
    return made


def test_a_dropped_picture_is_kept_as_it_came(store, picture):
    path = picture("My sea.jpg")
    row = studio.add_picture(store, path.read_bytes(), "../My sea.jpg")
    assert (row.name, row.width, row.height, row.file.suffix) == ("My sea.jpg", 12, 8, ".jpg")
    assert row.file.read_bytes() == path.read_bytes()
    assert studio.add_picture(store, path) == row, "the same file is the same picture"
    assert list(store.files.tmp.iterdir()) == []


def test_the_content_and_not_the_name_says_what_a_picture_is(store, picture):
    row = studio.add_picture(store, picture().read_bytes(), "page.html")
    assert row.file.suffix == ".png" and row.name == "page.html"


@pytest.mark.parametrize("content", [b"", b"only words", b"<svg/>", b"\x89PNG\r\n\x1a\n" + b"\0" * 99])
def test_what_is_no_picture_is_refused_by_its_name_and_not_kept(store, content):
    with pytest.raises(PictureError, match="words.png") as refusal:
        studio.add_picture(store, content, "words.png")
    assert refusal.value.cure and store.list_pictures() == [] and list(store.files.tmp.iterdir()) == []


@pytest.mark.parametrize("name", ["雨" * 100 + ".png", "a" * 300 + ".png", "\ud800.png"])
def test_a_picture_may_have_any_name(store, picture, name):
    assert studio.add_picture(store, picture().read_bytes(), name).file.is_file()


def test_files_become_digests_and_their_pixels_reach_the_worker(ask, store, picture, monkeypatch, tmp_path):
    sea, fox = picture("sea.png"), picture("fox.png", (255, 128, 0))
    monkeypatch.chdir(tmp_path)
    render = ask(STILL.changed(image_prompts=f"sea.png:0.5 | {fox}:-1 @ [sea.png]", target="fox.png",
                               text="a storm @ -[sea.png]", story="an owl @ [fox.png]"), paths_allowed=True)
    kept = studio.settings_of(render)
    digests = [hash_file(sea), hash_file(fox)]
    assert references(kept) == digests and {row.name for row in store.list_pictures()} == {"sea.png", "fox.png"}
    sea.unlink()
    material = studio.material_of(store, kept)
    assert [material.get(digest)[0, 0].tolist() for digest in digests] == [[0, 0, 255], [255, 128, 0]]
    assert studio.settings_of(studio.run_again(store, render.id)) == kept
    store.get_picture(digests[0]).file.unlink()
    assert any("'sea.png'" in sentence for sentence in studio.what_differs(store, render.id))
    with pytest.raises(PictureError, match="not in this data folder"):
        studio.material_of(store, kept)


def test_a_picture_larger_than_any_canvas_is_shown_to_the_engine_smaller(store, picture):
    row = studio.add_picture(store, picture(size=(5000, 100)))
    material = studio.material_of(store, STILL.changed(target=row.digest))
    assert material.get(row.digest).shape == (82, 4096, 3) and row.width == 5000


@pytest.mark.parametrize("change", [{"target": "{file}"}, {"image_prompts": "{file}:0.5"}, {"text": "x @ [{file}]"},
                                    {"story": "0:00 x @ [{file}]"}, {"target": "/etc/passwd"},
                                    {"target": "~/secret.png"}])
def test_who_comes_over_a_network_cannot_name_files_of_the_server(ask, store, picture, change):
    (setting, value), = change.items()
    with pytest.raises(PictureError, match=f"{setting} names a file of this computer") as refusal:
        ask(STILL.changed(**{setting: value.format(file=picture())}))
    assert "Drop the picture" in refusal.value.cure and store.list_pictures() == []


@pytest.mark.parametrize("setting", ["lyrics", "story"])
def test_who_comes_over_a_network_cannot_read_texts_of_the_server(ask, store, tmp_path, setting):
    (tmp_path / "words.txt").write_text("0:01,hello")
    with pytest.raises(SettingsError, match=f"{setting} names a file of this computer"):
        ask(STILL.changed(**{setting: str(tmp_path / "words.txt")}))
    assert store.list_renders().total == 0


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("address", ["http://localhost:9/x.png", "https://x.org/y.png:z", "file:///etc/passwd",
                                     "data:image/png;base64,AAAA"])
def test_nothing_is_fetched_from_a_network(ask, store, address, allowed):
    with pytest.raises(PictureError, match="nothing is fetched") as refusal:
        ask(STILL.changed(target=address), paths_allowed=allowed)
    assert "Save the picture" in refusal.value.cure


@pytest.mark.parametrize(("reference", "says"), [
    ("#99", "no render 99"), ("nowhere.png", "no file 'nowhere.png'"), ("{text}", "'words.png' is no picture"),
    ("ab" * 32, "abababababab... that target names is not")])
def test_a_picture_that_cannot_be_had_is_refused_before_anything_is_queued(ask, store, tmp_path, reference, says):
    (tmp_path / "words.png").write_text("these are only words")
    with pytest.raises(PictureError, match=says) as refusal:
        ask(STILL.changed(target=reference.format(text=tmp_path / "words.png")), paths_allowed=True)
    assert refusal.value.cure and store.list_renders().total == 0


@pytest.mark.parametrize("trashed", [False, True])
def test_the_picture_of_a_render_is_named_by_its_number(ask, store, made, trashed):
    past = made(trashed=trashed)
    render = ask(STILL.changed(image_prompts=f"#{past.id}:0.5"))
    digest, = references(studio.settings_of(render))
    assert digest == past.assets["final"].digest and render.parent_id is None
    assert store.get_picture(digest).name == f"render {past.id}"


def test_of_a_film_its_last_frame_is_taken(ask, store, made):
    past = made("video")
    kept = studio.settings_of(ask(STILL.changed(target=f"#{past.id}")))
    pixels = studio.material_of(store, kept).get(kept.target)
    assert pixels.shape == (16, 32, 3) and np.abs(pixels.astype(int) - 200).max() <= 3


def test_a_render_that_has_made_nothing_yet_has_no_picture(ask, store):
    waiting = ask()
    with pytest.raises(PictureError, match=f"Render {waiting.id} has made no picture yet: it is queued"):
        ask(STILL.changed(target=f"#{waiting.id}"))
    with pytest.raises(PictureError, match="no picture yet"):
        studio.continue_from(store, waiting.id)


def test_painting_goes_on_from_a_render(ask, store, made):
    past = made()
    settings = studio.continue_from(store, past.id)
    assert (settings.init, settings.init_image, settings.seed) == ("image", f"#{past.id}", None)
    store.set_plan(past.id, {"device": "cpu", "threads": 1})
    render = ask(settings)
    kept = studio.settings_of(render)
    assert kept.init_image == past.assets["final"].digest and kept.seed is not None
    assert render.parent_id == past.id and render.plan is None, "it is no repetition"
    assert ask(settings, parent_id=made().id).parent_id != past.id, "who says otherwise is heard"
    with pytest.raises(StoreError, match="no render 99"):
        studio.continue_from(store, 99)


def test_a_picture_to_start_from_and_the_kind_of_start_must_agree(store, picture):
    info, digest = check_pack(), "ab" * 32
    assert studio.resolve(STILL.changed(init_image=digest), info).init == "image"
    assert studio.resolve(STILL.changed(init_image=digest, init="image", canvas="pixels"), info).init == "image"
    with pytest.raises(SettingsError, match="init_image names none"):
        studio.resolve(STILL.changed(init="image"), info)
    with pytest.raises(SettingsError, match="but init is random"):
        studio.resolve(STILL.changed(init="random", init_image=digest), info)


def test_pictures_of_one_store_can_be_carried_into_another(store, made, picture, tmp_path):
    past, row = made(), studio.add_picture(store, picture("fox.png"))
    settings = STILL.changed(target=f"#{past.id}", image_prompts=f"{row.digest} | other.png")
    assert studio.names_kept_pictures(settings) and not studio.names_kept_pictures(STILL.changed(target="x.png"))
    other = Store.open(tmp_path / "other")
    carried = studio.carry_pictures(settings, store, other)
    assert carried.target == past.assets["final"].digest and carried.image_prompts == settings.image_prompts
    assert {kept.digest for kept in other.list_pictures()} == {row.digest, past.assets["final"].digest}
    other.close()


def check_pack():
    return PackInfo(name="p", title="", space="s", licence="", files={}, perceptor={}, vqgan={})


# -- texts, judges ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "content"), [
    ("song.lrc", "[0:01.00] hello\n[0:02.00] darkness\n"),
    ("song.SRT", "1\n00:00:01,000 --> 00:00:02,000\nhello\n"), ("a song.csv", "0:01,hello\n"),
    ("x.txt", "0:01,hello\n")])
def test_lyrics_in_a_file_are_read(ask, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    kept = studio.settings_of(ask(STILL.changed(lyrics=str(tmp_path / name)), paths_allowed=True))
    assert kept.lyrics == content


def test_a_story_in_a_file_is_read(ask, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("story.txt").write_bytes("0:00 ein Sturm über See\n0:02 雨\n".encode("utf-16"))
    kept = studio.settings_of(ask(STILL.changed(story=" story.txt "), paths_allowed=True))
    assert kept.story == "0:00 ein Sturm über See\n0:02 雨\n"


@pytest.mark.parametrize(("setting", "text"), [
    ("lyrics", "0:12,see readme.txt"), ("lyrics", "[0:12]see readme.txt"), ("story", "0:00 a letter.txt"),
    ("story", "a poster with http://x.org on it"), ("story", "0:00 dunes.md")])
def test_a_text_that_only_looks_like_a_name_stays_a_text(ask, setting, text):
    for allowed in (True, False):
        kept = studio.settings_of(ask(STILL.changed(**{setting: text}), paths_allowed=allowed))
        assert getattr(kept, setting) == text


@pytest.mark.parametrize(("change", "says"), [
    ({"lyrics": "nowhere.lrc"}, "nowhere.lrc"), ({"story": "nowhere.txt"}, "nowhere.txt"),
    ({"story": "binary.txt"}, "not text"), ({"story": "long.txt"}, "8000"), ({"lyrics": "long.txt"}, "60,000"),
    ({"lyrics": "plain.txt"}, "line|Line")])
def test_texts_that_cannot_be_read_are_refused(ask, store, tmp_path, monkeypatch, change, says):
    monkeypatch.chdir(tmp_path)
    Path("binary.txt").write_bytes(b"\xff\xfa\xfb\0")
    Path("long.txt").write_text("0:01 line\n" * 30_000)
    Path("plain.txt").write_text("words without a time\n")
    with pytest.raises(SettingsError, match=says) as refusal:
        ask(STILL.changed(**change), paths_allowed=True)
    assert refusal.value.cure and store.list_renders().total == 0


@pytest.mark.parametrize(("change", "error", "says"), [
    ({"image_prompts": ":0.5"}, SettingsError, "no text"), ({"text": "x @ []"}, SettingsError, "square brackets"),
    ({"text": "x:(nonsense)"}, SettingsError, "nonsense"), ({"story": "0:00 x {colour=1}"}, SettingsError, "colour"),
    ({"lyrics": "words"}, SettingsError, "1"), ({"noise_prompts": "7:0.5 | -1"}, SettingsError, "'-1' is not a seed"),
    ({"noise_prompts": "1.5"}, SettingsError, "seed"), ({"noise_prompts": "٣"}, SettingsError, "seed"),
    ({"noise_prompts": str(2**32)}, SettingsError, "4294967295"), ({"noise_prompts": "7:x"}, SettingsError, "7:x"),
    ({"judges": "unknown:0.5"}, PackError, "unknown"), ({"judges": "sketch | sketch:2"}, SettingsError, "twice")])
def test_wishes_that_cannot_be_read_are_refused_before_anything_is_queued(ask, store, change, error, says):
    with pytest.raises(error, match=says) as refusal:
        ask(STILL.changed(**change))
    assert refusal.value.cure and store.list_renders().total == 0


def test_wishes_that_can_be_read_pass(ask):
    ask(STILL.changed(noise_prompts="0:0.5 | 4294967295", judges="sketch:0.5", text="a:(2*bass):0.1 @ -sky"))


def test_a_judge_whose_weights_changed_is_named(ask, store, judge):
    render = ask(STILL.changed(judges="judge:0.5"))
    assert render.versions == {**studio.versions(), "judge judge": check("judge").digest[:16]}
    assert not any("judge" in sentence for sentence in studio.what_differs(store, render.id))
    store.set_plan(render.id, {"device": "cpu", "threads": 1}, versions={**render.versions, "judge judge": "0" * 16})
    assert "The weights of judge 'judge' are others now." in studio.what_differs(store, render.id)
    shutil.rmtree(judge)
    assert any("no pack 'judge'" in sentence for sentence in studio.what_differs(store, render.id))


@pytest.fixture
def judge(tiny_checkpoints, tmp_path, monkeypatch):
    """A second pack beside the first, with settings that suit it; gives its folder."""
    folder = tmp_path / "checkpoints"
    for name in ("sketch", "judge"):
        shutil.copytree(tiny_checkpoints / "sketch", folder / name)
    manifest = json.loads((folder / "judge" / "pack.json").read_text())
    manifest |= {"name": "judge", "defaults": {"steps": 7, "init": "random"}}
    (folder / "judge" / "pack.json").write_text(json.dumps(manifest))
    monkeypatch.setenv("METAMUSIC_CHECKPOINTS", str(folder))
    return folder / "judge"


def test_what_suits_a_pack_is_asked_of_the_pack(judge):
    assert studio.defaults_for("judge") == {"steps": 7, "init": "random"}
    assert studio.defaults_for("sketch") == {} == studio.defaults_for("unknown")


def test_flags_win_over_the_file_the_file_over_the_preset_and_that_over_the_pack(store, judge, tmp_path):
    from metamusic.api import _settings
    from metamusic.cli import gather_settings

    studio.save_preset(store, "Ours", RenderSettings(pack="judge", cutouts=5, width=128, height=128))
    store.save_preset("Bare", {"pack": "judge", "cutouts": 5, "width": 128})
    (tmp_path / "s.json").write_text('{"width": 96, "height": 80}')
    found = gather_settings("image", tmp_path / "s.json", "Bare", {"height": 64, "seed": None})
    assert (found.steps, found.init, found.cutouts, found.width, found.height) == (7, "random", 5, 96, 64)
    assert gather_settings("image", None, "Bare", {"pack": "sketch"}).steps == RenderSettings().steps
    assert gather_settings("video", None, None, {"pack": "judge", "steps": 9}).steps == 9
    assert gather_settings("image", None, "Ours", {}).steps == RenderSettings().steps, "a whole preset says all"
    assert _settings("image", {"pack": "judge", "target": tmp_path / "t.png"}).steps == 7


def test_who_names_a_picture_to_start_from_means_it():
    assert studio.layered({"init": "random", "steps": 3}, {"init_image": "a.png"}) == {
        "init": "image", "init_image": "a.png", "steps": 3}
    assert studio.layered({"init": "image", "init_image": "a.png"}, {"init": "smooth"}) == {"init": "smooth"}
    assert studio.layered({"init": "image", "init_image": "a.png"}, {"init_image": "b.png"})["init_image"] == "b.png"
    assert studio.layered({"init": "random"}, {"init_image": ""}) == {"init": "random", "init_image": ""}
    both = {"init": "random", "init_image": "a.png"}  # said in one breath: for `resolve` to refuse
    assert studio.layered(both) == both


def test_settings_come_out_of_what_was_dropped(store, tmp_path):
    pixels = np.zeros((4, 4, 3), np.uint8)
    write_png(pixels, tmp_path / "p.png", {"settings": STILL.model_dump(mode="json")})
    assert studio.settings_from(store, tmp_path / "p.png") == STILL
    assert studio.settings_from(store, (tmp_path / "p.png").read_bytes(), "x.png") == STILL
    with pytest.raises(SettingsError, match="'x.json'"):
        studio.settings_from(store, b"words", "x.json")


# -- the commit ---------------------------------------------------------------------------------------

A, B = "a" * 40, "b" * 40


def written(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(("files", "expected"), [
    ({"HEAD": f"{A}\n"}, A),
    ({"HEAD": "ref: refs/heads/main\n", "refs__heads__main": f"{A}\n"}, A),
    ({"HEAD": "ref: refs/heads/main\n",
      "packed-refs": f"# pack-refs\n{B} refs/heads/xmain\n{A} refs/heads/main\n^{B}\n"}, A),
    ({"HEAD": "ref: refs/heads/main\n", "refs__heads__main": f"{A}\n", "packed-refs": f"{B} refs/heads/main\n"}, A),
    ({"HEAD": "ref: refs/heads/unborn\n"}, ""), ({"HEAD": "ref: refs/heads/unborn\n", "packed-refs": "\n"}, ""),
    ({"HEAD": ""}, ""), ({}, "")])
def test_the_commit_is_read_from_gits_own_files(tmp_path, files, expected):
    written(tmp_path / ".git", **files)
    assert studio.commit_of(tmp_path) == expected


def test_the_commit_of_a_worktree_is_its_own(tmp_path):
    main = written(tmp_path / "main" / ".git", HEAD="ref: refs/heads/main", refs__heads__main=A,
                   refs__heads__side=B, worktrees__side__HEAD="ref: refs/heads/side\n",
                   worktrees__side__commondir="../..\n")
    written(tmp_path / "side", **{".git": f"gitdir: {main}/worktrees/side\n"})
    written(tmp_path / "near", **{".git": "gitdir: ../main/.git/worktrees/side\n"})
    assert studio.commit_of(tmp_path / "side") == studio.commit_of(tmp_path / "near") == B
    assert studio.commit_of(tmp_path / "nowhere") == "" and "commit" in studio.versions()


@pytest.mark.parametrize(("gigabytes", "side"), [(141, 512), (24, 512), (10, 480), (8, 416), (4, 288), (1, 128)])
def test_a_packs_size_is_what_the_memory_allows(monkeypatch, tmp_path, tiny_checkpoints, gigabytes, side):
    """The published f16 VQGAN's shape; what VQGAN-CLIP reported for it: 380 px in 8 GB, 512 px in 10 GB."""
    import json
    import shutil

    from metamusic import plan

    shutil.copytree(tiny_checkpoints / "sketch", tmp_path / "sketch")
    manifest = tmp_path / "sketch" / "pack.json"
    values = json.loads(manifest.read_text())
    values["vqgan"] |= {"ch": 128, "ch_mult": [1, 1, 2, 2, 4], "num_res_blocks": 2, "unshuffle": 1}
    values["defaults"] = {"width": 512, "height": 512, "cutouts": 32}
    manifest.write_text(json.dumps(values))
    monkeypatch.setenv("METAMUSIC_CHECKPOINTS", str(tmp_path))
    monkeypatch.setattr(plan, "device_memory", lambda: gigabytes * 2**30)
    chosen = studio.defaults_for("sketch")
    assert chosen["width"] == chosen["height"] and chosen["cutouts"] == 32
    assert abs(chosen["width"] - side) <= 64


@pytest.mark.parametrize(("canvas", "size", "painted"),
                         [("vqgan", 130, 128), ("pixels", 131, 130), ("vqgan", 128, 128)])
def test_the_painted_size_is_known_before_the_render(pack, canvas, size, painted):
    settings = RenderSettings(canvas=canvas, width=size, height=size)
    assert studio.painted_size(settings) == (painted, painted)


def test_a_first_guess_knows_that_the_published_clip_is_larger():
    from metamusic.effort import seconds_per_look
    from metamusic.perceptor import SKETCH, WAV2CLIP

    assert 3 < seconds_per_look(WAV2CLIP.to_dict()) / seconds_per_look(SKETCH.to_dict()) < 30
