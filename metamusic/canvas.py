"""Canvases: what is painted. A canvas is a base plus offsets at several resolutions.

Moving coarse grids first paints large forms before small ones; the offsets are what the optimiser
moves, the base is what was painted on (`paint`). VQGAN and raw pixels differ only in what lies between
this latent and the picture.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from metamusic.vqgan import VQGAN, clamp_with_grad


class Canvas(ABC):
    """Base class: a latent [1, D, h, w] = base + offsets of 1, 1/2, 1/4 ... of its resolution."""

    cell: int  # pixels per latent cell, in both directions
    channels: int  # D
    spread: float  # typical size of a latent value: the unit of `pull`

    def __init__(self, levels: int, device: torch.device | str = "cpu") -> None:
        self.levels = levels
        self.device = torch.device(device)
        self._base = torch.empty(0)
        self._first = torch.empty(0)  # the latent of the very first picture
        self._offsets: list[Tensor] = []

    # -- what a canvas must know -----------------------------------------------------------------

    @abstractmethod
    def encode(self, image: Tensor) -> Tensor:
        """[1, 3, H, W] in [0, 1] -> latent [1, D, h, w]."""

    @abstractmethod
    def show(self, latent: Tensor) -> Tensor:
        """Latent [1, D, h, w] -> picture [1, 3, H, W] in [0, 1], differentiable."""

    @abstractmethod
    def random_latent(self, high: int, wide: int, random: Generator) -> Tensor:
        """A latent [1, D, high, wide] whose cells know nothing of each other."""

    @abstractmethod
    def bounds(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest sensible latent values, each [1, D, 1, 1]."""

    # -- what follows from it --------------------------------------------------------------------

    def parameters(self) -> list[Tensor]:
        """What the optimiser moves."""
        return self._offsets

    def latent(self) -> Tensor:
        """Base and offsets together, [1, D, h, w]."""
        size = self._base.shape[-2:]
        total = self._base
        for offset in self._offsets:
            same = offset.shape[-2:] == size
            total = total + (offset if same else F.interpolate(offset, size, mode="bilinear"))
        return total

    def decode(self) -> Tensor:
        """The picture as it stands, [1, 3, H, W] in [0, 1], differentiable in `parameters()`."""
        return self.show(self.latent())

    @torch.no_grad()
    def paint(self, image: Tensor) -> None:
        """Make this picture [1, 3, H, W] the base and clear the offsets."""
        self.lay(self.encode(image))

    @torch.no_grad()
    def lay(self, latent: Tensor) -> None:
        """Make this latent the base. Of the same size, the offsets are cleared in place, so an
        optimiser keeps its momentum from frame to frame; of another, they are new parameters."""
        same = latent.shape == self._base.shape
        self._base = latent.detach().contiguous()
        if same:
            for offset in self._offsets:
                offset.zero_()
            return
        high, wide = latent.shape[-2:]
        self._offsets = [
            torch.zeros(1, self.channels, max(1, high >> level), max(1, wide >> level),
                        device=self.device, requires_grad=True)
            for level in range(self.levels)
        ]

    @torch.no_grad()
    def project_(self) -> None:
        """Clamp the latent to its bounds; what is cut off is taken from the finest offsets."""
        low, high = self.bounds()
        latent = self.latent()
        self._offsets[0].add_(torch.minimum(torch.maximum(latent, low), high) - latent)

    def pull(self) -> Tensor:
        """How far the latent has moved from its base: mean square in units of the spread."""
        return (self.latent() - self._base).square().mean() / self.spread**2

    def remember(self) -> None:
        """What is on the canvas now is the first picture, which `drift` measures from."""
        self._first = self._base.clone()

    def drift(self) -> Tensor:
        """How far the latent has moved from the first picture: mean square in units of the spread.

        VQGAN-CLIP pulls to zero instead; that the pull should be to where the picture began is
        vqgan-clip-generator's correction.
        """
        first = self._first
        if first.shape != self._base.shape:  # remembered in the coarse stage
            first = F.interpolate(first, self._base.shape[-2:], mode="bilinear")
        return (self.latent() - first).square().mean() / self.spread**2

    def state(self) -> dict[str, Any]:
        """All of it as plain tensors, for a checkpoint."""
        return {"base": self._base.clone(), "first": self._first.clone(),
                "offsets": [offset.detach().clone() for offset in self._offsets]}

    @torch.no_grad()
    def load_state(self, state: dict[str, Any]) -> None:
        """The reverse of `state`."""
        self.lay(state["base"].to(self.device))
        self._first = state["first"].to(self.device)
        for offset, saved in zip(self._offsets, state["offsets"], strict=True):
            offset.copy_(saved)


class VQGANCanvas(Canvas):
    """The latent of a VQGAN, quantised on its way to the decoder (Esser et al. 2021)."""

    def __init__(self, vqgan: VQGAN, levels: int, device: torch.device | str = "cpu") -> None:
        super().__init__(levels, device)
        self.vqgan = vqgan
        self.cell = vqgan.cell
        self.channels = vqgan.embed_dim
        self.spread = float(vqgan.codebook.std())

    def encode(self, image: Tensor) -> Tensor:
        return self.vqgan.encode(image)

    def show(self, latent: Tensor) -> Tensor:
        return self.vqgan.decode(self.vqgan.quantise(latent))

    def random_latent(self, high: int, wide: int, random: Generator) -> Tensor:
        codes = torch.randint(len(self.vqgan.codebook), (1, high, wide), generator=random)
        return self.vqgan.lookup(codes.to(self.device))

    def bounds(self) -> tuple[Tensor, Tensor]:
        return self.vqgan.low, self.vqgan.high


class PixelCanvas(Canvas):
    """The pixels themselves: no weights needed. Two-pixel cells keep every size fit for H.264."""

    cell = 2
    channels = 12  # 2 x 2 pixels of 3 colours
    spread = 0.25

    def encode(self, image: Tensor) -> Tensor:
        return F.pixel_unshuffle(image, 2)

    def show(self, latent: Tensor) -> Tensor:
        return clamp_with_grad(F.pixel_shuffle(latent, 2), 0.0, 1.0)

    def random_latent(self, high: int, wide: int, random: Generator) -> Tensor:
        return torch.rand(1, self.channels, high, wide, generator=random).to(self.device)

    def bounds(self) -> tuple[Tensor, Tensor]:
        edge = torch.zeros(1, self.channels, 1, 1, device=self.device)
        return edge, edge + 1


CANVASES: dict[str, Callable[..., Canvas]] = {
    "vqgan": lambda models, levels: VQGANCanvas(models.vqgan, levels, models.device),
    "pixels": lambda models, levels: PixelCanvas(levels, models.device),
}
