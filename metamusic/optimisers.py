"""Optimisers and the course of their step size.

Both are made from RenderSettings by name. What they keep between steps is plain tensors and numbers, so
a checkpoint of it can be read back with `weights_only=True`.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from metamusic.settings import RenderSettings

PLATEAU_FACTOR = 0.5  # the step size is halved ...
PLATEAU_PATIENCE = 10  # ... when for more than so many steps
PLATEAU_THRESHOLD = 1e-4  # the loss was nowhere lower than its lowest by more than this


# pytorch_optimizer is imported only when one of its two is asked for: it takes as long as torch itself
# (1.6 s where torch takes 1.9 s).
def _diffgrad(parameters: Iterable[Tensor], lr: float) -> Optimizer:
    """diffGrad (Dubey et al. 2020) with the constants of VQGAN-CLIP; its weight decay was of the coupled kind."""
    from pytorch_optimizer import DiffGrad
    return DiffGrad(parameters, lr=lr, eps=1e-9, weight_decay=1e-9, weight_decouple=False)


def _adamp(parameters: Iterable[Tensor], lr: float) -> Optimizer:
    """AdamP (Heo et al. 2021)."""
    from pytorch_optimizer import AdamP
    return AdamP(parameters, lr=lr)


OPTIMISERS: dict[str, Callable[..., Optimizer]] = {
    "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "radam": torch.optim.RAdam,
    "adagrad": torch.optim.Adagrad, "adamax": torch.optim.Adamax, "rmsprop": torch.optim.RMSprop,
    "diffgrad": _diffgrad, "adamp": _adamp,
}


def base_rate(settings: RenderSettings, learning_rate: float | None = None) -> float:
    """The step size on each level of offsets: the levels' moves add up, so more levels move less each.

    `learning_rate` stands in for that of the settings, for a story that changes it.
    """
    rate = settings.learning_rate if learning_rate is None else learning_rate
    return rate * 2 / (1 + settings.offset_levels)


def make_optimiser(settings: RenderSettings, parameters: Iterable[Tensor]) -> Optimizer:
    """The optimiser that the settings name, at the base rate."""
    return OPTIMISERS[settings.optimiser](parameters, lr=base_rate(settings))


# -- the course of the step size: progress in [0, 1] and the share left at the end -> share ------------------


def _constant(progress: float, final: float) -> float:
    return 1.0


def _linear(progress: float, final: float) -> float:
    return 1 + (final - 1) * progress


def _cosine(progress: float, final: float) -> float:
    return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2


def _exponential(progress: float, final: float) -> float:
    return final ** progress


SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "constant": _constant, "linear": _linear, "cosine": _cosine, "exponential": _exponential,
    "plateau": _constant,  # its fall hangs on the loss: Schedule multiplies it in
}


class Schedule:
    """The step size of an optimiser from the first step of a render to its last.

    rate = base * rise * share: it rises in `settings.warmup` steps (the first takes 1/warmup of it),
    then the share falls from 1 at the first step after that to `settings.final_rate` at the last. On a
    plateau it is halved each time the loss has not fallen for more than PLATEAU_PATIENCE steps, never
    below `final_rate`; where the targets change with the music a loss may never be as low again, so a
    film tends to that floor.

    Call `step(loss)` after each step of the optimiser. Whenever the base, the step or the optimiser
    changes, the rate is written into the optimiser at once.
    """

    def __init__(self, settings: RenderSettings, optimiser: Optimizer, steps: int, done: int = 0) -> None:
        self._shape = SCHEDULES[settings.schedule]
        self._warmup, self._final, self._steps = settings.warmup, settings.final_rate, steps
        self._optimiser, self._done, self._base = optimiser, done, base_rate(settings)
        # torch multiplies the rates of an optimiser, and the base would be lost among them; so the share that
        # a plateau leaves is the rate of an optimiser of its own, which moves nothing.
        self._share = SGD([torch.zeros(1)], lr=1.0)
        self._plateau = ReduceLROnPlateau(
            self._share, factor=PLATEAU_FACTOR, patience=PLATEAU_PATIENCE, threshold=PLATEAU_THRESHOLD,
            # Relative thresholds fail where negative weights make the loss negative.
            threshold_mode="abs", min_lr=settings.final_rate) if settings.schedule == "plateau" else None
        self._write()

    @property
    def rate(self) -> float:
        """The step size of the next step."""
        return self._base * self._rise() * self._shape(self._progress(), self._final) * self._plateau_share()

    def step(self, loss: float) -> None:
        """One step was taken, which saw this loss (any finite number)."""
        if self._plateau and self._done >= self._warmup:
            self._plateau.step(loss)
        self._done += 1
        self._write()

    def set_rate(self, base: float) -> None:
        """Change the base, a number as `base_rate` gives it; the course stays what it is."""
        self._base = base
        self._write()

    def attach(self, optimiser: Optimizer) -> None:
        """Go on with another optimiser from where the course stands, also that of a plateau."""
        self._optimiser = optimiser
        self._write()

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers; all that is not in the settings."""
        plateau = {"share": self._plateau_share(), **self._plateau.state_dict()} if self._plateau else {}
        return {"done": self._done, "base": self._base, "plateau": plateau}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Stand where `state` was taken, under the same settings and number of steps."""
        self._done, self._base = int(state["done"]), float(state["base"])
        if self._plateau:
            plateau = dict(state["plateau"])
            self._share.param_groups[0]["lr"] = plateau.pop("share")
            self._plateau.load_state_dict(plateau)
        self._write()

    def _rise(self) -> float:
        return min(1.0, (self._done + 1) / self._warmup) if self._warmup else 1.0

    def _progress(self) -> float:
        """How far between the first step after the rise and the last of all, [0, 1]."""
        span = self._steps - 1 - self._warmup
        return min(1.0, max(0.0, (self._done - self._warmup) / span)) if span > 0 else 0.0

    def _plateau_share(self) -> float:
        return float(self._share.param_groups[0]["lr"])

    def _write(self) -> None:
        for group in self._optimiser.param_groups:
            group["lr"] = self.rate


def make_schedule(settings: RenderSettings, optimiser: Optimizer, steps: int, done: int = 0) -> Schedule:
    """The course over `steps` steps of a render, of which `done` are taken.

    A plateau begun at `done` knows nothing of the losses before: `attach` keeps it over a change of optimiser.
    """
    return Schedule(settings, optimiser, steps, done)
