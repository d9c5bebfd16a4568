"""The story in the form: scenes as text, and under them how they are understood."""

from typing import Any

import streamlit as st

from metamusic import studio
from metamusic.errors import MetaMusicError
from pages.parts import fields, form, problem, words

SHOWN = 6  # scenes that the reading spells out


def draw(name: str = "story") -> None:
    """The text, and its reading or what is wrong with it."""
    fields.draw(name)
    now = form.values()
    try:
        told = read(now["story"], now["story_every"], now["story_fade"])
    except MetaMusicError as error:
        problem.show(error.message, error.cure)
    else:
        if told:
            st.caption(words.plain(told))


def read(text: str, every_s: float, fade_s: float) -> str:
    """The scenes in one line; SettingsError names the line that is not understood."""
    if not text.strip():
        return ""
    scenes = studio.story_of(text, every_s, fade_s).scenes
    told = [_scene(scene) for scene in scenes[:SHOWN]]
    more = [f"and {len(scenes) - SHOWN} more"] if len(scenes) > SHOWN else []
    turns = f", each for {every_s:g} s in turn" if scenes and scenes[0].start_s is None and len(scenes) > 1 else ""
    return f"{words.many(len(scenes), 'scene')}{turns}: {'; '.join(told + more)}"


def _scene(scene: Any) -> str:
    seen = ", ".join(spec.text for spec in scene.prompts)
    changes = ", ".join(f"{form.KNOBS[name].label.lower()} {value}" for name, value in scene.changes.items())
    when = "" if scene.start_s is None else f"{words.clock(scene.start_s)} "
    return when + (f"{seen} ({changes})" if seen and changes else seen or changes)
