"""Where each setting stands in the Studio: what to see in panels under the words, how it is painted in Settings.

A setting that is not named here stands among the rare ones of its group, so none can be forgotten.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from pages.parts import fields, form, lyrics, pictures, story

LINE = 2  # fields beside one another on a desk; on a telephone they stand under each other


@dataclass(frozen=True)
class Section:
    """Fields that belong together: those for every day, and the rare ones behind Advanced."""

    title: str
    everyday: tuple[str, ...] = ()
    rare: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()  # of the settings' own groups, those whose unnamed fields belong here

    def names(self) -> tuple[str, ...]:
        """All fields, the everyday ones first."""
        return self.everyday + self.rare


_WANTED = "panel_wanted"
ON_THE_PAGE = ("kind", "text")  # drawn by the Studio itself
WHAT = (
    Section("Lyrics", ("lyrics", "lyrics_weight", "lyrics_mix"), ("lyrics_fade",), ("Lyrics",)),
    Section("Story", ("story",), ("story_every", "story_fade"), ("Story",)),
    Section("Pictures", ("image_prompts", "target", "target_weight"), (), ("Pictures",)),
    Section("First picture", ("init_image", "init"), ("init_pull", "init_weight", "init_half_life"), ("Start",)))
HOW = (
    Section("Basics", ("pack", "audio_weight", "width", "height", "steps", "seed", "fps", "steps_per_frame"),
            ("start", "duration", "canvas"), ("Output", "Song")),
    Section("What it hears", ("bank_mix", "listen", "window", "hop"),
            ("beats_per_segment", "longest_segment", "fade")),
    Section("How it moves", ("zoom", "smoothing", "scene_pull"),
            ("latent_smoothing", "loudness_steps", "previous_weight", "previous_steps"), ("Motion",)),
    Section("How it paints", ("learning_rate", "total_variation", "coarse_share"),
            ("optimiser", "schedule", "final_rate", "warmup", "offset_levels"), ("Optimisation",)),
    Section("How it judges", ("cutouts", "cut_noise"),
            ("cut_method", "cut_power", "augments", "judges", "noise_prompts"), ("Cutouts", "Guidance")),
    Section("File and memory", ("crf", "precision"), ("cutouts_at_once", "chunk"), ("Encoding",)))

# When a field means something; while it does not, it is not shown, in Advanced neither.
NEEDS: dict[str, Callable[[dict[str, Any]], object]] = {
    "window": lambda now: now["listen"] == "window", "hop": lambda now: now["listen"] == "window",
    "lyrics_weight": lambda now: now["lyrics"], "lyrics_mix": lambda now: now["lyrics"],
    "lyrics_fade": lambda now: now["lyrics"], "target_weight": lambda now: now["target"],
    "story_every": lambda now: now["story"], "story_fade": lambda now: now["story"],
    "init": lambda now: not now["init_image"], "init_half_life": lambda now: now["init_weight"],
    "previous_steps": lambda now: now["previous_weight"], "final_rate": lambda now: now["schedule"] != "constant",
    "augments": lambda now: now["cut_method"] in ("latest", "nrupdated"),
    "cut_power": lambda now: now["cut_method"] not in ("latest", "updatedpooling")}
DRAWN = {"lyrics": lyrics.draw, "story": story.draw, "image_prompts": pictures.draw_many, "target": pictures.draw_one,
         "init_image": pictures.draw_one}


def of(parts: tuple[Section, ...], kind: str) -> dict[str, Section]:
    """These sections with the fields that a kind of render has, by title; empty ones are left out."""
    named = {name for section in (*WHAT, *HOW) for name in section.names()} | set(ON_THE_PAGE)
    found = {}
    for section in parts:
        more = tuple(name for name, knob in form.KNOBS.items() if name not in named and knob.group in section.groups)
        everyday, rare = _of_kind(section.everyday, kind), _of_kind(section.rare + more, kind)
        if everyday or rare:
            found[section.title] = Section(section.title, everyday, rare, section.groups)
    return found


def by_title() -> dict[str, list[str]]:
    """Every setting under the title where the Studio shows it; what it draws outside of all sections comes first."""
    found = {HOW[0].title: list(ON_THE_PAGE)}
    for kind in ("image", "video"):
        for title, section in of((HOW[0], *WHAT, *HOW[1:]), kind).items():
            names = found.setdefault(title, [])
            names += [name for name in section.names() if name not in names]
    return found


def draw(section: Section, place: str) -> None:
    """The everyday fields, and behind a switch the rare ones."""
    _draw_fields(section.everyday)
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        more = _has_more(section) and form.draw_advanced(place)
        if "pack" in section.everyday:
            st.page_link("pages/models.py", label="More packs", icon=":material/deployed_code:")
    if more:
        _draw_fields(section.rare)


def _has_more(section: Section) -> bool:
    """Rare fields, or fields that have rare parts of their own."""
    return bool(_relevant(section.rare)) or "image_prompts" in section.everyday


def open_panel(title: str) -> None:
    """The Studio shows this panel when it is drawn next; from any page."""
    st.session_state[_WANTED] = title


def draw_what() -> None:
    """What to see besides the words: one panel at a time."""
    if wanted := st.session_state.pop(_WANTED, None):
        st.session_state["form_panel"] = wanted
    panels = of(WHAT, form.values()["kind"])
    opened = st.pills("More to see", list(panels), key="form_panel", label_visibility="collapsed",
                      persist_state="session", format_func=_with_mark)
    if opened in panels:
        with st.container(border=True, key="panel"):
            draw(panels[opened], "what")


def draw_how() -> None:
    """The settings, one section at a time: what is not shown costs nothing and keeps its value."""
    titled = of(HOW, form.values()["kind"])
    first = next(iter(titled))
    opened = st.pills("Section", list(titled), default=first, key="form_group", required=True,
                      label_visibility="collapsed", persist_state="session")
    draw(titled.get(opened or first, titled[first]), "how")


def _draw_fields(names: tuple[str, ...]) -> None:
    """Two to a line; what needs room takes a line of its own."""
    line: list[str] = []
    for name in _relevant(names):
        if name in DRAWN:
            _draw_line(line)
            line = []
            DRAWN[name](name)
        else:
            line.append(name)
    _draw_line(line)


def _draw_line(names: list[str]) -> None:
    for first in range(0, len(names), LINE):
        for column, name in zip(st.columns(LINE), names[first:first + LINE], strict=False):
            with column:
                fields.draw(name)


def _relevant(names: tuple[str, ...]) -> list[str]:
    now = form.values()
    return [name for name in names if name not in NEEDS or NEEDS[name](now)]


def _of_kind(names: tuple[str, ...], kind: str) -> tuple[str, ...]:
    return tuple(name for name in names if name in form.KNOBS and kind in form.KNOBS[name].kinds)


def _with_mark(title: str) -> str:
    """A panel that holds something says so."""
    holds = {"Lyrics": "lyrics", "Story": "story", "Pictures": "image_prompts", "First picture": "init_image"}
    now = form.values()
    filled = now.get(holds[title]) or title == "Pictures" and now["target"]
    return f"{title} :material/check:" if filled else title
