"""The first picture: nearest of the bank, random codes, a smooth random field, a picture of yours, noise or
a gradient."""

import torch
from torch import Tensor
from torch.nn import functional as F

from metamusic.canvas import Canvas
from metamusic.errors import PackError, SettingsError
from metamusic.motion import fit
from metamusic.packs import Models
from metamusic.randomness import generator
from metamusic.settings import RenderSettings

CHOICE = 10  # among how many near bank pictures the seed chooses
SMOOTH_CELLS = 5  # random cells across the smooth start


def resolve_init(settings: RenderSettings, models: Models) -> str:
    """The start that 'auto' stands for; PackError if `nearest` is asked of a pack without a bank."""
    if settings.canvas == "vqgan" and models.vqgan is None:
        raise PackError(f"Pack {settings.pack!r} has no VQGAN to paint with.",
                        "Choose the canvas pixels, or another pack.")
    if settings.init not in ("image", "auto") and settings.init_image:
        raise SettingsError(f"init_image names a picture to start from, but init is {settings.init}.",
                            "Choose init image, or leave init_image empty.")
    if settings.init == "nearest" and (models.bank is None or models.vqgan is None):
        raise PackError(f"Pack {settings.pack!r} has no bank of pictures to start from.",
                        "Choose init random or smooth.")
    if settings.init == "image" and not settings.init_image:
        raise SettingsError("The first picture is to be an image, but none is named.",
                            "Name one in init_image, or choose another init.")
    if settings.init != "auto":
        return settings.init
    if settings.init_image:
        return "image"
    return "nearest" if models.bank is not None and models.vqgan is not None else "random"


def bank_choice(wish: Tensor | None, settings: RenderSettings, models: Models) -> int:
    """Which bank picture to start from: near to the wish [D], and of the seed's taste.

    The seed gives every bank picture a rank of its own; of the nearest few the one with the best rank
    is taken. So a sound that returns finds its picture again, and another seed finds another.
    """
    assert models.bank is not None
    ranks = torch.rand(len(models.bank.embeds), generator=generator(_seed(settings), "bank"))
    if wish is None:  # silence without a text: the seed alone leads
        return int(ranks.argmax())
    near = models.bank.nearest(wish, CHOICE).cpu()
    return int(near[ranks[near].argmax()])


@torch.no_grad()
def bank_picture(index: int, models: Models, height: int, width: int) -> Tensor:
    """A bank picture fitted to [1, 3, height, width]."""
    assert models.bank is not None and models.vqgan is not None
    return fit(models.bank.picture(index, models.vqgan), height, width)


@torch.no_grad()
def random_start(canvas: Canvas, smooth: bool, height: int, width: int, settings: RenderSettings) -> Tensor:
    """A random latent for a picture of height x width; `smooth` draws few cells and blends them."""
    random = generator(_seed(settings), "start")
    high, wide = height // canvas.cell, width // canvas.cell
    if not smooth:
        return canvas.random_latent(high, wide, random)
    few = canvas.random_latent(SMOOTH_CELLS, SMOOTH_CELLS, random)
    return F.interpolate(few, (high, wide), mode="bicubic", align_corners=True)


@torch.no_grad()
def drawn_start(canvas: Canvas, init: str, height: int, width: int, settings: RenderSettings) -> Tensor:
    """Random pixels, or each colour as a ramp between two values, along or across: [1, 3, height, width].

    Both are VQGAN-CLIP's; the pixels are drawn for the whole picture, in rows
    and columns as they are seen.
    """
    random = generator(_seed(settings), "start")
    if init == "noise":
        return torch.rand(1, 3, height, width, generator=random).to(canvas.device)
    ramps = [torch.linspace(0, 1, width).expand(height, width),
             torch.linspace(0, 1, height)[:, None].expand(height, width)]
    colours = []
    for _ in range(3):
        begin, end = torch.rand(2, generator=random)
        along = ramps[int(torch.randint(2, (), generator=random))]
        colours.append(torch.lerp(begin.expand_as(along), end.expand_as(along), along))
    return torch.stack(colours)[None].to(canvas.device)


def _seed(settings: RenderSettings) -> int:
    assert settings.seed is not None, "a render's seed is drawn when it is submitted"
    return settings.seed
