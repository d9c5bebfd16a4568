"""Numbers out of the URL; what is not a number is as if it were missing."""

import streamlit as st


def from_url(name: str) -> int | None:
    """`?id=12`."""
    found = _all(st.query_params.get(name, ""))
    return found[0] if found else None


def pair_from_url(name: str) -> list[int]:
    """`?ids=12,15`: at most two, never the same twice."""
    return list(dict.fromkeys(_all(st.query_params.get(name, ""))))[:2]


def whole(text: str) -> int | None:
    """The number that a text is: plain digits, and not more of them than a database counts."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _all(text: str) -> list[int]:
    parts = (whole(part.strip()) for part in text.split(","))
    return [part for part in parts if part is not None]
