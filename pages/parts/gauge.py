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
        painted = studio.painted_size(settings)
    except MetaMusicError:
        return
    size = "{} by {}".format(*painted)
    if painted != (settings.width, settings.height):
        size += f", rounded down from {settings.width} by {settings.height}"
    what = f"{words.about(length)} of video, {size}" if settings.kind == "video" else size
    basis = "" if guess.measured else ", a first guess"
    words_of_time = f"about {words.about(guess.seconds)}{basis}"
    st.html(f'<div class="mm-line"><span>{what}</span><span>{words_of_time}</span></div>')
