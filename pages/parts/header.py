"""The head of a render's page: its title and what there is to say about it."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from pages.parts import names, problem, store, words

if TYPE_CHECKING:
    from db import RenderRow


def draw(render: "RenderRow") -> None:
    """Title, what it is, and what there is to say about how it went."""
    st.html(f'<h1 class="mm-title">{escape(render.title)}</h1>')
    facts = [words.KIND[render.kind], f"no. {render.id}", render.song.title, words.ago(render.created_at)]
    if render.state != "done":
        facts.insert(1, words.STATE[render.state])
    elif render.seconds:
        facts.append(f"painted in {words.about(render.seconds)}")
    st.html('<div class="mm-line">' + "".join(f"<span>{escape(fact)}</span>" for fact in facts) + "</div>")
    if render.settings.get("text"):
        st.markdown(f"“{words.plain(names.in_text(render.settings['text']))}”")
    _lineage(render)
    for note in dict.fromkeys((*render.song.notes, *render.notes)):
        st.caption(words.plain(note), width="stretch")
    if render.state == "failed":
        problem.show(render.error, render.cure)


def _lineage(render: "RenderRow") -> None:
    """Which render this one came from."""
    parent = store.open_store().get_render(render.parent_id) if render.parent_id else None
    if parent is not None and parent.deleted_at is None:
        word = "Runs again" if parent.settings == render.settings else "Continues"
        st.page_link("pages/render.py", label=words.plain(f"{word} {names.of_render(parent)}"),
                     icon=":material/account_tree:", query_params={"id": str(parent.id)})


def without_picture(render: "RenderRow") -> None:
    """A render that ended before there was a picture."""
    word = {"failed": "It failed before there was a picture.",
            "cancelled": "It was stopped before there was a picture."}
    st.html(f'<div class="mm-blank">{word.get(render.state, "There is no picture.")}</div>')


def losses(render: "RenderRow") -> Sequence[Sequence[float]]:
    """The loss curve, [[step, loss], ...]."""
    return (render.progress or {}).get("losses") or []
