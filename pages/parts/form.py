"""What the Studio's form holds, whatever of it is on the screen.

The truth is one dictionary, field -> value, in the session: it outlives a change of page and holds the fields
that are not drawn. Beside it lies the base: what the preset and the pack say, against which changes are told.
"""

import hashlib
import json
import time
import uuid
from typing import Any

import streamlit as st

from metamusic import studio
from metamusic.errors import MetaMusicError
from metamusic.settings import Knob, RenderSettings, knobs
from pages.parts import problem, store, words

KNOBS: dict[str, Knob] = {knob.name: knob for knob in knobs()}
OF_THE_SONG = ("start", "duration", "seed")  # no preset says them, not even the team's own
# What one wants to see; a preset that does not name them leaves them alone, for it says how to paint.
WISHES = tuple(name for name in ("kind", "pack", "text", "lyrics", "story", "image_prompts", "target", "init_image",
                                 *OF_THE_SONG) if name in KNOBS)
DOUBLE_CLICK_S = 3.0

_VALUES, _BASE, _GIVEN, _PRESET, _SENT = "form_values", "form_base", "form_given", "form_preset", "form_sent"
_ADVANCED = "form_advanced"
_DEFAULTS: dict[str, Any] = RenderSettings.parse({}).model_dump()


def values() -> dict[str, Any]:
    """The form as it stands: every field of RenderSettings."""
    return st.session_state.setdefault(_VALUES, dict(_DEFAULTS))


def base() -> dict[str, Any]:
    """The form as the preset and the pack would have it."""
    return st.session_state.get(_BASE, _DEFAULTS)


def settings() -> RenderSettings:
    """The form as settings; SettingsError names what does not fit."""
    return RenderSettings.parse(values())


def preset() -> str | None:
    """The preset the form last followed."""
    return st.session_state.get(_PRESET, "Standard")


def advanced() -> bool:
    """Are the rare settings shown, too?"""
    return bool(st.session_state.get(_ADVANCED))


def draw_advanced(place: str) -> bool:
    """The switch for the rare settings. It may stand at several places of a page and is the same everywhere."""
    key = f"{_ADVANCED}_{place}"
    st.session_state[key] = advanced()

    def turn() -> None:
        st.session_state[_ADVANCED] = st.session_state[key]

    return st.toggle("Advanced", key=key, on_change=turn)


def begin_with(reference: str) -> None:
    """Begins with this picture, or with none: then as the preset would, without one."""
    without = base()["init"] if base()["init"] != "image" else "auto"
    put(init_image=reference, init="image" if reference else without)


def put(**changes: Any) -> None:
    """Changes some fields."""
    values().update(changes)


def load(chosen: RenderSettings, name: str | None = None) -> None:
    """Fills the whole form, as Use these settings does."""
    st.session_state[_VALUES] = chosen.model_dump()
    st.session_state[_GIVEN] = _given(chosen)
    st.session_state[_BASE] = chosen.model_dump()
    st.session_state[_PRESET] = name


def follow(name: str, chosen: RenderSettings) -> None:
    """Follows a preset: what it names, and of the rest what suits the pack. Wishes it does not name stay."""
    given, now = _given(chosen), values()
    kept = {field: now[field] for field in WISHES if field not in given or field in OF_THE_SONG}
    if now["init"] == "image":  # the first picture was chosen, too
        kept["init"] = "image"
    wanted = {**_plain(kept.get("pack", chosen.pack)), **given, **kept}
    st.session_state[_VALUES], st.session_state[_BASE] = wanted, dict(wanted)
    st.session_state[_GIVEN], st.session_state[_PRESET] = given, name


def choose_pack(name: str) -> None:
    """Paints with another pack: fields that nobody has touched take what suits it."""
    before, now = base(), values()
    after = {**_plain(name), **st.session_state.get(_GIVEN, {}), "pack": name}
    for field, value in now.items():
        if field not in WISHES and value == before[field]:
            now[field] = after[field]
    now["pack"] = name
    st.session_state[_BASE] = after


def changed() -> dict[str, Any]:
    """The fields of this kind of render that are not as in the preset: name -> its value there."""
    now, then = values(), base()
    return {name: then[name] for name, knob in KNOBS.items()
            if name not in WISHES and now["kind"] in knob.kinds and now[name] != then[name]}


def _plain(pack: str) -> dict[str, Any]:
    """Every field as it suits a pack that nobody has said anything about."""
    try:
        return {**_DEFAULTS, **studio.defaults_for(pack), "pack": pack}
    except MetaMusicError:  # it is not here; choosing it says so
        return {**_DEFAULTS, "pack": pack}


def _given(chosen: RenderSettings) -> dict[str, Any]:
    """What settings say themselves: the fields they name; if they name all, those unlike the pack's own."""
    said, every = chosen.model_dump(), chosen.model_fields_set
    if len(every) < len(KNOBS):
        return {name: said[name] for name in every & KNOBS.keys()}
    plain = _plain(chosen.pack)
    return {name: said[name] for name in KNOBS if name in WISHES or said[name] != plain[name]}


# -- presets and changes --------------------------------------------------------------------------


def draw_changes() -> None:
    """What differs from the preset; a click on a chip takes it back."""
    differing = changed()
    if not differing:
        return
    origin = words.plain(preset() or "the render it came from")
    st.pills(f"Changed from {origin}", list(differing), key="form_changes", on_change=_take_back, format_func=_chip,
             help="Click one to take it back.")


def _chip(name: str) -> str:
    return f"{KNOBS[name].label} {words.plain(words.value(KNOBS[name], values()[name]))}  :material/close:"


@problem.kept("desk")
def _take_back() -> None:
    name = st.session_state["form_changes"]
    if name == "init":  # a first picture and the kind of start go together
        begin_with(base()["init_image"] if base()["init"] == "image" else "")
    elif name:
        values()[name] = base()[name]
    st.session_state["form_changes"] = None


def follow_named(name: str) -> None:
    """Follows the preset of this name, if it is still there."""
    offered = studio.presets(store.open_store())
    if name in offered:
        follow(name, offered[name])


# -- orders ---------------------------------------------------------------------------------------


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
