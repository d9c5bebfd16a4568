"""Render: one picture or video, with everything that is known about it."""

import streamlit as st

from pages.parts import actions, easel, facts, header, lines, lyrics, numbers, pictures, problem, stage, store

render = store.open_store().get_render(numbers.from_url("id") or 0)

if render is None:
    problem.show("There is no such render.", "It may have been swept away, or the address is incomplete.")
    st.page_link("pages/gallery.py", label="Back to the gallery", icon=":material/arrow_back:")
elif render.deleted_at is not None:
    actions.offer_undo(render)
else:
    picture, beside = st.columns([7, 4], gap="large")
    with picture:
        if render.active:
            easel.draw(render.id)
        elif "final" in render.assets:
            stage.show(render, render.song.analysis, key=f"stage_{render.id}",
                       lines=lyrics.spans_or_none(render.settings.get("lyrics") or ""))
        else:
            header.without_picture(render)
    with beside:
        header.draw(render)
        pictures.strip(render.settings)
        actions.draw(render)
        losses = (render.progress or {}).get("losses") or []
        if not render.active and len(losses) > 2:
            lines.draw({"loss": losses}, key=f"loss_{render.id}")
    st.divider()
    facts.draw(facts.of_settings(render.settings) | facts.of_run(render))
