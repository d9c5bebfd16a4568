"""A field to drop files into. It is emptied as soon as they were taken."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st


def draw(name: str, label: str, types: Sequence[str], take: Callable[[list[Any]], object], **looks: Any) -> None:
    """The field called `name`; `take` is a callback that gets what was dropped, one file or more."""
    st.file_uploader(label, types, key=_key(name), on_change=_take, args=(name, take), **looks)


def _key(name: str) -> str:
    """A new key empties the field."""
    return f"drop_{name}_{st.session_state.get(f'dropped_{name}', 0)}"


def _take(name: str, take: Callable[[list[Any]], object]) -> None:
    """Streamlit also calls this with nothing, right after the field was emptied: nothing happens then. A new key
    would throw away what is being dropped, and a callback would forget the problem that is on the screen."""
    dropped = st.session_state.get(_key(name))
    files = dropped if isinstance(dropped, list) else [dropped] if dropped is not None else []
    if files:
        st.session_state[f"dropped_{name}"] = st.session_state.get(f"dropped_{name}", 0) + 1
        take(files)
