"""The lyrics in the form: dropped as a file, or written line by line beside the waveform.

The form keeps their text. The table shows it; while one writes in the table its rows stay as they are, even half
finished ones, and the text follows.
"""

import csv
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import streamlit as st

from metamusic import studio
from metamusic.errors import MetaMusicError
from pages.parts import drop, effects, fields, form, problem, words

TYPES = ["lrc", "srt", "csv", "txt"]
LARGEST_MB = 1
AS_LINES, AS_TEXT = "Lines", "Text"
COLUMNS = ("start", "text", "weight", "end")
Row = dict[str, Any]
EMPTY: Row = {"start": "", "text": "", "weight": 1.0, "end": ""}
_TABLE, _SECONDS = "lyrics_table", re.compile(r"\d+([.,]\d+)?")


def draw(name: str = "lyrics") -> None:
    """The drop field and the lines; what is wrong with them stands under them."""
    text = form.values()[name]
    try:
        lines, trouble = spans(text), None
    except MetaMusicError as error:
        lines, trouble = [], error
    st.markdown("Lyrics", help=effects.of(name, form.KNOBS[name].help))
    problem.show_kept("lyrics")
    drop.draw("lyrics", "Drop lyrics: .lrc, .srt, .csv or .txt", TYPES, _take, max_upload_size=LARGEST_MB,
              label_visibility="collapsed")
    look = _look() if lines or not text or _at_table(text) else AS_TEXT
    if look == AS_TEXT:
        fields.draw(name, label_visibility="collapsed")
    else:
        _draw_table(text)
    if trouble is not None:
        problem.show(trouble.message, trouble.cure)
    if text:
        st.button("Clear the lyrics", icon=":material/close:", type="tertiary", key="lyrics_clear", on_click=_clear)


def spans(text: str) -> list[tuple[float, float, str]]:
    """(start, end, line) in seconds of the song, as the waveform marks them; SettingsError for a bad line."""
    return [(line.start_s, line.end_s, line.text) for line in _lines(text)]


def spans_or_none(text: str) -> list[tuple[float, float, str]]:
    """As `spans`; none while the text is not understood, which the editor says."""
    try:
        return spans(text)
    except MetaMusicError:
        return []


def told(text: str, start: float, end: float) -> str:
    """How many of the lines sound between two times."""
    found = spans_or_none(text)
    if not found:
        return ""
    inside = sum(first < end and last > start for first, last, _ in found)
    return f"{words.many(len(found), 'line')} of lyrics" if inside == len(found) \
        else f"{inside} of {words.many(len(found), 'line')} of lyrics"


@lru_cache(maxsize=32)
def _lines(text: str) -> tuple[Any, ...]:
    return tuple(studio.lyrics_lines(text))


def _look() -> str:
    return st.segmented_control("As", [AS_LINES, AS_TEXT], default=AS_LINES, key="lyrics_look", required=True,
                                label_visibility="collapsed", persist_state="session") or AS_LINES


# -- the table ------------------------------------------------------------------------------------


def _draw_table(text: str) -> None:
    """The lines as rows. Its source stays the same as long as the text is what the table itself wrote."""
    if not _at_table(text):
        key = "lyrics_rows_" + hashlib.sha256(text.encode()).hexdigest()[:8]
        st.session_state[_TABLE] = {"source": text, "written": text, "key": key}
    table = st.session_state[_TABLE]
    rows, key = rows_of(table["source"]) or [dict(EMPTY)], table["key"]  # a row also tells the table its types
    columns = {"start": st.column_config.TextColumn("Time", help="m:ss.x of the song", width=72, default=""),
               "text": st.column_config.TextColumn("Line", width=144, default=""),
               "weight": st.column_config.NumberColumn("Weight", help="1 unless it says otherwise", min_value=-10,
                                                       max_value=10, step=0.1, width=76, default=1.0),
               "end": st.column_config.TextColumn("Until", help="Empty: until the next line", width=72, default="")}
    shown = COLUMNS if form.advanced() else COLUMNS[:3]
    st.data_editor({name: [row[name] for row in rows] for name in COLUMNS}, key=key, num_rows="dynamic",
                   column_config=columns, column_order=shown, hide_index=True, width="stretch",
                   height=min(318, 35 * (len(rows) + 3) + 3), on_change=_write, args=(key, rows))


def _at_table(text: str) -> bool:
    """Is this text what the table on the screen has written? One that was left has forgotten its edits."""
    table = st.session_state.get(_TABLE)
    return table is not None and table["written"] == text and table["key"] in st.session_state


def rows_of(text: str) -> list[Row]:
    """The lines as the table shows them; what is not understood has no rows."""
    try:
        lines = _lines(text)
    except MetaMusicError:
        return []
    return [{"start": _stamp(line.start_s), "text": line.text, "weight": line.weight, "end": _said_end(lines, place)}
            for place, line in enumerate(lines)]


def _said_end(lines: Sequence[Any], place: int) -> str:
    """When a line ends, if that is not simply when the next one begins: then it moves with that one."""
    return "" if studio.ends_by_itself(lines, place) else _stamp(lines[place].end_s)


def applied(rows: Sequence[Row], edits: Mapping[str, Any]) -> list[Row]:
    """The rows after what was changed, added and deleted in the table."""
    found = [{**row, **edits.get("edited_rows", {}).get(place, {})} for place, row in enumerate(rows)
             if place not in edits.get("deleted_rows", ())]
    return found + [dict(row) for row in edits.get("added_rows", ())]


def text_of(rows: Sequence[Row]) -> str:
    """The rows as lines of text, as they stand: what is wrong in them is said, not left out. Empty rows are."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in rows:
        start, words_sung, weight, end = (row.get(name) for name in COLUMNS)
        if str(start or "").strip() or str(words_sung or "").strip():
            cells = [_time(start), words_sung or "", 1.0 if weight is None else weight, _time(end)]
            writer.writerow(cells if cells[3] else cells[:3] if cells[2] != 1 else cells[:2])
    return out.getvalue()


def _time(typed: Any) -> str:
    """A time as it was typed; plain seconds are a time, too."""
    text = str(typed or "").strip()
    return _stamp(float(text.replace(",", "."))) if _SECONDS.fullmatch(text) else text


def _stamp(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 2), 60)
    return f"{int(minutes)}:{rest:05.2f}"


@problem.kept("lyrics")
def _write(key: str, rows: list[Row]) -> None:
    written = text_of(applied(rows, st.session_state[key]))
    st.session_state[_TABLE]["written"] = written
    form.put(lyrics=written)


# -- files ----------------------------------------------------------------------------------------


@problem.kept("lyrics")
def _take(files: list[Any]) -> None:
    form.put(lyrics=studio.lyrics_of_file(files[0].getvalue(), files[0].name))


@problem.kept("lyrics")
def _clear() -> None:
    form.put(lyrics="")
    st.session_state.pop(_TABLE, None)
