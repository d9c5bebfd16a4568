"""The presets to follow: how much time to spend, the team's own, and how others painted."""

import streamlit as st

from metamusic import settings, studio
from pages.parts import form, problem, store, words

EFFORTS = ("Draft", "Standard", "Fine")
OTHERS = tuple(name for name in settings.BUILT_IN_PRESETS if name not in EFFORTS)


def draw() -> None:
    """Draft, Standard, Fine and the team's own as pills; the ways of others behind one more."""
    offered = [name for name in studio.presets(store.open_store()) if name not in OTHERS]
    st.session_state["form_follow"] = form.preset() if form.preset() in offered else None
    st.pills("Preset", offered, key="form_follow", on_change=_follow, args=("form_follow",),
             label_visibility="collapsed", format_func=words.plain)
    if OTHERS:
        _draw_others()


def draw_unreadable() -> None:
    """Presets of a newer MetaMusic: why they are not among the others."""
    for name, error in studio.unreadable_presets(store.open_store()).items():
        st.caption(words.plain(f"{name}: {error}"))


def _draw_others() -> None:
    followed = form.preset() if form.preset() in OTHERS else None
    with st.popover(followed or "As others did it", type="tertiary" if not followed else "secondary"):
        st.session_state["form_other"] = followed
        st.radio("As others did it", OTHERS, index=None, key="form_other", on_change=_follow, args=("form_other",),
                 captions=[settings.preset_about(name) for name in OTHERS], label_visibility="collapsed")


@problem.kept("desk")
def _follow(key: str) -> None:
    """A pill that was clicked away means the one it stood for."""
    form.follow_named(st.session_state[key] or form.preset() or "")
