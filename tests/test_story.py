"""Stories: scenes on the song's time, and the settings they change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metamusic.errors import SettingsError
from metamusic.formula import VARIABLES
from metamusic.phrases import PromptSpec
from metamusic.settings import RenderSettings, knobs
from metamusic.story import CHANGEABLE, Scene, Story, changed_at, parse_story

SILENCE = dict.fromkeys(VARIABLES, 0.0)
TIMED = "0:10 sea {zoom=0.2, smoothing=0}\n0:20.5 storm:2 | fog @ top\n" \
        "1:00:00 night {zoom=(0.1 + max(bass, abs(0.1)))}"


def story(text, every=8.0, fade=2.0):
    return parse_story(text, every, fade)


def test_scenes_are_read_as_written():
    assert story(TIMED).scenes == (
        Scene(10, (PromptSpec("sea"),), {"zoom": 0.2, "smoothing": 0.0}),
        Scene(20.5, (PromptSpec("storm", 2), PromptSpec("fog", where="top")), {}),
        Scene(3600, (PromptSpec("night"),), {"zoom": "(0.1 + max(bass, abs(0.1)))"}))
    assert story(TIMED.replace("\n", "^")) == story(TIMED.replace("\n", "\r\n\r\n")) == story(TIMED)


@pytest.mark.parametrize(("text", "scene"), [
    ("100 ships", Scene(None, (PromptSpec("100 ships"),))),
    ("16:9 picture", Scene(None, (PromptSpec("16:9 picture"),))),
    ("4:30pm", Scene(None, (PromptSpec("4:30pm"),))), ("12:00 noon", Scene(720, (PromptSpec("noon"),))),
    ("0:05 {zoom=1}", Scene(5, (), {"zoom": 1.0})),
    ("{zoom=(min(1,2)),smoothing=0}", Scene(None, (), {"zoom": "(min(1,2))", "smoothing": 0.0})),
    ("{zoom = -1 ,}", Scene(None, (), {"zoom": -1.0})),
    ("sea {}", Scene(None, (PromptSpec("sea"),))),
])
def test_a_line(text, scene):
    assert story(text).scenes == (scene,)


@pytest.mark.parametrize(("text", "message"), [
    ("sea\n\n0:75 storm", "Line 3 .*not a time"), ("25:00:00 sea", "Line 1 .*not a time"),
    ("9999999999:00 sea", "not a time"), ("0:10", "Line 1 .*neither"), ("sea^{}", "Line 2 .*neither"),
    ("{zoom=1} sea", "Line 1 .*brace"), ("sea {zoom=1", "brace"), ("sea {a{b}", "changes no setting|brace"),
    ("sea {wind=1}", "changes no setting"), ("sea {zoom}", "changes no setting"), ("sea {fps=12}", "no setting"),
    ("sea {zoom=2}", "zoom is '2', which is not a number from -1 to 1"), ("sea {zoom=nan}", "'nan'"),
    ("sea {zoom=fast}", "'fast'"), ("sea {zoom=}", "zoom is ''"), ("sea {learning_rate=0}", "learning_rate is '0'"),
    ("sea {zoom=2*bass}", "'2\\*bass'"), ("sea {zoom=(2*wind)}", "Line 1 .*'wind'"),
    ("sea {zoom=1, zoom=0}", "twice"),
    ("0:05 sea\nstorm", "1 of the story's 2 scenes"), ("0:05 sea\n0:05.0 storm", "same time"),
    ("sea\n:0.5", "Line 2 .*no text"), ("sea\nstorm:99", "Line 2 .*outside"),
])
def test_what_is_wrong_is_named_by_its_line(text, message):
    with pytest.raises(SettingsError, match=message) as refusal:
        story(text)
    assert refusal.value.cure


def test_an_unknown_setting_lists_those_there_are():
    with pytest.raises(SettingsError) as refusal:
        story("sea {wind=1}")
    assert all(name in refusal.value.cure for name in CHANGEABLE)


def test_an_unknown_setting_is_answered_with_the_nearest_and_names_without_ranges():
    with pytest.raises(SettingsError) as refusal:
        story("sea {zom=1}")
    assert "Did you mean zoom?" in refusal.value.cure and " to " not in refusal.value.cure.partition("change")[2]


@pytest.mark.parametrize("text", ["0:00 sea\n0:xx a storm {zom=2}", "0:00 sea\n0:5 a storm",
                                  "0:0x sea {a=1}^0:10 dusk"])
def test_a_bad_time_is_said_first(text):
    with pytest.raises(SettingsError, match="is not a time of a song"):
        story(text)


def test_every_changeable_setting_is_a_number_of_the_render():
    found = {knob.name: knob for knob in knobs() if knob.name in CHANGEABLE}
    assert set(found) == set(CHANGEABLE)
    assert all(knob.type is float and not knob.optional and None not in (knob.low, knob.high)
               for knob in found.values())


@pytest.mark.parametrize(("time", "shares"), [
    (0, []), (9, []), (9.5, [(0, 0.25)]), (10, [(0, 0.5)]), (11, [(0, 1)]), (19.5, [(0, 1)]),
    (20, [(0, 0.75), (1, 0.25)]), (20.5, [(0, 0.5), (1, 0.5)]), (21.5, [(1, 1)]), (7200, [(2, 1)]),
])
def test_timed_scenes_come_and_go(time, shares):
    assert story(TIMED).at(time) == shares


def test_without_a_fade_scenes_change_at_their_time():
    cut = story(TIMED, fade=0)
    assert [cut.at(time) for time in (9.99, 10, 20.49, 20.5)] == [[], [(0, 1)], [(0, 1)], [(1, 1)]]


def test_a_story_that_starts_at_zero_is_there_at_once():
    assert story("0:00 sea\n0:10 storm").at(0) == [(0, 1)]


def test_the_order_of_lines_does_not_matter():
    assert story("0:10 storm\n0:00 sea") == story("0:00 sea\n0:10 storm")


@pytest.mark.parametrize(("time", "shares"), [
    (0, [(0, 1)]), (7, [(0, 1)]), (7.5, [(0, 0.75), (1, 0.25)]), (8, [(0, 0.5), (1, 0.5)]), (9, [(1, 1)]),
    (16, [(1, 0.5), (0, 0.5)]), (800, [(1, 0.5), (0, 0.5)]), (804, [(0, 1)]),
])
def test_scenes_without_times_take_turns(time, shares):
    assert story("sea\nstorm").at(time) == shares


@pytest.mark.parametrize("time", [0, 7.9, 8, 8.1, 123.4])
def test_a_single_scene_stays(time):
    assert story("sea").at(time) == [(0, 1)]


def test_no_story_changes_nothing():
    settings = RenderSettings(zoom=0.3)
    empty = story(" \n ")
    assert empty.scenes == () and empty.at(5) == []
    assert changed_at(empty, 5, settings, SILENCE) == {name: getattr(settings, name) for name in CHANGEABLE}


def test_changes_cross_fade_with_their_scenes():
    settings, told = RenderSettings(zoom=-0.4), story(TIMED)
    zooms = [changed_at(told, time, settings, SILENCE)["zoom"] for time in (0, 10, 15, 20.5, 25)]
    assert zooms == pytest.approx([-0.4, -0.1, 0.2, -0.1, -0.4])
    assert changed_at(told, 15, settings, SILENCE)["smoothing"] == 0
    assert changed_at(told, 7200, settings, SILENCE | {"bass": 0.5})["zoom"] == pytest.approx(0.6)


def test_formulas_stay_within_the_bounds():
    settings = RenderSettings()
    told = story("sea {zoom=(10*bass), learning_rate=(-1), cut_power=(0)}")
    values = changed_at(told, 1, settings, SILENCE | {"bass": 1.0})
    assert values["zoom"] == 1 and values["cut_power"] == 0.1 and 0 < values["learning_rate"] < 1e-5
    assert settings.changed(**values)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=5, unique=True), st.floats(0, 110), st.floats(0, 60))
def test_shares_of_timed_scenes_add_up(starts, time, fade):
    told = Story(tuple(Scene(float(start), ()) for start in sorted(starts)), 8.0, fade)
    shares = told.at(time)
    total = sum(share for _, share in shares)
    assert len(shares) <= 2 and all(0 < share <= 1 for _, share in shares)
    assert total == pytest.approx(1) or (total < 1 and time < min(starts) + fade / 2)
    assert shares or time < min(starts)


@given(st.integers(1, 5), st.floats(0, 1000), st.floats(0.5, 100), st.floats(0, 60))
def test_shares_of_scenes_in_turns_add_up(count, time, every, fade):
    shares = Story(tuple(Scene(None, ()) for _ in range(count)), every, fade).at(time)
    assert sum(share for _, share in shares) == pytest.approx(1) and len(shares) <= 2


pieces = st.sampled_from(["0:10 ", "0:20", "sea", "|", "^", "\n", "{", "}", "zoom", "=", "1", ",", "(bass)", ":0.5",
                          " @ ", "left", "(", ")", " ", "max(bass, 1)"])


@given(st.lists(pieces, max_size=14).map("".join) | st.text(max_size=50))
def test_any_text_is_read_or_refused_with_a_cure(text):
    try:
        told = story(text)
    except SettingsError as refusal:
        assert refusal.cure
    else:
        values = changed_at(told, 10, RenderSettings(), SILENCE)
        assert RenderSettings().changed(**values)
