"""Gallery: every render, newest first. The filters stand in the URL, so a view can be sent to a colleague."""

from typing import Any

import streamlit as st

from pages.parts import filters, grid, problem, songs, store

PER_PAGE = 24


@st.fragment(run_every=3.0)
@problem.told()
def wall(wanted: dict[str, Any], picked: list[int]) -> None:
    """The pictures. Looks again by itself, so what the worker finishes appears."""
    if picked != chosen():
        st.rerun()  # the bar at the bottom stands outside of this fragment
    opened_store = store.open_store()
    pages = max(1, -(-opened_store.list_renders(**wanted, page=1, per_page=1).total // PER_PAGE))
    number = min(filters.page_number(), pages)
    found = opened_store.list_renders(**wanted, page=number, per_page=PER_PAGE)
    if not found.rows:
        nothing()
        return
    opened = grid.draw(found.rows, key="wall", selected=picked,
                       on_select=lambda ids: st.session_state.update(picked=ids))
    if pages > 1:
        st.pagination(pages, key="p", bind="query-params", width="stretch")
    if opened is not None:
        st.switch_page("pages/render.py", query_params={"id": str(opened)})


def chosen() -> list[int]:
    """The renders that are selected, two at most."""
    return list(st.session_state.get("picked", []))


def offer_comparison(picked: list[int]) -> None:
    """Two selected pictures can be looked at side by side."""
    if not picked:
        return
    with st.bottom.container(horizontal=True, vertical_alignment="center"):
        if len(picked) < 2:
            st.caption("Select one more to compare.")
        elif st.button("Compare the two", type="primary", icon=":material/compare:", key="go_compare"):
            st.switch_page("pages/compare.py", query_params={"ids": ",".join(map(str, picked))})


def nothing() -> None:
    """Nothing is like what was asked for."""
    st.html('<p class="mm-quiet">No render is like that.</p>')
    if st.button("Show all", on_click=filters.clear):
        st.rerun()  # the filters stand outside of this fragment


def first_time() -> None:
    """What will be here, and the one action that fills it."""
    st.header("Every picture and video you render will hang here.", anchor=False)
    if st.button("Render the demo song", type="primary", icon=":material/brush:", key="go_demo"):
        songs.render_demo()
        st.switch_page("pages/studio.py")


if store.open_store().list_renders(per_page=1).total:
    wall(filters.draw(), chosen())
    offer_comparison(chosen())
else:
    first_time()
