"""What the row of a running render tells: how far it is, how long it still takes, how the loss fell."""

import time
from typing import Any

from metamusic.effort import effort
from metamusic.events import Event, Frame, Started, Step
from metamusic.settings import RenderSettings

MOST_LOSSES = 300  # points of the curve; a longer one is thinned to every second


class Progress:
    """Listens to events; `values` are as the store keeps them."""

    def __init__(self, settings: RenderSettings, past: dict[str, Any] | None) -> None:
        self.values: dict[str, Any] = {
            "step": 0, "steps": 0, "frame": 0, "frames": 0, "eta_s": None, "started": False, "losses": [],
            "listening": "", **(past or {})}
        self._settings = settings
        self._losses: list[list[float]] = [list(point) for point in self.values["losses"]]
        self._stride = self._losses[1][0] - self._losses[0][0] if len(self._losses) > 1 else 1
        self._began_at: tuple[float, float] | None = None  # moment, effort done before

    def take(self, event: Event) -> None:
        """Note what an event tells."""
        if isinstance(event, Started):
            self.values |= {"started": True, "frames": event.frames, "steps": event.steps}
        elif isinstance(event, Step):
            self._take_step(event)
        elif isinstance(event, Frame):
            self.values |= {"frame": event.index + 1}

    def _take_step(self, event: Step) -> None:
        now = time.monotonic()
        if self._began_at is None:  # the first step warms up: it does not count
            self._began_at = now, self._effort(event.step)
            self._losses = [point for point in self._losses if point[0] < event.step]
        self._add_loss(event.step, event.losses.get("total", 0.0))
        self.values |= {"step": event.step, "steps": event.steps, "listening": event.listening,
                        "frame": event.frame, "eta_s": self._time_left(event.step, now),
                        "losses": self._losses.copy()}

    def _add_loss(self, step: int, loss: float) -> None:
        if self._losses and step - self._losses[-1][0] < self._stride:
            return
        self._losses.append([step, round(loss, 5)])
        if len(self._losses) > MOST_LOSSES:
            self._losses = self._losses[::2]
            self._stride *= 2

    def _time_left(self, step: int, now: float) -> float | None:
        assert self._began_at is not None
        began, before = self._began_at
        done = self._effort(step) - before
        if done <= 0:
            return None
        left = self._effort(self.values["steps"]) - self._effort(step)
        return round((now - began) / done * left, 1)

    def _effort(self, steps: int) -> float:
        return effort(self._settings, max(1, self.values["frames"]), steps)
