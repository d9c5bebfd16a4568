"""What suits a pack and this machine: defaults, sizes, how long it will take."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from db import Store
from metamusic import packs
from metamusic.effort import decoder_memory, effort, seconds_per_look
from metamusic.settings import RenderSettings
from metamusic.studio.asking import frames_of
from metamusic.studio.opening import store_errors

PIXEL_CELL = 2  # px, of the canvas of raw pixels
DECODER_SHARE = 0.6  # of the memory; the rest is for CLIP, its cutouts and other programs


@dataclass(frozen=True)
class Estimate:
    """How long a render will take; `measured` if past renders of this machine say so."""

    seconds: float
    measured: bool


def defaults_for(pack: str) -> dict[str, Any]:
    """Settings that suit a pack better than the general ones; {} where it says none, or is not here.

    A size that is too large for the memory of the device here is made smaller, in its own proportions.
    """
    info = next((info for info in packs.available() if info.name == pack), None)
    if info is None:
        return {}
    return {**info.defaults, **_size_that_fits(info)}


def _size_that_fits(info: packs.PackInfo) -> dict[str, int]:
    """The pack's own width and height, or the largest below it whose decoder leaves room for its judges."""
    if info.vqgan is None or not {"width", "height"} <= info.defaults.keys():
        return {}
    from metamusic.plan import device_memory

    width, height = int(info.defaults["width"]), int(info.defaults["height"])
    room = max(0, device_memory() * DECODER_SHARE - packs.memory_need(info))
    shrink = min(1.0, (room / decoder_memory(info.vqgan, width, height)) ** 0.5)
    return {"width": max(64, int(width * shrink) // 16 * 16), "height": max(64, int(height * shrink) // 16 * 16)}


def estimate(store: Store, settings: RenderSettings, song_s: float) -> Estimate:
    """How long it will take to paint `song_s` seconds of song (or the settings' duration, if less)."""
    work = effort(settings, frames_of(settings, song_s))
    with store_errors():
        past = store.typical_seconds(settings.kind, settings.pack, work)
    if past is not None:
        return Estimate(past, True)
    return Estimate(work * seconds_per_look(packs.check(settings.pack).perceptor), False)


def painted_size(settings: RenderSettings) -> tuple[int, int]:
    """Width and height as they will be painted: rounded down to the cells of the canvas."""
    cell = PIXEL_CELL if settings.canvas == "pixels" else packs.check(settings.pack).cell
    return settings.width // cell * cell, settings.height // cell * cell


def layered(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Settings put over one another, later ones win: over what suits their pack, the layers in their order.

    Who names a picture to start from means to start from it, whatever a layer below says of the start; and who
    names another start does not mean the picture of a layer below.
    """
    values: dict[str, Any] = {}
    pack = next((layer["pack"] for layer in reversed(layers) if layer.get("pack")), RenderSettings.parse({}).pack)
    for layer in (defaults_for(str(pack)), *layers):
        if layer.get("init_image") and "init" not in layer:
            values["init"] = "image"
        if "init" in layer and layer["init"] != "image" and "init_image" not in layer:
            values.pop("init_image", None)
        values |= layer
    return values
