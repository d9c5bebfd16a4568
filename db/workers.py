"""Who renders: a worker's name tells its process, so that on the same host a dead one is noticed at once.

A name is `host:pid:started:n`. `started` keeps a process apart from a later one with the same number, `n`
keeps several workers of one process apart.
"""

import itertools
import os
import socket
from functools import cache
from pathlib import Path

import psutil

_numbers = itertools.count(1)


def worker_name() -> str:
    """A new name for a worker of this process."""
    return f"{host()}:{os.getpid()}:{_started(os.getpid())}:{next(_numbers)}"


@cache
def host() -> str:
    """This host, and within it this container: process numbers mean nothing across either border."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return f"{socket.gethostname().replace(':', '-')[:100]}/{space:x}"


def is_gone(worker: str) -> bool:
    """Is it certain that this worker's process has ended? About another host nothing is certain."""
    where, _, rest = worker.partition(":")
    pid, _, rest = rest.partition(":")
    started, _, _ = rest.partition(":")
    return where == host() and pid.isdecimal() and _started(int(pid)) != started


def is_here(worker: str | None) -> bool:
    """Does this worker belong to this very process?"""
    return (worker or "").startswith(f"{host()}:{os.getpid()}:{_started(os.getpid())}:")


def describe(worker: str | None) -> str:
    """The worker's process in words for people."""
    where, _, rest = (worker or "").partition(":")
    pid = rest.partition(":")[0]
    return f"process {pid} on {where.partition('/')[0]}" if pid else "its worker"


def _started(pid: int) -> str:
    """When the process began, on a clock that nobody sets; empty if there is none, or only its zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
        return "" if fields[0] in "ZX" else fields[19]
    except OSError:
        pass
    if os.path.isdir("/proc/self"):
        return ""
    try:  # no /proc: macOS and Windows
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else str(int(process.create_time()))
    except psutil.NoSuchProcess:
        return ""
