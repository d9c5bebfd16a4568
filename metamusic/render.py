"""START HERE: how a song becomes a picture or a film, the whole loop on one page.

`render()` is a generator of events. It knows no file names, no progress bar, no database and no screen:
whoever runs it takes the events and does those things. Closing the generator cancels; failing raises.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from metamusic.canvas import CANVASES, Canvas
from metamusic.cutouts import make_cutouts
from metamusic.effort import coarse_steps, total_steps
from metamusic.errors import SettingsError
from metamusic.events import Checkpoint, Event, Finished, Frame, Preview, Started, Step
from metamusic.motion import broad, camera, enlarge, fit, share_per_frame, zoom
from metamusic.packs import Models
from metamusic.phrases import parse_prompts
from metamusic.prompt import Prompt
from metamusic.randomness import generator
from metamusic.scenery import Scenery
from metamusic.segments import Segment, frame_count, plan_segments
from metamusic.settings import RenderSettings
from metamusic.song import Song
from metamusic.start import random_start, resolve_init
from metamusic.targets import Targets, make_targets

STILL_CHECKPOINT = 20  # steps between two checkpoints of a still

OPTIMISERS: dict[str, Callable[..., Optimizer]] = {
    "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "radam": torch.optim.RAdam,
    "adagrad": torch.optim.Adagrad, "adamax": torch.optim.Adamax, "rmsprop": torch.optim.RMSprop,
}


def render(song: Song, settings: RenderSettings, models: Models, *, beats: Sequence[float] = (),
           resume: dict[str, Any] | None = None) -> Iterator[Event]:
    """Paint a song: a still is a film of one frame.

    `song` is the region to paint as decoded, `beats` are in seconds from its start, `resume` is the
    state of a Checkpoint of the same render. Refuses (SettingsError, PackError) before work starts.
    The same arguments give the same pixels on the same machine under the same execution plan.
    """
    job = prepare(song, settings, models, beats)
    painter = Painter(job)
    yield Started(job.frames, job.steps, job.width, job.height, job.fps, len(job.targets.segments), job.notes)
    if resume is None:
        painter.begin()
        yield Preview(painter.pixels(), 0)
    else:
        painter.load_state(resume)

    while painter.frame < job.frames:
        if painter.step_in_frame == 0 and painter.frame > 0:
            painter.move()
        while painter.step_in_frame < job.steps_of(painter.frame):
            losses = painter.step()
            yield Step(painter.steps_done, job.steps, painter.frame, losses, job.listening(painter.frame))
            if painter.frame == 0:
                yield Preview(painter.pixels(), 0)
            if job.still and painter.steps_done % STILL_CHECKPOINT == 0 and painter.steps_done < job.steps:
                yield Checkpoint(painter.state(), painter.frame, painter.steps_done)
        painter.finish_frame()
        yield Frame(painter.frame - 1, painter.pixels())
        if job.chunk_ends(painter.frame):
            yield Checkpoint(painter.state(), painter.frame, painter.steps_done)

    yield Finished(painter.pixels(), painter.scores())


@dataclass(frozen=True)
class Job:
    """A render as planned: everything that is known before the first step."""

    settings: RenderSettings
    models: Models
    targets: Targets
    canvas: Canvas
    init: str
    frames: int
    fps: int
    width: int
    height: int
    notes: tuple[str, ...]

    @property
    def still(self) -> bool:
        return self.settings.kind == "image"

    @property
    def steps(self) -> int:
        """Optimisation steps of the whole render."""
        return total_steps(self.settings, self.frames)

    @property
    def chunk_frames(self) -> int:
        """Frames of a chunk: fixed by the settings, whether or not anything interrupts the render."""
        return chunk_length(self.settings)

    @property
    def coarse_steps(self) -> int:
        """How many of the first frame's steps are taken at half size."""
        return coarse_steps(self.settings, self.width, self.height)

    def steps_of(self, frame: int) -> int:
        return self.settings.steps if frame == 0 else self.settings.steps_per_frame

    def chunk_ends(self, frames_done: int) -> bool:
        return not self.still and (frames_done % self.chunk_frames == 0 or frames_done == self.frames)

    def coarse_size(self) -> tuple[int, int]:
        cell = self.canvas.cell
        return self.height // 2 // cell * cell, self.width // 2 // cell * cell

    def listening(self, frame: int) -> str:
        """For the line under the growing picture: where in the song this frame is."""
        if self.still:
            return "the whole region"
        number = self.segment_of(frame)
        segment = self.targets.segments[number]
        clock = "{}:{:04.1f}".format(*divmod(self.settings.start + segment.first / self.fps, 60))
        return f"segment {number + 1} of {len(self.targets.segments)}, from {clock.replace('.0:', ':')}"

    def segment_of(self, frame: int) -> int:
        return next(s.index for s in self.targets.segments if s.first <= frame < s.last)


def chunk_length(settings: RenderSettings) -> int:
    """Frames per encoded chunk."""
    return max(1, round(settings.chunk * settings.fps))


def prepare(song: Song, settings: RenderSettings, models: Models, beats: Sequence[float] = ()) -> Job:
    """Check everything that can be refused, then listen and plan."""
    if settings.seed is None:
        raise SettingsError("The seed is empty.", "Give a number, or submit through metamusic.studio.")
    canvas = CANVASES[settings.canvas](models, settings.offset_levels)
    width, height, notes = _rounded_size(settings, canvas)
    still = settings.kind == "image"
    frames = 1 if still else frame_count(song.duration_s, settings.fps)
    segments = [Segment(0, 0, 1)] if still else plan_segments(
        beats, frames, settings.fps, settings.beats_per_segment, settings.longest_segment)
    targets = make_targets(song, settings, models, segments)
    notes += [f"Only the beginning of the text {spec.text[:40]!r} is read: it is too long for this pack."
              for spec in parse_prompts(settings.text) if not models.perceptor.reads_whole(spec.text)]
    if all(audio is None for audio in targets.audio) and not targets.texts:
        notes.append("There is nothing to hear and no text: the seed alone leads.")
    return Job(settings, models, targets, canvas, resolve_init(settings, models), frames,
               settings.fps, width, height, (*song.notes, *notes))


class Painter:
    """The canvas, its optimiser and the picture on show: what changes while a render runs."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.canvas = job.canvas
        self.scenery = Scenery(job.models, job.settings, job.targets, job.height, job.width) \
            if job.init == "nearest" else None
        self.frame = 0
        self.step_in_frame = 0
        self.steps_done = 0
        self._optimiser: Optimizer | None = None
        self._shown: Tensor = torch.empty(0)  # the picture as shown, [1, 3, H, W]

    # -- the verbs of the loop -------------------------------------------------------------------

    def begin(self) -> None:
        """Lay the first picture on the canvas, at half size if there is a coarse stage."""
        height, width = self.job.coarse_size() if self.job.coarse_steps else (self.job.height, self.job.width)
        if self.scenery:
            self.canvas.paint(fit(self.scenery.at(0), height, width))
        else:
            smooth = self.job.init == "smooth"
            self.canvas.lay(random_start(self.canvas, smooth, height, width, self.job.settings))
        self._renew_optimiser()
        self._show()

    @torch.no_grad()
    def move(self) -> None:
        """Between two frames: the camera moves, and what was painted moves with it.

        In front of scenery only the broad light and colour of the painting is carried on, fading by
        `scene_pull`; the scene itself stays sharp. Without scenery the whole picture is carried on.
        """
        settings, fps = self.job.settings, self.job.fps
        painted = self.canvas.decode()
        if self.scenery:
            growth = self.scenery.step(self.frame)
            change = zoom(broad(painted - self.scenery.at(self.frame - 1)), growth)
            kept = 1 - share_per_frame(settings.scene_pull, fps)
            painted = self.scenery.at(self.frame) + kept * change
        else:
            growth = camera(self.frame / fps, settings.zoom) / camera((self.frame - 1) / fps, settings.zoom)
            painted = zoom(painted, growth)
        self._shown = zoom(self._shown, growth).clamp(0, 1)
        self.canvas.paint(painted.clamp(0, 1))

    def step(self) -> dict[str, float]:
        """One optimisation step; gives the losses that it saw."""
        if self.frame == 0 and self.step_in_frame == self.job.coarse_steps > 0:
            self._go_to_full_size()
        image = self.canvas.decode()
        losses = self._losses(image, self.job.targets.at(self.frame))
        total = torch.stack(list(losses.values())).sum()
        assert self._optimiser is not None
        self._optimiser.zero_grad(set_to_none=True)
        if total.requires_grad:
            total.backward()
            self._optimiser.step()
            self.canvas.project_()
        self._shown_if_first(image)
        self.step_in_frame += 1
        self.steps_done += 1
        return {**{name: loss.item() for name, loss in losses.items()}, "total": total.item()}

    def finish_frame(self) -> None:
        """Show the picture after its last step, blended with what was shown before."""
        if self.frame == 0 and self.job.coarse_steps >= self.job.settings.steps:
            self._go_to_full_size()  # every step was a coarse one
        before, blend = self._shown, self.job.settings.smoothing
        self._show()
        if self.frame > 0 and blend > 0:
            self._shown = torch.lerp(self._shown, before, blend)
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
        """Mean cosine between the finished picture and each prompt, over cutouts of their own."""
        random = generator(self._seed, "scores")
        size = self.job.models.perceptor.input_size
        embeds = self.job.models.perceptor.embed_images(
            make_cutouts(self._shown, size, self.job.settings, random))
        prompts = self.job.targets.at(self.job.frames - 1)
        return {prompt.name: float((embeds @ prompt.embedding).mean()) for prompt in prompts}

    # -- checkpoint ------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What a Checkpoint carries."""
        assert self._optimiser is not None
        return {"frame": self.frame, "step_in_frame": self.step_in_frame, "steps_done": self.steps_done,
                "canvas": self.canvas.state(), "optimiser": copy.deepcopy(self._optimiser.state_dict()),
                "shown": self._shown.clone()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Stand exactly where `state` was taken."""
        self.frame, self.step_in_frame = int(state["frame"]), int(state["step_in_frame"])
        self.steps_done = int(state["steps_done"])
        self.canvas.load_state(state["canvas"])
        self._renew_optimiser()
        assert self._optimiser is not None
        self._optimiser.load_state_dict(state["optimiser"])
        self._shown = state["shown"].to(self.canvas.device)

    # -- the parts -------------------------------------------------------------------------------

    @property
    def _seed(self) -> int:
        assert self.job.settings.seed is not None
        return self.job.settings.seed

    def _losses(self, image: Tensor, prompts: list[Prompt]) -> dict[str, Tensor]:
        settings, perceptor = self.job.settings, self.job.models.perceptor
        losses: dict[str, Tensor] = {}
        if prompts:
            random = generator(self._seed, "cutouts", self.frame, self.step_in_frame)
            cutouts = make_cutouts(image, perceptor.input_size, settings, random)
            embeds = perceptor.embed_images(cutouts)  # [K, N, D]
            losses |= {prompt.name: prompt.loss(embeds) for prompt in prompts}
        losses["variation"] = settings.total_variation * total_variation(image)
        losses["pull"] = settings.init_pull * self.canvas.pull()
        return losses

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
        self._renew_optimiser()

    def _renew_optimiser(self) -> None:
        settings = self.job.settings
        rate = settings.learning_rate * 2 / (1 + settings.offset_levels)  # the levels' moves add up
        self._optimiser = OPTIMISERS[settings.optimiser](self.canvas.parameters(), lr=rate)

    @torch.no_grad()
    def _show(self) -> None:
        self._shown = self.canvas.decode().detach()

    def _shown_if_first(self, image: Tensor) -> None:
        """A still, and a film's first frame, are shown while they grow."""
        if self.frame == 0:
            self._shown = image.detach()


def total_variation(image: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels of [1, 3, H, W], both directions added."""
    across = (image[..., 1:] - image[..., :-1]).abs().mean()
    down = (image[..., 1:, :] - image[..., :-1, :]).abs().mean()
    return across + down


def _rounded_size(settings: RenderSettings, canvas: Canvas) -> tuple[int, int, list[str]]:
    """Width and height rounded down to the canvas's cell, with a note if that changed them."""
    cell = canvas.cell
    width, height = settings.width // cell * cell, settings.height // cell * cell
    if (width, height) == (settings.width, settings.height):
        return width, height, []
    return width, height, [f"{settings.width} x {settings.height} was rounded down to {width} x {height}: "
                           f"this canvas is painted in cells of {cell} pixels."]
