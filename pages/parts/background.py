"""Work that takes seconds and must not hold up a page: done once in a thread, asked after by the next run."""

import logging
import os
import sys
import threading
from collections.abc import Callable, Hashable
from contextlib import suppress

from metamusic.errors import MetaMusicError

log = logging.getLogger(__name__)
_done: dict[Hashable, threading.Event] = {}
_failures: dict[Hashable, str] = {}
_gate = threading.Lock()


def ready(key: Hashable, work: Callable[[], object]) -> bool:
    """Has this work been done? The first to ask begins it; what cannot be done counts as done."""
    with _gate:
        if key in _done:
            return _done[key].is_set()
        finished = _done[key] = threading.Event()
    threading.Thread(target=_do, args=(key, work, finished), daemon=True, name=f"background {key}").start()
    return False


def failure(key: Hashable) -> str | None:
    """What kept this work from being done, in a sentence; None as long as nothing has."""
    return _failures.get(key)


def _do(key: Hashable, work: Callable[[], object], finished: threading.Event) -> None:
    if sys.platform == "linux":  # where a thread has a priority of its own: pages and pictures come first
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
    try:
        work()
    except MetaMusicError as error:
        log.warning("%s", error)
        _failures[key] = str(error)
    except Exception:
        log.exception("In the background: %s", key)
        _failures[key] = "The log of the server says why."
    finally:
        finished.set()
