"""Files that are here already, recognised by what is in them and never by their name.

A hash that somebody states, or that was recorded when a file first came, is proof. Where there is none, the
structure of the weights leaves a few candidates, and the user says which it is: shapes prove nothing.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metamusic.catalogue import PublicFile, PublicPack, Role, catalogue
from metamusic.downloads import ensure_room, forget, record_sha256, sha256_of, stated_sha256
from metamusic.packs import checkpoints, make_folder


def downloads_folder() -> Path:
    """Where files as published are kept while a pack is fetched."""
    return checkpoints() / ".downloads"


@dataclass(frozen=True)
class Found:
    """What a file is: a sentence, and the files of the catalogue that it may be; certain where its hash says so."""

    path: Path
    words: str
    files: tuple[PublicFile, ...] = ()
    certain: bool = False


def dropped() -> list[Path]:
    """Files that somebody put beside the packs."""
    folders = (checkpoints(), checkpoints() / "dropped")
    return [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())
            if path.is_file() and not path.name.startswith(".")]


def present(public: PublicPack, stopped: Callable[[], bool]) -> dict[Role, Path]:
    """Files of a pack that lie here whole: fetched before, or dropped under any name."""
    found: dict[Role, Path] = {}
    for role, file in public.files.items():
        known = stated_sha256(file, downloads_folder())
        fetched = downloads_folder() / file.name
        candidates = [fetched, *dropped()] if known else []
        match = next((path for path in candidates if may_be(file, path) and hash_of(path, stopped) == known), None)
        if match:
            found[role] = match
        elif known and fetched.is_file():
            fetched.unlink()  # damaged since
    return found


def may_be(file: PublicFile, path: Path) -> bool:
    """Whether the size fits, which costs nothing to ask."""
    if not path.is_file():
        return False
    size = path.stat().st_size
    return size == file.bytes if file.bytes else file.about // 2 <= size <= file.about * 2


_HASHED: dict[tuple[Path, int, int], str] = {}


def hash_of(path: Path, stopped: Callable[[], bool] = lambda: False) -> str:
    """sha256 of a file as it lies there, computed once per process."""
    status = path.stat()
    key = (path, status.st_mtime_ns, status.st_size)
    if key not in _HASHED:
        _HASHED[key] = sha256_of(path, stopped)
    return _HASHED[key]


def recognise(path: Path) -> Found:
    """What a file is, by its hash if the catalogue knows it, otherwise by its structure.

    Raises PackError where the file cannot be read or would run something: that is named, and has not run.
    """
    files = catalogue().files.values()
    fitting = [file for file in files if may_be(file, path)]
    for file in fitting:
        known = stated_sha256(file, downloads_folder())
        if known and hash_of(path) == known:
            return Found(path, f"{file.name}, as published", (file,), certain=True)
    from metamusic import weights

    seen = weights.recognise(path)
    unknown = [file for file in fitting if not stated_sha256(file, downloads_folder()) and file.role == seen.kind]
    return Found(path, seen.words, tuple(file for file in unknown if _same_shape(file, path)))


def _same_shape(file: PublicFile, path: Path) -> bool:
    """Whether the weights in a VQGAN's file have the shape that the catalogue gives it."""
    public = next((pack for pack in catalogue().packs.values() if pack.vqgan == file), None)
    if public is None:
        return True
    from metamusic.vqgan import config_of
    from metamusic.weights import read_weights

    shape = config_of(read_weights(path).tensors)
    return all(_plain(getattr(shape, key, None)) == _plain(value) for key, value in public.config.items()
               if key != "attn_resolutions")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def keep(found: Found, file: PublicFile) -> None:
    """The file under its published name beside the downloads; a second name of the same bytes where possible."""
    folder = make_folder(downloads_folder())
    source = found.path.resolve()  # of a link, what it leads to: copied, a relative one would lead elsewhere
    target = folder / file.name
    if not stated_sha256(file, folder):
        record_sha256(file, folder, hash_of(found.path), str(found.path))
    if source == target.resolve():
        return
    forget(file, folder)
    try:
        os.link(source, target)
    except OSError:
        ensure_room(folder, source.stat().st_size)
        unfinished = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copyfile(source, unfinished)
        unfinished.replace(target)
