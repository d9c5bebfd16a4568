"""Fetch one published file over HTTP, from servers that break off, lie and move.

    checkpoints/.downloads/ViT-B-32.pt            the whole file, after everything was checked
    checkpoints/.downloads/ViT-B-32.pt.part       what has come so far
    checkpoints/.downloads/ViT-B-32.pt.json       where it came from, the validator, the whole size
    checkpoints/.downloads/hashes.json            sha256 of files for which nobody states one

A break is resumed with Range and If-Range: the server sends the rest only if its file is still the one
the first part came from. What comes is compared with the stated size and sha256, and refused if it is a
web page. A mirror that fails is followed by the next. One process fetches a file at a time.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

import metamusic
from metamusic.catalogue import PublicFile, addresses
from metamusic.errors import DiskFullError, PackError
from metamusic.packs import make_folder

if TYPE_CHECKING:
    from requests import Response

# Seconds to wait for a connection, and for the next byte.
CONNECT_S, READ_S = 10.0, 30.0
# Tries in a row that bring nothing before the next mirror gets its turn, and breaks that one may have at all.
TRIES, BREAKS = 4, 50
BACKOFF_S = 1.0  # before the second try; doubles with each further one
LONGEST_WAIT_S = 60.0  # a server that asks for more patience is left for the next one
PIECE = 1 << 18  # bytes read at a time, at most
TELL_S = 0.1  # between two reports of how far it is
SPARE = 100_000_000  # bytes that stay free on the disk
HASHES = "hashes.json"
AGENT = f"MetaMusic/{metamusic.__version__} (python-requests)"
_NUMBER = re.compile(r"[0-9]{1,18}")  # isdigit() knows digits that int() does not, and thousands of them
_RANGE = re.compile(rf"bytes ({_NUMBER.pattern})-({_NUMBER.pattern})/({_NUMBER.pattern}|\*)")


class Stopped(Exception):
    """Fetching was asked to stop; what has come is kept."""


@dataclass(frozen=True)
class Progress:
    """How far one file is: bytes that are here, bytes of the whole, bytes per second, where from."""

    file: PublicFile
    done: int
    total: int
    speed: float = 0.0
    url: str = ""


def download(file: PublicFile, folder: Path, *, on_progress: Callable[[Progress], object] = lambda _: None,
             stopped: Callable[[], bool] = lambda: False) -> Path:
    """The whole file, checked, in `folder`; goes on where an earlier call ended.

    Raises Stopped once `stopped()` is true, DiskFullError where it would not fit, and PackError naming what
    each address gave instead of the file.
    """
    make_folder(folder)
    with _alone(folder / f"{file.name}.lock", stopped):
        whole = folder / file.name
        if not whole.is_file() or not _is_right(file, folder, stopped):
            whole.unlink(missing_ok=True)
            _fetch(file, folder, on_progress, stopped)
        return whole


def _is_right(file: PublicFile, folder: Path, stopped: Callable[[], bool]) -> bool:
    """Whether what lies there under a file's name is it, as far as anybody knows what it should be."""
    whole, known = folder / file.name, stated_sha256(file, folder)
    fits = _misfit(file, whole.stat().st_size) is None
    return fits and (not known or sha256_of(whole, stopped) == known)


@contextmanager
def _alone(lock: Path, stopped: Callable[[], bool]) -> Iterator[None]:
    """Hold the lock of a file; whoever else fetches it is waited for."""
    held = FileLock(lock)
    while True:
        try:
            held.acquire(timeout=0.2)
            break
        except Timeout:
            if stopped():
                raise Stopped from None
    try:
        yield
    finally:
        held.release()


def _fetch(file: PublicFile, folder: Path, on_progress: Callable[[Progress], object],
           stopped: Callable[[], bool]) -> None:
    known = stated_sha256(file, folder)
    failures = []
    for url in _in_order(file, folder):
        part = _Part.found(file, folder, url, known)
        ensure_room(folder, file.size - part.size)
        try:
            _from_one(_Try(file, part, known, on_progress, stopped))
        except _Refused as refusal:
            failures.append(f"{url}: {refusal}")
            continue
        _finish(file, folder, part)
        return
    raise PackError(f"{file.name} could not be fetched. {'; '.join(failures)}.", _by_hand(file))


def _in_order(file: PublicFile, folder: Path) -> list[str]:
    """The addresses, that of the part which lies there first."""
    begun = _Part.read_note(folder / f"{file.name}.json").get("url", "")
    return sorted(addresses(file), key=lambda url: url != begun)


def _by_hand(file: PublicFile) -> str:
    where = f" (it is described at {file.source})" if file.source else ""
    return (f"Try again later, or fetch {file.name} elsewhere{where} and drop it into checkpoints/; it is recognised "
            "by its content.")


# -- what has come so far --------------------------------------------------------------------------------


@dataclass
class _Part:
    """The beginning of a file, and what must hold for the rest to fit on it."""

    path: Path
    url: str
    etag: str = ""
    modified: str = ""
    total: int = 0
    mixed: bool = False  # of two origins, perhaps: only the hash can tell whether they agree

    @classmethod
    def found(cls, file: PublicFile, folder: Path, url: str, known: str) -> "_Part":
        """The part that lies there if it can go on from this address, otherwise an empty one."""
        path = folder / f"{file.name}.part"
        note = cls.read_note(path.with_suffix(".json"))
        if not path.is_file() or (note.get("url") != url and not known):
            path.unlink(missing_ok=True)
            return cls(path, url)
        if note.get("url") != url:
            return cls(path, url, total=note.get("total", 0), mixed=True)
        return cls(path, url, note.get("etag", ""), note.get("modified", ""), note.get("total", 0),
                   bool(note.get("mixed")))

    @staticmethod
    def read_note(path: Path) -> dict[str, Any]:
        try:
            note = json.loads(path.read_bytes())
            return note if isinstance(note, dict) else {}
        except (OSError, ValueError):
            return {}

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def validator(self) -> str:
        """What If-Range may name; a weak ETag promises nothing about single bytes."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def note(self) -> None:
        """Keep what must hold beside the part; first this, then bytes."""
        values = {key: value for key, value in asdict(self).items() if key != "path"}
        self.path.with_suffix(".json").write_text(json.dumps(values))

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".json").unlink(missing_ok=True)
        self.etag = self.modified = ""
        self.total, self.mixed = 0, False


def begun(file: PublicFile, folder: Path) -> tuple[int, int]:
    """(bytes that are here, bytes of the whole) of a file that is whole, in part or not there."""
    whole, part = folder / file.name, folder / f"{file.name}.part"
    if whole.is_file():
        return whole.stat().st_size, whole.stat().st_size
    note = _Part.read_note(part.with_suffix(".json"))
    return (part.stat().st_size if part.is_file() else 0), int(note.get("total") or file.size)


def forget(file: PublicFile, folder: Path) -> None:
    """Delete what has come of a file, whole or in part."""
    for name in (file.name, f"{file.name}.part", f"{file.name}.json"):
        (folder / name).unlink(missing_ok=True)


# -- one address -----------------------------------------------------------------------------------------


class _Refused(Exception):
    """This address does not give the file; the next one may."""


class _TooMuch(_Refused):
    """More comes than the file can have: what has come of it is worth nothing."""


class _Again(Exception):
    """It may go better in a while; `wait` seconds if the server said how long."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass
class _Try:
    """One file from one address."""

    file: PublicFile
    part: _Part
    known: str
    on_progress: Callable[[Progress], object]
    stopped: Callable[[], bool]
    careful: bool = False  # a part of two origins was wrong: from now on only what the server vouches for


def _from_one(job: _Try) -> None:
    """Fetch until the part is whole and right; _Refused if this address cannot give it."""
    fruitless = breaks = 0
    while True:
        before = job.part.size
        try:
            if _request(job):
                _compare(job)
                return
            reason, wait = "the connection broke off", None
        except _Again as again:
            reason, wait = str(again), again.wait
        fruitless = 0 if job.part.size > before else fruitless + 1
        breaks += 1
        if fruitless >= TRIES or breaks >= BREAKS:
            raise _Refused(reason)
        _wait(BACKOFF_S * 2 ** max(0, fruitless - 1) if wait is None else wait, job.stopped)


def _wait(seconds: float, stopped: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if stopped():
            raise Stopped
        time.sleep(min(0.1, left))


def _request(job: _Try) -> bool:
    """Ask for what is missing and write it; whether the part now has its whole length."""
    import requests

    if job.part.total and job.part.size == job.part.total:
        return True  # an earlier run was ended just before it compared
    try:
        with requests.get(job.part.url, headers=_headers(job), stream=True,
                          timeout=(CONNECT_S, READ_S)) as response:
            if _opened(job, response):
                return _receive(job, response)
            return True
    except _TooMuch:
        job.part.forget()
        raise
    except requests.exceptions.InvalidSchema as error:
        raise _Refused(f"it leads to what is no web address ({error})") from error
    except requests.exceptions.RequestException as error:
        raise _Again(_reason(error)) from error


def _headers(job: _Try) -> dict[str, str]:
    # No compression: ranges count the bytes of the file itself.
    headers, part = {"User-Agent": AGENT, "Accept-Encoding": "identity"}, job.part
    if not part.size:
        return headers
    if part.validator and not part.mixed:
        return {**headers, "Range": f"bytes={part.size}-", "If-Range": part.validator}
    if job.known and not job.careful:
        part.mixed = True  # nobody vouches that the rest is of the same file; the hash will tell
        return {**headers, "Range": f"bytes={part.size}-"}
    return headers


def _reason(error: Exception) -> str:
    """A network error in few words: the outermost ones are all alike."""
    while (inner := error.__cause__ or error.__context__) is not None and isinstance(inner, Exception):
        error = inner
    return " ".join(str(error).split())[:160] or type(error).__name__


def _opened(job: _Try, response: "Response") -> bool:
    """Look at the answer before its body; False where the part turns out to be whole already.

    Raises _Refused or _Again where the answer is no part of the file.
    """
    status, part = response.status_code, job.part
    if status == 416:
        return _beyond_the_end(job, response)
    if status == 206:
        _check_range(job, response)
        return True
    if status != 200:
        raise _unwell(status, response.headers.get("Retry-After"))
    # Everything from the beginning: the first request, or the file has changed since, or ranges are unknown.
    _check_kind(response.headers.get("Content-Type", ""))
    total = _length(response)
    _check_size(job, total)
    part.path.unlink(missing_ok=True)
    part.etag, part.modified = response.headers.get("ETag", ""), response.headers.get("Last-Modified", "")
    part.total, part.mixed = total, False
    part.note()
    return True


def _unwell(status: int, retry_after: str | None) -> Exception:
    if status in (408, 425, 429) or status >= 500:
        wait = float(retry_after) if retry_after and _NUMBER.fullmatch(retry_after) else None
        if wait is not None and wait > LONGEST_WAIT_S:
            return _Refused(f"it answers {status} and asks to wait {wait:.0f} s")
        return _Again(f"it answers {status}", wait)
    return _Refused(f"it answers {status}")


def _beyond_the_end(job: _Try, response: "Response") -> bool:
    """416: the part is whole, or longer than the file is now."""
    size = response.headers.get("Content-Range", "").removeprefix("bytes */")
    if size == str(job.part.size):
        job.part.total = job.part.size
        return False
    job.part.forget()
    raise _Again("its file is shorter than what had come of it")


def _check_range(job: _Try, response: "Response") -> None:
    """The piece begins where ours ends, and is of the same file."""
    part, came = job.part, response.headers.get("Content-Range", "")
    match = _RANGE.fullmatch(came)
    etag, modified = response.headers.get("ETag", ""), response.headers.get("Last-Modified", "")
    same = _same_file(part, etag, modified)
    total = 0 if match is None or match[3] == "*" else int(match[3])
    if match is None or int(match[1]) != part.size or not same or (total and part.total not in (0, total)):
        wanted = part.size
        part.forget()
        raise _Again(f"it sent {came or 'a piece of the file without its place'} instead of bytes {wanted}-")
    if total:
        _check_size(job, total)
        part.total = total
    part.etag, part.modified = part.etag or etag, part.modified or modified
    part.note()


def _same_file(part: _Part, etag: str, modified: str) -> bool:
    """Whether nothing says that a piece is of another file: strong ETags settle it, otherwise the dates."""
    if part.etag and etag and (part.etag != etag or not etag.startswith("W/")):
        return part.etag == etag
    return not (part.modified and modified) or part.modified == modified


def _check_kind(kind: str) -> None:
    if kind.split(";")[0].strip().lower() in ("text/html", "application/xhtml+xml"):
        raise _Refused("it sends a web page instead of the file")


def _length(response: "Response") -> int:
    length = response.headers.get("Content-Length", "")
    return int(length) if _NUMBER.fullmatch(length) else 0


def _check_size(job: _Try, total: int) -> None:
    """The size that is stated, or about it; _Refused otherwise."""
    if total and (misfit := _misfit(job.file, total)):
        raise _Refused(misfit)


def _misfit(file: PublicFile, size: int) -> str | None:
    """Why a file cannot have that size; None if it can."""
    if file.bytes:
        return None if size == file.bytes else f"it has {size:,} bytes instead of {file.bytes:,}"
    return None if file.about // 2 <= size <= file.about * 2 else f"it has {size:,} bytes, not about {file.about:,}"


def _receive(job: _Try, response: "Response") -> bool:
    """Write the body behind what is there; whether the file has its whole length now."""
    started = told = time.monotonic()
    first = done = job.part.size
    most = job.file.bytes or job.file.about * 2
    with job.part.path.open("ab") as out:
        for piece in _pieces(response):
            if done == 0:
                _check_beginning(piece)
            done += len(piece)
            if done > most:
                raise _TooMuch(f"it sends more than {most:,} bytes")
            with _disk_words(job.part.path):
                out.write(piece)
                out.flush()
            now, total = time.monotonic(), job.part.total or job.file.size
            if now - told >= TELL_S or done >= total:
                told = now
                job.on_progress(Progress(job.file, done, total, (done - first) / max(1e-3, now - started),
                                         job.part.url))
            if job.stopped():
                raise Stopped
    if not job.part.total:
        job.part.total = done  # no length was given: the end is where the server ends
    return done == job.part.total


def _pieces(response: "Response") -> Iterator[bytes]:
    """What has come, as it comes: waiting for full pieces would make slow servers deaf to a stop."""
    import requests
    import urllib3

    try:
        while piece := response.raw.read1(PIECE):
            yield piece
    except urllib3.exceptions.HTTPError as error:
        raise requests.exceptions.ConnectionError(error) from error


def _check_beginning(piece: bytes) -> None:
    if piece[:512].lstrip().lower().startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        raise _Refused("it sends a web page instead of the file")


@contextmanager
def _disk_words(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFullError(f"The disk with {path.parent} is full.", "Make room and go on; what has come is kept."
                            ) from error


# -- whole and right -------------------------------------------------------------------------------------


def _compare(job: _Try) -> None:
    """The part is the file; otherwise it is deleted, and _Refused or _Again."""
    path = job.part.path
    try:
        _check_size(job, path.stat().st_size)
        _check_container(path)
        came = sha256_of(path, job.stopped) if job.known else ""
        if came != job.known:
            raise _Refused(f"its content has sha256 {came[:12]}... instead of {job.known[:12]}...")
    except _Refused as refusal:
        mixed = job.part.mixed
        job.part.forget()
        if mixed and not job.careful:  # who is to blame is not known: this address gets a chance of its own
            job.careful = True
            raise _Again(str(refusal), 0.0) from refusal
        raise


def _check_container(path: Path) -> None:
    """What torch.save wrote is a whole zip, or begins as a pickle or as safetensors; a cut one is refused."""
    with path.open("rb") as file:
        head = file.read(9)
    if head.startswith(b"PK"):
        if not zipfile.is_zipfile(path):
            raise _Refused("it ends too early")
    elif not head.startswith(b"\x80") and head[8:9] != b"{":
        raise _Refused("it is no file of weights")


def sha256_of(path: Path, stopped: Callable[[], bool] = lambda: False) -> str:
    """sha256 of a file; Stopped where that is asked for meanwhile."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
            if stopped():
                raise Stopped
    return digest.hexdigest()


def _finish(file: PublicFile, folder: Path, part: _Part) -> None:
    """Give the part its name, recording its hash first if nobody states one."""
    if not stated_sha256(file, folder):
        record_sha256(file, folder, sha256_of(part.path), part.url)
    with part.path.open("rb+") as written:
        os.fsync(written.fileno())
    part.path.replace(folder / file.name)
    part.path.with_suffix(".json").unlink(missing_ok=True)


# -- hashes that nobody states ---------------------------------------------------------------------------


def stated_sha256(file: PublicFile, folder: Path) -> str:
    """What the file must hash to: as stated, or as recorded at the first download; "" if neither is known."""
    return file.sha256 or str(_hashes(folder).get(file.name, {}).get("sha256", ""))


def record_sha256(file: PublicFile, folder: Path, digest: str, origin: str) -> None:
    """Remember what a file hashed to when it first came, and from where."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{HASHES}.lock"):
        values = {**_hashes(folder), file.name: {"sha256": digest, "from": origin}}
        unfinished = folder / f".{HASHES}.{os.getpid()}"
        unfinished.write_text(json.dumps(values, indent=2))
        unfinished.replace(folder / HASHES)


def _hashes(folder: Path) -> dict[str, dict[str, str]]:
    return _Part.read_note(folder / HASHES)


# -- room ------------------------------------------------------------------------------------------------


def ensure_room(folder: Path, needed: int) -> None:
    """DiskFullError if `needed` bytes and some to spare do not fit beside what is there."""
    make_folder(folder)
    free = shutil.disk_usage(folder).free
    if needed > 0 and free < needed + SPARE:
        raise DiskFullError(f"{needed / 1e9:.1f} GB are needed in {folder}, and {free / 1e9:.1f} GB are free.",
                            "Make room, or set METAMUSIC_CHECKPOINTS to a folder on another disk.")
