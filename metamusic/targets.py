"""Targets: what every frame should be seen as, from the music and the words."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metamusic.packs import Bank, Models
from metamusic.phrases import parse_prompts
from metamusic.prompt import Prompt, slerp
from metamusic.segments import Segment, target_at
from metamusic.settings import RenderSettings
from metamusic.song import SAMPLE_RATE, Song

SILENT = 1e-4  # root mean square below which there is nothing to hear
NEIGHBOURS = 12  # bank pictures that a target is mixed from
SHARPNESS = 20.0  # of the softmax over their similarity


@dataclass(frozen=True)
class Targets:
    """One audio target per segment, None where it is silent, and the text prompts of the whole render."""

    segments: list[Segment]
    audio: list[Tensor | None]
    texts: list[Prompt]
    audio_weight: float
    fade: float
    fps: int

    def at(self, frame: int) -> list[Prompt]:
        """The prompts of one frame; near a border the audio target is between both segments'."""
        audio = self.audio_at(frame)
        if audio is None or self.audio_weight == 0:
            return self.texts
        return [Prompt("audio", audio, self.audio_weight), *self.texts]

    def audio_at(self, frame: int) -> Tensor | None:
        """The audio target [D] of a frame, cross-faded on the sphere; None in silence."""
        here, there, share = target_at(frame, self.segments, self.fade, self.fps)
        one, other = self.audio[here], self.audio[there]
        if one is None or other is None:
            return one if share < 0.5 else other
        return slerp(one, other, share) if share > 0 else one

    def wish(self, segment: int) -> Tensor | None:
        """What a segment asks for in one vector [D]: all its targets, weighted; None if there are none."""
        parts = [prompt.weight * prompt.embedding for prompt in self.texts]
        if (audio := self.audio[segment]) is not None:
            parts.append(self.audio_weight * audio)
        total = torch.stack(parts).sum(0) if parts else None
        return None if total is None or total.norm() < 1e-6 else F.normalize(total, dim=-1)


@torch.no_grad()
def make_targets(song: Song, settings: RenderSettings, models: Models, segments: list[Segment]) -> Targets:
    """Listen to every segment of the region and read the text, once, before painting begins."""
    fps = settings.fps if settings.kind == "video" else 1
    listen = settings.audio_weight != 0
    audio = [_hear(_slice(song, s, fps, settings), settings, models) if listen else None for s in segments]
    return Targets(segments, audio, _read(settings, models), settings.audio_weight, settings.fade, fps)


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


def _slice(song: Song, segment: Segment, fps: int, settings: RenderSettings) -> np.ndarray:
    """The samples a segment covers; a still's only segment is the whole region."""
    if settings.kind == "image":
        return song.waveform
    first, last = (round(frame / fps * SAMPLE_RATE) for frame in (segment.first, segment.last))
    return song.waveform[first:last]


def _hear(waveform: np.ndarray, settings: RenderSettings, models: Models) -> Tensor | None:
    if len(waveform) == 0 or np.dot(waveform, waveform) < len(waveform) * SILENT**2:
        return None
    return through_bank(models.perceptor.embed_audio(waveform), models.bank, settings.bank_mix)


def _read(settings: RenderSettings, models: Models) -> list[Prompt]:
    specs = parse_prompts(settings.text)
    if not specs:
        return []
    embeddings = models.perceptor.embed_text([spec.text for spec in specs])
    return [Prompt(f"text {number}: {spec.text}", through_bank(embedding, models.bank, settings.bank_mix),
                   spec.weight, spec.stop)
            for number, (spec, embedding) in enumerate(zip(specs, embeddings, strict=True), 1)]
