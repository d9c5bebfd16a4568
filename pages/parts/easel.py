"""Watching a render: redrawn every second while it is at work, straight from the store.

Nothing here lives in the session, so a reload, a second tab and a colleague see the same.
"""

from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import live, problem, stage, store, words

if TYPE_CHECKING:
    from db import RenderRow

WORKING_S, IDLE_S = 1.0, 4.0  # seconds between two looks


def draw(render_id: int | None = None) -> None:
    """The render with this id; without one, the one at work, or else the latest."""
    at_work = bool(store.open_store().active_renders())
    seen = store.open_store().revision()
    st.fragment(_look, run_every=WORKING_S if at_work else IDLE_S)(render_id, seen)


@problem.told()
def _look(render_id: int | None, seen: str) -> None:
    opened = store.open_store()
    if opened.revision() != seen:  # something began or ended: the rest of the page wants to know too
        st.rerun()
    problem.show_kept("easel")
    render = opened.get_render(render_id) if render_id else _current()
    if render is None:
        live.empty("Your song's picture grows here.", key="easel")
        return
    if render.state == "done" and render.kind == "video":
        stage.show(render, render.song.analysis, key=f"easel_film_{render.id}", limit="62vh")
    else:
        live.draw(render, key="easel")
        _after(render, linked=render_id is None)
    if render_id is None:  # the render's own page says them in its header
        for note in render.notes:
            st.caption(words.plain(note))


def _current() -> "RenderRow | None":
    active = store.open_store().active_renders()
    if active:
        return active[0]
    latest = store.open_store().list_renders(per_page=1).rows
    return latest[0] if latest else None


def _after(render: "RenderRow", linked: bool) -> None:
    """What is said under the card: a failure with its cure, and the way to the render's own page."""
    if render.state == "failed":
        problem.show(render.error, render.cure)
    waiting = len(store.open_store().active_renders()) - 1
    if linked and waiting > 0:
        st.caption(f"{waiting} more in the queue.")
    if linked and not render.active:
        st.page_link("pages/render.py", label="Open", icon=":material/open_in_full:",
                     query_params={"id": str(render.id)})
