"""How much work a render is, in looks (what judging one cutout costs), and how much memory its decoder takes.
For estimates, the time left and sizes that fit.

Of looks only proportions matter. What a look takes on this machine is learnt from its own past renders; until
there is one, SECONDS_PER_LOOK is a guess.
"""

from collections.abc import Mapping
from typing import Any

from metamusic.settings import RenderSettings

LOOKS_PER_DECODE = 20  # at 256 x 256, with its gradient: 15 measured for the sketch pack, 28 for ViT-B/32
SECONDS_PER_LOOK = 0.025  # two cores of a server, sketch pack
FLOPS = 100e9  # per second, of two such cores in float32
DECODER_BYTES = 48  # per channel, block and pixel: 45 to 47 measured for the published VQGANs
COARSE_SIDE = 128  # px: a picture whose shorter side is less has no half-size stage


def effort(settings: RenderSettings, frames: int, steps: float | None = None) -> float:
    """Looks of the whole render, or of its first `steps` optimisation steps."""
    done = total_steps(settings, frames) if steps is None else steps
    first = min(done, settings.steps)
    coarse = min(first, coarse_steps(settings, settings.width, settings.height))
    looks = settings.cutouts * _jury(settings)
    full = _decode(settings) + looks
    work = coarse * (_decode(settings) / 4 + looks) + (first - coarse) * full
    later = max(0, done - first)
    # Between two frames the picture is moved, encoded and shown: about one more decode.
    return work + later * full + later / _steps_between(settings) * _decode(settings)


def seconds_per_look(perceptor: Mapping[str, Any]) -> float:
    """A guess at what a look takes on two cores, until this machine has rendered with the pack.

    perceptor: as in a pack's manifest. A transformer's work is two operations per weight and token forwards and as
    many backwards: 17 GFLOP for ViT-B/32, where 17.7 were counted.
    """
    vision = perceptor["clip"]["vision"]
    if not isinstance(vision.get("layers"), int):
        return SECONDS_PER_LOOK
    tokens = (vision["image_size"] // vision["patch_size"]) ** 2 + 1
    return 4 * 12 * vision["width"] ** 2 * vision["layers"] * tokens / FLOPS


def _jury(settings: RenderSettings) -> int:
    """How many packs look at the picture."""
    names = {name.split(":")[0].strip() for name in settings.judges.split("|")}
    return len({settings.pack, *names} - {""})


def total_steps(settings: RenderSettings, frames: int) -> float:
    """About how many optimisation steps a whole render takes; how loud the music is decides the rest."""
    return settings.steps + (frames - 1) * _steps_between(settings)


def _steps_between(settings: RenderSettings) -> float:
    return settings.steps_per_frame + settings.loudness_steps / 2


def coarse_steps(settings: RenderSettings, width: int, height: int) -> int:
    """How many of the first frame's steps are taken at half size, for a picture of width x height."""
    return 0 if min(width, height) < COARSE_SIDE else round(settings.coarse_share * settings.steps)


def _decode(settings: RenderSettings) -> float:
    return LOOKS_PER_DECODE * settings.width * settings.height / 256**2


def decoder_memory(vqgan: Mapping[str, Any], width: int, height: int) -> int:
    """About how many bytes a VQGAN keeps while a picture of width x height is optimised.

    vqgan: the fields of its VQGANConfig. The engine measures it anew (`memory`); this needs no weights.
    """
    channels = sum(vqgan["ch"] * times / 4**level for level, times in enumerate(vqgan["ch_mult"]))
    per_pixel = channels * (vqgan["num_res_blocks"] + 1) * DECODER_BYTES / vqgan.get("unshuffle", 1) ** 2
    return int(per_pixel * width * height)
