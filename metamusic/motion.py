"""Pictures in motion: resizing, the slow zoom, mixing one picture into another."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def fit(image: Tensor, height: int, width: int) -> Tensor:
    """[1, 3, H, W] scaled to cover `height` x `width` and cropped in the middle, in [0, 1]."""
    scale = max(height / image.shape[-2], width / image.shape[-1])
    high, wide = max(height, round(image.shape[-2] * scale)), max(width, round(image.shape[-1] * scale))
    if (high, wide) != tuple(image.shape[-2:]):
        image = F.interpolate(image, (high, wide), mode="bicubic", antialias=True, align_corners=False)
    top, left = (high - height) // 2, (wide - width) // 2
    return image[..., top:top + height, left:left + width].clamp(0, 1)


def zoom(image: Tensor, growth: float) -> Tensor:
    """The middle of [1, 3, H, W] magnified by `growth` (1.01: one per cent), edges mirrored."""
    theta = torch.tensor([[[1 / growth, 0.0, 0.0], [0.0, 1 / growth, 0.0]]], device=image.device)
    grid = F.affine_grid(theta, list(image.shape), align_corners=False)
    moved = F.grid_sample(image, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return moved.clamp(0, 1)


def growth_per_frame(zoom_per_second: float, fps: int) -> float:
    """Magnification between two frames, so that a second of them gives 1 + zoom_per_second."""
    return max(1 + zoom_per_second, 0.05) ** (1 / fps)


def share_per_frame(rate: float, fps: int) -> float:
    """How much of another picture to mix in at each frame for a rate per second, whatever the fps."""
    return 1 - math.exp(-rate / fps)


def grow(image: Tensor, height: int, width: int, detail_of: Tensor | None = None) -> Tensor:
    """A small picture [1, 3, h, w] at full size.

    What a larger picture `detail_of` [1, 3, height, width] has beyond its own small version is added,
    so that fine structure that the small stage could not hold comes back.
    """
    small = image.shape[-2:]
    large = F.interpolate(image, (height, width), mode="bicubic", align_corners=False)
    if detail_of is not None:
        down = F.interpolate(detail_of, small, mode="bicubic", antialias=True, align_corners=False)
        large = large + detail_of - F.interpolate(down, (height, width), mode="bicubic", align_corners=False)
    return large.clamp(0, 1)
