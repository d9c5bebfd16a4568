"""One attempt at a render: from its newest checkpoint to its end, whatever that end is.

    done        files into the store, then the row, then the work folder goes
    cancelled   as done with what there is; the work folder stays, so that it can be continued
    stopped     the process wants to end: back into the queue, from the last checkpoint
    lost        another worker has it: nothing is written any more
    (raised)    failed, with a reason and a cure; the work folder stays
"""

import errno
import logging
import threading
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np

import metamusic
from db import RenderRow, Store, StoreProblem
from metamusic import studio
from metamusic.errors import MetaMusicError, SongError
from metamusic.events import Checkpoint, Event, Finished, Frame, Preview, Squeezed, Started
from metamusic.judges import judge_weights
from metamusic.memory import is_out_of_memory
from metamusic.packs import Models
from metamusic.plan import ExecutionPlan, apply_plan, choose_plan, plan_differences
from metamusic.render import render
from metamusic.song import Song, load_song
from metamusic.worker.checkpoints import Checkpoints, Resume
from metamusic.worker.models import models_of
from metamusic.worker.progress import Progress
from metamusic.worker.pulse import Pulse
from metamusic.worker.sinks import FilmSink, ImageSink, PreviewFile, Sink

Outcome = Literal["done", "cancelled", "stopped", "lost"]
log = logging.getLogger(__name__)


class Attempt:
    """Works on a render that this process has claimed. `run` returns when the render is out of its hands."""

    def __init__(self, store: Store, row: RenderRow, *, stop: threading.Event | None = None,
                 cancel: threading.Event | None = None,
                 on_event: Callable[[Event], None] | None = None) -> None:
        assert row.worker is not None
        self.store, self.row, self.worker = store, row, row.worker
        self.stop, self.cancel = stop or threading.Event(), cancel or threading.Event()
        self.on_event = on_event or (lambda event: None)
        self.previewed = False
        self.scores: dict[str, float] = {}

    def run(self) -> None:
        """Work until the end; every failure ends in the row."""
        with Pulse(self.store, self.row) as self.pulse:
            try:
                self._work()
            except (MetaMusicError, StoreProblem) as error:
                self._fail(error.message, error.cure)
            except Exception as error:  # a bug must not end the worker
                self._fail(*self._explain(error))

    def _work(self) -> None:
        self._prepare()
        try:
            self._end(self._paint())
        finally:
            self.sink.abort()

    # -- before ----------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """All that the engine needs, and the sink standing where the newest checkpoint left off."""
        self.settings = studio.settings_of(self.row)
        self.plan = choose_plan(self.row.plan, self.settings.precision)
        apply_plan(self.plan)
        judges = [name for name in judge_weights(self.settings) if name != self.settings.pack]
        self.models = models_of(self.settings.pack, self.plan.device, judges)
        self._note_differences(self.models)
        self.song = self._load_song()
        self.checkpoints = Checkpoints(self.store.files, self.row.id)
        folder = self.store.files.work_folder(self.row.id)
        self.sink: Sink = (ImageSink(folder) if self.settings.kind == "image"
                           else FilmSink(folder, self.settings, self.row.song.file))
        self.preview = PreviewFile(self.store.files.previews, self.row.id)
        self.resume = self._where_to_resume()
        self.progress = Progress(self.settings, self.row.progress if self.resume else None)
        self.pulse.tell(self.progress.values)

    def _load_song(self) -> Song:
        try:
            return load_song(self.row.song.file, self.settings.start, self.settings.duration,
                             title=self.row.song.title)
        except SongError as error:
            if self.row.song.file.is_file():
                raise
            raise SongError(f"The file of {self.row.song.title!r} is missing from the data folder.",
                            "Drop the song again.") from error

    def _beats(self) -> tuple[float, ...]:
        if self.settings.kind == "image":
            return ()  # a picture hears the whole region at once
        whole = studio.analysis(self.store, self.row.song.id)
        return whole.beats_in(self.song.start_s, self.song.duration_s)

    def _note_differences(self, models: Models) -> None:
        """Exactness was promised for the same plan and weights: say what is different, keep what is used."""
        notes = []
        if self.row.plan is not None:
            notes += [f"Not as before: {difference}."
                      for difference in plan_differences(self.row.plan, self.plan)]
        digest = models.info.digest
        if digest != self.row.pack_digest:
            notes.append(f"The weights of pack {self.row.pack!r} changed after this was submitted.")
        notes += studio.judges_differ(self.row)
        self.store.set_plan(self.row.id, self.plan.to_dict(), versions=studio.versions(self.settings),
                            pack_digest=digest, notes=notes)

    def _where_to_resume(self) -> Resume | None:
        """The newest checkpoint that can be read and whose frames are still there; None is the beginning."""
        for found in self.checkpoints.newest_first():
            if self.sink.resume(found.frame):
                return found
        self.sink.resume(0)
        return None

    # -- the painting ----------------------------------------------------------------------------

    def _paint(self) -> Outcome:
        """The engine's events, one by one, until the end or until somebody wants it to stop."""
        state = self.resume.state if self.resume else None
        events = render(self.song, self.settings, self.models, beats=self._beats(),
                        material=studio.material_of(self.store, self.settings), plan=self.plan, resume=state)
        with closing(cast(Generator[Event], events)):
            for event in events:
                self._take(event)
                self.on_event(event)
                if isinstance(event, Finished):
                    return "done"
                if not self.pulse.owned:
                    return "lost"
                if (self.pulse.cancel or self.cancel.is_set()) and self._may_end_here:
                    return "cancelled"
                if self.stop.is_set():
                    return "stopped"
        raise AssertionError("the engine ended without Finished")

    @property
    def _may_end_here(self) -> bool:
        """A picture soon has something to keep; the first frame of a film may be long in coming."""
        return self.sink.has_something or self.settings.kind == "video"

    def _take(self, event: Event) -> None:
        """What each event means on disk and in the row."""
        match event:
            case Started():
                self.pulse.begin()
                self.sink.begin(event)
                # Now: whoever watches should not learn of the notes at the end.
                self._replan(event.cutouts_at_once, event.memory_reason, event.notes)
            case Squeezed(cutouts_at_once=count, note=note):
                self._replan(count, note, [note])
            case Preview(pixels=pixels):
                self.sink.show(pixels)
                self._show(pixels)
            case Frame(pixels=pixels):
                self.sink.frame(pixels)
                self._show(pixels)
            case Checkpoint():
                self.sink.close_chunk()
                self.checkpoints.save(event)
                self.pulse.checkpoint(event.frame, event.step)
            case Finished(scores=scores):
                self.scores = scores
        self.progress.take(event)
        self.pulse.tell(self.progress.values)

    def _replan(self, cutouts_at_once: int, reason: str, notes: Sequence[str]) -> None:
        """What the engine measured belongs to the plan: Run again replays it."""
        self.plan = replace(self.plan, cutouts_at_once=cutouts_at_once, memory_reason=reason)
        self.store.set_plan(self.row.id, self.plan.to_dict(), notes=notes)

    def _show(self, pixels: np.ndarray) -> None:
        if self.preview.show(pixels) and not self.previewed:
            self.store.set_preview(self.row.id, self.preview.path)
            self.previewed = True

    # -- after -----------------------------------------------------------------------------------

    def _end(self, outcome: Outcome) -> None:
        if outcome == "lost":
            log.warning("render %s was taken over by another worker", self.row.id)
        elif outcome == "stopped":
            self.store.give_back(self.row.id, self.worker, seconds=self.pulse.seconds)
        else:
            self._finish(outcome)

    def _finish(self, outcome: Literal["done", "cancelled"]) -> None:
        """Files first, the row second; only then may the work folder go."""
        assets = self.sink.finish(self._record()) if self.sink.has_something else []
        self.pulse.report()  # the last step's progress
        kept = self.store.finish(self.row.id, self.worker, outcome, assets=assets, scores=self.scores,
                                 seconds=self.pulse.seconds)
        if kept and assets:  # where nothing was made, the preview is all there is to see
            self.preview.path.unlink(missing_ok=True)
        if kept and outcome == "done":
            self.store.files.clear_work(self.row.id)

    def _record(self) -> dict[str, Any]:
        """What the file itself tells about how it was made."""
        song, plan = self.row.song, self.plan
        return {"made by": f"MetaMusic {metamusic.__version__}", "render": self.row.id,
                "title": self.row.title, "settings": self.row.settings, "seed": self.row.seed,
                "song": {"title": song.title, "digest": song.digest},
                "pack": {"name": self.row.pack, "digest": self.models.info.digest},
                "versions": studio.versions(self.settings), "plan": plan.to_dict()}

    def _fail(self, message: str, cure: str) -> None:
        log.error("render %s failed: %s", self.row.id, message)
        self.store.fail(self.row.id, self.worker, message, cure, seconds=self.pulse.seconds)

    def _explain(self, error: Exception) -> tuple[str, str]:
        """Message and cure for an error that nobody put into words yet."""
        path = self.store.home / "logs" / f"render-{self.row.id}.log"
        with suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return "There is no room left on the disk.", "Free some space, then continue the render."
        if is_out_of_memory(error):
            return ("There is not enough memory for this render.",
                    "Choose a smaller size or fewer cutouts, or close other programs and continue it.")
        return (f"Something unexpected happened ({type(error).__name__}: {error}).",
                f"Resume tries again from the last checkpoint. The details are in logs/{path.name} "
                "in the data folder; please report them.")


def warm_up(pack: str) -> ExecutionPlan:
    """Import the engine and load a pack before anybody waits for it."""
    plan = choose_plan()
    apply_plan(plan)
    with suppress(MetaMusicError):  # a render that needs the pack will say what is wrong with it
        models_of(pack, plan.device)
    return plan
