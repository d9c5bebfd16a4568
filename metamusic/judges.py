"""Judges: everybody who looks at the picture. The pack's own perceptor is one, further packs can join.

Each judge has a space of its own and turns the wishes into targets there; they meet only in the gradient
on the picture (after pytti, which looks through several CLIPs at once).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from metamusic.errors import PackError, SettingsError
from metamusic.packs import Bank, Models
from metamusic.perceptor import Perceptor
from metamusic.phrases import parse_weighted
from metamusic.settings import RenderSettings

LOOKS_AT_ONCE = 16  # where no slope is wanted


@dataclass(frozen=True)
class Judge:
    """A perceptor with its say. name: "" for the pack's own, otherwise the other pack's name."""

    name: str
    perceptor: Perceptor
    bank: Bank | None
    weight: float

    def look(self, images: Tensor) -> Tensor:
        """Unit vectors [K, N, D] of images [N, 3, S, S], a few at a time and without a way back."""
        with torch.no_grad():
            return torch.cat([self.perceptor.embed_images(some).float() for some in images.split(LOOKS_AT_ONCE)], 1)

    @property
    def suffix(self) -> str:
        """What follows a prompt's name where this judge speaks of it."""
        return f", {self.name}" if self.name else ""


def judge_weights(settings: RenderSettings) -> dict[str, float]:
    """Pack name -> weight of every judge; the render's own pack counts 1 unless it is named itself.

    Raises SettingsError for a judge that is named twice.
    """
    named = parse_weighted(settings.judges, "judge")
    if len(dict(named)) < len(named):
        raise SettingsError(f"In {settings.judges!r} a judge is named twice.",
                            "Name it once, with the weight you want.")
    return {settings.pack: 1.0, **dict(named)}


def assemble(models: Models, settings: RenderSettings, music: bool) -> list[Judge]:
    """All judges with a say, the pack's own first; PackError if one was not loaded, or nobody is left.

    music: whether anybody has to hear it.
    """
    jury = []
    for name, weight in judge_weights(settings).items():
        own = name == settings.pack
        if not own and name not in models.judges:
            raise PackError(f"The judge {name!r} was not loaded.", "Name it in `judges` before the render begins.")
        some = models if own else models.judges[name]
        jury.append(Judge("" if own else name, some.perceptor, some.bank, weight))
    return _checked([judge for judge in jury if judge.weight != 0], settings, music)


def _checked(jury: list[Judge], settings: RenderSettings, music: bool) -> list[Judge]:
    if not jury:
        raise PackError("Every judge has the weight 0, so nobody looks at the picture.",
                        "Give one of them a weight, for example 1.")
    if music and not any(judge.perceptor.hears for judge in jury):
        raise PackError(f"Pack {settings.pack!r} has no ears: it reads and looks, but was given no Wav2CLIP.",
                        "Set the audio weight to 0 and give it a text, or choose another pack.")
    return jury
