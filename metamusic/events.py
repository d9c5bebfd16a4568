"""What `render()` tells whoever listens. No torch here: pages, worker and command line read these."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Started:
    """The plan stands and work begins; `width` and `height` are after rounding to the canvas's cell.

    cutouts_at_once: how many cutouts are judged together, and why; it belongs to the execution plan.
    """

    frames: int
    steps: int
    width: int
    height: int
    fps: int
    segments: int
    notes: tuple[str, ...] = ()
    cutouts_at_once: int = 0
    memory_reason: str = ""


@dataclass(frozen=True)
class Squeezed:
    """Memory ran out in mid-render; it goes on from the same step with fewer cutouts at a time."""

    cutouts_at_once: int
    note: str


@dataclass(frozen=True)
class Step:
    """One optimisation step is done: `step` of `steps` counts over the whole render, from 1."""

    step: int
    steps: int
    frame: int
    losses: dict[str, float]
    listening: str


@dataclass(frozen=True)
class Preview:
    """How the picture looks right now: uint8 [H, W, 3]."""

    pixels: np.ndarray
    frame: int


@dataclass(frozen=True)
class Frame:
    """A finished frame: uint8 [H, W, 3], song time = index / fps after the region's start."""

    index: int
    pixels: np.ndarray


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to go on from here; comes right after the last frame of a chunk.

    `state` holds tensors, numbers and nests of them only. `frame` is the next frame to paint,
    `step` the number of steps done.
    """

    state: dict[str, Any] = field(repr=False)
    frame: int
    step: int


@dataclass(frozen=True)
class Finished:
    """The last picture, uint8 [H, W, 3], and how well it fits what was asked (cosines, -1..1)."""

    pixels: np.ndarray
    scores: dict[str, float]


Event = Started | Squeezed | Step | Preview | Frame | Checkpoint | Finished
