"""Models: the packs of weights that paint and judge; what is here, what can be had, and one's own."""

import streamlit as st

from pages.parts import bring, shelf

st.header("Models", anchor=False)
st.caption("What paints and what judges are sets of weights. Those that can paint are offered in the Studio.")
shelf.draw()
st.space("medium")
bring.draw()
