"""What stands around every page: the mark, the style sheet, and the last word on errors."""

from pathlib import Path

import streamlit as st

from db import StoreProblem
from metamusic.errors import MetaMusicError
from pages.parts import problem, store

_HERE = Path(__file__).parent
_MARK = _HERE.parent.parent / "static" / "mark.svg"


def draw(page: st.Page) -> None:
    """Runs the page; a mistake that a user can mend becomes the box."""
    st.logo(_MARK, size="medium")
    st.html(_HERE / "look.css")
    problem.forget_elsewhere(f"{page.url_path}/{st.query_params.get('id', '')}")
    try:
        store.open_store()
        page.run()
    except (MetaMusicError, StoreProblem) as error:
        problem.show(error.message, error.cure)
