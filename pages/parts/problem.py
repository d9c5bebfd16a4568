"""Says what went wrong and what to do about it: one calm box, never a traceback."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from html import escape
from typing import Any

import streamlit as st

from db import StoreProblem
from metamusic.errors import MetaMusicError

_MENDABLE = (MetaMusicError, StoreProblem)  # both have a message and a cure
_KEPT = "problem"  # what a callback ran into, shown by the run that follows it


def show(message: str, cure: str = "") -> None:
    """The box: what happened and why, then the step that mends it."""
    cure_html = f"<p>{escape(cure)}</p>" if cure else ""
    st.html(f'<div class="mm-problem" role="alert"><strong>{escape(message)}</strong>{cure_html}</div>')


@contextmanager
def told() -> Iterator[None]:
    """Turns a MetaMusicError of the block into the box; everything else stays a bug."""
    try:
        yield
    except _MENDABLE as error:
        show(error.message, error.cure)


def kept(callback: Callable[..., Any]) -> Callable[..., Any]:
    """For widget callbacks, which run before the page is drawn: the error waits until `show_kept`."""
    @wraps(callback)
    def careful(*args: Any, **kwargs: Any) -> Any:
        st.session_state.pop(_KEPT, None)
        try:
            return callback(*args, **kwargs)
        except _MENDABLE as error:
            st.session_state[_KEPT] = (error.message, error.cure)
    return careful


def show_kept() -> bool:
    """Shows what the last callback ran into, once; tells whether there was anything."""
    problem = st.session_state.pop(_KEPT, None)
    if problem:
        show(*problem)
    return problem is not None
