"""The worker with the real engine on a tiny pack: what is asked for comes out, whatever happens meanwhile."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from db import Store
from db.files import Files
from db.workers import worker_name
from metamusic import studio, worker
from metamusic.errors import EncodingError, StoreError
from metamusic.events import Checkpoint, Finished, Frame, Preview, Squeezed, Started, Step
from metamusic.metadata import read_png, read_video
from metamusic.settings import RenderSettings
from metamusic.song import Analysis
from metamusic.video import decode_frames, probe_video
from metamusic.worker import Service, Worker, run_now
from metamusic.worker import attempt as attempts
from metamusic.worker.attempt import Attempt
from metamusic.worker.progress import MOST_LOSSES, Progress
from metamusic.worker.pulse import Pulse

STILL = RenderSettings(seed=1, width=64, height=64, steps=25, cutouts=2, canvas="pixels", init="smooth")
FILM = RenderSettings(kind="video", seed=1, width=64, height=64, steps=3, cutouts=2, canvas="pixels",
                      init="smooth", fps=4, chunk=0.5, steps_per_frame=1)

@pytest.fixture(scope="module", autouse=True)
def light(tiny_checkpoints):
    """Beats without waiting for librosa; one thread, because several crawl on a machine that is busy."""
    known = Analysis(3.0, 120.0, (0.5, 1.0, 1.5, 2.0, 2.5), (0.1,) * 30, (0.5,) * 12, False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studio.library, "analyse", lambda path: known)
        patch.setattr("psutil.cpu_count", lambda logical=True: 1)
        patch.setenv("METAMUSIC_CHECKPOINTS", str(tiny_checkpoints))
        yield


@pytest.fixture(scope="module")
def undisturbed(light, tune, tmp_path_factory):
    """A still and a film that nothing interrupted."""
    store = Store.open(tmp_path_factory.mktemp("undisturbed"))
    made = [run_now(store, studio.submit(store, tune, settings, claim=True).id) for settings in (STILL, FILM)]
    assert [render.state for render in made] == ["done", "done"]
    yield pixels(made[0]), frames(made[1])
    store.close()


@pytest.fixture
def still(undisturbed):
    return undisturbed[0]


@pytest.fixture
def film(undisturbed):
    return undisturbed[1]


@pytest.fixture
def ask(store, tune):
    return lambda settings, **more: studio.submit(store, tune, settings, **more)


def pixels(render):
    return np.asarray(Image.open(render.assets["final"].file))


def frames(render):
    return list(decode_frames(render.assets["final"].file))


def same_film(render, expected):
    assert render.state == "done", render.error
    return all(np.array_equal(a, b) for a, b in zip(frames(render), expected, strict=True))


def until(what):
    """Wait for something to come true, and give it back."""
    deadline = time.monotonic() + 60
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def do(store):
    """Let a worker do what is queued and give back the newest render."""
    while Worker(store).run_once():
        pass
    return store.list_renders(per_page=1).rows[0]


class Break:
    """Raises at the n-th event of a kind, once."""

    def __init__(self, kind, number, error):
        self.kind, self.left, self.error = kind, number, error

    def __call__(self, event):
        if isinstance(event, self.kind):
            self.left -= 1
            if self.left == 0:
                raise self.error


# -- to the end ---------------------------------------------------------------------------------------


def test_a_still_from_click_to_gallery(store, ask):
    asked = ask(STILL, title="Sea")
    done = do(store)
    assert (done.id, done.state, done.title, done.error) == (asked.id, "done", "Sea", "")
    assert done.assets["final"].mime == "image/png" and pixels(done).shape == (64, 64, 3)
    assert done.assets["thumb"].mime == "image/webp" and done.seconds > 0 and done.scores
    assert done.progress["step"] == done.progress["steps"] == 25 and done.progress["frame"] == 1
    assert len(done.progress["losses"]) == 25 and done.plan["device"] == "cpu"
    record = read_png(done.assets["final"].file)
    assert RenderSettings.parse(record["settings"]) == STILL and record["seed"] == 1
    assert record["song"]["digest"] == done.song.digest and record["plan"] == done.plan
    assert record["pack"] == {"name": "sketch", "digest": done.pack_digest}
    assert not (store.files.work / str(done.id)).exists() and not list(store.files.previews.iterdir())


def test_a_film_in_chunks_with_its_sound(store, ask):
    ask(FILM)
    done = do(store)
    assert done.state == "done", done.error
    facts = probe_video(done.assets["final"].file)
    assert (facts.frames, facts.width, facts.height, facts.has_audio) == (12, 64, 64, True)
    assert set(done.assets) == {"final", "thumb", "poster"} and done.progress["frame"] == 12
    assert read_video(done.assets["final"].file)["settings"]["kind"] == "video"
    assert done.song.analysis is not None or store.get_song(done.song.id).analysis is not None


def test_run_again_gives_the_same_pixels(store, ask):
    first = run_now(store, ask(STILL, claim=True).id)
    again = studio.run_again(store, first.id)
    assert again.plan == first.plan and again.parent_id == first.id
    second = do(store)
    assert second.id == again.id and np.array_equal(pixels(first), pixels(second))
    assert studio.what_differs(store, second.id) == [] and second.notes == first.notes


def test_a_size_that_had_to_be_rounded_is_noted(store, ask):
    asked = ask(STILL.changed(width=65, steps=2))
    seen = []
    run = Attempt(store, store.claim_render(worker_name()), on_event=lambda event: seen.append(
        (type(event), store.get_render(asked.id).notes)))
    run.run()
    done = store.get_render(asked.id)
    assert seen[0][0] is Started and any("rounded" in note for note in seen[0][1]), "at once, not at the end"
    assert done.state == "done" and done.notes == seen[0][1] and len(set(done.notes)) == len(done.notes)


# -- interrupted --------------------------------------------------------------------------------------


class Killed(BaseException):
    """Ends an attempt as SIGKILL would: nothing is caught, nothing is written."""


def kill_at(store, render, kind, number):
    """Claim a render and let the attempt die there; its lease is void, as that of a dead process."""
    row = store.claim_render(worker_name(), render_id=render.id)
    with pytest.raises(Killed):
        Attempt(store, row, on_event=Break(kind, number, Killed())).run()
    store.report(row.id, row.worker, lease_s=-1)


def test_an_interrupted_still_equals_an_undisturbed_one(store, ask, still):
    interrupted = ask(STILL)
    kill_at(store, interrupted, Step, 22)
    assert store.get_render(interrupted.id).checkpoint_step == 20
    resumed = do(store)
    assert resumed.attempts == 1 and resumed.progress["losses"][0][0] == 1
    assert np.array_equal(still, pixels(resumed))


@pytest.mark.parametrize(("kind", "number"), [(Step, 2), (Frame, 2), (Checkpoint, 1), (Frame, 7), (Frame, 12),
                                              (Finished, 1)])
def test_an_interrupted_film_equals_an_undisturbed_one(store, ask, kind, number, film):
    interrupted = ask(FILM)
    kill_at(store, interrupted, kind, number)
    resumed = do(store)
    assert same_film(resumed, film)


def test_a_film_on_the_packs_own_canvas_resumes_too(store, ask):
    latent = FILM.changed(canvas="vqgan", init="nearest", optimiser="adamw")
    undisturbed = frames(run_now(store, ask(latent, claim=True).id))
    interrupted = ask(latent)
    kill_at(store, interrupted, Frame, 7)
    assert store.get_render(interrupted.id).checkpoint_frame == 6
    assert same_film(do(store), undisturbed)


def test_a_torn_checkpoint_is_passed_over_for_the_one_before(store, ask, film):
    interrupted = ask(FILM)
    kill_at(store, interrupted, Frame, 9)
    kept = sorted(store.files.work_folder(interrupted.id).glob("checkpoint-*.pt"))
    assert len(kept) == 2
    kept[-1].write_bytes(kept[-1].read_bytes()[:1000])
    assert same_film(do(store), film)


def test_a_lost_chunk_means_painting_it_again(store, ask, film):
    interrupted = ask(FILM)
    kill_at(store, interrupted, Frame, 9)
    (store.files.work_folder(interrupted.id) / "chunk-000000.mp4").unlink()
    assert same_film(do(store), film)


CHILD = """
import time
import psutil
from db.workers import worker_name
from metamusic import studio
from metamusic.events import Frame
from metamusic.worker.attempt import Attempt
psutil.cpu_count = lambda logical=True: 1
store = studio.open_store()
def stall(event):
    if isinstance(event, Frame) and event.index == 6:
        time.sleep(600)
Attempt(store, store.claim_render(worker_name()), on_event=stall).run()
"""


def test_kill_9_loses_nothing(store, ask, film):
    """A real process, really killed; the next worker takes the render up at once and finishes it."""
    render = ask(FILM)
    studio.analysis(store, render.song.id)
    checkout = Path(worker.__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", CHILD], cwd=checkout, env=dict(os.environ))
    deadline = time.monotonic() + 120
    while (seen := store.get_render(render.id)).checkpoint_frame != 6 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    assert (seen.state, seen.checkpoint_frame) == ("running", 6)
    taken = until(lambda: store.claim_render(worker_name()))  # at once: its zombie counts as gone
    process.wait()
    assert (taken.id, taken.attempts) == (render.id, 1)
    Attempt(store, taken).run()
    assert same_film(store.get_render(render.id), film)


def test_stopping_gives_the_render_back_with_its_checkpoint(store, ask):
    render = ask(FILM)
    stop = threading.Event()
    row = store.claim_render(worker_name())
    Attempt(store, row, stop=stop, on_event=lambda e: stop.set() if isinstance(e, Checkpoint) else None).run()
    given = store.get_render(render.id)
    assert (given.state, given.attempts, given.checkpoint_frame) == ("queued", 0, 2)
    assert do(store).state == "done"


# -- cancelled ----------------------------------------------------------------------------------------


def cancel_at(store, render, kind, number):
    """Ask for an end at an event, and let the attempt hear of it at once."""
    row = store.claim_render(worker_name(), render_id=render.id)
    asked = threading.Event()
    hit = Break(kind, number, Exception())

    def listen(event):
        try:
            hit(event)
        except Exception:
            asked.set()

    Attempt(store, row, cancel=asked, on_event=listen).run()
    return store.get_render(render.id)


def test_a_cancelled_still_keeps_the_picture_so_far_and_can_be_continued(store, ask, still):
    cancelled = cancel_at(store, ask(STILL), Step, 22)
    assert cancelled.state == "cancelled" and pixels(cancelled).shape == (64, 64, 3)
    assert not np.array_equal(pixels(cancelled), still)
    studio.continue_render(store, cancelled.id)
    do(store)
    continued = store.get_render(cancelled.id)
    assert continued.state == "done" and np.array_equal(pixels(continued), still)


def test_a_cancelled_film_keeps_the_frames_so_far_with_their_sound(store, ask, film):
    cancelled = cancel_at(store, ask(FILM), Frame, 7)
    facts = probe_video(cancelled.assets["final"].file)
    assert cancelled.state == "cancelled" and facts.frames >= 7 and facts.has_audio
    assert abs(facts.video_s - facts.audio_s) <= 1 / 4
    studio.continue_render(store, cancelled.id)
    do(store)
    assert same_film(store.get_render(cancelled.id), film)


def test_a_film_is_cancelled_before_its_first_frame_too(store, ask, film):
    cancelled = cancel_at(store, ask(FILM), Step, 1)
    assert (cancelled.state, cancelled.error, cancelled.progress["step"]) == ("cancelled", "", 1)
    assert not set(cancelled.assets) - {"preview"}, "there is nothing to keep, but something to see"
    studio.continue_render(store, cancelled.id)
    assert same_film(do(store), film)


def test_a_cancel_from_a_page_reaches_the_worker(store, ask):
    render = ask(STILL.changed(steps=5000))
    thread = threading.Thread(target=Worker(store).run_once)
    thread.start()
    until(lambda: (store.get_render(render.id).progress or {}).get("step"))
    assert "preview" in store.get_render(render.id).assets
    studio.cancel(store, render.id)
    thread.join(30)
    cancelled = store.get_render(render.id)
    assert cancelled.state == "cancelled" and set(cancelled.assets) == {"final", "thumb"}


def test_an_interrupt_on_the_command_line_keeps_what_exists(store, ask):
    render = ask(STILL, claim=True)
    hit = Break(Step, 5, Exception())

    def press(event):
        try:
            hit(event)
        except Exception:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_now(store, render.id, on_event=press)
    kept = store.get_render(render.id)
    assert kept.state == "cancelled" and "final" in kept.assets
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# -- failed -------------------------------------------------------------------------------------------


def fail_at(store, ask, error, kind=Step):
    row = store.claim_render(worker_name(), render_id=ask(FILM).id)
    Attempt(store, row, on_event=Break(kind, 3, error)).run()
    return store.get_render(row.id)


def test_a_mendable_failure_is_told_with_its_cure(store, ask):
    failed = fail_at(store, ask, EncodingError("The film broke.", "Mend it."))
    assert (failed.state, failed.error, failed.cure) == ("failed", "The film broke.", "Mend it.")


def test_a_bug_is_told_kept_in_a_log_and_does_not_end_the_worker(store, ask):
    failed = fail_at(store, ask, ValueError("boom"))
    assert failed.state == "failed" and "ValueError: boom" in failed.error
    assert f"logs/render-{failed.id}.log" in failed.cure
    assert "Traceback" in (store.home / "logs" / f"render-{failed.id}.log").read_text()


def test_too_little_memory_is_said_in_words(store, ask):
    assert "memory" in fail_at(store, ask, RuntimeError("CUDA out of memory")).error


def test_a_full_disk_fails_with_a_cure_and_continues_when_there_is_room(store, ask, monkeypatch, film):
    render = ask(FILM)
    free = Files.free_bytes
    calls = iter(range(1000))
    monkeypatch.setattr(Files, "free_bytes", lambda self: free(self) if next(calls) < 2 else 1000)
    failed = do(store)
    assert failed.state == "failed" and "MB are free" in failed.error and "Free some space" in failed.cure
    monkeypatch.setattr(Files, "free_bytes", free)
    studio.continue_render(store, render.id)
    assert same_film(do(store), film)


def test_missing_weights_fail_with_their_cure(store, ask, monkeypatch, tmp_path):
    ask(STILL)
    monkeypatch.setenv("METAMUSIC_CHECKPOINTS", str(tmp_path))
    failed = do(store)
    assert failed.state == "failed" and "sketch" in failed.error and failed.cure


def test_a_song_file_that_is_gone_is_said_in_words(store, ask):
    render = ask(STILL)
    render.song.file.unlink()
    failed = do(store)
    assert failed.state == "failed" and "missing from the data folder" in failed.error


def test_a_worker_that_lost_its_render_writes_nothing(store, ask):
    render = ask(STILL)
    row = store.claim_render(worker_name())
    other = []

    def take_over(event):
        if isinstance(event, Step) and event.step == 3:
            store.report(row.id, row.worker, lease_s=-1)
            other.append(store.claim_render("elsewhere/0:1:1:1"))

    Attempt(store, row, on_event=take_over).run()
    left = store.get_render(render.id)
    assert left.state == "running" and left.worker == other[0].worker and "final" not in left.assets


# -- the parts ----------------------------------------------------------------------------------------


def test_losses_are_thinned_and_the_time_left_falls_to_nothing():
    settings = STILL.changed(steps=1000)
    progress = Progress(settings, None)
    progress.take(Started(1, 1000, 64, 64, 12, 1))
    for step in range(1, 1001):
        progress.take(Step(step, 1000, 0, {"total": 1 / step}, "the whole region"))
    losses = progress.values["losses"]
    assert 100 < len(losses) <= MOST_LOSSES and losses[0] == [1, 1.0]
    steps = [step for step, _ in losses]
    assert steps == sorted(set(steps)) and progress.values["eta_s"] == 0.0


def test_the_pulse_survives_a_database_that_does_not_answer(store, ask, monkeypatch):
    row = store.get_render(ask(STILL, claim=True).id)
    monkeypatch.setattr(store, "report", lambda *a, **k: 1 / 0)
    with Pulse(store, row, every_s=0.01) as pulse:
        pulse.tell({"step": 1})
        time.sleep(0.05)
        assert pulse.owned and not pulse.cancel


def test_run_now_refuses_what_is_not_there_or_not_waiting(store, ask):
    with pytest.raises(StoreError, match="no render 99"):
        run_now(store, 99)
    done = run_now(store, ask(STILL.changed(steps=1), claim=True).id)
    with pytest.raises(StoreError, match="not waiting"):
        run_now(store, done.id)


def test_only_one_worker_per_data_folder(store, ask, monkeypatch):
    monkeypatch.setattr(attempts, "warm_up", lambda pack: None)
    one, other = Service(store), Service(store)
    one.start()
    other.start()
    try:
        assert one.state.here and not other.state.here and "Another MetaMusic" in other.state.message
        render = ask(STILL.changed(steps=1))
        assert until(lambda: store.get_render(render.id).state == "done")
    finally:
        one.end(10)
        assert other.take_lock(), "the lock is free again"
        other.end(10)


def test_a_worker_that_cannot_begin_says_so(store, monkeypatch):
    monkeypatch.setattr(attempts, "warm_up", lambda pack: {}["torch"])
    service = Service(store)
    service.start()
    service.end(10)
    assert not service.state.here and "KeyError: 'torch'" in service.state.message


def test_a_folder_that_cannot_be_swept_does_not_end_the_worker(store, ask, monkeypatch):
    monkeypatch.setattr(attempts, "warm_up", lambda pack: None)
    monkeypatch.setattr(store, "sweep", lambda: 1 / 0)
    render = ask(STILL.changed(steps=1))
    service = Service(store)
    service.start()
    try:
        assert until(lambda: store.get_render(render.id).state == "done") and service.state.here
    finally:
        service.end(10)


def test_a_process_starts_one_worker_however_often_it_is_asked(store, monkeypatch):
    monkeypatch.setattr(attempts, "warm_up", lambda pack: None)
    assert studio.worker_state(store).here is False
    before = threading.active_count()
    states = [studio.start_worker(store) for _ in range(5)]
    assert all(state.here for state in states) and threading.active_count() == before + 1
    studio.stop_worker(store)
    assert threading.active_count() == before


def test_the_workers_thread_steps_back():
    nice = []

    def measure():
        worker._step_back()
        nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
    if sys.platform == "linux":
        assert nice == [worker.NICE] and os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == 0


def test_every_event_is_taken():
    from typing import get_args

    from metamusic.events import Event

    assert set(get_args(Event)) == {Started, Squeezed, Step, Preview, Frame, Checkpoint, Finished}


def test_what_the_engine_measured_is_kept_with_the_plan_and_replayed(store, ask, monkeypatch):
    """Memory runs out once, at the third step: the row tells, and Run again begins with what went well."""
    from metamusic.painter import Painter

    whole, cries = Painter._slopes, iter([RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")])

    def short_of_memory(self, moment, now):
        if self.steps_done == 2 and (cry := next(cries, None)):
            raise cry
        return whole(self, moment, now)

    monkeypatch.setattr(Painter, "_slopes", short_of_memory)
    made = run_now(store, ask(STILL.changed(cutouts=4), claim=True).id)
    assert made.state == "done" and made.plan["cutouts_at_once"] == 2
    assert any("Memory ran short" in note for note in made.notes)
    again = run_now(store, studio.run_again(store, made.id).id)
    assert again.plan["cutouts_at_once"] == 2 and again.plan["precision"] == "float32"
