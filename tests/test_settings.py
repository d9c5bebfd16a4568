"""RenderSettings: defaults, refusals that name the culprit, and the faces derived from the fields."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metamusic.errors import SettingsError
from metamusic.settings import (
    BUILT_IN_PRESETS,
    GROUPS,
    LARGEST_SEED,
    RenderSettings,
    home,
    knobs,
)


def value_of(knob):
    """A strategy for any valid value of a knob."""
    if knob.type is tuple:
        return st.lists(st.sampled_from(knob.choices), unique=True).map(tuple)
    if knob.choices:
        return st.sampled_from(knob.choices)
    if knob.type is int:
        some = st.integers(int(knob.low), int(knob.high))
    elif knob.type is float:
        low = knob.low if knob.name != "learning_rate" else 1e-6
        some = st.floats(low, knob.high, allow_nan=False)
    elif knob.name == "pack":
        some = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,20}", fullmatch=True)
    else:
        some = st.text(max_size=200)
    return st.none() | some if knob.optional else some


any_settings = st.fixed_dictionaries({k.name: value_of(k) for k in knobs()}).map(RenderSettings.parse)


@given(any_settings)
def test_settings_survive_json(settings):
    assert RenderSettings.from_json(settings.to_json()) == settings


def test_every_knob_says_what_it_is():
    for knob in knobs():
        assert knob.help and knob.help.endswith((".", ")")), knob.name
        assert knob.group in GROUPS
        if knob.type in (int, float):
            assert knob.low is not None and knob.high is not None and knob.step is not None, knob.name
            if knob.default is not None:
                assert knob.low <= knob.default <= knob.high
    assert {k.name for k in knobs()} == set(RenderSettings.model_fields) - {"version"}


@pytest.mark.parametrize(("values", "culprit"), [
    ({"width": 0}, "width"), ({"height": 10_000}, "height"), ({"optimiser": "sgd"}, "optimiser"),
    ({"seed": -1}, "seed"), ({"seed": LARGEST_SEED + 1}, "seed"), ({"steps": "many"}, "steps"),
    ({"learning_rate": float("nan")}, "learning_rate"), ({"augments": ("affine", "blur")}, "augments"),
    ({"colour": "red"}, "colour"), ({"version": 99}, "99"), ({"version": 0}, "version"),
    ({"pack": "../etc"}, "pack"), ({"duration": 0.1}, "duration"), ({"fps": 0}, "fps"),
])
def test_a_wrong_value_is_refused_by_name(values, culprit):
    with pytest.raises(SettingsError) as refusal:
        RenderSettings.parse(values)
    assert culprit in refusal.value.message and refusal.value.cure


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", '"x"', b"\xff\xfe", "null"])
def test_what_is_not_a_json_object_is_refused(text):
    with pytest.raises(SettingsError) as refusal:
        RenderSettings.from_json(text)
    assert refusal.value.cure


def test_settings_are_frozen_and_copies_are_checked():
    settings = RenderSettings()
    with pytest.raises(ValueError):
        settings.width = 5
    assert settings.changed(width=512).width == 512
    with pytest.raises(SettingsError):
        settings.changed(width=5)


def test_seed_zero_is_a_seed_and_empty_is_none():
    assert RenderSettings.parse({"seed": 0}).seed == 0
    assert json.loads(RenderSettings().to_json())["seed"] is None


def test_built_in_presets_are_valid():
    for values in BUILT_IN_PRESETS.values():
        RenderSettings.parse(values)


def test_the_data_folder_does_not_depend_on_the_current_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("METAMUSIC_HOME", raising=False)
    before = home()
    monkeypatch.chdir(tmp_path)
    assert home() == before and before.is_absolute()
    monkeypatch.setenv("METAMUSIC_HOME", str(tmp_path / "elsewhere"))
    assert home() == tmp_path / "elsewhere"


def test_the_home_of_nobody_is_refused_in_words(monkeypatch):
    monkeypatch.setenv("METAMUSIC_HOME", "~nobody-of-this-name/data")
    with pytest.raises(SettingsError, match="no such user"):
        home()
