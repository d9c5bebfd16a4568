"""The loss curve, of one render or of two against each other."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

_HERE = Path(__file__).parent
_HTML = """
<div class="lines">
  <svg preserveAspectRatio="none" role="img" aria-label="Loss over steps"></svg>
  <div class="foot"><span class="legend"></span><span class="told"></span></div>
</div>
"""
_LINES = st.components.v2.component("metamusic_lines", html=_HTML, css=(_HERE / "lines.css").read_text(),
                                    js=(_HERE / "lines.js").read_text())


def draw(series: dict[str, Sequence[Sequence[float]]], key: str, height: int = 120) -> None:
    """`series`: name -> [[step, loss], ...]."""
    _LINES(data={"series": [{"name": name, "points": list(points)} for name, points in series.items()],
                 "height": height}, key=key)
