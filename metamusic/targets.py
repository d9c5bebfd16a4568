"""Targets: what every moment should be seen as, from music, words, lyrics, story and pictures.

Everything is embedded once, before painting begins; `at` then only weighs what acts at a moment.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metamusic.cutouts import make_cutouts
from metamusic.formula import evaluate
from metamusic.judges import Judge
from metamusic.lyrics import Line, parse_lyrics, sung, within
from metamusic.material import Material
from metamusic.motion import fit
from metamusic.packs import Bank
from metamusic.phrases import EVERYWHERE, PromptSpec, Where, parse_prompts, parse_seeds, parse_where
from metamusic.prompt import Prompt, slerp
from metamusic.randomness import generator
from metamusic.segments import Segment, target_at
from metamusic.settings import RenderSettings
from metamusic.song import SAMPLE_RATE, Song
from metamusic.story import Story, parse_story

SILENT = 1e-4  # root mean square below which there is nothing to hear
NEIGHBOURS = 12  # bank pictures that a target is mixed from
SHARPNESS = 20.0  # of the softmax over their similarity


@dataclass(frozen=True)
class Moment:
    """A point of the render: frame and step within it, and what the music does there.

    seconds: from the start of the region. sounds: the variables of formulas.
    """

    frame: int
    step: int
    seconds: float
    sounds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Hearing:
    """The audio target at every moment: `keys` are targets (None in silence), `between` says which two, and
    how far from one to the other."""

    keys: list[Tensor | None]
    between: Callable[[Moment], tuple[int, int, float]]

    def at(self, moment: Moment) -> Tensor | None:
        """The target [D], cross-faded on the sphere; None in silence."""
        here, there, share = self.between(moment)
        one, other = self.keys[here], self.keys[there]
        if one is None or other is None:
            return one if share < 0.5 else other
        return slerp(one, other, share) if share > 0 else one


@dataclass(frozen=True)
class Wish:
    """A prompt as it was written, and where its words or pictures lie in a judge's space: [D] or [P, D]."""

    name: str
    spec: PromptSpec
    embedding: Tensor

    def prompt(self, moment: Moment, share: float = 1.0) -> Prompt:
        """As it pulls at a moment; `share` is how much of it is there."""
        weight = evaluate(self.spec.formula, moment.sounds) if self.spec.formula else self.spec.weight
        return Prompt(self.name, self.embedding, share * weight, self.spec.stop, parse_where(self.spec.where))


@dataclass(frozen=True)
class Targets:
    """Everything that one judge is asked to see."""

    hearing: Hearing | None
    always: list[Wish]
    lines: tuple[Line, ...]
    line_wishes: list[Wish]
    story: Story | None
    scenes: list[list[Wish]]
    still: bool
    start_s: float
    lyrics_fade_s: float

    def at(self, moment: Moment, now: RenderSettings) -> list[Prompt]:
        """The prompts of a moment, under the settings that hold then; those without weight are left out."""
        lyrics = self._sung(moment)
        singing = sum(share for number, share in lyrics if now.lyrics_weight * self.lines[number].weight != 0)
        prompts = [*self._heard(moment, now, singing),
                   *(wish.prompt(moment) for wish in self.always),
                   *(self.line_wishes[number].prompt(moment, share * now.lyrics_weight) for number, share in lyrics),
                   *self._told(moment)]
        return [prompt for prompt in prompts if prompt.weight != 0]

    def _heard(self, moment: Moment, now: RenderSettings, singing: float) -> Iterator[Prompt]:
        target = self.hearing.at(moment) if self.hearing else None
        if target is not None:
            # `instead` is Music2Video's way: while a line is sung, the picture follows the words alone.
            left = max(0.0, 1 - singing) if now.lyrics_mix == "instead" else 1.0
            yield Prompt("audio", target, now.audio_weight * left)

    def _sung(self, moment: Moment) -> list[tuple[int, float]]:
        """Which lines act and how much; a still hears all lines of its region at once."""
        if self.still:
            return [(number, 1 / len(self.lines)) for number in range(len(self.lines))]
        return sung(self.lines, self.start_s + moment.seconds, self.lyrics_fade_s)

    def _told(self, moment: Moment) -> Iterator[Prompt]:
        for number, share in (self.story.at(self.start_s + moment.seconds) if self.story else []):
            yield from (wish.prompt(moment, share) for wish in self.scenes[number])

    def wishes(self, moment: Moment, now: RenderSettings) -> dict[Where, Tensor | None]:
        """What a moment asks for in each place, in one vector [D]: its prompts, weighted; None if there are none.

        The whole picture comes first, whether or not anything is asked of it.
        """
        prompts = self.at(moment, now)
        places = dict.fromkeys([EVERYWHERE, *(prompt.where for prompt in prompts)])
        return {place: _together([prompt for prompt in prompts if prompt.where == place]) for place in places}

    def places(self) -> set[Where]:
        """Every part of the picture that a prompt may be bound to."""
        wishes = [*self.always, *(wish for scene in self.scenes for wish in scene)]
        return {parse_where(wish.spec.where) for wish in wishes}

    def empty(self) -> bool:
        """Nothing to hear and nothing to read or to look at."""
        silent = self.hearing is None or all(key is None for key in self.hearing.keys)
        return silent and not (self.always or self.line_wishes or any(self.scenes))


def _together(prompts: Sequence[Prompt]) -> Tensor | None:
    if not prompts:
        return None
    total = torch.stack([prompt.weight * prompt.centre() for prompt in prompts]).sum(0)
    return None if total.norm() < 1e-6 else F.normalize(total, dim=-1)


@torch.no_grad()
def make_targets(song: Song, settings: RenderSettings, judge: Judge, segments: list[Segment],
                 material: Material) -> Targets:
    """Listen to the region, read every text and look at every picture, once, before painting begins."""
    still = settings.kind == "image"
    lines = _lines(song, settings)
    story = story_of(settings)
    always = [*_texts("text", parse_prompts(settings.text), settings, judge),
              *_pictures(settings, judge, material), *_noise(settings, judge)]
    hearing = _listen(song, settings, judge, segments) if wants_music(settings) else None
    return Targets(
        hearing=hearing, always=always, lines=lines,
        line_wishes=[_line_wish(line, settings, judge) for line in lines], story=story,
        scenes=[_texts("story", scene.prompts, settings, judge, numbered=False)
                for scene in (story.scenes if story else ())],
        still=still, start_s=settings.start, lyrics_fade_s=settings.lyrics_fade)


def story_of(settings: RenderSettings) -> Story | None:
    """The story that the settings tell, if any."""
    if not settings.story.strip():
        return None
    return parse_story(settings.story, settings.story_every, settings.story_fade)


def wants_music(settings: RenderSettings) -> bool:
    """Whether the music acts at any moment: a story may bring it in."""
    story = story_of(settings)
    scenes = story.scenes if story else ()
    return settings.audio_weight != 0 or any("audio_weight" in scene.changes for scene in scenes)


# -- the music ----------------------------------------------------------------------------------------


def _listen(song: Song, settings: RenderSettings, judge: Judge, segments: list[Segment]) -> Hearing | None:
    """How this judge hears the region; None if it has no ears."""
    if not judge.perceptor.hears:
        return None
    if settings.kind == "image" or settings.listen == "song":
        return Hearing([_hear(song.waveform, settings, judge)], lambda moment: (0, 0, 0.0))
    if settings.listen == "window":
        return _windows(song, settings, judge)
    fps, fade = settings.fps, settings.fade
    keys = [_hear(_slice(song, s.first / fps, s.last / fps), settings, judge) for s in segments]
    return Hearing(keys, lambda moment: target_at(moment.frame, segments, fade, fps))


def _windows(song: Song, settings: RenderSettings, judge: Judge) -> Hearing:
    """A window of `window` seconds around every multiple of `hop`, one clip per call; between two it blends.

    The last window lies around the song's end, however far that is from the one before.
    """
    centres = [*np.arange(0, song.duration_s, settings.hop), song.duration_s]
    keys = [_hear(_slice(song, centre - settings.window / 2, centre + settings.window / 2), settings, judge)
            for centre in centres]

    def between(moment: Moment) -> tuple[int, int, float]:
        here = min(int(moment.seconds / settings.hop), len(centres) - 2)
        share = (moment.seconds - centres[here]) / (centres[here + 1] - centres[here])
        return here, here + 1, min(1.0, share)

    return Hearing(keys, between)


def _slice(song: Song, start_s: float, end_s: float) -> np.ndarray:
    """The samples between two moments, as far as the region has them."""
    first, last = (max(0, round(second * SAMPLE_RATE)) for second in (start_s, end_s))
    return song.waveform[first:last]


def _hear(waveform: np.ndarray, settings: RenderSettings, judge: Judge) -> Tensor | None:
    if len(waveform) == 0 or np.dot(waveform, waveform) < len(waveform) * SILENT**2:
        return None
    return through_bank(judge.perceptor.embed_audio(waveform), judge.bank, settings.bank_mix)


# -- words, pictures, noise ---------------------------------------------------------------------------


def _texts(kind: str, specs: Sequence[PromptSpec], settings: RenderSettings, judge: Judge,
           numbered: bool = True) -> list[Wish]:
    if not specs:
        return []
    embeddings = judge.perceptor.embed_text([spec.text for spec in specs])
    return [Wish(f"{kind} {number}: {spec.text}" if numbered else kind, spec,
                 through_bank(embedding, judge.bank, settings.bank_mix))
            for number, (spec, embedding) in enumerate(zip(specs, embeddings, strict=True), 1)]


def _lines(song: Song, settings: RenderSettings) -> tuple[Line, ...]:
    """The lines that sound in the region; their times are the song's."""
    if not settings.lyrics.strip():
        return ()
    return within(parse_lyrics(settings.lyrics), settings.start, settings.start + song.duration_s)


def _line_wish(line: Line, settings: RenderSettings, judge: Judge) -> Wish:
    """A line is words only: what looks like a weight in it is sung, not meant."""
    embedding = through_bank(judge.perceptor.embed_text([line.text])[0], judge.bank, settings.bank_mix)
    return Wish("lyrics", PromptSpec(line.text, line.weight), embedding)


def _pictures(settings: RenderSettings, judge: Judge, material: Material) -> list[Wish]:
    """Each picture as the judge sees cutouts of it, all of them targets: [P, D] (VQGAN-CLIP's image prompt)."""
    return [Wish(f"picture {number}", spec,
                 picture_targets(as_image(material.get(spec.text), settings, judge), settings, judge,
                                 generator(settings.seed or 0, "image prompt", number)))
            for number, spec in enumerate(parse_prompts(settings.image_prompts), 1)]


def as_image(pixels: np.ndarray, settings: RenderSettings, judge: Judge) -> Tensor:
    """uint8 [H, W, 3] -> [1, 3, h, w] in [0, 1] on the judge's device, at about the size of the canvas."""
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(judge.perceptor.mean.device) / 255
    # As small as still covers the canvas: `fit` enlarges nothing that was reduced before.
    scale = min(1.0, max(settings.height / image.shape[-2], settings.width / image.shape[-1]))
    high, wide = (max(16, math.ceil(side * scale)) for side in image.shape[-2:])
    return fit(image, high, wide)


def picture_targets(image: Tensor, settings: RenderSettings, judge: Judge, random: torch.Generator) -> Tensor:
    """How a judge sees [1, 3, H, W] through the render's own cutouts, [P, D]."""
    cutouts = make_cutouts(image, judge.perceptor.input_size, settings, random)
    return judge.look(cutouts).flatten(0, 1)  # every tower's view is a target


def _noise(settings: RenderSettings, judge: Judge) -> list[Wish]:
    """A direction drawn from each seed: VQGAN-CLIP's noise prompts."""
    wishes = []
    for seed, weight in parse_seeds(settings.noise_prompts):
        drawn = torch.randn(judge.perceptor.embed_dim, generator=generator(seed, "noise prompt"))
        direction = F.normalize(drawn, dim=-1).to(judge.perceptor.mean.device)
        wishes.append(Wish(f"noise {seed}", PromptSpec(str(seed), weight), direction))
    return wishes


def through_bank(embedding: Tensor, bank: Bank | None, share: float) -> Tensor:
    """Replace `share` of a target by the bank pictures it is nearest to.

    Embeddings of sounds and words lie off the pictures' own region of the sphere; a weighted mean of
    real pictures' embeddings brings the target back to where pictures can be. It does without training
    what unCLIP's prior does with it (Ramesh et al. 2022).
    """
    if bank is None or share == 0:
        return embedding
    near = (bank.embeds @ embedding).topk(min(NEIGHBOURS, len(bank.embeds)))
    weights = torch.softmax(near.values * SHARPNESS, 0)
    prior = F.normalize((weights[:, None] * bank.embeds[near.indices]).sum(0), dim=-1)
    return F.normalize((1 - share) * embedding + share * prior, dim=-1)
