"""What can be done with a render."""

from typing import TYPE_CHECKING

import streamlit as st

from metamusic import studio
from metamusic.errors import MetaMusicError
from pages.parts import background, form, media, problem, sections, songs, store, words

if TYPE_CHECKING:
    from db import RenderRow
    from metamusic.settings import RenderSettings


def draw(render: "RenderRow") -> None:
    """The buttons; which ones depends on how the render stands."""
    problem.show_kept("actions")
    with st.container(horizontal=True):
        if not render.active:
            _run_again(render)
        if render.state in ("failed", "cancelled"):
            st.button("Resume", icon=":material/play_arrow:", on_click=_continue, args=(render.id,),
                      help="Paint on from where it stopped.")
        if not render.active and "final" in render.assets:
            _go_on(render)
        if st.button("Use these settings", icon=":material/tune:"):
            _use(render)
        with st.popover("Keep as preset", icon=":material/bookmark_add:"):
            _keep(render)
        _download(render)
        st.button("Delete", icon=":material/delete:", type="tertiary", on_click=_delete, args=(render.id,),
                  help="Can be undone.")
    _what_differs(render)


def offer_undo(render: "RenderRow") -> None:
    """A deleted render's page: the way back."""
    st.subheader("Deleted")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Undo", icon=":material/undo:", on_click=_restore, args=(render.id,), type="primary")
        st.page_link("pages/gallery.py", label="Back to the gallery", icon=":material/arrow_back:")


def _run_again(render: "RenderRow") -> None:
    if st.button("Run again", type="primary", icon=":material/replay:", key="go_again"):
        with problem.told():
            again = studio.run_again(store.open_store(), render.id,
                                     submit_key=form.order_key("again", render.id))
            st.switch_page("pages/render.py", query_params={"id": str(again.id)})


def _go_on(render: "RenderRow") -> None:
    if st.button("Continue from here", icon=":material/fork_right:", key="on_from_here",
                 help="A new render that begins with this picture."):
        with problem.told():
            _fill(render, studio.continue_from(store.open_store(), render.id), panel="First picture")


def _what_differs(render: "RenderRow") -> None:
    """Run again promises the same pixels; where it cannot, it says why before the click.

    The first answer needs the engine in memory, which takes seconds: that happens beside the page.
    """
    if render.state != "done":
        return
    looked = background.ready("engine", lambda: studio.what_differs(store.open_store(), render.id))
    st.fragment(_tell, run_every=None if looked else 1.0)(render.id, looked)


@problem.told()
def _tell(render_id: int, looked: bool) -> None:
    if not looked:
        if background.ready("engine", lambda: None):
            st.rerun()
        st.caption("Looking whether Run again can be exact")
        return
    try:
        sentences = studio.what_differs(store.open_store(), render_id)
    except MetaMusicError as error:
        sentences = [error.message]
    if sentences:
        st.caption(words.plain("Run again will not be exact. " + " ".join(sentences)))
    else:
        st.caption("Run again gives the same pixels.")


def _keep(render: "RenderRow") -> None:
    with st.form("keep", border=False):
        name = st.text_input("Name", max_chars=60)
        if st.form_submit_button("Keep") and name.strip():
            with problem.told():
                kept = studio.settings_of(render).changed(seed=None, start=0.0, duration=None)
                studio.save_preset(store.open_store(), name.strip(), kept)
                st.toast(words.plain(f"Kept as {name.strip()}."))


def _download(render: "RenderRow") -> None:
    """The file itself, which carries its settings."""
    final = render.assets.get("final")
    if final is None:
        return
    url = media.download_url(render)
    if url:
        st.link_button("Download", url, icon=":material/download:", help="With its settings inside.")
    elif final.bytes <= media.INLINE_LIMIT:
        st.download_button("Download", final.file.read_bytes(), mime=final.mime, icon=":material/download:",
                           file_name=media.file_name(render, final), help="With its settings inside.")


@problem.told()
def _use(render: "RenderRow") -> None:
    _fill(render, studio.settings_of(render))


@problem.told()
def _fill(render: "RenderRow", chosen: "RenderSettings", panel: str | None = None) -> None:
    """The Studio's form with these settings and this song; `panel` is opened there."""
    form.load(chosen)
    songs.choose(render.song.id)
    if panel:
        sections.open_panel(panel)
    st.switch_page("pages/studio.py")


@problem.kept("actions")
def _delete(render_id: int) -> None:
    studio.trash(store.open_store(), render_id)


@problem.kept("actions")
def _restore(render_id: int) -> None:
    studio.restore(store.open_store(), render_id)


@problem.kept("actions")
def _continue(render_id: int) -> None:
    studio.continue_render(store.open_store(), render_id)
