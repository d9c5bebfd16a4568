"""The studio's verbs: refused early with a cure, or kept with everything decided."""

import errno
import wave
from pathlib import Path

import pytest

from metamusic import studio
from metamusic.effort import effort
from metamusic.errors import DiskFullError, MetaMusicError, PackError, SettingsError, SongError, StoreError
from metamusic.packs import PackInfo, check
from metamusic.settings import LARGEST_SEED, RenderSettings
from metamusic.song import Analysis

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
    monkeypatch.setattr(studio, "analyse", lambda path: calls.append(path) or known)
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
    assert list(studio.presets(store)) == ["Draft", "Standard", "Fine", "Night"]
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
