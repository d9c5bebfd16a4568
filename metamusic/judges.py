"""Judges: everybody who looks at the picture. The pack's own perceptor is one, further packs can join.

Each judge has a space of its own and turns the wishes into targets there; they meet only in the gradient
on the picture (after pytti, which looks through several CLIPs at once).
"""

from dataclasses import dataclass

from metamusic.errors import PackError
from metamusic.packs import Bank, Models
from metamusic.perceptor import Perceptor
from metamusic.phrases import parse_weighted
from metamusic.settings import RenderSettings


@dataclass(frozen=True)
class Judge:
    """A perceptor with its say. name: "" for the pack's own, otherwise the other pack's name."""

    name: str
    perceptor: Perceptor
    bank: Bank | None
    weight: float


def judge_weights(settings: RenderSettings) -> dict[str, float]:
    """Pack name -> weight of every judge; the render's own pack counts 1 unless it is named itself."""
    return {settings.pack: 1.0, **dict(parse_weighted(settings.judges, "pack"))}


def assemble(models: Models, settings: RenderSettings) -> list[Judge]:
    """All judges with a say, the pack's own first; PackError if one was not loaded, or nobody is left."""
    jury = []
    for name, weight in judge_weights(settings).items():
        own = name == settings.pack
        if not own and name not in models.judges:
            raise PackError(f"The judge {name!r} was not loaded.", "Name it in `judges` before the render begins.")
        some = models if own else models.judges[name]
        # Only the render's own bank stands for its scenery; another pack's pictures are in another world.
        jury.append(Judge("" if own else name, some.perceptor, some.bank, weight))
    return _checked([judge for judge in jury if judge.weight != 0], settings)


def _checked(jury: list[Judge], settings: RenderSettings) -> list[Judge]:
    if not jury:
        raise PackError("Every judge has the weight 0, so nobody looks at the picture.",
                        "Give one of them a weight, for example 1.")
    if settings.audio_weight != 0 and not any(judge.perceptor.hears for judge in jury):
        raise PackError(f"Pack {settings.pack!r} has no ears: it reads and looks, but was given no Wav2CLIP.",
                        "Set the audio weight to 0 and give it a text, or choose another pack.")
    return jury
