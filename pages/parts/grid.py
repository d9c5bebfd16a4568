"""The wall of pictures: thumbnails of renders, in one component however many there are."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.parts import media, names, words

if TYPE_CHECKING:
    from db import RenderRow, SongRow

_HERE = Path(__file__).parent
_GRID = st.components.v2.component(
    "metamusic_grid", html='<div class="wall" role="grid" aria-label="Renders"></div>',
    css=(_HERE / "grid.css").read_text(),
    js=(_HERE / "wave.js").read_text() + (_HERE / "grid.js").read_text())


def draw(renders: Sequence["RenderRow"], key: str, *, strip: bool = False,
         selected: Sequence[int] = (), on_select: Callable[[list[int]], None] | None = None) -> int | None:
    """Draws the wall and gives the render that was just opened, if one was."""
    def chosen() -> None:
        if on_select:
            on_select([int(one) for one in st.session_state[key].get("selected") or []])

    answer = _GRID(data={"items": [_tile(render) for render in renders], "strip": strip,
                         "selectable": on_select is not None, "selected": list(selected)},
                   key=key, on_open_change=lambda: None, on_selected_change=chosen)
    return int(answer.open) if answer.open is not None else None


def _tile(render: "RenderRow") -> dict[str, Any]:
    """What the script needs to know of one render."""
    role = next((role for role in ("thumb", "poster", "preview") if role in render.assets), "")
    settings = render.settings
    final = render.assets.get("final")
    return {
        "id": render.id, "title": render.title, "sub": _under(render),
        "src": media.asset_url(render, role) if role else None,
        "aspect": round(settings.get("width", 1) / max(1, settings.get("height", 1)), 3),
        "badge": words.clock(final.duration_s) if final and final.duration_s else "",
        "state": "" if render.state == "done" else render.state, "word": words.STATE[render.state],
        "share": words.share_done(render) if render.active else None,
        "peaks": None if role else _few(render.song)}


def _under(render: "RenderRow") -> str:
    """The line under a title: the song, unless the title is the song; then the words or the day."""
    if render.song.title not in render.title:
        return render.song.title
    return names.in_text(str(render.settings.get("text") or words.ago(render.created_at)))


def _few(song: "SongRow", count: int = 40) -> list[float]:
    """A handful of the song's peaks: what stands for a picture where there is none."""
    peaks = (song.analysis or {}).get("peaks") or [0.1]
    span = max(1, len(peaks) // count)
    return [max(peaks[place:place + span]) for place in range(0, len(peaks), span)][:count]
