"""What becomes of a render, and who renders."""

from typing import TYPE_CHECKING

from db import RenderRow, Store
from metamusic.studio.opening import store_errors

if TYPE_CHECKING:
    from metamusic.worker import WorkerState


@store_errors()
def cancel(store: Store, render_id: int) -> RenderRow:
    """End it soon and keep what exists."""
    return store.cancel(render_id)


@store_errors()
def continue_render(store: Store, render_id: int) -> RenderRow:
    """Queue a failed or cancelled render again, from its last checkpoint."""
    return store.continue_render(render_id)


@store_errors()
def trash(store: Store, render_id: int) -> RenderRow:
    """Throw a render away; `restore` brings it back."""
    return store.trash(render_id)


@store_errors()
def restore(store: Store, render_id: int) -> RenderRow:
    """Take a render out of the trash."""
    return store.restore(render_id)


def start_worker(store: Store) -> "WorkerState":
    """See that this process renders what is queued; once per data folder however often it is called."""
    from metamusic import worker

    return worker.start(store)


def worker_state(store: Store) -> "WorkerState":
    """Does this process render, or who does?"""
    from metamusic import worker

    return worker.state(store)


def stop_worker(store: Store) -> None:
    """Let the worker of this process end after its current step; its render goes back into the queue."""
    from metamusic import worker

    worker.stop(store)
