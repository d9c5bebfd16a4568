"""One setting as the widget that suits it. Each writes into its own field of the form, and nothing else."""

from typing import Any

import streamlit as st

from metamusic import studio
from metamusic.settings import Knob
from pages.parts import effects, form, problem, words

TEXT_HINT = "A storm over the sea"
LONG_TEXTS = {"text": (84, TEXT_HINT), "story": (136, effects.STORY_HINT),
              "lyrics": (210, "0:12.0,The first line that is sung\n0:15.5,and the next")}
LABELS = {"text": "What to see, besides the music", "pack": "Painted with", "init": "Otherwise begin with"}
HINTS = {"judges": "clip-vit-b16:0.5", "noise_prompts": "7:0.1 | 8:-0.1"}


def draw(name: str, **looks: Any) -> None:
    """The widget of this field, showing its value."""
    knob, key = form.KNOBS[name], f"set_{name}"
    shown = _shown(knob, form.values()[name])
    if key not in st.session_state or st.session_state[key] != shown:
        st.session_state[key] = shown
    _widget(knob, **{"key": key, "help": _help(knob), "on_change": _write, "args": (name,), **looks})


def _help(knob: Knob) -> str:
    """What the field is and does; of judges also which there are."""
    said = effects.of(knob.name, knob.help)
    if knob.name != "judges":
        return said
    here = [f"`{item.name}`" for item in studio.shelf() if item.state == "ready"]
    return f"{said} Here now: {', '.join(here) or 'none'}."


def packs() -> dict[str, str]:
    """The packs that can paint now, name -> title; the one the form names is among them in any case."""
    found = {item.name: item.title for item in studio.shelf() if item.paints and item.state == "ready"}
    named = form.values()["pack"]
    return found if named in found else {**found, named: f"{named} (not here)"}


@problem.kept("desk")
def _write(name: str) -> None:
    """A widget's value into its own field."""
    raw = st.session_state[f"set_{name}"]
    if raw is None and not form.KNOBS[name].optional:  # a choice that was clicked away
        raw = form.base()[name]
    if name == "pack":
        form.choose_pack(raw)
    else:
        form.put(**{name: tuple(raw) if form.KNOBS[name].type is tuple else raw})


def _shown(knob: Knob, value: Any) -> Any:
    """The value in the type its widget keeps."""
    if value is None or knob.choices and knob.type is not tuple:
        return value
    return list(value) if knob.type is tuple else knob.type(value)


def _widget(knob: Knob, label: str = "", **looks: Any) -> None:
    name = LABELS.get(knob.name, knob.label)
    label = label or (f"{name} ({knob.unit})" if knob.unit else name)
    if knob.name == "kind":
        st.segmented_control(label, knob.choices, format_func=words.KIND.__getitem__, required=True,
                             label_visibility="collapsed", **looks)
    elif knob.name == "pack":
        titles = packs()
        st.selectbox(label, list(titles), format_func=titles.__getitem__, **looks)
    elif knob.type is tuple:
        st.multiselect(label, knob.choices, **looks)
    elif knob.choices:
        st.selectbox(label, knob.choices, **looks)
    elif knob.type is bool:
        st.toggle(label, **looks)
    elif knob.type is str:
        _text(knob, label, **looks)
    elif _fits_a_slider(knob):
        st.slider(label, float(knob.low or 0), float(knob.high or 1), step=float(knob.step or 0.05), **looks)
    else:
        _number(knob, label, **looks)


def _text(knob: Knob, label: str, **looks: Any) -> None:
    """Words: a box where there may be many of them, otherwise a line."""
    if knob.name in LONG_TEXTS:
        height, hint = LONG_TEXTS[knob.name]
        st.text_area(label, height=height, placeholder=hint, **looks)
    else:
        st.text_input(label, placeholder=HINTS.get(knob.name), **looks)


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
