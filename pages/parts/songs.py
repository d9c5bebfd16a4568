"""Choosing a song, from the library or by dropping a file, and the stretch of it to paint."""

from typing import TYPE_CHECKING, Any, Literal

import streamlit as st

from metamusic import studio
from metamusic.settings import RenderSettings
from pages.parts import background, drop, form, lyrics, problem, stage, store, words

if TYPE_CHECKING:
    from db import SongRow

TYPES = ["audio", "video"]  # what the file dialogue offers; the store decides
LARGEST_MB = 200
_CHOSEN = "song_id"


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
    song = chosen()
    if song is None:
        st.header("What does your song look like?", anchor=False)
        _drop_field("Drop a song here", "visible")
        if st.button("Use the demo song", icon=":material/music_note:", key="demo"):
            take_demo()
            st.rerun()
    else:
        choose(song.id)  # a colleague's newer song does not take its place
        titles = {row.id: row.title for row in store.open_store().list_songs()}
        st.session_state["song_choice"] = song.id
        st.selectbox("Song", list(titles), key="song_choice", format_func=titles.__getitem__, on_change=_pick,
                     label_visibility="collapsed")
        _drop_field("Drop another song", "collapsed")
    return song


def _drop_field(label: str, visibility: Literal["visible", "collapsed"]) -> None:
    drop.draw("song", label, TYPES, _take, max_upload_size=LARGEST_MB, label_visibility=visibility)


def take_demo() -> "SongRow":
    """Composes the demo song, or finds it, and puts it on the desk."""
    with st.spinner("Composing the demo song"):
        song = studio.demo_song(store.open_store())
    choose(song.id)
    return song


def render_demo() -> None:
    """The empty gallery's one action: a first picture of the demo song."""
    opened = store.open_store()
    song = take_demo()
    studio.submit(opened, song.id, RenderSettings.parse({}), preset="Standard",
                  submit_key=f"first-demo/{opened.revision()}")  # a new one after that picture was deleted


def draw_region(song: "SongRow") -> None:
    """The song's waveform, and the stretch of it that will be painted."""
    start = min(float(form.values()["start"]), max(0.0, song.duration_s - 0.5))
    length = form.values()["duration"]
    end = min(song.duration_s, start + length) if length else song.duration_s
    analysis = heard(song)
    text = form.values()["lyrics"]
    stage.choose(song, analysis, (start, end), lambda first, last: _move(song, first, last), key="desk",
                 lines=lyrics.spans_or_none(text), told=lyrics.told(text, start, end))
    for note in song.notes:
        st.caption(words.plain(note))
    if analysis is None:
        trouble = background.failure(_work(song))
        if trouble is None:
            _wait_for(song.id)
        else:
            st.caption(words.plain(f"Its beats could not be heard. {trouble}"))


@st.fragment(run_every=1.0)
@problem.told()
def _wait_for(song_id: int) -> None:
    """Looks whether the song has been heard out, then lets the page draw it."""
    song = store.open_store().get_song(song_id)
    if song is None or song.analysis is not None or background.failure(_work(song)):
        st.rerun()
    st.caption("Listening for beats")


@problem.kept("desk")
def _move(song: "SongRow", start: float, end: float) -> None:
    """The region the user drew; up to the song's end is an open end."""
    whole = end >= song.duration_s - 0.05
    form.put(start=round(start, 2), duration=None if whole else round(end - start, 2))


def heard(song: "SongRow") -> dict[str, Any] | None:
    """Beats and peaks of the song, or None while a thread is still listening to it."""
    if song.analysis is None:
        background.ready(_work(song), lambda: studio.analysis(store.open_store(), song.id))
    return song.analysis


def _work(song: "SongRow") -> tuple[str, str]:
    """What listening to this song is called in the background."""
    return "song", song.digest


@problem.kept("desk")
def _pick() -> None:
    choose(st.session_state["song_choice"])
    form.put(start=0.0, duration=None)


@problem.kept("desk")
def _take(files: list[Any]) -> None:
    """A dropped file goes to the store at once."""
    choose(studio.add_song(store.open_store(), files[0].getvalue(), files[0].name).id)
    form.put(start=0.0, duration=None)
