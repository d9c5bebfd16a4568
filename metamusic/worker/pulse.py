"""The pulse of a render: once a second the store hears how far it is, and the render whether to go on.

A thread of its own, so that neither a step that takes a minute nor weights that take two to load cost the
lease, and the painting itself never waits for the database.
"""

import logging
import threading
import time
from types import TracebackType
from typing import Any

from db import RenderRow, Store

EVERY_S = 1.0
log = logging.getLogger(__name__)


class Pulse:
    """Reports from `with` to its end. `owned` and `cancel` are what the store last answered."""

    def __init__(self, store: Store, row: RenderRow, every_s: float = EVERY_S) -> None:
        self.owned = True
        self.cancel = row.cancel_requested
        assert row.worker is not None
        self._store, self._row, self._worker, self._every_s = store, row, row.worker, every_s
        self._progress: dict[str, Any] | None = None
        self._begun: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"pulse-{row.id}", daemon=True)

    @property
    def seconds(self) -> float:
        """How long has been painted, earlier attempts included; loading weights is not painting."""
        return self._row.seconds + (time.monotonic() - self._begun if self._begun is not None else 0.0)

    def begin(self) -> None:
        """From now on it is painted."""
        self._begun = time.monotonic()

    def tell(self, progress: dict[str, Any]) -> None:
        """What to report next; only the newest is ever written."""
        self._progress = progress

    def report(self) -> None:
        """Report now. A database that does not answer is no reason to stop: the lease decides that."""
        progress, self._progress = self._progress, None
        try:
            answer = self._store.report(self._row.id, self._worker, progress, seconds=self.seconds)
        except Exception:
            log.warning("render %s could not report", self._row.id, exc_info=True)
            return
        self.owned, self.cancel = answer.owned, answer.cancel

    def checkpoint(self, frame: int, step: int) -> None:
        """A checkpoint is on disk: should it stop here again and again, it had got so far.

        The progress that belongs to it is written too, so a resumed loss curve begins at the beginning.
        """
        self.report()
        try:
            self._store.record_checkpoint(self._row.id, self._worker, frame, step)
        except Exception:
            log.warning("render %s could not record its checkpoint", self._row.id, exc_info=True)

    def _beat(self) -> None:
        while not self._over.wait(self._every_s):
            self.report()

    def __enter__(self) -> "Pulse":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
