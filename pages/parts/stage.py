"""The song as it is drawn everywhere, with the picture or the film it became above it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.parts import media

if TYPE_CHECKING:
    from db import RenderRow, SongRow

Lines = Sequence[tuple[float, float, str]]

_HERE = Path(__file__).parent
_STAGE = st.components.v2.component(
    "metamusic_stage", html=(_HERE / "stage.html").read_text(), css=(_HERE / "stage.css").read_text(),
    js=(_HERE / "wave.js").read_text() + (_HERE / "stage.js").read_text())


def choose(song: "SongRow", analysis: dict[str, Any] | None, region: tuple[float, float],
           on_move: Callable[[float, float], None], key: str, *, lines: Lines = (), told: str = "") -> None:
    """The song with a region to choose; `on_move(start, end)` is called when the user has moved it.

    lines: (start, end, text) of what is sung, marked above the waveform. told: one more fact for the line under it.
    """
    state = f"{key}_{song.id}"

    def moved() -> None:
        if chosen := st.session_state[state].get("region"):
            on_move(float(chosen["start"]), float(chosen["end"]))

    _STAGE(data={"song": _song(song, analysis), "choose": True, "lines": [list(line) for line in lines], "told": told,
                 "region": {"start": region[0], "end": region[1]}}, key=state, on_region_change=moved)


def show(render: "RenderRow", analysis: dict[str, Any] | None, key: str, *,
         limit: str = "72vh", tall: str | None = None, lines: Lines = ()) -> None:
    """What a finished render made, above the stretch of song it was made from.

    limit: no picture is higher (a CSS length). tall: every picture gets this room, so that two line up.
    """
    start = float(render.settings.get("start") or 0)
    span = render.settings.get("duration") or max(0.5, render.song.duration_s - start)
    _STAGE(data={"song": _song(render.song, analysis), "media": _media(render), "caption": render.song.title,
                 "limit": limit, "tall": tall, "lines": [list(line) for line in lines],
                 "region": {"start": start, "end": min(start + span, render.song.duration_s)}}, key=key)


def _song(song: "SongRow", analysis: dict[str, Any] | None) -> dict[str, Any]:
    heard = analysis or {}
    return {"src": media.song_url(song), "title": song.title, "duration": song.duration_s,
            "peaks": heard.get("peaks"), "beats": heard.get("beats"), "tempo": heard.get("tempo")}


def _media(render: "RenderRow") -> dict[str, Any] | None:
    final = render.assets.get("final") or render.assets.get("preview")
    if final is None:
        return None
    film = final.mime.startswith("video")
    return {"kind": "video" if film else "image", "src": media.asset_url(render, final.role),
            "poster": media.asset_url(render, "poster") if film else None,
            "width": final.width or render.settings.get("width"), "alt": render.title,
            "height": final.height or render.settings.get("height")}
