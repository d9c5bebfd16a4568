"""A render as planned: everything that is known before the first step, checked, heard and measured."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from torch import Tensor

from metamusic.canvas import CANVASES, Canvas
from metamusic.effort import coarse_steps
from metamusic.envelopes import Envelopes, loudness_of, make_envelopes
from metamusic.errors import SettingsError
from metamusic.judges import Judge, assemble
from metamusic.masks import Masks
from metamusic.material import Material, references
from metamusic.memory import cutouts_that_fit
from metamusic.motion import journey
from metamusic.packs import Models
from metamusic.phrases import EVERYWHERE, Where
from metamusic.plan import ExecutionPlan
from metamusic.segments import Segment, frame_count, plan_segments
from metamusic.settings import RenderSettings
from metamusic.song import Song
from metamusic.start import resolve_init
from metamusic.story import Story, changed_at
from metamusic.targets import Moment, Targets, make_targets, story_of, wants_music


@dataclass(frozen=True)
class Job:
    """What a painter needs to know. jury: each judge with its targets, the pack's own first if it has a say."""

    settings: RenderSettings
    models: Models
    material: Material
    canvas: Canvas
    masks: Masks
    jury: list[tuple[Judge, Targets]]
    segments: list[Segment]
    story: Story | None
    envelopes: Envelopes | None
    further_steps: list[int]  # per segment, for its loudness
    init: str
    frames: int
    fps: int
    seconds: float
    width: int
    height: int
    precision: str
    cutouts_at_once: int
    memory_reason: str
    notes: tuple[str, ...]

    @property
    def still(self) -> bool:
        return self.settings.kind == "image"

    @property
    def seed(self) -> int:
        assert self.settings.seed is not None, "a render's seed is drawn when it is submitted"
        return self.settings.seed

    # -- steps and frames ------------------------------------------------------------------------

    @cached_property
    def steps(self) -> int:
        """Optimisation steps of the whole render."""
        return sum(self.steps_of(frame) for frame in range(self.frames))

    def steps_of(self, frame: int) -> int:
        """Steps before this frame is shown: more of them where the music is loud, if that was asked for."""
        if frame == 0:
            return self.settings.steps
        return self.settings.steps_per_frame + self.further_steps[self.segment_of(frame).index]

    @property
    def coarse_steps(self) -> int:
        """How many of the first frame's steps are taken at half size."""
        return coarse_steps(self.settings, self.width, self.height)

    def coarse_size(self) -> tuple[int, int]:
        cell = self.canvas.cell
        return self.height // 2 // cell * cell, self.width // 2 // cell * cell

    def chunk_ends(self, frames_done: int) -> bool:
        """Whether a chunk of film is whole: borders are fixed by the settings, whatever interrupts the render."""
        length = chunk_length(self.settings)
        return not self.still and (frames_done % length == 0 or frames_done == self.frames)

    def segment_of(self, frame: int) -> Segment:
        return self.segments[bisect.bisect_right(self.segments, frame, key=lambda segment: segment.first) - 1]

    def listening(self, frame: int) -> str:
        """For the line under the growing picture: where in the song this frame is."""
        if self.still or self.settings.listen == "song":
            return "the whole region"
        segment = self.segment_of(frame)
        if self.settings.listen == "window":
            return f"around {_clock_of(self.settings.start + frame / self.fps)}"
        from_s = self.settings.start + segment.first / self.fps
        return f"segment {segment.index + 1} of {len(self.segments)}, from {_clock_of(from_s)}"

    # -- what holds at a moment ------------------------------------------------------------------

    def moment(self, frame: int, step: int = 0) -> Moment:
        """A point of the render. A still's steps run through the time of its region: so it hears a story out."""
        seconds = step / self.settings.steps * self.seconds if self.still else frame / self.fps
        return Moment(frame, step, seconds, self.envelopes.at(seconds) if self.envelopes else {})

    def settings_at(self, moment: Moment) -> RenderSettings:
        """The settings that hold at a moment: a story may change some."""
        if self.story is None:
            return self.settings
        changes = changed_at(self.story, self.settings.start + moment.seconds, self.settings, moment.sounds)
        return self.settings.model_copy(update=changes)

    @cached_property
    def travel(self) -> list[float]:
        """How far the camera has come at every frame."""
        if self.still:
            return [0.0]
        return journey([self.settings_at(self.moment(frame)).zoom for frame in range(self.frames)], self.fps)

    def wishes(self) -> list[dict[Where, Tensor | None]]:
        """What each segment asks for at its middle, place by place, in the space of the pack's own judge.

        [D], or None where nothing is asked for; the whole picture is always among the places.
        """
        judge, targets = self.jury[0]
        if judge.name:  # the pack's own judge has no say
            return [{EVERYWHERE: None} for _ in self.segments]
        moments = [self.moment((s.first + s.last) // 2) for s in self.segments]
        return [targets.wishes(moment, self.settings_at(moment)) for moment in moments]


def _clock_of(seconds: float) -> str:
    return "{:.0f}:{:04.1f}".format(*divmod(seconds, 60))


def chunk_length(settings: RenderSettings) -> int:
    """Frames per encoded chunk."""
    return max(1, round(settings.chunk * settings.fps))


def prepare(song: Song, settings: RenderSettings, models: Models, beats: Sequence[float] = (),
            material: Material | None = None, plan: ExecutionPlan | None = None) -> Job:
    """Check everything that can be refused, then listen, read, measure and plan."""
    if settings.seed is None:
        raise SettingsError("The seed is empty.", "Give a number, or submit through metamusic.studio.")
    material = material or Material()
    init = resolve_init(settings, models)
    canvas = CANVASES[settings.canvas](models, settings.offset_levels)
    width, height, notes = _rounded_size(settings, canvas)
    judges = assemble(models, settings, wants_music(settings))
    story = story_of(settings)
    for reference in references(settings):
        material.get(reference)
    frames, segments = _clock(song, settings, beats)
    jury = [(judge, make_targets(song, settings, judge, segments, material)) for judge in judges]
    masks = Masks(material, judges[0])
    for where in jury[0][1].places():
        masks.check(where)
    precision = _precision(settings, plan)
    at_once, reason = _cutouts_at_once(settings, plan, canvas, height, width, judges, precision)
    notes += _unread(jury[0][1], judges)
    if all(targets.empty() for _, targets in jury) and not settings.target:
        notes.append("There is nothing to hear, to read or to look at: the seed alone leads.")
    return Job(
        settings=settings, models=models, material=material, canvas=canvas, masks=masks, jury=jury, segments=segments,
        story=story, envelopes=make_envelopes(song.waveform, beats) if _has_formula(settings) else None,
        further_steps=_further_steps(song, settings, segments), init=init, frames=frames, fps=settings.fps,
        seconds=song.duration_s, width=width, height=height, precision=precision,
        cutouts_at_once=at_once, memory_reason=reason, notes=(*song.notes, *notes))


def _clock(song: Song, settings: RenderSettings, beats: Sequence[float]) -> tuple[int, list[Segment]]:
    """How many frames there are, and the segments they fall into."""
    if settings.kind == "image":
        return 1, [Segment(0, 0, 1)]
    frames = frame_count(song.duration_s, settings.fps)
    return frames, plan_segments(beats, frames, settings.fps, settings.beats_per_segment, settings.longest_segment)


def _further_steps(song: Song, settings: RenderSettings, segments: list[Segment]) -> list[int]:
    """Steps per frame that loudness adds in each segment (Music2Video lets loudness set the pace)."""
    if settings.loudness_steps == 0 or settings.kind == "image":
        return [0] * len(segments)
    spans = [(s.first / settings.fps, s.last / settings.fps) for s in segments]
    return [round(settings.loudness_steps * loudness) for loudness in loudness_of(song.waveform, spans)]


def _has_formula(settings: RenderSettings) -> bool:
    """Whether anything depends on how the music sounds at a moment."""
    return any("(" in text for text in (settings.text, settings.story, settings.image_prompts))


def _precision(settings: RenderSettings, plan: ExecutionPlan | None) -> str:
    """The plan's; without one what the settings name, or the one that is safe everywhere."""
    if plan is not None:
        return plan.precision
    return "float32" if settings.precision == "auto" else settings.precision


def _cutouts_at_once(settings: RenderSettings, plan: ExecutionPlan | None, canvas: Canvas, height: int, width: int,
                     judges: list[Judge], precision: str) -> tuple[int, str]:
    """As the settings say, as the render did that this one repeats, or as many as fit."""
    if settings.cutouts_at_once:
        return min(settings.cutouts, settings.cutouts_at_once), "as set"
    if plan is not None and plan.cutouts_at_once:
        return min(settings.cutouts, plan.cutouts_at_once), plan.memory_reason
    return cutouts_that_fit(settings.cutouts, canvas, height, width, judges, precision)


def _unread(targets: Targets, judges: list[Judge]) -> list[str]:
    """A note for each text that is too long for somebody who has to read it."""
    texts = [wish.spec.text for wish in (*targets.always, *targets.line_wishes, *chain(*targets.scenes))
             if wish.embedding.ndim == 1 and not wish.name.startswith("noise")]
    return [f"Only the beginning of the text {text[:40]!r} is read: it is too long for this pack."
            for text in dict.fromkeys(texts) if not all(judge.perceptor.reads_whole(text) for judge in judges)]


def _rounded_size(settings: RenderSettings, canvas: Canvas) -> tuple[int, int, list[str]]:
    """Width and height rounded down to the canvas's cell, with a note if that changed them."""
    cell = canvas.cell
    width, height = settings.width // cell * cell, settings.height // cell * cell
    if (width, height) == (settings.width, settings.height):
        return width, height, []
    return width, height, [f"{settings.width} x {settings.height} was rounded down to {width} x {height}: "
                           f"this canvas is painted in cells of {cell} pixels."]
