"""Studio: choose a song, say what to see, render, and watch the picture grow."""

import streamlit as st

from metamusic import studio
from pages.parts import easel, fields, form, gauge, grid, presets, problem, sections, songs, store


@problem.kept("desk")
def render() -> None:
    """Hands the form to the store; the worker takes it from there."""
    song = songs.chosen()
    if song is not None:
        studio.submit(store.open_store(), song.id, form.settings(), preset=form.preset(),
                      submit_key=form.submit_key(song.id))


@st.fragment
@problem.told()
def desk() -> None:
    """The song and the wishes; a change here redraws only this column."""
    song = songs.draw()
    refused = problem.show_kept("desk")
    if song is None:
        return
    songs.draw_region(song)
    fields.draw("text")
    sections.draw_what()
    with st.container(horizontal=True, vertical_alignment="center"):
        fields.draw("kind")
        presets.draw()
    presets.draw_unreadable()
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        sent = st.button("Render", type="primary", icon=":material/brush:", on_click=render, key="go_render")
        gauge.draw(song)
    form.draw_changes()
    with st.expander("Settings", key="more", on_change="rerun") as more:
        if more.open:
            sections.draw_how()
    if sent and not refused:
        st.rerun()  # the easel stands outside of this fragment


left, right = st.columns([5, 6], gap="large")
with left:
    desk()
with right:
    easel.draw()

recent = store.open_store().list_renders(per_page=8).rows
if len(recent) > 1:
    st.subheader("Lately")
    opened = grid.draw(recent, key="recent", strip=True)
    if opened is not None:
        st.switch_page("pages/render.py", query_params={"id": str(opened)})
