"""Files by content: written under a temporary name, hashed on the way, made durable, then renamed.

    blobs/ab/<sha256><suffix>    songs, pictures, films: never changed once there
    previews/<render>.<n>        how a running render looks right now
    work/<render>/               chunks and checkpoints of a render that is not done
    tmp/                         what is being written

File first, row second: a row never points at nothing. A file without a row is swept a day later.
"""

import errno
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import psutil

from db.errors import DiskFull, StoreProblem

BLOCK = 1 << 20
ROOM_TO_KEEP = 200 * 2**20  # bytes that stay free for the database and everybody else
DAY = 86_400.0


class Files:
    """The files of one data folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.blobs, self.tmp = home / "blobs", home / "tmp"
        self.work, self.previews = home / "work", home / "previews"
        try:
            for folder in (self.blobs, self.tmp, self.work, self.previews):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _explained(error, f"The data folder {home} cannot be used") from error

    # -- blobs -----------------------------------------------------------------------------------

    def put(self, source: Path | bytes, suffix: str) -> str:
        """Keep a copy of a file (or of bytes) and return its digest."""
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        self.ensure_room(size)
        digest = hashlib.sha256()
        with self.new_file() as temporary:
            with open(temporary, "wb") as out:
                for block in _blocks(source):
                    digest.update(block)
                    out.write(block)
                _to_disk(out)
            return self._enter(temporary, digest.hexdigest(), suffix)

    def take(self, path: Path, suffix: str) -> str:
        """Move a finished file of this data folder in and return its digest; nothing is copied."""
        with open(path, "rb+") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            _to_disk(file)
        return self._enter(path, digest, suffix)

    def path_of(self, digest: str, suffix: str) -> Path:
        """Where a blob lies."""
        return self.blobs / digest[:2] / f"{digest}{suffix}"

    def _enter(self, path: Path, digest: str, suffix: str) -> str:
        target = self.path_of(digest, suffix)
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            os.utime(target)  # young again: the sweeper leaves it for the row that will now point at it
            path.unlink()
        else:
            replace_durably(path, target)
        return digest

    # -- anything else ---------------------------------------------------------------------------

    @contextmanager
    def new_file(self, suffix: str = "") -> Iterator[Path]:
        """A temporary name on the same disk; whatever is left of it afterwards is removed."""
        path = self.tmp / f"{uuid.uuid4().hex}{suffix}"
        try:
            yield path
        except OSError as error:
            raise _explained(error, "A file could not be written") from error
        finally:
            path.unlink(missing_ok=True)

    def write(self, target: Path, fill: Callable[[Path], object]) -> None:
        """Let `fill` write a file, then put it in place of `target` at once and durably."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.new_file(target.suffix) as temporary:
            fill(temporary)
            with open(temporary, "rb+") as file:
                _to_disk(file)
            replace_durably(temporary, target)

    def work_folder(self, render_id: int) -> Path:
        """Chunks and checkpoints of a render; made on demand."""
        folder = self.work / str(render_id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def clear_work(self, render_id: int) -> None:
        """The render is done: its chunks, checkpoints and previews are not needed any more."""
        shutil.rmtree(self.work / str(render_id), ignore_errors=True)
        for preview in self.previews.glob(f"{render_id}.*"):
            preview.unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """Room on the disk of the data folder."""
        return psutil.disk_usage(str(self.home)).free

    def ensure_room(self, bytes_needed: int) -> None:
        """DiskFull unless so much fits, and the room to keep with it."""
        free = self.free_bytes()
        if free < bytes_needed + ROOM_TO_KEEP:
            raise DiskFull(
                f"About {_megabytes(bytes_needed + ROOM_TO_KEEP)} are needed in {self.home}, "
                f"but only {_megabytes(free)} are free.", "Free some space there and try again.")

    def sweep(self, known: set[str], unfinished: set[int], age: float = DAY) -> int:
        """Remove what nothing points at and nobody has touched for `age` seconds; returns how many files.

        `known` are the digests that rows point at, `unfinished` the renders that may still go on.
        Only to be called while nothing runs.
        """
        stray = [path for path in self.blobs.glob("*/*") if path.name[:64] not in known]
        stray += self.tmp.glob("*")
        for folder in (self.work, self.previews):
            stray += [path for path in folder.iterdir() if _render_of(path) not in unfinished]
        before = time.time() - age
        return sum(_remove_if_old(path, before) for path in stray)


def replace_durably(path: Path, target: Path) -> None:
    """Rename, and let the folder know it before a power cut can."""
    os.replace(path, target)
    if os.name == "posix":
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _render_of(path: Path) -> int | None:
    number = path.name.partition(".")[0]
    return int(number) if number.isdecimal() else None


def _remove_if_old(path: Path, before: float) -> int:
    with suppress(OSError):
        if path.stat().st_mtime < before:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
            return 1
    return 0


def _blocks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with open(source, "rb") as file:
        while block := file.read(BLOCK):
            yield block


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _explained(error: OSError, what: str) -> StoreProblem:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull("There is no room left on the disk.", "Free some space and try again.")
    return StoreProblem(f"{what}: {error.strerror or error}.",
                        "Check that the data folder (METAMUSIC_HOME) exists and can be written.")


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
