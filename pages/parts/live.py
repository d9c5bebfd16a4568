"""A render at work: the growing picture, and one line on where it stands."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from metamusic import studio
from pages.parts import lines, media, problem, store, words

if TYPE_CHECKING:
    from db import RenderRow

_HERE = Path(__file__).parent
_LIVE = st.components.v2.component(
    "metamusic_live", html=(_HERE / "live.html").read_text(), css=(_HERE / "live.css").read_text(),
    js=(_HERE / "wave.js").read_text() + (_HERE / "live.js").read_text())


def empty(hint: str, key: str) -> None:
    """The easel before the first picture."""
    _LIVE(data={"id": None, "src": None, "aspect": 1, "hint": hint}, key=key)


def draw(render: "RenderRow", key: str) -> None:
    """The card of one render, at work or just finished."""
    settings, progress = render.settings, render.progress or {}
    picture = next((role for role in ("final", "preview", "poster", "thumb")
                    if role in render.assets and render.assets[role].mime.startswith("image")), None)
    _LIVE(data={"id": render.id, "alt": render.title,
                "src": media.asset_url(render, picture) if picture else None,
                "aspect": settings.get("width", 1) / max(1, settings.get("height", 1)),
                "hint": _hint(render), "working": render.active, "now": _now(render), "rest": _rest(render),
                "hears": _hears(render),
                "share": words.share_done(render) if render.active else None,
                "peaks": _region_peaks(render)}, key=key)
    if render.active:
        if len(progress.get("losses") or []) > 2:
            lines.draw({"loss": progress["losses"]}, key=f"{key}_loss", height=56)
        st.button("Stopping" if render.cancel_requested else "Stop, keep what exists", icon=":material/stop:",
                  key=f"{key}_cancel_{render.id}", on_click=_cancel, args=(render.id,), type="tertiary",
                  disabled=render.cancel_requested)


@problem.kept("easel")
def _cancel(render_id: int) -> None:
    studio.cancel(store.open_store(), render_id)


def _region_peaks(render: "RenderRow") -> list[float]:
    """The outline of the stretch of song that is painted."""
    peaks = (render.song.analysis or {}).get("peaks") or []
    length = max(render.song.duration_s, 0.01)
    start = float(render.settings.get("start") or 0)
    end = min(length, start + (render.settings.get("duration") or length))
    return peaks[int(start / length * len(peaks)):max(1, round(end / length * len(peaks)))]


def _hint(render: "RenderRow") -> str:
    """What the empty frame says."""
    if render.state == "queued":
        return store.worker_message() or "It begins as soon as the worker is free."
    return "Warming up: the first picture comes in a moment." if render.active else ""


def _hears(render: "RenderRow") -> str:
    """What the model listens to."""
    heard = (render.progress or {}).get("listening")
    return f"Listens to {heard}" if render.active and heard else ""


def _now(render: "RenderRow") -> str:
    """Where it stands, in a few words."""
    if render.state == "queued":
        place = store.open_store().queue_position(render.id) or 1
        return "Next in the queue" if place <= 1 else f"{place - 1} before it in the queue"
    if render.state == "interrupted":
        return "Interrupted; it goes on by itself"
    if not render.active:
        return render.title
    progress: dict[str, Any] = render.progress or {}
    if not progress.get("step"):
        return "Warming up"
    if render.kind == "video":
        frames = progress.get("frames", 0)
        return f"Frame {min(progress.get('frame', 0) + 1, frames)} of {frames}"
    return f"Step {progress['step']} of {progress.get('steps', 0)}"


def _rest(render: "RenderRow") -> str:
    """How long it still takes, or what became of it."""
    if render.active:
        left = (render.progress or {}).get("eta_s")
        return f"{words.about(left)} left" if left else ""
    if render.state == "done":
        return f"{words.KIND[render.kind]} painted in {words.about(render.seconds)}"
    return {"cancelled": "Stopped; what existed is kept", "failed": "Failed"}.get(render.state, "")
