"""Masks: the part of the picture that a prompt may change, `a storm @ top`, `waves @ [mask.png]`, `gold @ -sky`.

A mask acts on the slope, not on the view: the judges see the whole picture and nothing is darkened or cut
out for them, but what they ask for reaches only the pixels, and the latent cells, under the mask (see
`Painter._slopes`). The idea of masked prompts, also by words, is pytti's; the way is ours.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from metamusic.errors import PictureError
from metamusic.judges import Judge
from metamusic.material import Material
from metamusic.motion import fit
from metamusic.phrases import Where

SOFT_EDGE = 0.2  # of the picture's side, over which a region fades out
TILE = 0.45  # of the shorter side: one look of the search for words
TILES = 5  # looks along a side at least, half a tile or less apart
# Of the pixels by likeness, the share left out altogether and the share taken whole. A mask must reach nought: Adam
# steps as far after a small slope as after a large one.
LEFT_OUT, WHOLE = 0.5, 0.7


class Masks:
    """Where each prompt may act, [1, 1, H, W] in [0, 1]; pictures are fitted, words are searched for."""

    def __init__(self, material: Material, judge: Judge) -> None:
        self._material = material
        self._judge = judge
        self._fixed: dict[tuple[Where, int, int], Tensor] = {}
        self._found: dict[Where, Tensor] = {}
        self._words: dict[str, Tensor] = {}

    def check(self, where: Where) -> None:
        """Refuse a mask that cannot serve, before anything is painted: PictureError."""
        if where.kind == "picture":
            self._light(where)

    def forget(self) -> None:
        """Search for the words anew: the picture has changed since."""
        self._found.clear()

    def of(self, where: Where, image: Tensor) -> Tensor | None:
        """The mask of a place in `image` [1, 3, H, W]; None is everywhere."""
        if where.kind == "everywhere":
            return None
        if where.kind == "words":
            return self._search(where, image)
        key = (where, *image.shape[-2:])
        if key not in self._fixed:
            size = image.shape[-2:]
            mask = region(where.value, *size) if where.kind == "region" else fit(self._light(where), *size)
            self._fixed[key] = _turned(mask.to(image.device), where)
        return self._fixed[key]

    def _light(self, where: Where) -> Tensor:
        """A picture as mask, [1, 1, H, W]: where it is light, the prompt acts."""
        pixels = torch.from_numpy(self._material.get(where.value)).permute(2, 0, 1)[None] / 255
        light = pixels.mean(1, keepdim=True)
        if light.amax() - light.amin() < 1 / 255:
            raise PictureError(f"The mask [{where.value[:12]}] has one brightness everywhere.",
                               "Paint white where the prompt may act, and black elsewhere.")
        return light

    @torch.no_grad()
    def _search(self, where: Where, image: Tensor) -> Tensor:
        """Where the picture looks most like the words, by looking at it tile by tile."""
        if where not in self._found or self._found[where].shape[-2:] != image.shape[-2:]:
            if where.value not in self._words:
                self._words[where.value] = self._judge.perceptor.embed_text([where.value])[0]
            self._found[where] = _turned(relevance(image, self._words[where.value], self._judge), where)
        return self._found[where]


def _turned(mask: Tensor, where: Where) -> Tensor:
    return 1 - mask if where.inverted else mask


def region(name: str, height: int, width: int) -> Tensor:
    """A named part of the picture, [1, 1, H, W]: left, right, top, bottom, centre or border, with a soft edge."""
    across = torch.linspace(-1, 1, width).view(1, 1, 1, width).expand(1, 1, height, width)
    down = torch.linspace(-1, 1, height).view(1, 1, height, 1).expand(1, 1, height, width)
    from_centre = torch.maximum(across.abs(), down.abs()) - 0.6
    inside = {"left": -across, "right": across, "top": -down, "bottom": down,
              "centre": -from_centre, "border": from_centre}[name]
    return (inside / (2 * SOFT_EDGE) + 0.5).clamp(0, 1).contiguous()


def relevance(image: Tensor, words: Tensor, judge: Judge) -> Tensor:
    """How much each place of [1, 3, H, W] looks like the words [D], relative to the rest: [1, 1, H, W].

    Overlapping square tiles are judged one by one; a pixel has the mean likeness of the tiles that it lies in,
    and by that the better part of the picture is taken.
    """
    height, width = image.shape[-2:]
    side = max(2, round(TILE * min(height, width)))
    tops, lefts = _starts(height, side), _starts(width, side)
    size = judge.perceptor.input_size
    tiles = torch.cat([
        F.interpolate(image[..., top:top + side, left:left + side], (size, size), mode="bicubic", antialias=True)
        for top in tops for left in lefts]).clamp(0, 1)
    likeness = (judge.look(tiles) @ words).mean(0)  # [tiles]
    total, count = image.new_zeros(1, 1, height, width), image.new_zeros(1, 1, height, width)
    places = [(top, left) for top in tops for left in lefts]
    for (top, left), value in zip(places, likeness, strict=True):
        total[..., top:top + side, left:left + side] += value
        count[..., top:top + side, left:left + side] += 1
    mean = total / count
    low, high = torch.quantile(mean.flatten(), torch.tensor([LEFT_OUT, WHOLE], device=image.device))
    return ((mean - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)


def _starts(length: int, side: int) -> list[int]:
    """Where tiles begin along one side so that they cover it, at most half a tile apart."""
    room = length - side
    count = max(2, math.ceil(room / side * 2) + 1, TILES) if room else 1
    return [round(room * number / (count - 1)) for number in range(count)] if room else [0]
