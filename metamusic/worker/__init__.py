"""The worker: claims queued renders, one at a time, and works on them until none is left.

Runs as a thread of the server by default (`start`), in the foreground of `python -m metamusic worker`
(`serve`), or for a single render on the command line (`run_now`): it is the same code. Importing this is
cheap; torch comes with the first render, in the thread that needs it.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout

from db import RenderRow, Store
from db.workers import is_here, worker_name
from metamusic.errors import StoreError
from metamusic.events import Event
from metamusic.settings import RenderSettings
from metamusic.studio import store_errors

POLL_S = 1.0  # between two looks into an empty queue
RETRY_LOCK_S = 2.0  # between two looks whether the other process has ended
NICE = 10  # pages are drawn on the same cores; they go first
log = logging.getLogger(__name__)


class Worker:
    """Takes renders from one store. `name` tells the store which process to look for if it falls silent."""

    def __init__(self, store: Store, name: str | None = None) -> None:
        self.store = store
        self.name = name or worker_name()

    def run_once(self, stop: threading.Event | None = None) -> bool:
        """Work on the next render, if there is one; tells whether there was."""
        from metamusic.worker.attempt import Attempt  # brings torch; and if it cannot, nothing is claimed

        row = self.store.claim_render(self.name)
        if row is None:
            return False
        Attempt(self.store, row, stop=stop).run()
        return True

    def run_forever(self, stop: threading.Event, poll_s: float = POLL_S) -> None:
        """Work until `stop`. Whatever goes wrong around a render, the next one is still taken."""
        while not stop.is_set():
            try:
                busy = self.run_once(stop)
            except Exception:
                log.exception("the worker stumbled")
                busy = False
            if not busy:
                stop.wait(poll_s)


@store_errors()
def run_now(store: Store, render_id: int, *, on_event: Callable[[Event], None] | None = None) -> RenderRow:
    """Work on one render in this very thread and return how it ended; an interrupt keeps what exists.

    StoreError if it does not exist, is not waiting, or another process works on it.
    """
    row = store.get_render(render_id)
    if row is None:
        raise StoreError(f"There is no render {render_id}.", "It may have been made in another data folder.")
    if not (row.state == "running" and is_here(row.worker)):
        row = store.claim_render(worker_name(), render_id=render_id)
    if row is None:
        raise StoreError(f"Render {render_id} is not waiting, or another process works on it.",
                         "Watch it in the Studio, or run it again.")
    from metamusic.worker.attempt import Attempt

    with _interrupts_heard() as interrupt:
        Attempt(store, row, cancel=interrupt, on_event=on_event).run()
    if interrupt.is_set():
        raise KeyboardInterrupt
    ended = store.get_render(render_id)
    assert ended is not None
    return ended


@contextmanager
def _interrupts_heard() -> Iterator[threading.Event]:
    """An interrupt asks for an end after the current step, so nothing is torn; a second one ends at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread hears signals
        return

    def ask(_number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


# -- one worker per data folder -----------------------------------------------------------------------


@dataclass(frozen=True)
class WorkerState:
    """Does this process render? If not, `message` says why its renders still get done, or do not."""

    here: bool
    message: str


class Service:
    """A worker that holds the data folder's lock: two would fight over one graphics card."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.stop = threading.Event()
        self._trouble = ""
        self._lock = FileLock(store.home / "worker.lock", thread_local=False)
        self._thread = threading.Thread(target=self.run, name="metamusic-worker", daemon=True)

    @property
    def state(self) -> WorkerState:
        if self._trouble:
            return WorkerState(False, f"The worker ended: {self._trouble}. "
                                      "Restart MetaMusic; nothing is lost.")
        if self._lock.is_locked:
            return WorkerState(True, "")
        return WorkerState(False, "Another MetaMusic process renders for this data folder; this one shows "
                                  "the same queue and takes over when the other ends.")

    def start(self) -> None:
        """In a thread that nobody has to wait for."""
        self.take_lock()  # at once, so that `state` is right from the beginning
        self._thread.start()

    def end(self, timeout: float) -> None:
        """Ask for an end and wait a while for it."""
        self.stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def run(self) -> None:
        """Wait for the lock if need be, then work until `stop`."""
        try:
            while not self.take_lock():
                if self.stop.wait(RETRY_LOCK_S):
                    return
            _step_back()
            self._sweep()
            self._warm_up()
            Worker(self.store).run_forever(self.stop)
        except Exception as error:
            log.exception("the worker ended")
            self._trouble = f"{type(error).__name__}: {error}"
        finally:
            self._lock.release()

    def take_lock(self) -> bool:
        """Try once to be the one worker of the data folder."""
        try:
            if not self._lock.is_locked:
                self._lock.acquire(blocking=False)
        except Timeout:
            return False
        return True

    def _sweep(self) -> None:
        """Tidy up; a file that cannot be removed is no reason to render nothing."""
        try:
            self.store.sweep()
        except Exception:
            log.exception("the data folder could not be swept")

    def _warm_up(self) -> None:
        """Load the engine while nobody waits yet; a queue that is not empty goes first."""
        if not self.store.active_renders():
            from metamusic.worker.attempt import warm_up

            warm_up(RenderSettings.parse({}).pack)


_services: dict[Path, Service] = {}
_gate = threading.Lock()


def start(store: Store) -> WorkerState:
    """The worker of this process for this data folder: started by the first call, found by all others."""
    with _gate:
        if store.home not in _services:
            _services[store.home] = Service(store)
            _services[store.home].start()
        return _services[store.home].state


def state(store: Store) -> WorkerState:
    """Does this process render for this data folder?"""
    with _gate:
        service = _services.get(store.home)
    return service.state if service else WorkerState(False, "No worker was started in this process.")


def stop(store: Store, timeout: float = 10.0) -> None:
    """End the worker after its current step; what it worked on goes back into the queue."""
    with _gate:
        service = _services.pop(store.home, None)
    if service is not None:
        service.end(timeout)


def serve(store: Store, stopped: threading.Event | None = None) -> None:
    """Be the worker of this data folder in the foreground; StoreError if another process is."""
    service = Service(store)
    service.stop = stopped or service.stop
    if not service.take_lock():
        raise StoreError(service.state.message, "End the other one first, or use another data folder.")
    service.run()


def _step_back() -> None:
    """Lower this thread's priority. Linux keeps it per thread, and torch's own threads inherit it."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
