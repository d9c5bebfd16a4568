"""The Gallery's filters. Each is bound to the URL."""

from typing import Any

import streamlit as st

from db import ACTIVE
from pages.parts import numbers, store

ANY_KIND, ANY_SONG, ANY_STATE = "All", "Every song", "Every state"
KINDS = {"Pictures": "image", "Videos": "video"}
STATES = {"Done": "done", "At work": ACTIVE, "Stopped": "cancelled", "Failed": "failed"}
BOUND: dict[str, Any] = {"bind": "query-params", "label_visibility": "collapsed"}


def draw() -> dict[str, Any]:
    """The row of filters; what to look for, as `Store.list_renders` takes it."""
    songs = {_label(song.id, song.title): song.id for song in store.open_store().list_songs()}
    search, kinds, song_field, state_field = st.columns([4, 3, 3, 2], vertical_alignment="center")
    text = search.text_input("Search", key="q", placeholder="Search title, text, song, seed:7",
                             icon=":material/search:", **BOUND)
    kind = kinds.segmented_control("Kind", [ANY_KIND, *KINDS], default=ANY_KIND, key="kind", required=True,
                                   **BOUND)
    song = song_field.selectbox("Song", [ANY_SONG, *songs], key="song", **BOUND)
    state = state_field.selectbox("State", [ANY_STATE, *STATES], key="state", **BOUND)
    return {"search": (text or "").strip(), "kind": KINDS.get(kind or ""), "song": songs.get(song or ""),
            "state": STATES.get(state or "")}


def page_number() -> int:
    """The page that is asked for, before the pager is drawn."""
    asked = st.session_state.get("p") or st.query_params.get("p") or 1
    return max(1, numbers.whole(str(asked)) or 1)


def clear() -> None:
    """Shows everything again, from the first page."""
    for key, plain in (("q", ""), ("kind", ANY_KIND), ("song", ANY_SONG), ("state", ANY_STATE), ("p", 1)):
        st.session_state[key] = plain


def _label(song_id: int, title: str) -> str:
    """Two songs may share a title; the number keeps them apart in the URL."""
    return f"{title} ({song_id})"
