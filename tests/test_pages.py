"""Each page by itself, in process: what it shows for what the store holds."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.requests import Request
from starlette.responses import Response
from streamlit.testing.v1 import AppTest

from db import DiskFull, NewAsset, RenderRow, SongRow, Store
from metamusic import studio
from metamusic.errors import SongError
from metamusic.settings import CHECKOUT, RenderSettings, knobs
from pages.parts import background, filters, media, numbers, sections, songs, words
from pages.parts import store as pages_store

WORKER = "elsewhere:1"
HEARD = {"duration_s": 3.0, "tempo": 120.0, "beats": [0.5, 1.0, 1.5, 2.0, 2.5], "loudness": [0.5] * 30,
         "peaks": [0.5] * 1200, "silent": False}


@dataclass
class World:
    """A store with a song, and a way to hang pictures."""

    store: Store
    song: SongRow

    def hang(self, **settings) -> RenderRow:
        """A finished picture."""
        row = self.order(**settings)
        folder = self.store.files.tmp
        pixels = np.full((64, 96, 3), row.id * 20 % 255, np.uint8)
        Image.fromarray(pixels).save(folder / "final.png")
        Image.fromarray(pixels).save(folder / "thumb.webp")
        losses = [[step, 1 / step] for step in range(1, 11)]
        self.store.report(row.id, WORKER, {"step": 10, "steps": 10, "losses": losses})
        self.store.finish(row.id, WORKER, "done", seconds=12.0, assets=[
            NewAsset("final", folder / "final.png", "image/png", 96, 64),
            NewAsset("thumb", folder / "thumb.webp", "image/webp", 96, 64)])
        return self.store.get_render(row.id)

    def order(self, **settings) -> RenderRow:
        """A render that a worker has in hand."""
        row = studio.submit(self.store, self.song.id, RenderSettings(width=96, height=64, **settings))
        return self.store.claim_render(WORKER, render_id=row.id)


@pytest.fixture
def world(store, pack, tune, monkeypatch):
    """A store without a worker, which the pages find."""
    monkeypatch.setenv(pages_store.WORKER, "off")
    monkeypatch.delenv(media.SERVED, raising=False)
    pages_store.open_store.clear()
    song = studio.add_song(store, tune)
    store.set_analysis(song.id, HEARD)  # what librosa would say after half a minute of warming up
    yield World(store, store.get_song(song.id))
    pages_store.open_store().close()
    pages_store.open_store.clear()


def page(path: str | None = None, **query: str) -> AppTest:
    """The app at one of its pages."""
    app = AppTest.from_file(str(CHECKOUT / "app.py"), default_timeout=60)
    app.query_params.update(query)
    app.run()
    if path:
        app.switch_page(path).run()
    assert not app.exception, [error.message for error in app.exception]
    return app


def tiles_of(app: AppTest) -> list[dict]:
    """The pictures on the wall."""
    return json.loads(app.get("bidi_component")[0].proto.json)["items"]


def html_of(app: AppTest) -> str:
    """All that the page says in HTML of its own."""
    return " ".join(block.value for block in app.get("html"))


def test_the_studio_of_a_first_run_offers_a_place_to_drop_a_song(world, monkeypatch):
    monkeypatch.setattr(Store, "list_songs", lambda self: [])
    app = page()
    assert app.get_by_key("demo").label == "Use the demo song"
    assert [button.label for button in app.button if "Render" in button.label] == []


def test_the_studio_renders_what_the_form_says_once(world):
    app = page()
    app.get_by_key("set_text").set_value("a storm").run()
    app.get_by_key("go_render").click().run()
    app.get_by_key("go_render").click().run()
    assert not app.exception
    rows = world.store.list_renders().rows
    assert [(row.settings["text"], row.kind, row.state) for row in rows] == [("a storm", "image", "queued")]


def test_the_studio_says_what_is_wrong_and_keeps_the_wishes(world):
    app = page()
    app.get_by_key("set_text").set_value(":0.5").run()
    app.get_by_key("go_render").click().run()
    assert "has no text before its weight" in html_of(app)
    assert app.get_by_key("set_text").value == ":0.5"
    assert world.store.list_renders().total == 0


def test_dropping_a_text_file_named_mp3_is_refused_in_words(world):
    app = page()
    app.file_uploader[0].upload("notes.mp3", b"these are words, not music" * 40).run()
    assert not app.exception
    assert "notes.mp3" in html_of(app)
    assert len(world.store.list_songs()) == 1


def test_a_dropped_song_goes_to_the_store_and_on_the_desk(world, tune):
    app = page()
    app.file_uploader[0].upload("Another Tune.wav", tune.read_bytes() + b"\0\0").run()
    assert not app.exception
    assert [song.title for song in world.store.list_songs()][:1] == ["Another Tune"]
    assert app.session_state["song_id"] == world.store.list_songs()[0].id


def test_the_studio_shows_a_render_at_work_and_stops_it(world):
    row = world.order()
    world.store.report(row.id, WORKER, {"step": 3, "steps": 10, "eta_s": 8.0, "losses": [[1, 1.0]]})
    app = page()
    app.get_by_key(f"easel_cancel_{row.id}").click().run()
    assert world.store.get_render(row.id).cancel_requested
    assert app.get_by_key(f"easel_cancel_{row.id}").disabled


def test_a_failed_render_shows_its_reason_and_its_cure(world):
    row = world.order()
    world.store.fail(row.id, WORKER, "The pack <b>is</b> gone.", "Fetch it again.")
    for app in (page(), page("pages/render.py", id=str(row.id))):
        assert "The pack &lt;b&gt;is&lt;/b&gt; gone." in html_of(app)
        assert "Fetch it again." in html_of(app)


def test_the_gallery_of_a_first_run_offers_the_demo(world):
    app = page("pages/gallery.py")
    assert app.get_by_key("go_demo").label == "Render the demo song"


def test_the_demo_can_be_rendered_once_more_after_it_was_deleted(world, monkeypatch):
    monkeypatch.setattr(studio, "demo_song", lambda store: world.song)
    for _ in range(2):
        page("pages/gallery.py").get_by_key("go_demo").click().run()
        row = world.store.list_renders().rows[0]
        assert world.store.list_renders().total == 1
        studio.trash(world.store, row.id)
    assert row.id == 2


def test_the_gallery_filters_by_the_url(world):
    stormy = world.hang(text="a storm")
    world.hang(text="a calm sea")
    assert [tile["id"] for tile in tiles_of(page("pages/gallery.py", q="storm"))] == [stormy.id]
    assert "No render is like that." in html_of(page("pages/gallery.py", kind="Videos"))
    assert "No render is like that." in html_of(page("pages/gallery.py", q="sunshine"))


def test_the_render_page_shows_every_setting(world):
    row = world.hang(text="a <i>storm</i>", steps=17)
    app = page("pages/render.py", id=str(row.id))
    told = html_of(app)
    assert all(knob.label in told for knob in knobs() if "image" in knob.kinds)
    assert "a &lt;i&gt;storm&lt;/i&gt;" in told and "17" in told


@pytest.mark.parametrize("wrong", ["", "none", "999", "-1", "1e9", "٣", "9" * 30])
def test_a_wrong_id_is_an_empty_page_with_a_way_back(world, wrong):
    app = page("pages/render.py", id=wrong)
    assert "There is no such render." in html_of(app)
    assert "Back to the gallery" in [link.value for link in app.page_link]


def test_delete_can_be_undone(world):
    row = world.hang()
    app = page("pages/render.py", id=str(row.id))
    next(button for button in app.button if button.label == "Delete").click().run()
    assert world.store.get_render(row.id).deleted_at is not None
    next(button for button in app.button if button.label == "Undo").click().run()
    assert world.store.get_render(row.id).deleted_at is None


def test_run_again_orders_the_same_settings(world):
    row = world.hang(text="a storm")
    app = page("pages/render.py", id=str(row.id))
    app.get_by_key("go_again").click().run()
    again = world.store.list_renders().rows[0]
    assert again.parent_id == row.id and again.settings == row.settings


def test_run_again_clicked_twice_is_one_render(world):
    row = world.hang()
    app = page("pages/render.py", id=str(row.id))
    app.get_by_key("go_again").click().run()
    app.query_params["id"] = str(row.id)
    app.switch_page("pages/render.py").run()
    app.get_by_key("go_again").click().run()
    assert not app.exception
    assert world.store.list_renders().total == 2


def studio_with(title: str, *, advanced: bool = True, **wishes) -> AppTest:
    """The Studio with one panel or section open."""
    app = AppTest.from_file(str(CHECKOUT / "app.py"), default_timeout=60)
    app.session_state["form_values"] = {**RenderSettings().model_dump(), **wishes}
    app.session_state["form_advanced"] = advanced
    if title in {section.title for section in sections.WHAT}:
        app.session_state["form_panel"] = title
    else:
        app.session_state["more"], app.session_state["form_group"] = True, title
    app.run()
    assert not app.exception, [error.message for error in app.exception]
    return app


def drawn(app: AppTest) -> set[str]:
    """The settings that have a widget on the page."""
    return {str(element.key).removeprefix("set_") for kind in ("number_input", "selectbox", "slider", "text_input",
            "text_area", "multiselect") for element in app.get(kind) if str(element.key).startswith("set_")}


def png(shade: int) -> bytes:
    """A small picture."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), shade, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("section", sections.HOW, ids=lambda section: section.title)
def test_every_section_shows_its_fields_and_the_rare_ones_on_demand(world, section):
    matters = {"kind": "video", "listen": "window", "schedule": "linear", "previous_weight": 1.0,
               "cut_method": "nrupdated"}  # where every field means something
    assert drawn(studio_with(section.title, **matters)) == {"text", *section.names()}
    assert drawn(studio_with(section.title, advanced=False, **matters)) == {"text", *section.everyday}


@pytest.mark.parametrize("panel", sections.WHAT, ids=lambda section: section.title)
@pytest.mark.parametrize("section", sections.HOW, ids=lambda section: section.title)
def test_every_panel_can_be_open_beside_every_section(world, panel, section):
    app = AppTest.from_file(str(CHECKOUT / "app.py"), default_timeout=60)
    app.session_state["form_values"] = {**RenderSettings().model_dump(), "kind": "video", "lyrics": "0:01,The tide"}
    app.session_state["form_panel"] = panel.title
    app.session_state["more"], app.session_state["form_group"] = True, section.title
    app.run()
    assert not app.exception, [error.message for error in app.exception]
    switches = [toggle for toggle in app.toggle if toggle.label == "Advanced"]
    if switches:
        switches[0].set_value(True).run()
        assert not app.exception and all(toggle.value for toggle in app.toggle if toggle.label == "Advanced")


def test_a_drop_field_that_reports_nothing_loses_nothing(world):
    """Streamlit sometimes does so right after the field was emptied."""
    def page() -> None:
        import streamlit as st

        from pages.parts import drop, problem

        drop._take("songs", problem.kept("desk")(lambda files: None))
        st.session_state["shown"] = problem.show_kept("desk")

    app = AppTest.from_function(page, default_timeout=20)
    app.session_state["problems"] = {"desk": ("It was refused.", "Drop another.")}
    app.run()
    assert not app.exception and app.session_state["shown"] and "dropped_songs" not in app.session_state


def test_a_refused_picture_is_said_once_and_keeps_out_no_other(world):
    app = studio_with("Pictures")
    app.get_by_key("drop_image_prompts_0").upload("notes.png", b"only words" * 40).upload("red.png", png(200)).run()
    assert html_of(app).count("mm-problem") == 1 and "notes.png" in html_of(app) and "red.png" in html_of(app)


def test_the_start_and_the_first_picture_are_taken_back_together(world):
    digest = studio.add_picture(world.store, png(7), "seven.png").digest
    app = page()
    app.get_by_key("form_other").set_value("vqgan-clip").run()
    app.session_state["form_panel"] = "First picture"
    app.run()
    app.get_by_key("drop_init_image_0").upload("seven.png", png(7)).run()
    now = app.session_state["form_values"]
    assert (now["init"], now["init_image"]) == ("image", digest)
    chips = app.get_by_key("form_changes")
    chips.set_value(next(chip for chip in chips.options if chip.startswith("Init image"))).run()
    now = app.session_state["form_values"]
    assert (now["init"], now["init_image"]) == ("random", "")
    app.get_by_key("go_render").click().run()
    assert world.store.list_renders().total == 1 and "mm-problem" not in html_of(app)


@pytest.mark.parametrize(("part", "typed", "says"), [
    ("where", "sky:0.5", "The place &#x27;sky:0.5&#x27; ends in a weight"), ("where", "a|b", "holds a |"),
    ("formula", "2*wind", "wind")])
def test_what_is_wrong_with_a_part_of_a_picture_prompt_is_said_in_words(world, part, typed, says):
    row = world.hang()
    before = f"#{row.id}:(bass)" if part == "formula" else f"#{row.id}"
    app = studio_with("Pictures", image_prompts=before)
    app.get_by_key(f"part_image_prompts_0_{part}").set_value(typed).run()
    assert says in html_of(app) and "PromptSpec" not in html_of(app)
    assert app.session_state["form_values"]["image_prompts"] == before


def test_a_formula_gets_the_brackets_that_were_forgotten(world):
    row = world.hang()
    app = studio_with("Pictures", image_prompts=f"#{row.id}:(2*bass)")
    app.get_by_key("part_image_prompts_0_formula").set_value("3*bass").run()
    assert app.session_state["form_values"]["image_prompts"] == f"#{row.id}:(3*bass)"


def test_pictures_are_called_by_their_names(world):
    mask, red = (studio.add_picture(world.store, png(shade), name).digest
                 for shade, name in ((1, "mask *of* sky.png"), (2, "red.png")))
    row = world.hang(text=f"sea @ [{mask}]", image_prompts=f"{red}:0.5 @ -[{mask}]")
    app = page("pages/render.py", id=str(row.id))
    told = html_of(app)
    assert "<figcaption>red.png</figcaption>" in told and "red.png:0.5 @ -[mask *of* sky.png]" in told
    assert mask[:8] not in told
    assert any(words.plain("sea @ [mask *of* sky.png]") in text.value for text in app.markdown)
    assert "@ [mask *of* sky.png]" in html_of(studio_with("Pictures", image_prompts=f"{red} @ [{mask}]"))


def test_compare_shows_where_long_texts_and_pictures_of_one_name_differ(world):
    one, other = (studio.add_picture(world.store, png(shade), "photo.png").digest for shade in (1, 2))
    long = "0:00 a sea of glass | " * 12
    rows = [world.hang(story=long + end, target=digest) for end, digest in (("dusk", one), ("dawn", other))]
    told = html_of(page("pages/compare.py", ids=f"{rows[0].id},{rows[1].id}"))
    assert "dusk" in told and "dawn" in told and one[:8] in told and other[:8] in told


def test_markdown_in_names_sleeps(world, monkeypatch):
    studio.save_preset(world.store, "**loud** :material/bolt:", RenderSettings())
    app = page()
    offered = app.get_by_key("form_follow")
    assert words.plain("**loud** :material/bolt:") in [str(option) for option in offered.options]
    row = world.hang()
    monkeypatch.setattr(studio, "what_differs", lambda store, render_id: ["The weights of *this* are others."])
    background._done.pop("engine", None)
    app = page("pages/render.py", id=str(row.id))
    background._done["engine"].wait(10)
    app.run()
    assert any(words.plain("*this* are others.") in caption.value for caption in app.caption)


def test_what_means_nothing_now_is_not_shown(world):
    shown = drawn(studio_with("What it hears", kind="video"))
    assert "listen" in shown and not {"window", "hop"} & shown
    assert "init" not in drawn(studio_with("First picture", init="image", init_image="#7"))


def test_a_dropped_picture_is_kept_weighed_and_taken_out_again(world):
    app = studio_with("Pictures")
    app.get_by_key("drop_image_prompts_0").upload("red.png", png(200)).upload("dark.png", png(20)).run()
    app.get_by_key("part_image_prompts_1_weight").set_value(-0.5).run()
    app.get_by_key("part_image_prompts_0_where").set_value("left").run()
    first, second = studio.prompts_of(app.session_state["form_values"]["image_prompts"])
    assert (first.where, second.weight) == ("left", -0.5)
    assert world.store.get_picture(first.text).name == "red.png"
    assert html_of(app).count("data:image/webp;base64,") == 2 and "dark.png" in html_of(app)
    app.get_by_key("remove_image_prompts_0").click().run()
    assert not app.exception
    left = studio.prompts_of(app.session_state["form_values"]["image_prompts"])
    assert [spec.text for spec in left] == [second.text]


def test_what_is_no_picture_is_refused_in_words(world):
    app = studio_with("Pictures")
    app.get_by_key("drop_target_0").upload("notes.png", b"these are words, not a picture" * 40).run()
    assert not app.exception
    assert "notes.png" in html_of(app) and app.session_state["form_values"]["target"] == ""


def test_a_render_can_be_the_picture_to_begin_with(world):
    row = world.hang()
    app = studio_with("First picture")
    app.get_by_key("take_init_image").set_value(row.id).run()
    now = app.session_state["form_values"]
    assert (now["init"], now["init_image"]) == ("image", f"#{row.id}")
    assert f"{row.title} · {row.id}" in html_of(app)
    app.get_by_key("remove_init_image").click().run()
    now = app.session_state["form_values"]
    assert (now["init"], now["init_image"]) == ("auto", "")


def test_a_picture_prompt_with_a_formula_keeps_it(world):
    row = world.hang()
    app = studio_with("Pictures", image_prompts=f"#{row.id}:(2*bass)")
    app.get_by_key("part_image_prompts_0_formula").set_value("(loudness)").run()
    assert app.session_state["form_values"]["image_prompts"] == f"#{row.id}:(loudness)"


def test_dropped_lyrics_are_marked_above_the_waveform(world):
    app = studio_with("Lyrics")
    app.get_by_key("drop_lyrics_0").upload("tide.lrc", b"[00:00.50]The tide\n[00:01.50]comes in\n").run()
    assert not app.exception
    assert "The tide" in app.session_state["form_values"]["lyrics"]
    told = json.loads(app.get("bidi_component")[0].proto.json)
    assert [line[2] for line in told["lines"]] == ["The tide", "comes in"] and told["told"] == "2 lines of lyrics"
    assert {"lyrics_weight", "lyrics_mix", "lyrics_fade"} <= drawn(app)


def test_lyrics_that_are_none_are_refused_and_a_wrong_line_is_named(world):
    app = studio_with("Lyrics")
    app.get_by_key("drop_lyrics_0").upload("notes.txt", b"no times at all").run()
    assert "no times at all" in html_of(app) and app.session_state["form_values"]["lyrics"] == ""
    app = studio_with("Lyrics", lyrics="0:01,The tide\nhalf past,comes in")
    assert not app.exception and "mm-problem" in html_of(app) and "half past" in html_of(app)
    assert app.get_by_key("set_lyrics").value.startswith("0:01")  # as text, to be mended


def test_a_story_is_read_back_or_its_wrong_line_is_named(world):
    app = studio_with("Story")
    app.get_by_key("set_story").set_value("0:00 a quiet sea\n0:02 a storm").run()
    said = [caption.value for caption in app.caption]
    assert words.plain("2 scenes: 0:00 a quiet sea; 0:02 a storm") in said
    app.get_by_key("set_story").set_value("0:00 a quiet sea\n0:02 a storm {colour=3}").run()
    assert not app.exception and "mm-problem" in html_of(app) and "ine 2" in html_of(app)


def test_pictures_survive_a_render_and_come_back_with_its_settings(world):
    app = studio_with("Pictures")
    app.get_by_key("drop_target_0").upload("red.png", png(200)).run()
    app.get_by_key("go_render").click().run()
    assert not app.exception, html_of(app)
    row = world.store.list_renders().rows[0]
    app = page("pages/render.py", id=str(row.id))
    assert "red.png" in html_of(app)
    next(button for button in app.button if button.label == "Use these settings").click().run()
    app.session_state["panel_wanted"] = "Pictures"
    assert "red.png" in html_of(app.switch_page("pages/studio.py").run())


def test_continue_from_here_begins_with_that_picture(world):
    row = world.hang(text="a storm")
    app = page("pages/render.py", id=str(row.id))
    app.get_by_key("on_from_here").click().run()
    now = app.session_state["form_values"]
    assert (now["init"], now["init_image"], now["text"], now["seed"]) == ("image", f"#{row.id}", "a storm", None)
    app.switch_page("pages/studio.py").run()
    assert app.get_by_key("remove_init_image").icon  # its panel is open
    app.get_by_key("go_render").click().run()
    assert not app.exception, html_of(app)
    child = world.store.list_renders().rows[0]
    assert child.parent_id == row.id and child.settings["init_image"] not in ("", f"#{row.id}")
    app = page("pages/render.py", id=str(child.id))
    assert any("Continues" in link.label for link in app.page_link)


def test_the_ways_of_others_can_be_followed(world):
    app = page()
    app.get_by_key("form_other").set_value("vqgan-clip").run()
    assert not app.exception
    assert RenderSettings.parse(app.session_state["form_values"]).steps == 500
    assert app.session_state["form_preset"] == "vqgan-clip"
    app.get_by_key("form_follow").set_value("Draft").run()
    assert app.session_state["form_preset"] == "Draft" and app.get_by_key("form_other").value is None


def button(app: AppTest, key: str):
    return next(button for button in app.button if button.key == key)


def test_the_models_page_shows_what_is_here_and_what_can_be_had(world):
    app = page("pages/models.py")
    told = html_of(app)
    assert "Tiny" in told and "ImageNet" in told and "to download" in told and "on the disk" in told
    assert any("are free on the disk" in text.value for text in app.markdown)  # asked before anything is fetched
    assert button(app, "get_imagenet") and "Licence" in " ".join(text.value for text in app.caption)
    button(app, "verify_sketch").click().run()
    assert not app.exception
    assert any("sketch" in text.value for text in app.caption)
    button(app, "use_sketch").click().run()
    assert app.session_state["form_values"]["pack"] == "sketch"


def test_a_pack_that_was_damaged_says_so_with_its_cure(world, tmp_path, monkeypatch):
    import os
    import shutil

    shutil.copytree(os.environ["METAMUSIC_CHECKPOINTS"], tmp_path / "checkpoints")
    monkeypatch.setenv("METAMUSIC_CHECKPOINTS", str(tmp_path / "checkpoints"))
    weights = tmp_path / "checkpoints" / "sketch" / "vqgan.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    assert "bytes, but has" in html_of(page("pages/models.py"))


def test_files_that_are_no_weights_are_refused_in_words(world, tmp_path):
    app = page("pages/models.py")
    app.file_uploader[0].upload("last.ckpt", b"these are words, not weights" * 40).run()
    assert not app.exception
    assert "last.ckpt" in html_of(app) or any("last" in text.value for text in app.caption)


@pytest.mark.parametrize("typed", ["/etc/passwd", "../outside.ckpt", "~/x.ckpt", "~nosuchuser/x.ckpt", "a\0b"])
def test_the_models_page_looks_into_no_other_folder(world, monkeypatch, typed):
    monkeypatch.setattr(studio, "import_pack_files", lambda *given, **more: 1 / 0)
    app = page("pages/models.py")
    app.get_by_key("weights_path").set_value(typed)
    next(button for button in app.button if button.label == "Look into it").click().run()
    assert not app.exception and html_of(app).count("mm-problem") == 1


def test_the_models_page_takes_a_file_of_its_folder(world):
    folder, _ = studio.packs_folder()
    (folder / "words.ckpt").write_bytes(b"these are words, not weights" * 40)
    try:
        app = page("pages/models.py")
        for typed in ("words.ckpt", str(folder / "words.ckpt")):
            app.get_by_key("weights_path").set_value(typed)
            next(button for button in app.button if button.label == "Look into it").click().run()
            assert not app.exception and "words.ckpt is text" in html_of(app)
    finally:
        (folder / "words.ckpt").unlink()


def test_ones_own_pack_needs_the_word_that_its_parts_belong_together(world):
    app = page("pages/models.py")
    next(button for button in app.button if button.label == "Make the pack").click().run()
    assert "Only you can know" in html_of(app)


def test_use_these_settings_fills_the_studio(world):
    row = world.hang(text="a storm", steps=17, start=0.5)
    app = page("pages/render.py", id=str(row.id))
    next(button for button in app.button if button.label == "Use these settings").click().run()
    filled = RenderSettings.parse(app.session_state["form_values"])
    assert filled == studio.settings_of(row)
    assert app.session_state["song_id"] == row.song.id


def test_compare_shows_what_differs_and_swaps(world):
    one, other = world.hang(steps=11), world.hang(steps=22)
    app = page("pages/compare.py", ids=f"{one.id},{other.id}")
    told = html_of(app)
    assert "Steps" in told and told.index(">11<") < told.index(">22<") and "Width" not in told
    app.get_by_key("swap").click().run()
    assert app.query_params["ids"] == f"{other.id},{one.id}"


@pytest.mark.parametrize(("asked", "missing"), [("{0},{0}", False), ("{0}", False), ("", False),
                                                ("{0},999", True), ("998,999", True)])
def test_compare_says_when_a_render_is_missing_and_only_then(world, asked, missing):
    row = world.hang()
    world.hang()
    told = html_of(page("pages/compare.py", ids=asked.format(row.id)))
    assert ("does not exist" in told) == missing


def test_compare_asks_for_two_finished_renders(world):
    world.hang()
    assert "side by side" in page("pages/compare.py").subheader[0].value


def test_no_page_brings_in_the_engine():
    """Pages and what they need come without torch or librosa: they must open while a picture is painted."""
    import subprocess
    import sys

    code = ("import sys, pages.parts.actions, pages.parts.bring, pages.parts.easel, pages.parts.filters\n"
            "import pages.parts.gauge, pages.parts.sections, pages.parts.shelf\n"
            "print([name for name in ('torch', 'librosa', 'numba') if name in sys.modules])")
    told = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True,
                          check=True)
    assert told.stdout.strip() == "[]"


def test_numbers_out_of_a_url(monkeypatch):
    monkeypatch.setattr(numbers.st, "query_params", {"ids": "3, 5,5,x,7", "id": "12"})
    assert numbers.pair_from_url("ids") == [3, 5]
    assert numbers.from_url("id") == 12
    assert numbers.from_url("nothing") is None


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "1 s"), (8, "8 s"), (42, "40 s"), (200, "3 min"), (7800, "2 h 10 min")])
def test_time_as_one_says_it(seconds, said):
    assert words.about(seconds) == said


def test_background_work_is_done_once(monkeypatch):
    done = []
    assert not background.ready("once", lambda: done.append(1))
    while not background.ready("once", lambda: done.append(2)):
        pass
    assert done == [1]


def test_background_work_that_fails_says_why():
    def fail() -> None:
        raise OSError("no disk")

    while not background.ready("failing", fail):
        pass
    assert background.failure("failing") and background.failure("once") is None


def test_a_song_that_cannot_be_heard_out_says_so_and_is_not_waited_for(world, tune, monkeypatch):
    def deaf(store, song_id):
        raise SongError("Its [file] is damaged.")

    monkeypatch.setattr(studio, "analysis", deaf)
    song = studio.add_song(world.store, tune.read_bytes() + b"\0\0\0\0", "Damaged.wav")
    while not background.ready(("song", song.digest), lambda: studio.analysis(world.store, song.id)):
        pass
    said = [caption.value for caption in page().caption]
    assert any("Its beats could not be heard" in text for text in said)
    assert "Listening for beats" not in said


def test_the_song_on_the_desk_stays_when_a_colleague_adds_one(world, tune):
    app = page()
    studio.add_song(world.store, tune.read_bytes() + b"\0" * 6, "Newer.wav")
    app.run()
    assert app.session_state["song_id"] == world.song.id == app.get_by_key("song_choice").value


def test_the_studio_says_what_was_noted_about_a_render(world):
    row = world.order()
    world.store.set_plan(row.id, {}, notes=["500 x 500 was rounded down to 496 x 496."])
    captions = [caption.value for caption in page().caption]
    assert words.plain("500 x 500 was rounded down to 496 x 496.") in captions


def test_a_preset_of_a_newer_version_is_named_with_the_reason(world):
    world.store.save_preset("Future", {"version": 99})
    app = page()
    assert any(caption.value.startswith("Future") for caption in app.caption)


def test_a_full_disk_inside_a_fragment_is_told_in_the_box(world, monkeypatch):
    def full(*_, **__):
        raise DiskFull("The disk is full.", "Make room.")

    monkeypatch.setattr(songs, "draw", full)
    app = page()
    assert "The disk is full." in html_of(app)
    assert app.get("bidi_component")  # the easel beside it: the error has not left the fragment


def test_a_problem_stays_until_the_next_change_or_page(world):
    app = page()
    app.get_by_key("set_text").set_value(":0.5").run()
    app.get_by_key("go_render").click().run()
    assert "has no text before its weight" in html_of(app.run())
    app.get_by_key("set_text").set_value("a storm").run()
    assert "has no text before its weight" not in html_of(app)


def test_a_page_number_out_of_a_url_is_a_number_or_one(monkeypatch):
    monkeypatch.setattr(filters.st, "session_state", {})
    for asked, number in (("3", 3), ("²", 1), ("0", 1), ("-2", 1), ("", 1), ("x", 1)):
        monkeypatch.setattr(filters.st, "query_params", {"p": asked})
        assert filters.page_number() == number


def asked_for(route: int, query: str = "", **parameters) -> Response:
    """What a route answers."""
    scope = {"type": "http", "method": "GET", "headers": [], "query_string": query.encode(),
             "path_params": parameters}
    return media.routes()[route].endpoint(Request(scope))


def test_only_the_url_of_this_very_content_is_kept_for_good(world):
    row = world.hang()
    digest = row.assets["final"].digest[:16]
    for query, cache in ((f"v={digest}", media.FOREVER), ("v=1", media.FRESH), ("", media.FRESH)):
        assert asked_for(0, query, id=row.id, role="final").headers["cache-control"] == cache
    assert asked_for(1, f"v={world.song.digest[:16]}", id=world.song.id).headers["cache-control"] == media.FOREVER
    assert asked_for(0, id=int("9" * 30), role="final").status_code == 404


def test_a_preview_is_sent_as_it_is_or_is_gone(world, tmp_path):
    preview = tmp_path / "preview.jpg"
    assert media._send(preview, "image/jpeg", None, media.FRESH, kept=False).status_code == 404
    preview.write_bytes(b"picture")
    assert media._send(preview, "image/jpeg", None, media.FRESH, kept=False).body == b"picture"


def test_small_files_travel_inside_the_page_where_there_are_no_routes(world):
    assert media.song_url(world.song).startswith("data:audio/")
    assert media.asset_url(world.hang(), "final").startswith("data:image/png;base64,")


def test_a_song_is_never_served_as_a_page():
    for name in ("x.html", "x.svg", "x", "x.js"):
        assert media._mime_of_song(Path(name)) == "application/octet-stream"
    assert media._mime_of_song(Path("x.mp3")) == "audio/mpeg"
    for suffix, mime in media.SONG_TYPES.items():
        assert media._mime_of_song(Path(f"x{suffix.upper()}")) == mime
