"""Work that takes seconds and must not hold up a page: done once in a thread, asked after by the next run."""

import logging
import threading
from collections.abc import Callable, Hashable

from metamusic.errors import MetaMusicError

log = logging.getLogger(__name__)
_done: dict[Hashable, threading.Event] = {}
_gate = threading.Lock()


def ready(key: Hashable, work: Callable[[], object]) -> bool:
    """Has this work been done? The first to ask begins it; what cannot be done counts as done."""
    with _gate:
        if key in _done:
            return _done[key].is_set()
        finished = _done[key] = threading.Event()
    threading.Thread(target=_do, args=(work, finished), daemon=True, name=f"background {key}").start()
    return False


def _do(work: Callable[[], object], finished: threading.Event) -> None:
    try:
        work()
    except MetaMusicError as error:  # whoever needs the result meets the same error and shows it
        log.warning("%s", error)
    finally:
        finished.set()
