"""The pictures that a render needs beside its song: how settings name them, and their pixels once found.

A picture is named by a path, by `#7` for what render 7 made, or by the sha256 of its file, 64 hex digits. Whoever
submits a render replaces the first two by the third; the engine knows digests only. No torch here.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from metamusic.errors import PictureError
from metamusic.phrases import PromptSpec, format_prompts, parse_prompts, parse_where
from metamusic.settings import RenderSettings
from metamusic.story import parse_story

_DIGEST = re.compile(r"[0-9a-f]{64}")
_RENDER = re.compile(r"#([1-9][0-9]{0,8})")
# Settings that are one reference as they stand.
LISTED = ("target", "init_image")


@dataclass(frozen=True, eq=False)
class Material:
    """Pictures by digest, uint8 [H, W, 3]."""

    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)

    def get(self, digest: str) -> np.ndarray:
        """A picture's pixels, uint8 [H, W, 3]; PictureError if it did not come along."""
        if digest not in self.pictures:
            raise PictureError(f"The picture {digest[:12]!r} did not come along with the settings.",
                               "Submit the render again, so that its pictures are looked up.")
        return self.pictures[digest]


def is_digest(reference: str) -> bool:
    """Is this the sha256 of a picture's file?"""
    return _DIGEST.fullmatch(reference) is not None


def render_id_of(reference: str) -> int | None:
    """7 for `#7`, None for any other reference."""
    found = _RENDER.fullmatch(reference)
    return int(found[1]) if found else None


def references(settings: RenderSettings) -> list[str]:
    """Every picture that the settings name, each once, in the order in which they name it.

    Looks at image_prompts, target, init_image, and the masks `@ [picture]` of text, image_prompts and story.
    Raises SettingsError where prompts or story cannot be read.
    """
    return list(places(settings))


def places(settings: RenderSettings) -> dict[str, str]:
    """Each reference with the setting that names it (first), for messages."""
    found: dict[str, str] = {}
    for name, reference in _named(settings):
        found.setdefault(reference, name)
    return found


def with_references(settings: RenderSettings, found: Mapping[str, str]) -> RenderSettings:
    """The same settings with each reference in `found` replaced; SettingsError if a text grows too long."""
    single = {name: found.get(getattr(settings, name).strip(), getattr(settings, name)) for name in LISTED}
    return settings.changed(
        **single, text=_line_with(settings.text, found, pictures=False),
        image_prompts=_line_with(settings.image_prompts, found, pictures=True),
        story=_story_with(settings, found))


# -- reading ------------------------------------------------------------------------------------------


def _named(settings: RenderSettings) -> Iterator[tuple[str, str]]:
    """(setting, reference) of each place where a picture is named."""
    prompts = parse_prompts(settings.image_prompts)
    yield from (("image_prompts", spec.text) for spec in prompts)
    yield from ((name, reference) for name in LISTED if (reference := getattr(settings, name).strip()))
    yield from (("text", mask) for mask in _masks(parse_prompts(settings.text)))
    yield from (("image_prompts", mask) for mask in _masks(prompts))
    yield from (("story", mask) for mask in _story_masks(settings))


def _masks(specs: Iterable[PromptSpec]) -> Iterator[str]:
    """The pictures that say where prompts act."""
    for spec in specs:
        where = parse_where(spec.where)
        if where.kind == "picture":
            yield where.value


def _story_masks(settings: RenderSettings) -> Iterator[str]:
    if settings.story.strip():
        story = parse_story(settings.story, settings.story_every, settings.story_fade)
        for scene in story.scenes:
            yield from _masks(scene.prompts)


# -- writing ------------------------------------------------------------------------------------------


def _line_with(line: str, found: Mapping[str, str], *, pictures: bool) -> str:
    """A line of prompts with its references replaced; untouched (to the blank) if it has none of them."""
    before = parse_prompts(line)
    after = [_spec_with(spec, found, pictures=pictures) for spec in before]
    return line if after == list(before) else format_prompts(after)


def _spec_with(spec: PromptSpec, found: Mapping[str, str], *, pictures: bool) -> PromptSpec:
    text = found.get(spec.text, spec.text) if pictures else spec.text
    where = parse_where(spec.where)
    if where.kind != "picture" or where.value not in found:
        return replace(spec, text=text)
    return replace(spec, text=text, where=f"{'-' if where.inverted else ''}[{found[where.value]}]")


def _story_with(settings: RenderSettings, found: Mapping[str, str]) -> str:
    """A story keeps its lines as they were written: only what stands in the square brackets is replaced."""
    text = settings.story
    for reference in set(_story_masks(settings)) & set(found):
        text = re.sub(rf"(\s@\s+-?\s*\[)\s*{re.escape(reference)}\s*(\])",
                      lambda part, to=found[reference]: part[1] + to + part[2], text)  # type: ignore[misc]
    return text
