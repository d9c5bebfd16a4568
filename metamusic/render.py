"""START HERE: how a song becomes a picture or a film, the whole loop on one page.

`render()` is a generator of events. It knows no file names, no progress bar, no database and no screen:
whoever runs it takes the events and does those things. Closing the generator cancels; failing raises.

What is known before the first step stands in `job` (prepare); what changes while it runs in `painter`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from metamusic.events import Checkpoint, Event, Finished, Frame, Preview, Started, Step
from metamusic.job import prepare
from metamusic.material import Material
from metamusic.packs import Models
from metamusic.painter import Painter
from metamusic.plan import ExecutionPlan
from metamusic.settings import RenderSettings
from metamusic.song import Song

STILL_CHECKPOINT = 20  # steps between two checkpoints of a still


def render(song: Song, settings: RenderSettings, models: Models, *, beats: Sequence[float] = (),
           material: Material | None = None, plan: ExecutionPlan | None = None,
           resume: dict[str, Any] | None = None) -> Iterator[Event]:
    """Paint a song: a still is a film of one frame.

    `song` is the region to paint as decoded, `beats` are in seconds from its start, `material` holds the
    pictures that the settings name, `plan` how to compute (float32 and as many cutouts at a time as fit,
    unless given), `resume` is the state of a Checkpoint of the same render. Refuses (SettingsError,
    PackError, PictureError) before work starts. The same arguments give the same pixels on the same machine
    under the same execution plan.
    """
    job = prepare(song, settings, models, beats, material or Material(), plan)
    painter = Painter(job)
    yield Started(job.frames, job.steps, job.width, job.height, job.fps, len(job.segments), job.notes,
                  job.cutouts_at_once, job.memory_reason)
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
            yield from painter.squeezed()
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
