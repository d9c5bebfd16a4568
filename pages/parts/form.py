"""The form of the Studio, derived from `metamusic.settings.knobs()`.

The truth is one dictionary, field -> value, in the session: it outlives a change of page and holds the
fields that are not on the screen. Widgets show it and write into it, each into its own field only.
"""

import hashlib
import json
import time
import uuid
from typing import Any

import streamlit as st

from metamusic import studio
from metamusic.settings import BUILT_IN_PRESETS, GROUPS, Knob, RenderSettings, knobs
from pages.parts import problem, store, words

KNOBS: dict[str, Knob] = {knob.name: knob for knob in knobs()}
ON_THE_PAGE = ("kind", "text")  # drawn by the Studio itself, not among the settings
OF_THE_SONG = ("start", "duration")
KEPT_BY_PRESETS = (*ON_THE_PAGE, *OF_THE_SONG, "seed")  # what one wants; a preset says how well
BASICS = "Basics"
DOUBLE_CLICK_S = 3.0
TEXT_HINT = "Words to see in it besides the music, such as: a storm over the sea"

_VALUES, _BASE, _PRESET, _SENT = "form_values", "form_base", "form_preset", "form_sent"
_DEFAULTS: dict[str, Any] = RenderSettings.parse({}).model_dump()


def values() -> dict[str, Any]:
    """The form as it stands: every field of RenderSettings."""
    return st.session_state.setdefault(_VALUES, dict(_DEFAULTS))


def settings() -> RenderSettings:
    """The form as settings; SettingsError names what does not fit."""
    return RenderSettings.parse(values())


def preset() -> str | None:
    """The preset the form last followed."""
    return st.session_state.get(_PRESET, "Standard")


def put(**changes: Any) -> None:
    """Changes some fields."""
    values().update(changes)


def load(chosen: RenderSettings, name: str | None = None) -> None:
    """Fills the whole form, as Use these settings does."""
    st.session_state[_VALUES] = chosen.model_dump()
    st.session_state[_BASE] = chosen.model_dump()
    st.session_state[_PRESET] = name


def follow(name: str, chosen: RenderSettings, *, team: bool) -> None:
    """Follows a preset. Ours say how well to paint, the team's also what; neither a region nor a seed."""
    kept = (*OF_THE_SONG, "seed") if team else KEPT_BY_PRESETS
    wanted = {**chosen.model_dump(), **{field: values()[field] for field in kept}}
    st.session_state[_VALUES], st.session_state[_BASE] = wanted, dict(wanted)
    st.session_state[_PRESET] = name


def changed() -> dict[str, Any]:
    """The fields of this kind of render that are not as in the preset: name -> its value there."""
    base = st.session_state.get(_BASE, _DEFAULTS)
    now = values()
    return {name: base[name] for name, knob in KNOBS.items()
            if name not in KEPT_BY_PRESETS and now["kind"] in knob.kinds and now[name] != base[name]}


def field(name: str, **looks: Any) -> None:
    """One setting as the widget that suits it."""
    knob, key = KNOBS[name], f"set_{name}"
    shown = _shown(knob, values()[name])
    if key not in st.session_state or st.session_state[key] != shown:
        st.session_state[key] = shown
    _widget(knob, key=key, help=knob.help, on_change=_write, args=(name,), **looks)


def groups(kind: str) -> dict[str, list[Knob]]:
    """The settings of a kind by group, the everyday ones first and together."""
    shown = [knob for knob in KNOBS.values() if kind in knob.kinds and knob.name not in ON_THE_PAGE]
    sorted_in = {BASICS: [knob for knob in shown if not knob.advanced]}
    for group in GROUPS:
        sorted_in[group] = [knob for knob in shown if knob.advanced and knob.group == group]
    return {group: members for group, members in sorted_in.items() if members}


def draw_groups() -> None:
    """The settings, one group at a time: what is not shown costs nothing and keeps its value."""
    by_group = groups(values()["kind"])
    opened = st.pills("Group", list(by_group), default=BASICS, key="form_group", required=True,
                      label_visibility="collapsed", persist_state="session")
    members = by_group.get(opened or BASICS, [])
    columns = st.columns(3)
    for place, knob in enumerate(members):
        with columns[place % 3]:
            field(knob.name)


def draw_presets() -> None:
    """Draft, Standard, Fine, and the team's own."""
    offered = studio.presets(store.open_store())
    st.session_state["form_follow"] = preset() if preset() in offered else None
    st.pills("Preset", list(offered), key="form_follow", on_change=_follow, label_visibility="collapsed")


def draw_unreadable_presets() -> None:
    """Presets of a newer MetaMusic: why they are not among the others."""
    for name, error in studio.unreadable_presets(store.open_store()).items():
        st.caption(words.plain(f"{name}: {error}"))


def draw_changes() -> None:
    """What differs from the preset; a click on a chip takes it back."""
    differing = changed()
    if not differing:
        return
    base = preset() or "the render it came from"
    st.pills(f"Changed from {base}", list(differing), key="form_changes", on_change=_take_back,
             format_func=_chip, help="Click one to take it back.")


def _chip(name: str) -> str:
    return f"{KNOBS[name].label} {words.value(KNOBS[name], values()[name])}  :material/close:"


def submit_key(song_id: int) -> str:
    """The key for ordering what the form says."""
    return order_key(song_id, values())


def order_key(*wish: Any) -> str:
    """A key for an order: the same for a double click, a new one for the next wish."""
    order = hashlib.sha256(json.dumps(wish, default=str, sort_keys=True).encode()).hexdigest()
    last = st.session_state.get(_SENT)
    if not last or last["order"] != order or time.monotonic() - last["at"] > DOUBLE_CLICK_S:
        st.session_state[_SENT] = last = {"order": order, "key": uuid.uuid4().hex}
    last["at"] = time.monotonic()
    return last["key"]


# -- widgets --------------------------------------------------------------------------------------


@problem.kept("desk")
def _write(name: str) -> None:
    """A widget's value into its own field."""
    raw = st.session_state[f"set_{name}"]
    if raw is None and not KNOBS[name].optional:  # a choice that was clicked away
        raw = st.session_state.get(_BASE, _DEFAULTS)[name]
    values()[name] = tuple(raw) if KNOBS[name].type is tuple else raw


@problem.kept("desk")
def _follow() -> None:
    name = st.session_state["form_follow"] or preset()
    offered = studio.presets(store.open_store())
    if name in offered:
        follow(name, offered[name], team=name not in BUILT_IN_PRESETS)


@problem.kept("desk")
def _take_back() -> None:
    name = st.session_state["form_changes"]
    if name:
        values()[name] = st.session_state.get(_BASE, _DEFAULTS)[name]
    st.session_state["form_changes"] = None


def _shown(knob: Knob, value: Any) -> Any:
    """The value in the type its widget keeps."""
    if value is None or knob.choices and knob.type is not tuple:
        return value
    return list(value) if knob.type is tuple else knob.type(value)


def _widget(knob: Knob, **looks: Any) -> None:
    label = f"{knob.label} ({knob.unit})" if knob.unit else knob.label
    if knob.name == "kind":
        st.segmented_control(label, knob.choices, format_func=words.KIND.__getitem__, required=True,
                             label_visibility="collapsed", **looks)
    elif knob.name == "text":
        st.text_area(label, height=80, label_visibility="collapsed", placeholder=TEXT_HINT, **looks)
    elif knob.type is tuple:
        st.multiselect(label, knob.choices, **looks)
    elif knob.choices:
        st.selectbox(label, knob.choices, **looks)
    elif knob.type is bool:
        st.toggle(label, **looks)
    elif knob.type is str:
        st.text_input(label, **looks)
    elif _fits_a_slider(knob):
        st.slider(label, float(knob.low or 0), float(knob.high or 1), step=float(knob.step or 0.05), **looks)
    else:
        _number(knob, label, **looks)


def _fits_a_slider(knob: Knob) -> bool:
    """Shares of a whole are pulled, everything else is typed."""
    return knob.type is float and not knob.optional and knob.low == 0 and 0 < (knob.high or 0) <= 1


def _number(knob: Knob, label: str, **looks: Any) -> None:
    """A number field; an optional one may be empty."""
    kind = knob.type
    low, high = (None if bound is None else kind(bound) for bound in (knob.low, knob.high))
    step = kind(knob.step or 1)
    st.number_input(label, low, high, None if knob.optional else "min", step=step,
                    format="%d" if kind is int else _decimals(step),
                    placeholder=words.value(knob, None) if knob.optional else None, **looks)


def _decimals(step: float) -> str:
    """As many places as the step has."""
    places = len(f"{step:f}".rstrip("0").partition(".")[2])
    return f"%.{max(1, places)}f"

