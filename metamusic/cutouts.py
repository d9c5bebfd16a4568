"""Cutouts: how the judges look at the picture, [1, 3, H, W] -> [N, 3, S, S].

Every method is a function (image, size, settings, generator) -> cutouts, found in `CUTOUTS` by the
name that RenderSettings knows it by. All parameters are drawn from the generator that comes in.
"""

import math
from collections.abc import Callable

import torch
from kornia import enhance
from kornia.geometry.transform import get_perspective_transform, warp_perspective
from torch import Generator, Tensor
from torch.nn import functional as F

from metamusic.settings import RenderSettings

SMALLEST_CROP = 0.35  # of the shorter side
AUGMENT_CHANCE = 0.7  # the published chance of all four augments


def random_crops(image: Tensor, size: int, settings: RenderSettings, random: Generator) -> Tensor:
    """Random square crops, half of them mirrored, resampled to `size` without aliasing."""
    count, (height, width) = settings.cutouts, image.shape[-2:]
    side = SMALLEST_CROP + (1 - SMALLEST_CROP) * _uniform(random, count) ** settings.cut_power
    side = side * min(height, width)
    mirror = torch.where(_uniform(random, count) < 0.5, -1.0, 1.0)
    reach_x, reach_y = side / width, side / height
    centre_x = (_uniform(random, count) * 2 - 1) * (1 - reach_x)
    centre_y = (_uniform(random, count) * 2 - 1) * (1 - reach_y)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = reach_x * mirror, centre_x
    theta[:, 1, 1], theta[:, 1, 2] = reach_y, centre_y
    # Two samples across each output pixel: enough against aliasing up to four-fold reduction.
    fine = size * (2 if min(height, width) > 1.5 * size else 1)
    factor = max(1, min(height, width) // (4 * size))
    pooled = F.avg_pool2d(image, factor) if factor > 1 else image
    grid = F.affine_grid(theta.to(image), [count, 3, fine, fine], align_corners=False)
    crops = F.grid_sample(pooled.expand(count, -1, -1, -1), grid, padding_mode="reflection", align_corners=False)
    return F.avg_pool2d(crops, fine // size) if fine > size else crops  # [N, 3, S, S]


def pooled_latest(image: Tensor, size: int, settings: RenderSettings, random: Generator) -> Tensor:
    """VQGAN-CLIP's 'latest': the whole picture pooled (mean of average and maximum), then augmented."""
    pooled = (F.adaptive_avg_pool2d(image, size) + F.adaptive_max_pool2d(image, size)) / 2
    cutouts = pooled.expand(settings.cutouts, -1, -1, -1)
    for name in settings.augments:
        cutouts = AUGMENTS[name](cutouts, random)
    return cutouts


CUTOUTS: dict[str, Callable[[Tensor, int, RenderSettings, Generator], Tensor]] = {
    "crops": random_crops,
    "latest": pooled_latest,
}


def make_cutouts(image: Tensor, size: int, settings: RenderSettings, random: Generator) -> Tensor:
    """The cutouts of one step, [N, 3, S, S], with noise of a random strength on each."""
    cutouts = CUTOUTS[settings.cut_method](image, size, settings, random)
    strength = _uniform(random, len(cutouts), 1, 1, 1) * settings.cut_noise
    noise = torch.randn(cutouts.shape, generator=random)
    return cutouts + (strength * noise).to(image)


# -- augments of 'latest': constants as published in VQGAN-CLIP ---------------------------------------


def affine(cutouts: Tensor, random: Generator) -> Tensor:
    """Turn by up to 15 degrees, shift by up to a tenth, shear by up to 5 degrees; outside is black."""
    count, size = len(cutouts), cutouts.shape[-1]
    angle = torch.deg2rad(_spread(random, count) * 15)
    shear = torch.tan(torch.deg2rad(_spread(random, count) * 5))
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = angle.cos(), -angle.sin() + shear
    theta[:, 1, 0], theta[:, 1, 1] = angle.sin(), angle.cos()
    theta[:, :, 2] = _spread(random, count, 2) * 0.1 * 2  # the grid is two units wide
    grid = F.affine_grid(theta.to(cutouts), [count, 3, size, size], align_corners=False)
    return _sometimes(cutouts, F.grid_sample(cutouts, grid, align_corners=False), random)


def perspective(cutouts: Tensor, random: Generator) -> Tensor:
    """Pull each corner inwards by up to 0.7 of half the side."""
    count, size = len(cutouts), cutouts.shape[-1]
    corners = torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]]) * (size - 1.0)
    inwards = torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * (0.7 * size / 2)
    moved = corners + inwards * torch.rand(count, 4, 2, generator=random)
    matrix = get_perspective_transform(corners.expand(count, -1, -1), moved).to(cutouts)
    return _sometimes(cutouts, warp_perspective(cutouts, matrix, (size, size), align_corners=True), random)


def jitter(cutouts: Tensor, random: Generator) -> Tensor:
    """Brightness, contrast and saturation by up to a tenth, hue by up to a tenth of the circle."""
    count = len(cutouts)
    brightness, contrast, saturation, hue = (_spread(random, count).to(cutouts) * 0.1 for _ in range(4))
    # kornia goes through HSV, whose slope is not finite at pure grey and outside [0, 1].
    moved = enhance.adjust_brightness(cutouts.clamp(1e-4, 1 - 1e-4), brightness)
    moved = enhance.adjust_contrast(moved, 1 + contrast)
    moved = enhance.adjust_saturation(moved, 1 + saturation)
    moved = enhance.adjust_hue(moved, hue * 2 * math.pi)
    return _sometimes(cutouts, moved, random)


def erasing(cutouts: Tensor, random: Generator) -> Tensor:
    """One black rectangle, the same on all cutouts: 10 to 40 % of the area, sides 0.3 to 3.3."""
    size = cutouts.shape[-1]
    area = (0.1 + 0.3 * _uniform(random, 1).item()) * size * size
    ratio = 0.3 + (1 / 0.3 - 0.3) * _uniform(random, 1).item()
    high, wide = (min(size, round(side)) for side in (math.sqrt(area * ratio), math.sqrt(area / ratio)))
    top = int(_uniform(random, 1).item() * (size - high + 1))
    left = int(_uniform(random, 1).item() * (size - wide + 1))
    mask = torch.ones(1, 1, size, size)
    mask[..., top:top + high, left:left + wide] = 0
    return _sometimes(cutouts, cutouts * mask.to(cutouts), random)


AUGMENTS: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    "affine": affine, "perspective": perspective, "jitter": jitter, "erasing": erasing,
}


def _sometimes(before: Tensor, after: Tensor, random: Generator) -> Tensor:
    """The augmented version for AUGMENT_CHANCE of the cutouts, the others as they were."""
    chosen = _uniform(random, len(before), 1, 1, 1) < AUGMENT_CHANCE
    return torch.where(chosen.to(before.device), after, before)


def _uniform(random: Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=random)


def _spread(random: Generator, *shape: int) -> Tensor:
    """Uniform in [-1, 1)."""
    return torch.rand(*shape, generator=random) * 2 - 1
