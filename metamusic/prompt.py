"""Prompts: targets with a pull, on the unit sphere that all embeddings share."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from metamusic.phrases import EVERYWHERE, Where


def spherical_distance(a: Tensor, b: Tensor) -> Tensor:
    """Half the squared great-circle distance between unit vectors: [..., D], [..., D] -> [...].

    2 asin(|a - b| / 2)^2, as VQGAN-CLIP (Crowson et al. 2022) uses it: 0 when equal, pi^2 / 2 when
    opposite. The argument of asin stays below 1, where its slope is still finite.
    """
    chord = (a - b).square().sum(-1).clamp_min(1e-12).sqrt()
    return 2 * (chord / 2).clamp(max=1 - 1e-6).asin().square()


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """The unit vector `share` of the way along the great circle from a to b, both [D] of unit length.

    Opposite vectors have no single great circle between them: then the chord's way is taken, turned
    aside by the smallest step that makes it one (Shoemake 1985 for the formula).
    """
    angle = torch.acos((a * b).sum(-1).clamp(-1, 1))
    if angle < 1e-4:
        return F.normalize(torch.lerp(a, b, share), dim=-1)
    if math.pi - angle < 1e-3:
        aside = torch.zeros_like(b)
        aside[b.abs().argmin()] = 1e-2
        return slerp(a, F.normalize(b + aside, dim=-1), share)
    mixed = torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b
    return F.normalize(mixed / torch.sin(angle), dim=-1)


@dataclass(frozen=True)
class Prompt:
    """A target [D], or several at once [P, D], with a weight; a negative weight pushes away.

    stop: the signed distance below which it no longer pulls. where: the part of the picture that it
    may change.
    """

    name: str
    embedding: Tensor
    weight: float = 1.0
    stop: float = -math.inf
    where: Where = EVERYWHERE

    def loss(self, image_embeds: Tensor) -> Tensor:
        """[K, N, D] unit vectors -> scalar: |weight| x mean signed distance, each cut off at `stop`.

        Several targets are compared with every cutout, as VQGAN-CLIP does for an image prompt.
        """
        targets = self.embedding.reshape(-1, self.embedding.shape[-1])  # [P, D]
        distance = spherical_distance(image_embeds.unsqueeze(-2), targets)  # [K, N, P]
        distance = distance * math.copysign(1, self.weight)
        if math.isfinite(self.stop):
            # Below the stop the value stays and the slope is gone.
            distance = torch.where(distance < self.stop, distance.detach(), distance)
        return abs(self.weight) * distance.mean()

    def centre(self) -> Tensor:
        """The one direction [D] that stands for all its targets."""
        return F.normalize(self.embedding.reshape(-1, self.embedding.shape[-1]).mean(0), dim=-1)
