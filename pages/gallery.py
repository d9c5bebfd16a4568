"""Gallery: every render, newest first. The filters stand in the URL, so a view can be sent to a colleague."""

import streamlit as st

from pages.parts import filters, grid, songs, store

PER_PAGE = 24


@st.fragment(run_every=3.0)
def wall(wanted: filters.Wanted) -> None:
    """The pictures. Looks again by itself, so what the worker finishes appears."""
    opened_store = store.open_store()
    pages = max(1, -(-opened_store.list_renders(**wanted.query, page=1, per_page=1).total // PER_PAGE))
    number = min(filters.page_number(), pages)
    found = opened_store.list_renders(**wanted.query, page=number, per_page=PER_PAGE)
    picked = st.session_state.setdefault("picked", [])
    if not found.rows:
        empty(wanted)
        return
    opened = grid.draw(found.rows, key="wall", selected=picked,
                       on_select=lambda ids: st.session_state.update(picked=ids))
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        if pages > 1:
            st.pagination(pages, key="p", bind="query-params")
        if len(picked) == 2:
            if st.button("Compare the two", type="primary", icon=":material/compare:", key="go_compare"):
                st.switch_page("pages/compare.py", query_params={"ids": ",".join(map(str, picked))})
        elif picked:
            st.caption("Select one more to compare.")
    if opened is not None:
        st.switch_page("pages/render.py", query_params={"id": str(opened)})


def empty(wanted: filters.Wanted) -> None:
    """What will be here, and the one action that fills it."""
    if wanted.any:
        st.html('<p class="mm-quiet">No render is like that.</p>')
        st.button("Show all", on_click=filters.clear)
        return
    st.subheader("Every picture and video you render will hang here.")
    if st.button("Render the demo song", type="primary", icon=":material/brush:", on_click=songs.render_demo,
                 key="go_demo"):
        st.switch_page("pages/studio.py")


wall(filters.draw())
