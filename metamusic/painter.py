"""The painter: the canvas, its optimiser and the picture on show, that is, what changes while a render runs."""

import copy
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from metamusic.cutouts import make_cutouts
from metamusic.events import Squeezed
from metamusic.job import Job
from metamusic.judges import Judge
from metamusic.looking import look
from metamusic.memory import is_out_of_memory
from metamusic.motion import broad, camera, enlarge, fit, share_per_frame, zoom
from metamusic.optimisers import Schedule, base_rate, make_optimiser, make_schedule
from metamusic.phrases import EVERYWHERE, Where
from metamusic.plan import narrow
from metamusic.prompt import Prompt
from metamusic.randomness import generator
from metamusic.scenery import Scenery
from metamusic.settings import RenderSettings
from metamusic.start import drawn_start, random_start
from metamusic.targets import Moment, as_image, picture_targets

TARGET_GAIN = 4.0  # the published weight of the target picture's squared error at rate 1 (MetaMusic 2023)
SEARCH_AGAIN = 10  # steps of a still after which masks made of words are searched for anew


class Painter:
    """Paints a job step by step; `state` and `load_state` carry everything that a checkpoint must keep."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.canvas = job.canvas
        self.scenery = Scenery(job.models, job.settings, job.segments, job.wishes(), job.masks, job.travel,
                               job.height, job.width) if job.init == "nearest" else None
        self.frame = 0
        self.step_in_frame = 0
        self.steps_done = 0
        self.cutouts_at_once = job.cutouts_at_once
        self._squeezed = False
        self._shown = torch.empty(0)  # the picture as shown, [1, 3, H, W]
        self._average: Tensor | None = None  # of the latents of the frames so far
        self._before: list[Tensor] = []  # how each judge saw the last picture of the segment before
        self._before_left = 0  # steps for which that still acts
        self._fitted: Tensor | None = None  # the target picture
        self._optimiser: Optimizer
        self._schedule: Schedule
        self._scaler = torch.amp.GradScaler(self.canvas.device.type, enabled=job.precision == "float16")

    # -- the verbs of the loop -------------------------------------------------------------------

    def begin(self) -> None:
        """Lay the first picture on the canvas, at half size if there is a coarse stage."""
        height, width = self.job.coarse_size() if self.job.coarse_steps else (self.job.height, self.job.width)
        if self.job.init in ("random", "smooth"):
            smooth = self.job.init == "smooth"
            self.canvas.lay(random_start(self.canvas, smooth, height, width, self.job.settings))
        else:
            self.canvas.paint(fit(self._first_picture(height, width), height, width))
        self.canvas.remember()
        self._renew_optimiser()
        self._show()

    @torch.no_grad()
    def move(self) -> None:
        """Between two frames: the camera moves, and what was painted moves with it.

        In front of scenery only the broad light and colour of the painting is carried on, fading by
        `scene_pull`; the scene itself stays sharp. Without scenery the whole picture is carried on, and where
        the camera rests it is the latent itself: nothing is encoded that need not be.
        """
        now = self.job.settings_at(self.job.moment(self.frame))
        self._look_back(now)
        if self.scenery:
            painted = self.canvas.decode()
            growth = self.scenery.step(self.frame)
            change = zoom(broad(painted - self.scenery.at(self.frame - 1)), growth)
            kept = 1 - share_per_frame(now.scene_pull, self.job.fps)
            self.canvas.paint((self.scenery.at(self.frame) + kept * change).clamp(0, 1))
        else:
            growth = self._camera(self.frame) / self._camera(self.frame - 1)
            if growth == 1:
                self.canvas.lay(self.canvas.latent())
            else:
                self.canvas.paint(zoom(self.canvas.decode(), growth).clamp(0, 1))
        self._shown = zoom(self._shown, growth).clamp(0, 1)
        if self._average is not None and growth != 1:  # what was painted before moves along, too
            self._average = self.canvas.encode(zoom(self.canvas.show(self._average), growth).clamp(0, 1))

    def step(self) -> dict[str, float]:
        """One optimisation step; gives the losses that it saw."""
        if self.frame == 0 and self.step_in_frame == self.job.coarse_steps > 0:
            self._go_to_full_size()
        if self.step_in_frame == 0 or self.job.still and self.step_in_frame % SEARCH_AGAIN == 0:
            self.job.masks.forget()
        moment = self.job.moment(self.frame, self.step_in_frame)
        now = self.job.settings_at(moment)
        losses = self._slopes_within_memory(moment, now)
        self._schedule.set_rate(base_rate(now))
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self.canvas.project_()
        values = {name: loss.item() for name, loss in losses.items()}
        values["total"] = sum(values.values())
        self._schedule.step(values["total"])
        self._before_left = max(0, self._before_left - 1)
        self.step_in_frame += 1
        self.steps_done += 1
        return values

    def squeezed(self) -> Iterator[Squeezed]:
        """Tells, once, that memory ran short and what was done about it."""
        if self._squeezed:
            self._squeezed = False
            yield Squeezed(self.cutouts_at_once, f"Memory ran short at step {self.steps_done}: from there on "
                           f"{self.cutouts_at_once} cutouts were judged at a time.")

    def finish_frame(self) -> None:
        """Show the picture after its last step, blended with what was shown before."""
        if self.frame == 0 and self.job.coarse_steps >= self.job.settings.steps:
            self._go_to_full_size()  # every step was a coarse one
        now = self.job.settings_at(self.job.moment(self.frame))
        before = self._shown
        self._show(now.latent_smoothing)
        if self.frame > 0 and now.smoothing > 0:
            self._shown = torch.lerp(self._shown, before, now.smoothing)
        self.frame += 1
        self.step_in_frame = 0

    def pixels(self) -> Any:
        """The picture on show as uint8 [H, W, 3], always at the full size of the render."""
        image = self._shown
        if tuple(image.shape[-2:]) != (self.job.height, self.job.width):
            image = fit(image, self.job.height, self.job.width)
        return (image[0].permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()

    @torch.no_grad()
    def scores(self) -> dict[str, float]:
        """Mean cosine between the finished picture and each prompt of its last moment, over cutouts of its own."""
        moment = self.job.moment(self.job.frames - 1, self.job.settings.steps if self.job.still else 0)
        found: dict[str, list[float]] = defaultdict(list)
        for judge, targets in self.job.jury:
            cutouts = make_cutouts(self._shown, judge.perceptor.input_size, self.job.settings,
                                   generator(self.job.seed, "scores"))
            embeds = judge.look(cutouts)
            for prompt in targets.at(moment, self.job.settings_at(moment)):
                found[prompt.name + judge.suffix].append(float((embeds @ prompt.centre()).mean()))
        return {name: sum(values) / len(values) for name, values in found.items()}

    # -- checkpoint ------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What a Checkpoint carries."""
        return {"frame": self.frame, "step_in_frame": self.step_in_frame, "steps_done": self.steps_done,
                "canvas": self.canvas.state(), "optimiser": copy.deepcopy(self._optimiser.state_dict()),
                "schedule": copy.deepcopy(self._schedule.state_dict()),
                "scaler": self._scaler.state_dict(), "shown": self._shown.clone(),
                "average": None if self._average is None else self._average.clone(),
                "before": [embeds.clone() for embeds in self._before], "before_left": self._before_left,
                "cutouts_at_once": self.cutouts_at_once}

    def load_state(self, state: dict[str, Any]) -> None:
        """Stand exactly where `state` was taken."""
        device = self.canvas.device
        self.frame, self.step_in_frame = int(state["frame"]), int(state["step_in_frame"])
        self.steps_done = int(state["steps_done"])
        self.canvas.load_state(state["canvas"])
        self._renew_optimiser()
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        if state["scaler"]:  # none was kept in another precision
            self._scaler.load_state_dict(state["scaler"])
        self._shown = state["shown"].to(device)
        self._average = None if state["average"] is None else state["average"].to(device)
        self._before = [embeds.to(device) for embeds in state["before"]]
        self._before_left = int(state["before_left"])
        self.cutouts_at_once = min(self.cutouts_at_once, int(state["cutouts_at_once"]))

    # -- the slope -------------------------------------------------------------------------------

    def _slopes_within_memory(self, moment: Moment, now: RenderSettings) -> dict[str, Tensor]:
        """The slopes of a step; where memory runs out, once more with half as many cutouts at a time."""
        while True:
            try:
                return self._slopes(moment, now)
            except Exception as error:
                if not is_out_of_memory(error) or self.cutouts_at_once == 1:
                    raise
            # Outside of the handler: the error would hold the failed step's tensors.
            self.cutouts_at_once = max(1, self.cutouts_at_once // 2)
            self._squeezed = True
            if self.canvas.device.type == "cuda":
                torch.cuda.empty_cache()

    def _slopes(self, moment: Moment, now: RenderSettings) -> dict[str, Tensor]:
        """Losses by name, their slopes on the canvas's parameters (scaled, in float16).

        The slope is gathered on the picture first, place by place and judge by judge, and goes through the
        decoder once for each place that prompts are bound to.
        """
        scale = self._scaler.scale(torch.ones((), device=self.canvas.device))  # 1 unless in float16
        self._optimiser.zero_grad(set_to_none=True)
        latent = self.canvas.latent()
        with self._narrow():
            image = self.canvas.show(latent).float()
        losses: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.canvas.device))
        for where, wishes in self._by_place(moment, now).items():
            seen = image.detach().requires_grad_()
            for judge, prompts in wishes:
                for name, loss in look(seen, judge, prompts, now, self._random(), self.cutouts_at_once, scale,
                                       self.job.precision).items():
                    losses[name] = losses[name] + loss
            if where == EVERYWHERE:
                losses |= self._backward(self._of_the_picture(seen, now), scale)
            self._to_the_canvas(seen, image, latent, where)
        losses |= self._backward(self._of_the_latent(now), scale)
        self._shown_if_first(image)
        return dict(losses)

    def _by_place(self, moment: Moment, now: RenderSettings) -> dict[Where, list[tuple[Judge, list[Prompt]]]]:
        """What every judge is asked to see, sorted by the part of the picture that it may change."""
        places: dict[Where, list[tuple[Judge, list[Prompt]]]] = defaultdict(list)
        places[EVERYWHERE] = []
        for number, (judge, targets) in enumerate(self.job.jury):
            prompts = [*targets.at(moment, now), *self._held_back(number, now)]
            for where in dict.fromkeys(prompt.where for prompt in prompts):
                places[where].append((judge, [prompt for prompt in prompts if prompt.where == where]))
        return places

    def _to_the_canvas(self, seen: Tensor, image: Tensor, latent: Tensor, where: Where) -> None:
        """Carry the slope on the picture back to the canvas's parameters, as far as the place's mask lets it.

        It is masked three times, because the decoder lets a little of every slope into every cell, a coarse
        offset reaches over many cells, and Adam steps as far after a small slope as after a large one.
        """
        slope, mask = seen.grad, self.job.masks.of(where, image.detach())
        assert slope is not None, "every judge and every loss leaves a slope"
        parameters = self.canvas.parameters()
        if mask is None:
            slopes = torch.autograd.grad(image, parameters, slope, retain_graph=True)
        else:
            (slope,) = torch.autograd.grad(image, latent, slope * mask, retain_graph=True)
            slopes = torch.autograd.grad(latent, parameters, slope * shrunk(mask, latent), retain_graph=True)
            slopes = tuple(slope * (shrunk(mask, slope) > 0.5) for slope in slopes)
        for parameter, slope in zip(parameters, slopes, strict=True):
            slope = slope.contiguous()  # the decoder's is laid out channels last
            parameter.grad = slope if parameter.grad is None else parameter.grad + slope

    def _random(self) -> torch.Generator:
        return generator(self.job.seed, "cutouts", self.frame, self.step_in_frame)

    def _of_the_picture(self, image: Tensor, now: RenderSettings) -> dict[str, Tensor]:
        """What is asked of the pixels themselves."""
        losses = {"variation": now.total_variation * total_variation(image)}
        if now.target:
            gain = TARGET_GAIN * now.target_weight
            losses["target"] = gain * F.mse_loss(image, self._target(*image.shape[-2:]))
        return losses

    def _of_the_latent(self, now: RenderSettings) -> dict[str, Tensor]:
        """What is asked of the latent."""
        losses = {"pull": now.init_pull * self.canvas.pull()}
        if now.init_weight:
            half_life = now.init_half_life
            left = 0.5 ** (self.steps_done / half_life) if half_life else 1.0
            losses["init"] = now.init_weight * left * self.canvas.drift()
        return losses

    @staticmethod
    def _backward(losses: dict[str, Tensor], scale: Tensor) -> dict[str, Tensor]:
        (scale * torch.stack(list(losses.values())).sum()).backward()
        return {name: loss.detach() for name, loss in losses.items()}

    def _narrow(self) -> torch.autocast:
        return narrow(self.canvas.device.type, self.job.precision)

    # -- pictures of others ----------------------------------------------------------------------

    def _target(self, height: int, width: int) -> Tensor:
        """The target picture, fitted to the canvas as it is now; kept, for every step asks for it."""
        if self._fitted is None or self._fitted.shape[-2:] != (height, width):
            self._fitted = fit(self._picture(self.job.settings.target), height, width)
        return self._fitted

    def _picture(self, reference: str) -> Tensor:
        return as_image(self.job.material.get(reference), self.job.settings, self.job.jury[0][0])

    def _first_picture(self, height: int, width: int) -> Tensor:
        """What the canvas is laid with, where it is a picture."""
        if self.scenery:
            return self.scenery.at(0)
        if self.job.init == "image":
            return self._picture(self.job.settings.init_image)
        return drawn_start(self.canvas, self.job.init, height, width, self.job.settings)

    def _look_back(self, now: RenderSettings) -> None:
        """At a segment's first frame, see the last picture of the one before as a target for some steps."""
        if now.previous_weight == 0 or self.job.segment_of(self.frame).first != self.frame:
            return
        random = generator(self.job.seed, "previous", self.frame)
        self._before = [picture_targets(self._shown, self.job.settings, judge, random) for judge, _ in self.job.jury]
        self._before_left = self.job.settings.previous_steps

    def _held_back(self, number: int, now: RenderSettings) -> list[Prompt]:
        if self._before_left == 0 or now.previous_weight == 0:
            return []
        return [Prompt("previous", self._before[number], now.previous_weight)]

    # -- the parts -------------------------------------------------------------------------------

    def _camera(self, frame: int) -> float:
        return camera(self.job.travel[frame], self.job.settings.zoom)

    @torch.no_grad()
    def _go_to_full_size(self) -> None:
        """From the coarse stage to the full size.

        In front of scenery, the change that was painted at half size is made on the full-size scene,
        which keeps its fine structure; otherwise the small picture is enlarged.
        """
        height, width = self.job.height, self.job.width
        painted = self.canvas.decode()
        if self.scenery:
            scene = self.scenery.at(0)
            before = self.canvas.show(self.canvas.encode(fit(scene, *self.job.coarse_size())))
            painted = scene + enlarge(painted - before, height, width)
        else:
            painted = enlarge(painted, height, width)
        self.canvas.paint(painted.clamp(0, 1))
        self._optimiser = make_optimiser(self.job.settings, self.canvas.parameters())
        self._schedule.attach(self._optimiser)

    def _renew_optimiser(self) -> None:
        self._optimiser = make_optimiser(self.job.settings, self.canvas.parameters())
        self._schedule = make_schedule(self.job.settings, self._optimiser, self.job.steps, done=self.steps_done)

    @torch.no_grad()
    def _show(self, smoothing: float = 0.0) -> None:
        """Decode what is on the canvas; with `smoothing`, the moving average of the frames' latents."""
        latent = self.canvas.latent()
        if smoothing > 0:
            old = self._average
            latent = torch.lerp(latent, old, smoothing) if old is not None and old.shape == latent.shape else latent
            self._average = latent.clone()
        with self._narrow():
            self._shown = self.canvas.show(latent).float()

    def _shown_if_first(self, image: Tensor) -> None:
        """A still, and a film's first frame, are shown while they grow."""
        if self.frame == 0:
            self._shown = image.detach()


def shrunk(mask: Tensor, like: Tensor) -> Tensor:
    """A mask [1, 1, H, W] at the resolution of a latent or an offset [1, D, h, w]: the mean under each cell."""
    high, wide = like.shape[-2:]
    return F.adaptive_avg_pool2d(mask, (high, wide))


def total_variation(image: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels of [1, 3, H, W], both directions added."""
    across = (image[..., 1:] - image[..., :-1]).abs().mean()
    down = (image[..., 1:, :] - image[..., :-1, :]).abs().mean()
    return across + down
