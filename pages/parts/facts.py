"""Settings and facts as they are read: groups of labels and values, one block of HTML for all of them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from metamusic.settings import RenderSettings
from pages.parts import lyrics, names, sections, words
from pages.parts.form import KNOBS

Rows = Sequence[tuple[str, str]]
REASONS = {"reason": "device", "precision_reason": "precision", "memory_reason": "cutouts_at_once"}  # of the plan
MARK = "\u2022"  # before the label of what is not as by default

if TYPE_CHECKING:
    from db import RenderRow


def draw(groups: Mapping[str, Rows]) -> None:
    """Groups of facts beside one another, as many to a row as there is room for."""
    blocks = "".join(_group(title, rows) for title, rows in groups.items() if rows)
    st.html(f'<div class="mm-facts">{blocks}</div>')


def of_settings(settings: Mapping[str, Any]) -> dict[str, Rows]:
    """Every setting of a render that matters for its kind, by group; what is not the default stands out."""
    kind = settings.get("kind", "image")
    default = RenderSettings.parse({}).model_dump(mode="json")
    shown = {name: KNOBS[name] for name in settings if name in KNOBS and kind in KNOBS[name].kinds}
    return {title: [(_marked(shown[name].label, settings[name] != default[name]),
                     _said(name, settings[name])) for name in names if name in shown]
            for title, names in sections.by_title().items()}


def _said(name: str, raw: Any) -> str:
    """A setting's value; of lyrics how many lines there are and how they begin."""
    found = lyrics.spans_or_none(raw) if name == "lyrics" else []
    if found:
        return f"{words.many(len(found), 'line')}, from “{found[0][2]}”"
    return words.value(KNOBS[name], names.in_text(raw) if isinstance(raw, str) else raw)


def of_run(render: "RenderRow") -> dict[str, Rows]:
    """How it was made: the weights, the plan, the versions, the scores."""
    made = [("Weights", f"{render.pack} {render.pack_digest[:8]}"), ("Seed", str(render.seed)),
            ("Begun", _moment(render.started_at)), ("Finished", _moment(render.finished_at)),
            ("Painting took", words.about(render.seconds) if render.seconds else ""),
            ("Attempts", str(render.attempts) if render.attempts > 1 else ""),
            ("Came from", f"no. {render.parent_id}" if render.parent_id else ""),
            ("Preset", render.preset or "")]
    return {"This run": [row for row in made if row[1]], "Scores": _flat(render.scores),
            "Plan": _flat(_with_reasons(render.plan or {})), "Versions": _flat(render.versions)}


def _with_reasons(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan with each reason behind what it was chosen for."""
    told = {key: value for key, value in plan.items() if key not in REASONS}
    for reason, chosen in REASONS.items():
        if plan.get(reason) and chosen in told:
            told[chosen] = f"{words.value(None, told[chosen])}: {plan[reason]}"
    return told


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """What differs, each render's value behind its colour; or the word that nothing does."""
    rows = [(knob.label, *_told_apart(name, one.get(name), other.get(name)))
            for name, knob in KNOBS.items() if one.get(name) != other.get(name)]
    if not rows:
        st.html('<p class="mm-quiet">The same settings.</p>')
        return
    cells = "".join(f"<div><dt>{escape(label)}</dt><dd>{escape(a)}</dd><dd>{escape(b)}</dd></div>"
                    for label, a, b in rows)
    st.html(f'<dl class="mm-diff">{cells}</dl>')


def _told_apart(name: str, one: Any, other: Any) -> tuple[str, str]:
    """Two values of a setting, so that one sees that they differ."""
    if KNOBS[name].type is not str or KNOBS[name].choices:
        return words.value(KNOBS[name], one), words.value(KNOBS[name], other)
    left, right = names.in_text(one or ""), names.in_text(other or "")
    if left == right:  # two pictures of the same name
        left, right = one or "", other or ""
    left, right = words.told_apart(left, right)
    return left or "none", right or "none"


def _group(title: str, rows: Rows) -> str:
    lines = "".join(f'<div class="{"own" if label.startswith(MARK) else ""}">'
                    f"<dt>{escape(label.lstrip(MARK))}</dt><dd>{escape(value)}</dd></div>"
                    for label, value in rows)
    return f"<section><h3>{escape(title)}</h3><dl>{lines}</dl></section>"


def _flat(facts: Mapping[str, Any]) -> Rows:
    """A dictionary as it is, nested ones spelled out."""
    rows = []
    for key, raw in facts.items():
        if isinstance(raw, Mapping):
            rows += [(f"{key} {label}", value) for label, value in _flat(raw)]
        else:
            rows.append((str(key).replace("_", " "), words.value(None, raw)))
    return rows


def _moment(moment: datetime | None) -> str:
    if moment is None:
        return ""
    here = moment.astimezone()
    return f"{words.day(here)}, {here:%H:%M}"


def _marked(label: str, own: bool) -> str:
    return MARK + label if own else label
