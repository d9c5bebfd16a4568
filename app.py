"""The screens of MetaMusic: which pages there are. Everything else stands in pages/."""

import streamlit as st

from pages.parts import frame

st.set_page_config(page_title="MetaMusic", page_icon="static/mark.svg", layout="wide")

PAGES = [
    st.Page("pages/studio.py", title="Studio", icon=":material/brush:", default=True,
            help="Choose a song and render a picture or a video of it."),
    st.Page("pages/gallery.py", title="Gallery", icon=":material/grid_view:",
            help="Every render, newest first: search, filter, open, compare."),
    st.Page("pages/compare.py", title="Compare", icon=":material/compare:",
            help="Two renders side by side, with what differs on top."),
    st.Page("pages/models.py", title="Models", icon=":material/deployed_code:",
            help="The weights that paint and judge: what is here, and what can be had."),
    st.Page("pages/render.py", title="Render", icon=":material/image:", visibility="hidden"),
]

page = st.navigation(PAGES, position="top")
frame.draw(page)
