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
_KEPT, _HERE = "problems", "problems_of"  # what callbacks ran into, by place, and on which page

def show(message: str, cure: str = "") -> None:
    """The box: what happened and why, then the step that mends it."""
    cure_html = f"<p>{escape(cure)}</p>" if cure else ""
    st.html(f'<div class="mm-problem" role="alert"><strong>{escape(message)}</strong>{cure_html}</div>')


@contextmanager
def told() -> Iterator[None]:
    """Turns a MetaMusicError of the block into the box; everything else stays a bug.

    Also a decorator, which every fragment needs: when it runs by itself, nobody stands around it.
    """
    try:
        yield
    except _MENDABLE as error:
        show(error.message, error.cure)


def kept(where: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """For widget callbacks, which run before the page is drawn: the error waits until `show_kept`.

    It stays there until the next callback of the same place, or until the page is left. `{0}` in the name of the
    place stands for the callback's first argument.
    """
    def decorate(callback: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(callback)
        def careful(*args: Any, **kwargs: Any) -> Any:
            place = where.format(*args)
            _all_kept().pop(place, None)
            try:
                return callback(*args, **kwargs)
            except _MENDABLE as error:
                _all_kept()[place] = (error.message, error.cure)
        return careful
    return decorate


def show_kept(place: str) -> bool:
    """Shows what the last callback of this place ran into; tells whether there was anything."""
    problem = _all_kept().get(place)
    if problem:
        show(*problem)
    return problem is not None


def forget_elsewhere(here: str) -> None:
    """What was kept on another page is not shown on this one."""
    if st.session_state.get(_HERE) != here:
        st.session_state[_HERE] = here
        _all_kept().clear()


def _all_kept() -> dict[str, tuple[str, str]]:
    return st.session_state.setdefault(_KEPT, {})
