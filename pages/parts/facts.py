"""Settings and facts as they are read: groups of labels and values, one block of HTML for all of them."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import streamlit as st

from metamusic.settings import GROUPS, RenderSettings
from pages.parts import words
from pages.parts.form import KNOBS

Rows = Sequence[tuple[str, str]]


def draw(groups: Mapping[str, Rows]) -> None:
    """Groups of facts beside one another, as many to a row as there is room for."""
    st.html('<div class="mm-facts">' + "".join(_group(title, rows) for title, rows in groups.items() if rows) + "</div>")


def of_settings(settings: Mapping[str, Any]) -> dict[str, Rows]:
    """Every setting of a render that matters for its kind, by group; what is not the default stands out."""
    kind = settings.get("kind", "image")
    default = RenderSettings().model_dump()
    return {group: [(_marked(knob.label, settings[name] != _plain(default[name])), words.value(knob, settings[name]))
                    for name, knob in KNOBS.items()
                    if knob.group == group and kind in knob.kinds and name in settings]
            for group in GROUPS}


def differences(one: Mapping[str, Any], other: Mapping[str, Any], names: tuple[str, str]) -> None:
    """A table of what differs, each render in its colour; or the word that nothing does."""
    rows = [(knob.label, words.value(knob, one.get(name)), words.value(knob, other.get(name)))
            for name, knob in KNOBS.items() if one.get(name) != other.get(name)]
    if not rows:
        st.html('<p class="mm-quiet">The same settings.</p>')
        return
    head = "".join(f'<th class="c{i}">{escape(name)}</th>' for i, name in enumerate(names))
    body = "".join(f"<tr><th>{escape(label)}</th><td>{escape(a)}</td><td>{escape(b)}</td></tr>" for label, a, b in rows)
    st.html(f'<table class="mm-diff"><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>')


def _group(title: str, rows: Rows) -> str:
    lines = "".join(f'<div class="{"own" if label.startswith(MARK) else ""}"><dt>{escape(label.lstrip(MARK))}</dt>'
                    f"<dd>{escape(value)}</dd></div>" for label, value in rows)
    return f"<section><h3>{escape(title)}</h3><dl>{lines}</dl></section>"


MARK = "\u2022"


def _marked(label: str, own: bool) -> str:
    return MARK + label if own else label


def _plain(value: Any) -> Any:
    """As JSON has it."""
    return list(value) if isinstance(value, tuple) else value
