"""A story: scenes along the song, each with its prompts and with settings of its own.

One scene per line, or several on one line with ^ between them:

    0:00 a calm sea at night
    0:45.5 a storm:1.5 | fog:-0.5 {audio_weight=0.4, zoom=(0.1*bass)}

Times are times of the song. Either all scenes have one, or none has: then each lasts equally long and they take
turns for ever.
"""

import bisect
import difflib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from metamusic.errors import SettingsError
from metamusic.formula import check_formula, evaluate
from metamusic.lyrics import LATEST_S, ramp, read_clock
from metamusic.phrases import PromptSpec, parse_prompts
from metamusic.settings import RenderSettings, knobs

CHANGEABLE = ("audio_weight", "lyrics_weight", "target_weight", "previous_weight", "init_pull", "init_weight",
              "cut_noise", "cut_power", "learning_rate", "total_variation", "zoom", "scene_pull", "smoothing")

_TIME = re.compile(r"(\d+:\d\d(?::\d\d)?(?:\.\d+)?)(?:\s+|$)", re.ASCII)
_CLOCKLIKE = re.compile(r"(\d+:\S*)", re.ASCII)
_CHANGES = re.compile(r"\{([^{}]*)\}$")
_CURE = "Write a scene as m:ss prompts {setting=value}, for example 0:45 a storm:1.5 {zoom=(0.1*bass)}."
_ABOVE = 1e-6                         # what counts as the least value where a bound itself is excluded


@dataclass(frozen=True)
class Scene:
    """What is seen from start_s (seconds of the song) on; None in a story whose scenes take turns.

    changes: a number or a formula (in round brackets) for some of CHANGEABLE.
    """

    start_s: float | None
    prompts: tuple[PromptSpec, ...]
    changes: dict[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Story:
    """Scenes in the order of their start. every_s: how long each lasts if they have none; fade_s: the cross-fade."""

    scenes: tuple[Scene, ...]
    every_s: float
    fade_s: float

    def at(self, time_s: float) -> list[tuple[int, float]]:
        """(index, share) of the scenes at a time of the song, shares in (0, 1].

        One scene, or two around a border: they cross-fade linearly in fade_s seconds, half before and half after
        it, but never past the middle of a scene. The shares add up to 1, except before and around the start of the
        first timed scene, which comes from nothing ([]), unless it starts at 0.
        """
        if not self.scenes:
            return []
        around = self._in_turns(time_s) if self.scenes[0].start_s is None else self._timed(time_s)
        shares: dict[int, float] = {}
        for index, share in around:
            if share > 0 and index >= 0:
                shares[index] = shares.get(index, 0.0) + share
        return list(shares.items())

    def _in_turns(self, time_s: float) -> list[tuple[int, float]]:
        turn = max(0, math.floor(time_s / self.every_s))
        half = min(self.fade_s, self.every_s) / 2
        left = turn - 1 if time_s - turn * self.every_s < half and turn > 0 else turn
        distance = time_s - (left + 1) * self.every_s
        count = len(self.scenes)
        return _blend(left % count, (left + 1) % count, distance, half)

    def _timed(self, time_s: float) -> list[tuple[int, float]]:
        """As `at`, with -1 for the nothing before the first scene."""
        starts = [scene.start_s or 0.0 for scene in self.scenes]
        here = bisect.bisect_right(starts, time_s) - 1
        borders = [0.0, *starts, math.inf]        # borders[i + 1] is where scene i begins
        for left in (here - 1, here):             # the border behind, and the one ahead
            if -1 <= left < len(starts) - 1:
                begin, border, end = borders[left + 1:left + 4]
                half = min(self.fade_s, border - begin, end - border) / 2
                if abs(time_s - border) < half:
                    return _blend(left, left + 1, time_s - border, half)
        return [(here, 1.0)]


def parse_story(text: str, every_s: float, fade_s: float) -> Story:
    """The story that a text tells; blank text has no scenes.

    A time leads a line only as m:ss, m:ss.x or h:mm:ss with a blank after it; changes stand in {} at its end.
    Prompts are read as `parse_prompts` does. Raises SettingsError, with the number of the line.
    """
    scenes = tuple(_read(text))
    timed = [scene for scene in scenes if scene.start_s is not None]
    if timed and len(timed) < len(scenes):
        raise SettingsError(f"{len(timed)} of the story's {len(scenes)} scenes have a time.",
                            "Give all of them one, or none: then they take turns.")
    if len({scene.start_s for scene in timed}) < len(timed):
        raise SettingsError("Two scenes of the story have the same time.",
                            "Join their prompts with |, or move one of them.")
    return Story(tuple(sorted(scenes, key=lambda scene: scene.start_s or 0.0)), every_s, fade_s)


def changed_at(story: Story, time_s: float, settings: RenderSettings,
               variables: Mapping[str, float]) -> dict[str, float]:
    """The value of every setting in CHANGEABLE at a time of the song, within the setting's bounds.

    A scene that does not change a setting has the render's own value; around a border the values cross-fade
    linearly with the scenes. variables: what formulas may use, as `evaluate` takes it.
    """
    values = {name: float(getattr(settings, name)) for name in CHANGEABLE}
    own = dict(values)
    for index, share in story.at(time_s):
        for name, change in story.scenes[index].changes.items():
            value = evaluate(change, variables) if isinstance(change, str) else change
            values[name] += share * (_clamp(name, value) - own[name])
    return {name: _clamp(name, value) for name, value in values.items()}


def _blend(left: int, right: int, distance: float, half: float) -> list[tuple[int, float]]:
    """Shares of two scenes at `distance` seconds after the border between them."""
    arrived = ramp(distance, half)
    return [(left, 1 - arrived), (right, arrived)]


# -- reading ----------------------------------------------------------------------------------------


def _read(text: str) -> Iterator[Scene]:
    lines = [line.strip() for line in re.split(r"\r\n|\r|\n|\^", text.removeprefix("\ufeff"))]
    timed = any(map(_TIME.match, lines))
    for number, line in enumerate(lines, 1):
        if line:
            try:
                yield _scene(line, timed)
            except SettingsError as error:
                raise SettingsError(f"Line {number} of the story: {error.message}", error.cure) from error


def _scene(line: str, timed: bool) -> Scene:
    start_s, rest = _leading_time(line, timed)
    found = _CHANGES.search(rest)
    changes = _changes(found[1]) if found else {}
    prompts = (rest[:found.start()] if found else rest).strip()
    if "{" in prompts or "}" in prompts:
        raise SettingsError(f"{prompts!r} holds a brace that is not the end of the line.", _CURE)
    scene = Scene(start_s, parse_prompts(prompts), changes)
    if not scene.prompts and not changes:
        raise SettingsError("The scene has neither prompts nor changes.", _CURE)
    return scene


def _leading_time(line: str, timed: bool) -> tuple[float | None, str]:
    """The time in front of a scene, if there is one, and the rest of the line.

    timed: another scene has a time; then digits and a colon are not the beginning of a text like "16:9 picture".
    """
    found = _TIME.match(line) or (_CLOCKLIKE.match(line) if timed else None)
    if found is None:
        return None, line
    seconds = read_clock(found[1])
    if seconds is None or seconds > LATEST_S:
        raise SettingsError(f"{found[1]!r} is not a time of a song, m:ss, m:ss.x or h:mm:ss.", _CURE)
    return seconds, line[found.end():]


def _changes(text: str) -> dict[str, float | str]:
    """The changes between a scene's braces."""
    changes: dict[str, float | str] = {}
    for part in _parts(text):
        if not part.strip():
            continue
        name, equals, value = (half.strip() for half in part.partition("="))
        if not equals or name not in CHANGEABLE:
            raise SettingsError(f"{part.strip()!r} changes no setting that a scene can change.", _nearest(name))
        if name in changes:
            raise SettingsError(f"{name!r} is changed twice.", "Keep one of the two.")
        changes[name] = _value(name, value)
    return changes


def _parts(text: str) -> list[str]:
    """The text split at its commas, but not at those inside of a formula's brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _value(name: str, text: str) -> float | str:
    if text.startswith("(") and text.endswith(")"):
        check_formula(text)
        return text
    low, high = _bounds()[name]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise SettingsError(f"{name} is {text!r}, which is not a number from {low:g} to {high:g}.",
                            f"A formula stands in round brackets: {name}=(0.5*bass).")
    return value


def _nearest(name: str) -> str:
    """What to write instead of an unknown name."""
    meant = difflib.get_close_matches(name, CHANGEABLE, n=1)
    question = f"Did you mean {meant[0]}? " if meant else ""
    return f"Write name=value. {question}A scene may change {', '.join(CHANGEABLE)}."


def _clamp(name: str, value: float) -> float:
    low, high = _bounds()[name]
    return min(max(value, low), high)


@cache
def _bounds() -> dict[str, tuple[float, float]]:
    """(least, largest) value of each changeable setting, both allowed."""
    return {knob.name: (_least(knob.name, knob.low or 0.0), knob.high or 0.0)
            for knob in knobs() if knob.name in CHANGEABLE}


def _least(name: str, low: float) -> float:
    """The lower bound, or just above it where the setting excludes it (a step size of 0)."""
    try:
        RenderSettings.parse({name: low})
    except SettingsError:
        return low + _ABOVE
    return low
