"""How the screens say numbers, times and states."""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from db import RenderRow
    from metamusic.settings import Knob

STATE = {"queued": "waiting", "running": "painting", "done": "done", "failed": "failed",
         "cancelled": "stopped", "interrupted": "interrupted"}
_DIGEST = re.compile(r"\b([0-9a-f]{64}|[0-9a-f]{40})\b")
KIND = {"image": "Picture", "video": "Video"}


def clock(seconds: float) -> str:
    """3:07, or 1:02:09 from an hour on."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def about(seconds: float) -> str:
    """A length of time as one says it: 8 s, 40 s, 3 min, 2 h 10 min."""
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    if seconds < 90:
        return f"{round(seconds / 5) * 5} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def ago(moment: datetime) -> str:
    """When something happened, seen from now."""
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    seconds = (datetime.now(UTC) - moment).total_seconds()
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{round(seconds / 60)} min ago"
    if seconds < 86400:
        return f"{round(seconds / 3600)} h ago"
    return day(moment)


def day(moment: datetime) -> str:
    """7 May 2026."""
    return f"{moment.day} {moment:%B %Y}"


def value(knob: "Knob | None", raw: Any) -> str:
    """A setting's value with its unit, as it is read."""
    if raw is None:
        return {"duration": "to the end", "seed": "drawn"}.get(knob.name if knob else "", "none")
    if knob and knob.name == "kind":
        return KIND[raw]
    if isinstance(raw, bool):
        return "yes" if raw else "no"
    if isinstance(raw, (list, tuple)):
        return ", ".join(map(str, raw)) or "none"
    text = f"{raw:g}" if isinstance(raw, float) else short(str(raw)) or "none"
    return f"{text} {knob.unit}" if knob and knob.unit else text


def short(text: str, letters: int = 120) -> str:
    """A text as far as a line has room for it; digests by their beginning."""
    text = _DIGEST.sub(lambda found: found[0][:8], text.replace("\n", " / "))
    return text if len(text) <= letters else text[:letters - 1].rstrip() + "\u2026"


def told_apart(one: str, other: str) -> tuple[str, str]:
    """Two texts as far as a line has room for them; where they begin alike, from just before they differ."""
    if one == other or short(one) != short(other):
        return short(one), short(other)
    differ = next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
                  min(len(one), len(other)))
    begin = max(0, differ - 20)
    return f"\u2026{short(one[begin:])}", f"\u2026{short(other[begin:])}"


def many(count: int, one: str) -> str:
    """1 line, 2 lines."""
    return f"{count} {one}" if count == 1 else f"{count} {one}s"


def size(count: int) -> str:
    """A number of bytes as one says it: 33 MB, 1.2 GB."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}" if count < 10 * unit else f"{count / unit:.0f} {name}"
    return f"{count} bytes"


def share_done(render: "RenderRow") -> float:
    """How much of the work is done, 0 to 1."""
    progress = render.progress or {}
    steps = progress.get("steps") or 0
    return min(1.0, (progress.get("step") or 0) / steps) if steps else 0.0


def plain(text: str) -> str:
    """Text as it is, without Markdown waking up in it."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()#+-.!$:<>~|" else letter for letter in text)
