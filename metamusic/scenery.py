"""Scenery: the bank pictures that a film moves through, one for each segment.

The camera moves in the picture itself, as sharp as the bank has it, and only what was painted on top is
carried from frame to frame. Zooming and encoding the whole frame again and again, as the family does,
leaves nothing but a blur after some seconds.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from metamusic.masks import Masks
from metamusic.motion import camera, dissolve, zoom
from metamusic.packs import Models
from metamusic.phrases import EVERYWHERE, Where
from metamusic.randomness import generator
from metamusic.segments import Segment, target_at
from metamusic.settings import RenderSettings
from metamusic.start import bank_choice, bank_picture

PATTERN_CELLS = 5  # blots of a dissolve across the shorter side


class Scenery:
    """What stands behind the painting at every frame, at height x width."""

    def __init__(self, models: Models, settings: RenderSettings, segments: list[Segment],
                 wishes: Sequence[Mapping[Where, Tensor | None]], masks: Masks, travel: Sequence[float],
                 height: int, width: int) -> None:
        """wishes: what each segment asks for in each place [D]; travel: how far the camera has come by each frame."""
        self.settings, self.segments, self.travel = settings, segments, travel
        self.height, self.width = height, width
        self.fps = settings.fps
        self._device = models.device
        # For each segment its layers: a picture for the whole, and one for each place that has wishes of its own.
        self.choices = [tuple((place, bank_choice(wish, settings, models)) for place, wish in layers.items()
                              if wish is not None or place == EVERYWHERE) for layers in wishes]
        self._masks = masks
        self._began = _run_starts(self.segments, self.choices)
        # Half of the bank is seen mirrored, another half for every seed: twice the compositions.
        self._mirrored = torch.rand(len(models.bank or ()), generator=generator(settings.seed or 0, "mirror")) < 0.5
        self._models = models
        # A handful of pictures is all that neighbouring frames need; a long film visits hundreds.
        self._picture = lru_cache(maxsize=4 * max(map(len, self.choices)))(self._load_picture)
        self._mask = lru_cache(maxsize=8)(self._find_mask)
        self._pattern = lru_cache(maxsize=2)(self._draw_pattern)
        self.at = lru_cache(maxsize=2)(self._behind)  # every frame asks for its own scene and the last one's

    @torch.no_grad()
    def _behind(self, frame: int) -> Tensor:
        """The picture [1, 3, H, W] behind a frame; near a border one scene is turning into the next."""
        here, there, share = target_at(frame, self.segments, self.settings.fade, self.fps)
        one = self._seen(here, frame)
        if share == 0 or self.choices[here] == self.choices[there]:
            return one
        return dissolve(one, self._seen(there, frame), share, self._pattern(there)).clamp(0, 1)

    def step(self, frame: int) -> float:
        """Magnification from the frame before to this one, by the camera of the scene that prevails."""
        here, there, share = target_at(frame, self.segments, self.settings.fade, self.fps)
        segment = there if share > 0.5 else here
        return self._growth(segment, frame) / self._growth(segment, frame - 1)

    def _seen(self, segment: int, frame: int) -> Tensor:
        (_, whole), *layers = self.choices[segment]
        growth = self._growth(segment, frame)
        image = zoom(self._picture(whole), growth).clamp(0, 1)
        for place, index in layers:
            image = torch.lerp(image, zoom(self._picture(index), growth).clamp(0, 1), self._mask(place, whole))
        return image

    def _find_mask(self, place: Where, whole: int) -> Tensor:
        """The mask of a place, [1, 1, H, W]; words are searched for in the picture of the whole."""
        self._masks.forget()
        mask = self._masks.of(place, self._picture(whole))
        self._masks.forget()
        assert mask is not None, "the whole picture is no layer"
        return mask

    def _growth(self, segment: int, frame: int) -> float:
        return camera(self.travel[frame] - self.travel[self._began[segment]], self.settings.zoom)

    def _load_picture(self, index: int) -> Tensor:
        picture = bank_picture(index, self._models, self.height, self.width)
        return picture.flip(-1) if self._mirrored[index] else picture

    def _draw_pattern(self, segment: int) -> Tensor:
        """A smooth random field [1, 1, H, W] in [0, 1], another for every border."""
        assert self.settings.seed is not None
        few = torch.rand(1, 1, PATTERN_CELLS, PATTERN_CELLS,
                         generator=generator(self.settings.seed, "dissolve", segment))
        field = F.interpolate(few, (self.height, self.width), mode="bicubic", align_corners=True)
        return ((field - field.amin()) / (field.amax() - field.amin()).clamp_min(1e-6)).to(self._device)


def _run_starts(segments: list[Segment], choices: Sequence[object]) -> list[int]:
    """For each segment the frame at which its scene came up, so that the camera does not jump in it."""
    starts: list[int] = []
    for number, segment in enumerate(segments):
        same = number > 0 and choices[number] == choices[number - 1]
        starts.append(starts[-1] if same else segment.first)
    return starts
