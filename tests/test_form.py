"""The Studio's form: every widget writes its own field, and nothing else."""

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from metamusic.errors import SettingsError
from metamusic.settings import BUILT_IN_PRESETS, Knob, RenderSettings, knobs
from pages.parts import effects, form, lyrics, pictures, presets, sections, story, words

KNOBS = list(knobs())


def one_field(name: str) -> None:
    """A page with one widget of the form on it."""
    from pages.parts import fields, form

    form.values()
    fields.draw(name)


def another_value(knob: Knob, now: Any) -> Any:
    """A valid value of the field that is not the present one."""
    if knob.type is tuple:
        return list(knob.choices[:1])
    if knob.choices:
        return next(choice for choice in knob.choices if choice != now)
    if knob.type is str:
        return "other" if knob.name == "pack" else "a storm over the sea:0.5"
    if now is None:
        return knob.type(7)
    step = knob.type(knob.step or 1)
    return knob.type(now + step) if knob.high is None or now + step <= knob.high else knob.type(now - step)


@pytest.fixture
def two_packs(tmp_path, monkeypatch):
    """Two packs that can paint; the second, `other`, would rather have wide pictures."""
    from models import PERCEPTOR, VQGAN_CONFIG, tiny_models

    from metamusic.packs import write_pack

    monkeypatch.setenv("METAMUSIC_CHECKPOINTS", str(tmp_path / "checkpoints"))
    models = tiny_models()
    for name, defaults in (("sketch", {}), ("other", {"width": 320, "steps": 90})):
        write_pack(name, title=f"Tiny {name}", licence="MIT", bank=models.bank, defaults=defaults,
                   perceptor=(PERCEPTOR, models.perceptor.state_dict()),
                   vqgan=(VQGAN_CONFIG, models.vqgan.state_dict()))


@pytest.fixture
def values(store):
    """The form's dictionary after a change in one widget."""
    def change(name: str, wanted: Any) -> tuple[dict, dict]:
        page = AppTest.from_function(one_field, kwargs={"name": name}, default_timeout=20).run()
        assert not page.exception
        before = dict(page.session_state["form_values"])
        page.get_by_key(f"set_{name}").set_value(wanted)
        page.run()
        assert not page.exception
        return before, page.session_state["form_values"]
    return change


@pytest.mark.parametrize("knob", [knob for knob in KNOBS if knob.name != "pack"], ids=lambda knob: knob.name)
def test_a_widget_changes_exactly_its_own_field(values, knob):
    wanted = another_value(knob, getattr(RenderSettings(), knob.name))
    before, after = values(knob.name, wanted)
    assert {name for name in after if after[name] != before[name]} == {knob.name}
    changed = RenderSettings.parse(after)
    assert getattr(changed, knob.name) == (tuple(wanted) if knob.type is tuple else wanted)


def test_another_pack_brings_the_settings_that_suit_it(two_packs, values):
    before, after = values("pack", "other")
    assert {name: after[name] for name in after if after[name] != before[name]} == {
        "pack": "other", "width": 320, "steps": 90}


def packs_in_turn() -> None:
    """Wide by hand, another pack, a preset, and back."""
    import streamlit as st

    from metamusic.settings import BUILT_IN_PRESETS, RenderSettings
    from pages.parts import form

    seen = st.session_state["seen"] = []
    form.put(width=512)
    for step in (lambda: form.choose_pack("other"),
                 lambda: form.follow("Draft", RenderSettings(**BUILT_IN_PRESETS["Draft"])),
                 lambda: form.choose_pack("sketch"), lambda: form.choose_pack("not here")):
        step()
        seen.append({name: form.values()[name] for name in ("pack", "width", "steps", "height")})
    st.session_state["differing"] = form.changed()


def test_a_pack_leaves_alone_what_was_touched_and_what_the_preset_says(two_packs):
    page = AppTest.from_function(packs_in_turn, default_timeout=20).run()
    assert not page.exception
    chosen, drafted, back, gone = page.session_state["seen"]
    assert chosen == {"pack": "other", "width": 512, "steps": 90, "height": 256}
    draft = BUILT_IN_PRESETS["Draft"]
    assert drafted == {"pack": "other", "width": draft["width"], "steps": draft["steps"], "height": draft["height"]}
    assert back == {**drafted, "pack": "sketch"} and gone == {**drafted, "pack": "not here"}
    assert page.session_state["differing"] == {}


def emptied() -> None:
    """A seed that was given."""
    import streamlit as st

    from pages.parts import fields, form

    if "begun" not in st.session_state:
        form.put(seed=7)
        st.session_state["begun"] = True
    fields.draw("seed")


def test_an_optional_number_can_be_emptied():
    page = AppTest.from_function(emptied, default_timeout=20).run()
    assert page.get_by_key("set_seed").value == 7
    page.get_by_key("set_seed").set_value(None).run()
    assert page.session_state["form_values"]["seed"] is None


def test_every_setting_of_a_kind_is_in_exactly_one_place():
    for kind in ("image", "video"):
        drawn = [name for section in sections.of((*sections.WHAT, *sections.HOW), kind).values()
                 for name in section.names()]
        expected = [knob.name for knob in KNOBS if kind in knob.kinds]
        assert sorted([*drawn, *sections.ON_THE_PAGE]) == sorted(expected)


def test_the_render_page_lists_every_setting_once():
    listed = [name for names in sections.by_title().values() for name in names]
    assert sorted(listed) == sorted(knob.name for knob in KNOBS)


def test_every_field_says_what_it_does_to_the_picture():
    for knob in KNOBS:
        assert effects.EFFECTS[knob.name] in effects.of(knob.name, knob.help)
    assert set(effects.EFFECTS) == {knob.name for knob in KNOBS}


def test_what_a_field_needs_can_be_asked_of_any_form():
    now = RenderSettings().model_dump()
    assert set(sections.NEEDS) <= set(form.KNOBS)
    assert not any(needs(now) for name, needs in sections.NEEDS.items() if name not in ("init", "cut_power"))


def test_the_ways_of_others_have_a_description():
    from metamusic.settings import preset_about

    assert set(presets.EFFORTS) | set(presets.OTHERS) == set(BUILT_IN_PRESETS)
    assert all(preset_about(name) for name in presets.OTHERS)


def preset_followed(kind: str, text: str) -> None:
    """Fills a form with wishes, then follows Fine."""
    from metamusic.settings import BUILT_IN_PRESETS, RenderSettings
    from pages.parts import form

    form.load(RenderSettings(kind=kind, text=text, start=2.0, duration=5.0, seed=3, zoom=0.1, story="0:00 a sea"))
    form.follow("Fine", RenderSettings(**BUILT_IN_PRESETS["Fine"]))
    form.put(steps=61)
    import streamlit as st

    st.session_state["differing"] = form.changed()


def test_a_preset_keeps_the_wishes_and_says_what_was_changed_since():
    page = AppTest.from_function(preset_followed, kwargs={"kind": "video", "text": "rain"}, default_timeout=20).run()
    assert not page.exception
    after = page.session_state["form_values"]
    kept = {"kind": "video", "text": "rain", "start": 2.0, "duration": 5.0, "seed": 3,
            "story": "0:00 a sea"}
    assert {name: after[name] for name in kept} == kept
    assert after["width"] == BUILT_IN_PRESETS["Fine"]["width"]
    assert after["zoom"] == RenderSettings().zoom
    assert page.session_state["differing"] == {"steps": BUILT_IN_PRESETS["Fine"]["steps"]}


def orders() -> None:
    import streamlit as st

    from pages.parts import form

    st.session_state["keys"] = [form.submit_key(1), form.submit_key(1)]
    form.put(steps=7)
    st.session_state["keys"].append(form.submit_key(1))


def test_a_double_click_is_one_order_and_another_wish_is_another():
    page = AppTest.from_function(orders, default_timeout=20).run()
    first, second, third = page.session_state["keys"]
    assert first == second != third


# -- lyrics and story ------------------------------------------------------------------------------

SUNG = "0:01.00,The tide\n0:04.50,\"a wave, silver\",2.0\n0:09.00,home,1.0,0:12.00\n"


def test_lyrics_survive_the_table():
    assert lyrics.spans(lyrics.text_of(lyrics.rows_of(SUNG))) == lyrics.spans(SUNG)
    rows = lyrics.rows_of(SUNG)
    assert [row["text"] for row in rows] == ["The tide", "a wave, silver", "home"]
    assert rows[1]["weight"] == 2.0
    assert [row["end"] for row in rows] == ["", "", "0:12.00"]  # the others end when the next begins


def test_the_table_writes_what_was_changed_added_and_deleted():
    edits = {"edited_rows": {0: {"text": "The ebb"}}, "deleted_rows": [1],
             "added_rows": [{"start": "20", "text": "at last"}, {}]}
    found = lyrics.spans(lyrics.text_of(lyrics.applied(lyrics.rows_of(SUNG), edits)))
    assert [(start, text) for start, _, text in found] == [(1.0, "The ebb"), (9.0, "home"), (20.0, "at last")]


def test_a_row_that_is_wrong_is_said_not_left_out():
    text = lyrics.text_of([{"start": "half past", "text": "The tide"}])
    with pytest.raises(SettingsError):
        lyrics.spans(text)
    assert lyrics.spans_or_none(text) == [] and lyrics.told(text, 0, 9) == ""


@pytest.mark.parametrize(("region", "said"), [((0, 30), "3 lines of lyrics"), ((0, 3), "1 of 3 lines of lyrics"),
                                              ((15, 30), "0 of 3 lines of lyrics")])
def test_the_line_under_the_waveform_counts_the_lines_of_the_stretch(region, said):
    assert lyrics.told(SUNG, *region) == said


def test_a_story_is_read_back():
    told = story.read("0:00 a quiet sea\n0:12 a storm:1.2 | lightning:(2*bass) {zoom=0.2}", 8.0, 1.0)
    assert told == "2 scenes: 0:00 a quiet sea; 0:12 a storm, lightning (zoom 0.2)"
    assert story.read("a sea\na storm", 8.0, 1.0) == "2 scenes, each for 8 s in turn: a sea; a storm"
    assert story.read(" ", 8.0, 1.0) == ""
    assert story.read("\n".join(f"scene {i}" for i in range(9)), 8.0, 1.0).endswith("and 3 more")


def test_long_values_are_told_by_their_beginning():
    assert words.short("a" * 64 + ":0.5") == "aaaaaaaa:0.5"
    assert len(words.short("storm " * 99)) == 120
    said = [words.size(count) for count in (33_400_000, 1_250_000_000, 12)]
    assert said == ["33 MB", "1.2 GB", "12 bytes"]


def test_every_field_drawn_in_its_own_way_is_a_setting():
    assert set(sections.DRAWN) <= set(form.KNOBS) and set(pictures.TITLES) <= set(form.KNOBS)
