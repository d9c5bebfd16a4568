"""How long it will take, from what this machine has rendered before."""

from typing import TYPE_CHECKING

import streamlit as st

from metamusic import studio
from metamusic.errors import MetaMusicError
from pages.parts import form, store, words

if TYPE_CHECKING:
    from db import SongRow


def draw(song: "SongRow") -> None:
    """One line beside the button; silent while the settings do not fit together."""
    try:
        settings = form.settings()
        length = settings.duration or max(0.5, song.duration_s - settings.start)
        guess = studio.estimate(store.open_store(), settings, length)
    except MetaMusicError:
        return
    what = f"a video of {words.about(length)}" if settings.kind == "video" else f"{settings.width} by {settings.height}"
    basis = "" if guess.measured else ", a first guess"
    st.html(f'<div class="mm-line"><span>{what}</span><span>about {words.about(guess.seconds)}{basis}</span></div>')
