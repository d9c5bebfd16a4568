"""Pictures in motion: resizing, the slow camera, one picture turning into another."""

import math
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional as F

LONGEST_ZOOM = 1.35  # how near the camera goes before it turns back


def fit(image: Tensor, height: int, width: int) -> Tensor:
    """[1, 3, H, W] scaled to cover `height` x `width` and cropped in the middle, in [0, 1]."""
    scale = max(height / image.shape[-2], width / image.shape[-1])
    high, wide = max(height, round(image.shape[-2] * scale)), max(width, round(image.shape[-1] * scale))
    if (high, wide) != tuple(image.shape[-2:]):
        image = F.interpolate(image, (high, wide), mode="bicubic", antialias=True, align_corners=False)
    top, left = (high - height) // 2, (wide - width) // 2
    return image[..., top:top + height, left:left + width].clamp(0, 1)


def zoom(image: Tensor, growth: float) -> Tensor:
    """The middle of [1, C, H, W] magnified by `growth` (1.01: one per cent), edges mirrored.

    Bicubic, so values may leave their range a little.
    """
    if growth == 1:
        return image
    theta = torch.tensor([[[1 / growth, 0.0, 0.0], [0.0, 1 / growth, 0.0]]], device=image.device)
    grid = F.affine_grid(theta, list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, mode="bicubic", padding_mode="reflection", align_corners=False)


def camera(travel: float, speed: float) -> float:
    """Magnification of a camera that goes in and out again without a jolt; 1 at rest.

    `travel` is how far it has come, in units of magnification's logarithm (speed 0.04 for a second is
    log 1.04). It swings between 1 and LONGEST_ZOOM, because a picture of finite detail cannot be
    approached for ever; with a negative `speed` it begins near and moves away.
    """
    reach = math.log(LONGEST_ZOOM)
    share = (1 - math.cos(2 * travel / reach)) / 2 if speed >= 0 else (1 + math.cos(2 * travel / reach)) / 2
    return math.exp(reach * share) if travel or speed else 1.0


def journey(speeds: Sequence[float], fps: float) -> list[float]:
    """How far the camera has come at every frame, when `speeds` are its growth per second there."""
    return list(accumulate((math.copysign(math.log1p(abs(speed)), speed) / fps for speed in speeds[:-1]),
                           initial=0.0))


def share_per_frame(rate: float, fps: int) -> float:
    """How much of something is left behind at each frame for a rate per second, whatever the fps."""
    return 1 - math.exp(-rate / fps)


def dissolve(one: Tensor, other: Tensor, share: float, pattern: Tensor) -> Tensor:
    """`one` turning into `other`, [1, 3, H, W] each, first where the pattern [1, 1, H, W] is low.

    Instead of both shining through each other, the new picture spreads like ink in water. 0 and 1 give
    exactly one or the other.
    """
    edge = 0.35  # how soft the ink's edge is, in units of the pattern
    mask = ((share * (1 + edge) - pattern) / edge).clamp(0, 1)
    mask = mask * mask * (3 - 2 * mask)  # smoothstep: no crease where the edge begins and ends
    return one + (other - one) * mask


def broad(change: Tensor, pixels: int = 16) -> Tensor:
    """Only the broad forms of a signed picture [1, 3, H, W]: light and colour, no structure."""
    height, width = change.shape[-2:]
    few = F.adaptive_avg_pool2d(change, (max(1, height // pixels), max(1, width // pixels)))
    return F.interpolate(few, (height, width), mode="bicubic", align_corners=False)


def enlarge(image: Tensor, height: int, width: int) -> Tensor:
    """A signed or unsigned picture at another size, bicubic."""
    return F.interpolate(image, (height, width), mode="bicubic", align_corners=False)
