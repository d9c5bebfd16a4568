"""The Studio's form: every widget writes its own field, and nothing else."""

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from metamusic.settings import BUILT_IN_PRESETS, GROUPS, Knob, RenderSettings, knobs
from pages.parts import form

KNOBS = list(knobs())


def one_field(name: str) -> None:
    """A page with one widget of the form on it."""
    from pages.parts import form

    form.values()
    form.field(name)


def another_value(knob: Knob, now: Any) -> Any:
    """A valid value of the field that is not the present one."""
    if knob.type is tuple:
        return list(knob.choices[:1])
    if knob.choices:
        return next(choice for choice in knob.choices if choice != now)
    if knob.type is str:
        return "imagenet" if knob.name == "pack" else "a storm over the sea:0.5"
    if now is None:
        return knob.type(7)
    step = knob.type(knob.step or 1)
    return knob.type(now + step) if knob.high is None or now + step <= knob.high else knob.type(now - step)


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


@pytest.mark.parametrize("knob", KNOBS, ids=lambda knob: knob.name)
def test_a_widget_changes_exactly_its_own_field(values, knob):
    wanted = another_value(knob, getattr(RenderSettings(), knob.name))
    before, after = values(knob.name, wanted)
    assert {name for name in after if after[name] != before[name]} == {knob.name}
    changed = RenderSettings.parse(after)
    assert getattr(changed, knob.name) == (tuple(wanted) if knob.type is tuple else wanted)


def emptied() -> None:
    """A seed that was given."""
    from pages.parts import form

    if "begun" not in form.st.session_state:
        form.put(seed=7)
        form.st.session_state["begun"] = True
    form.field("seed")


def test_an_optional_number_can_be_emptied():
    page = AppTest.from_function(emptied, default_timeout=20).run()
    assert page.get_by_key("set_seed").value == 7
    page.get_by_key("set_seed").set_value(None).run()
    assert page.session_state["form_values"]["seed"] is None


def test_every_setting_of_a_kind_is_in_exactly_one_place():
    for kind in ("image", "video"):
        drawn = [knob.name for members in form.groups(kind).values() for knob in members]
        expected = [knob.name for knob in KNOBS if kind in knob.kinds]
        assert sorted([*drawn, *form.ON_THE_PAGE]) == sorted(expected)


def test_the_groups_come_in_the_order_of_the_settings():
    drawn = [group for group in form.groups("video") if group != form.BASICS]
    assert drawn == [group for group in GROUPS if group in drawn]


def presets(kind: str, text: str) -> None:
    """Fills a form with wishes, then follows Fine."""
    from metamusic.settings import BUILT_IN_PRESETS, RenderSettings
    from pages.parts import form

    form.load(RenderSettings(kind=kind, text=text, start=2.0, duration=5.0, seed=3, zoom=0.1))
    form.follow("Fine", RenderSettings(**BUILT_IN_PRESETS["Fine"]), team=False)
    form.put(steps=61)
    import streamlit as st

    st.session_state["differing"] = form.changed()


def test_a_preset_keeps_the_wishes_and_says_what_was_changed_since():
    page = AppTest.from_function(presets, kwargs={"kind": "video", "text": "rain"}, default_timeout=20).run()
    assert not page.exception
    after = page.session_state["form_values"]
    kept = {"kind": "video", "text": "rain", "start": 2.0, "duration": 5.0, "seed": 3}
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
