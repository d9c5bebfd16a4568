"""Choosing a song: from the library, by dropping a file, or the demo; and hearing it out in the background."""

import threading
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.parts import problem, store

if TYPE_CHECKING:
    from db import SongRow

TYPES = ["mp3", "wav", "flac", "ogg", "oga", "opus", "m4a", "aac", "mp4", "mov", "webm", "mkv", "aif", "aiff", "wma"]
_CHOSEN = "song_id"
_DROPPED = "dropped"  # counts uploads: a new number empties the drop field
_listening: set[int] = set()
_gate = threading.Lock()


def chosen() -> "SongRow | None":
    """The song on the desk: the one chosen, or else the newest."""
    opened = store.open_store()
    song = opened.get_song(st.session_state[_CHOSEN]) if _CHOSEN in st.session_state else None
    if song is None:
        library = opened.list_songs()
        song = library[0] if library else None
    return song


def choose(song_id: int) -> None:
    """Puts a song on the desk."""
    st.session_state[_CHOSEN] = song_id


def draw() -> "SongRow | None":
    """The library and the place to drop a file; the song that is on the desk."""
    library = store.open_store().list_songs()
    if library:
        titles = {song.id: song.title for song in library}
        song = chosen()
        st.session_state["song_choice"] = song.id if song and song.id in titles else library[0].id
        st.selectbox("Song", list(titles), key="song_choice", format_func=titles.get, on_change=_pick,
                     label_visibility="collapsed")
    st.file_uploader("Drop a song", TYPES, key=f"drop_{st.session_state.get(_DROPPED, 0)}", on_change=_take,
                     max_upload_size=200, label_visibility="collapsed" if library else "visible")
    if not library:
        st.button("Use the demo song", icon=":material/music_note:", on_click=take_demo, key="demo")
    return chosen()


@problem.kept
def take_demo() -> None:
    """Composes the demo song, or finds it, and puts it on the desk."""
    from metamusic import studio

    choose(studio.demo_song(store.open_store()).id)


def heard(song: "SongRow") -> dict[str, Any] | None:
    """Beats and peaks of the song, or None while a thread is still listening to it."""
    if song.analysis is not None:
        return song.analysis
    with _gate:
        if song.id in _listening:
            return None
        _listening.add(song.id)
    threading.Thread(target=_listen, args=(song.id,), daemon=True, name=f"listening-{song.id}").start()
    return None


def _listen(song_id: int) -> None:
    """The first hearing takes seconds; the page does not wait for it."""
    from metamusic import studio
    from metamusic.errors import MetaMusicError

    try:
        studio.analysis(store.open_store(), song_id)
    except MetaMusicError as error:  # the waveform stays empty; a render would say the same aloud
        print(f"metamusic: could not hear song {song_id} out: {error}")
    finally:
        with _gate:
            _listening.discard(song_id)


def _pick() -> None:
    from pages.parts import form

    choose(st.session_state["song_choice"])
    form.put(start=0.0, duration=None)


@problem.kept
def _take() -> None:
    """A dropped file goes to the store at once, and the drop field is emptied."""
    from metamusic import studio
    from pages.parts import form

    dropped = st.session_state.get(f"drop_{st.session_state.get(_DROPPED, 0)}")
    st.session_state[_DROPPED] = st.session_state.get(_DROPPED, 0) + 1
    if dropped is not None:
        choose(studio.add_song(store.open_store(), dropped.getvalue(), dropped.name).id)
        form.put(start=0.0, duration=None)
