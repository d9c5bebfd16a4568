"""Cutouts: how the judges look at the picture, [1, 3, H, W] -> [N, 3, S, S].

Every method is a function (image, size, settings, generator) -> cutouts, found in `CUTOUTS` by the
name that RenderSettings knows it by. All parameters are drawn from the generator that comes in, on the
CPU, also where kornia draws them; so every device sees the same looks.

`crops` is ours. The others are those of VQGAN-CLIP (Crowson 2021; nerdyrodent/VQGAN-CLIP), with its
constants: a crop or a pooling first, then augments in a fixed or a chosen order.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import kornia.augmentation as kornia
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from metamusic.settings import RenderSettings
from metamusic.vqgan import clamp_with_grad

SMALLEST_CROP = 0.35  # of the shorter side


def make_cutouts(image: Tensor, size: int, settings: RenderSettings, random: Generator) -> Tensor:
    """The cutouts of one step, [N, 3, S, S], with noise of a random strength on each.

    `image` is [1, 3, H, W], about in [0, 1], on any device; `original` alone has no noise.
    """
    cutouts = CUTOUTS[settings.cut_method](image, size, settings, random)
    if settings.cut_method == "original":
        return cutouts
    strength = _uniform(random, len(cutouts), 1, 1, 1) * settings.cut_noise
    noise = torch.randn(cutouts.shape, generator=random)
    return cutouts + (strength * noise).to(image)


# -- methods ------------------------------------------------------------------------------------------


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
    """The pooled whole, with the augments chosen in the settings."""
    return _augmented(_pooled(image, size, settings), (AUGMENTS[name] for name in settings.augments), random)


def pooled_fixed(image: Tensor, size: int, settings: RenderSettings, random: Generator) -> Tensor:
    """`updatedpooling`: the pooled whole, with the four augments of its time."""
    return _augmented(_pooled(image, size, settings), UPDATEDPOOLING, random)


def original_crops(image: Tensor, size: int, settings: RenderSettings, random: Generator) -> Tensor:
    """Square crops and nothing else, in [0, 1]."""
    return clamp_with_grad(_square_crops(image, size, settings, random), 0, 1)


def updated_crops(image: Tensor, size: int, settings: RenderSettings, random: Generator) -> Tensor:
    """Square crops with five gentle augments."""
    return _augmented(_square_crops(image, size, settings, random), UPDATED, random)


def nrupdated_crops(image: Tensor, size: int, settings: RenderSettings, random: Generator) -> Tensor:
    """Square crops with the augments chosen in the settings."""
    chosen = (NRUPDATED[name] for name in settings.augments)
    return _augmented(_square_crops(image, size, settings, random), chosen, random)


CUTOUTS: dict[str, Callable[[Tensor, int, RenderSettings, Generator], Tensor]] = {
    "crops": random_crops,
    "latest": pooled_latest,
    "original": original_crops,
    "updated": updated_crops,
    "nrupdated": nrupdated_crops,
    "updatedpooling": pooled_fixed,
}


def _pooled(image: Tensor, size: int, settings: RenderSettings) -> Tensor:
    """Mean of average and maximum over the whole picture, squashed to a square: once, seen N times."""
    pooled = (F.adaptive_avg_pool2d(image, size) + F.adaptive_max_pool2d(image, size)) / 2
    return pooled.expand(settings.cutouts, -1, -1, -1)


def _square_crops(image: Tensor, size: int, settings: RenderSettings, random: Generator) -> Tensor:
    """Crops with sides from min(shorter side, S) to the shorter side, resampled to [N, 3, S, S].

    Antialiased bicubic, where the published code had a Lanczos filter of its own before the bicubic one.
    """
    height, width = image.shape[-2:]
    smallest, largest = min(height, width, size), min(height, width)
    shares = _uniform(random, settings.cutouts) ** settings.cut_power
    places = _uniform(random, settings.cutouts, 2)
    crops = []
    for share, (down, right) in zip(shares.tolist(), places.tolist(), strict=True):
        side = int(share * (largest - smallest) + smallest)
        top, left = int(down * (height - side + 1)), int(right * (width - side + 1))
        crop = image[..., top:top + side, left:left + side]
        # In float32, since this filter has no half precision on the CPU.
        crops.append(F.interpolate(crop.float(), (size, size), mode="bicubic", antialias=True))
    return torch.cat(crops).to(image)


# -- augments: the constants as published -------------------------------------------------------------


@dataclass(frozen=True)
class Augmentation:
    """A distortion that a cutout undergoes by chance."""

    chance: float
    make: Callable[[int], nn.Module]  # side S of the cutouts -> what distorts every cutout it is given
    together: bool = False  # whether one draw decides for all cutouts of a step
    in_range: bool = False  # whether it is defined on [0, 1] only


def _jitter(brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0,
            hue: float = 0.0) -> Augmentation:
    # What kornia now calls ColorJiggle was its ColorJitter when these constants were published.
    return Augmentation(0.7, lambda size: kornia.ColorJiggle(brightness, contrast, saturation, hue), in_range=True)


def _affine(chance: float, degrees: float, shear: float | None, padding: str = "zeros") -> Augmentation:
    """Turn by up to `degrees`, shift by up to a tenth, shear by up to `shear` degrees."""
    return Augmentation(chance, lambda size: kornia.RandomAffine(
        degrees, translate=(0.1, 0.1), shear=shear, padding_mode=padding, p=1))


def _perspective(chance: float, distortion: float) -> Augmentation:
    """Pull each corner inwards by up to `distortion` of half the side."""
    return Augmentation(chance, lambda size: kornia.RandomPerspective(distortion, p=1))


def _sharpness(chance: float) -> Augmentation:
    """Blend with a blurred copy, which keeps up to 0.3 of the weight: in effect it softens."""
    return Augmentation(chance, lambda size: kornia.RandomSharpness(0.3, p=1), in_range=True)


# One black rectangle on all cutouts: 10 to 40 % of the area, sides 0.3 to 3.3.
_ERASING = Augmentation(0.7, lambda size: kornia.RandomErasing(
    (0.1, 0.4), (0.3, 1 / 0.3), same_on_batch=True, p=1), together=True)

AUGMENTS: dict[str, Augmentation] = {  # of `latest`
    "affine": _affine(0.7, degrees=15, shear=5),
    "perspective": _perspective(0.7, distortion=0.7),
    "jitter": _jitter(brightness=0.1, contrast=0.1, saturation=0.1, hue=0.1),
    "erasing": _ERASING,
    "sharpness": _sharpness(0.5),
    "noise": Augmentation(0.5, lambda size: kornia.RandomGaussianNoise(mean=0, std=1, p=1)),
    "rotation": Augmentation(0.7, lambda size: kornia.RandomRotation(15.0, p=1)),
    "elastic": Augmentation(0.7, lambda size: kornia.RandomElasticTransform(p=1)),
    "thin_plate": Augmentation(0.7, lambda size: kornia.RandomThinPlateSpline(
        scale=0.8, same_on_batch=True, p=1), together=True),
    # As published it cuts S x S out of S x S, which does nothing; here a mirrored tenth is laid around first.
    "crop": Augmentation(0.5, lambda size: kornia.RandomCrop(
        (size, size), padding=max(1, size // 10), padding_mode="reflect", p=1), together=True),
    "resized_crop": Augmentation(0.5, lambda size: kornia.RandomResizedCrop(
        (size, size), scale=(0.1, 1.0), ratio=(0.75, 1.333), cropping_mode="resample", p=1), together=True),
}

NRUPDATED = AUGMENTS | {
    "affine": _affine(0.7, degrees=30, shear=5),
    "perspective": _perspective(0.7, distortion=0.5),
}

UPDATED = (
    Augmentation(0.5, lambda size: kornia.RandomHorizontalFlip(p=1)),
    _jitter(saturation=0.01, hue=0.01),
    _sharpness(0.4),
    _affine(0.8, degrees=30, shear=None, padding="border"),
    _perspective(0.4, distortion=0.2),
)

UPDATEDPOOLING = (
    _affine(0.7, degrees=15, shear=None, padding="border"),
    _perspective(0.7, distortion=0.7),
    _jitter(saturation=0.1, hue=0.1),
    _ERASING,
)


def augment(cutouts: Tensor, augmentation: Augmentation, random: Generator) -> Tensor:
    """[N, 3, S, S] with those cutouts distorted that the draw has chosen, the others as they were."""
    count, size = len(cutouts), cutouts.shape[-1]
    chosen = _uniform(random, 1 if augmentation.together else count) < augmentation.chance
    # Only what is chosen goes through kornia, which would distort all and then throw some away.
    rows = chosen.expand(count).nonzero().flatten()
    if not len(rows):
        return cutouts
    rows = rows.to(cutouts.device)
    before = cutouts.index_select(0, rows)
    if augmentation.in_range:
        # The slope of HSV is not finite at pure grey and outside [0, 1]; and a plain clamp, as kornia
        # has it, would cut the gradient of what noise has carried outside.
        before = clamp_with_grad(before, 1e-4, 1 - 1e-4)
    with _lent_to_torch(random):
        after = augmentation.make(size)(before)
    return cutouts.index_copy(0, rows, after)


def _augmented(cutouts: Tensor, augmentations: Iterable[Augmentation], random: Generator) -> Tensor:
    for augmentation in augmentations:
        cutouts = augment(cutouts, augmentation, random)
    return cutouts


@contextmanager
def _lent_to_torch(random: Generator) -> Iterator[None]:
    """Inside, the process's CPU stream is that of `random`, which goes on afterwards; torch gets its own back.

    kornia draws from the global stream only.
    """
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(random.get_state())
        yield
        random.set_state(torch.get_rng_state())


def _uniform(random: Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=random)
