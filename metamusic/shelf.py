"""The shelf: every pack there is or could be, and the verbs that bring one here, check it and remove it.

    checkpoints/.downloads/            files as published, while a pack is fetched
    checkpoints/.downloads/X.job       pack X was asked for and is not here yet; outlives the process
    checkpoints/.downloads/X.job.lock  held by the process that fetches it
    checkpoints/, checkpoints/dropped/ files that a user put there under any name

A pack is fetched by a thread of the process that was asked (`start`), or in the foreground (`fetch`).
How far it is, everybody reads off the files, so that every tab, process and restart sees the same.
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from metamusic import packs
from metamusic.catalogue import PublicFile, PublicPack, Role, catalogue
from metamusic.conversion import import_pack
from metamusic.downloads import Progress, Stopped, begun, download, ensure_room, forget
from metamusic.errors import MetaMusicError, PackError
from metamusic.packs import PackInfo, checkpoints, make_folder
from metamusic.recognition import Found, downloads_folder, keep, present, recognise

_log = logging.getLogger(__name__)

State = Literal["ready", "available", "downloading", "paused", "broken"]
CONVERTED = 1_000_000_000  # bytes that a pack takes at most once it is converted


@dataclass(frozen=True)
class ShelfItem:
    """One pack as a page shows it.

    bytes: what it takes on the disk if it is ready, otherwise what its download takes in all; `about` where
    nobody states it. memory: bytes of its weights in use. asserted: what only the person who brought the
    weights says of them, "" for a pack of the catalogue. progress 0..1 of getting it; speed in bytes/s;
    stage says what is being done. error and cure are set where state is "broken", or "paused" after a
    failure. listed: whether it is in the catalogue, so that `get_pack` can fetch it.
    """

    name: str
    title: str
    state: State
    bytes: int
    memory: int
    licence: str
    card: str
    space: str
    asserted: str = ""
    progress: float = 0.0
    speed: float = 0.0
    stage: str = ""
    error: str = ""
    cure: str = ""
    paints: bool = True
    hears: bool = True
    about: bool = False
    source: str = ""
    listed: bool = False
    removable: bool = True


@dataclass(frozen=True)
class Doing:
    """What is being done for a pack: in words, share 0..1 of the download, bytes per second."""

    stage: str
    progress: float
    speed: float = 0.0


# -- what there is ---------------------------------------------------------------------------------------


def items() -> list[ShelfItem]:
    """Every pack that is here or in the catalogue; those that are here first."""
    listed = catalogue().packs
    here = {path.parent.name for path in checkpoints().glob(f"*/{packs.MANIFEST}")
            if not path.parent.name.startswith(".")}  # a pack that is just being written
    readable = {info.name: info for info in packs.available()}
    names = [*sorted(here - listed.keys()), *listed]
    found = [item(name, readable.get(name)) for name in names]
    return sorted(found, key=lambda one: one.state not in ("ready", "broken"))


def item(name: str, info: PackInfo | None = None) -> ShelfItem:
    """One pack; PackError if there is none of that name and the catalogue has none."""
    public = catalogue().packs.get(name)
    folder_is_there = (checkpoints() / name / packs.MANIFEST).is_file()
    if not folder_is_there:
        return _doing(public or catalogue().pack(name))
    info = info or next((one for one in packs.available() if one.name == name), None)
    shown = _here(info) if info else _unreadable(name)
    job = _doing(public) if public else None
    if job and shown.state == "broken" and job.state in ("downloading", "paused"):
        return job
    return replace(shown, listed=public is not None, source=_source(public) if public else "",
                   asserted="" if public or not info else _said(info))


def _here(info: PackInfo) -> ShelfItem:
    shown = ShelfItem(info.name, info.title, "ready", sum(file.bytes for file in info.files.values()), 0,
                      info.licence, info.card, info.space, progress=1.0, paints=info.vqgan is not None,
                      hears=info.perceptor.get("audio") is not None, removable=info.name != "sketch")
    try:
        _look(info)
        return replace(shown, memory=_memory(info, *_stamp(info)))
    except (PackError, OSError) as error:
        cure = error.cure if isinstance(error, PackError) else ""
        return replace(shown, state="broken", progress=0.0, cure=cure,
                       error=error.message if isinstance(error, PackError) else str(error))


def _look(info: PackInfo) -> None:
    """Every file is there and as long as it was; hashes are for `verify` and for whoever uses it."""
    for file in info.files.values():
        path = info.folder / file.file
        if not path.is_file() or path.stat().st_size != file.bytes:
            packs.check(info.name)  # says it in words


def _stamp(info: PackInfo) -> tuple[int, ...]:
    return tuple((info.folder / file.file).stat().st_mtime_ns for file in info.files.values())


@lru_cache(maxsize=64)
def _memory_of(text: str, _stamp: tuple[int, ...]) -> int:
    return packs.memory_need(PackInfo.model_validate_json(text))


def _memory(info: PackInfo, *stamp: int) -> int:
    return _memory_of(info.model_dump_json(), (*stamp, hash(str(checkpoints()))))


def _unreadable(name: str) -> ShelfItem:
    try:
        packs.check(name)
        message, cure = "It cannot be read.", ""
    except PackError as error:
        message, cure = error.message, error.cure
    return ShelfItem(name, name, "broken", 0, 0, "", "", "", error=message, cure=cure, paints=False, hears=False,
                     removable=name != "sketch")


def _said(info: PackInfo) -> str:
    """What the person who imported a pack asserts, as a sentence; "" for a pack that was made here."""
    said = info.asserted
    if not said.get("clip"):
        return ""
    ears = f", and that the audio encoder was made for {said['audio_made_for']}" if said.get("audio_made_for") else ""
    return f"Whoever imported it says that the CLIP is {said['clip']}{ears}; the files cannot prove it."


def _source(public: PublicPack) -> str:
    return next(iter(public.files.values())).source


def _doing(public: PublicPack) -> ShelfItem:
    """A pack of the catalogue that is not here, and how far it is."""
    shown = ShelfItem(public.name, public.title, "available", public.size, _memory_guess(public), public.licence,
                      public.card, public.space, paints=public.vqgan is not None,
                      hears=public.wav2clip is not None, about=public.about, source=_source(public), listed=True)
    job = _read_job(public.name)
    if job is None:
        return shown
    shown = replace(shown, progress=_progress(public))
    with _RUNNING_LOCK:
        running = _RUNNING.get(_key(public.name))
    if running and running.thread.is_alive():
        doing = running.doing
        return replace(shown, state="downloading", stage=doing.stage, speed=doing.speed)
    if _held(public.name):
        return replace(shown, state="downloading", stage="fetched by another process")
    return replace(shown, state="paused", error=job.get("error", ""), cure=job.get("cure", ""))


def _memory_guess(public: PublicPack) -> int:
    """Weights in use, as singles: every public VQGAN has about 75 million, OpenAI's CLIPs are published halved."""
    ears = public.wav2clip.size if public.wav2clip else 0
    return (300_000_000 if public.vqgan else 0) + 2 * public.clip.size + ears


def _progress(public: PublicPack) -> float:
    """Share of the bytes of its files that is here."""
    come = [begun(file, downloads_folder()) for file in public.files.values()]
    return min(1.0, sum(done for done, _ in come) / max(1, sum(total for _, total in come)))


# -- fetching --------------------------------------------------------------------------------------------


def fetch(name: str, *, on_progress: Callable[[Doing], object] = lambda _: None,
          stopped: Callable[[], bool] = lambda: False) -> PackInfo:
    """Fetch what is missing of a pack of the catalogue and make it; returns at once where it is here already.

    Raises Stopped once `stopped()` is true, DiskFullError, and PackError where it cannot be had or somebody
    else is fetching it.
    """
    public = catalogue().pack(name)
    with _alone(name):
        if (info := _ready(name)) is not None:
            _end_job(name)
            return info
        _write_job(name, {})
        try:
            info = _fetched(public, on_progress, stopped)
        except MetaMusicError as error:
            _write_job(name, {"error": error.message, "cure": error.cure})
            raise
        _end_job(name)
        return info


def _fetched(public: PublicPack, on_progress: Callable[[Doing], object], stopped: Callable[[], bool]) -> PackInfo:
    packs.check_place(public.name)
    on_progress(Doing("looking for files that are here", _progress(public)))
    paths = present(public, stopped)
    missing = {role: file for role, file in public.files.items() if role not in paths}
    _room_for(missing.values())

    def tell(progress: Progress) -> None:
        on_progress(Doing(f"fetching {progress.file.name}", _progress(public), progress.speed))

    for role, file in missing.items():
        paths[role] = download(file, downloads_folder(), on_progress=tell, stopped=stopped)
    on_progress(Doing("converting", 1.0))
    return _make(public, paths)


def _room_for(missing: Any) -> None:
    left = sum(max(0, file.size - begun(file, downloads_folder())[0]) for file in missing)
    ensure_room(downloads_folder(), left + CONVERTED)


def _ready(name: str) -> PackInfo | None:
    """The pack, if it is here and whole."""
    try:
        return packs.check(name)
    except PackError:
        return None


def _make(public: PublicPack, paths: dict[Role, Path]) -> PackInfo:
    """Convert the files into a pack, then remove those that no other pack needs."""
    if (checkpoints() / public.name).exists():
        packs.remove_pack(public.name)  # it was broken
    config = _configuration(public)
    try:
        info = import_pack(public.name, vqgan_config=config, vqgan=paths.get("vqgan"), clip=paths["clip"],
                           wav2clip=paths.get("wav2clip"), clip_model=public.clip_model, space=public.space,
                           title=public.title, licence=public.licence, defaults=public.defaults,
                           card=public.card, listed=True)
    finally:
        if config:
            config.unlink(missing_ok=True)
    elsewhere = {file.key for other in catalogue().packs.values() if other.name != public.name
                 for file in other.files.values()}
    for file in public.files.values():
        if file.key not in elsewhere:
            forget(file, downloads_folder())
    _share(info)
    return info


def _configuration(public: PublicPack) -> Path | None:
    """The VQGAN's shape as the file that was published with it: YAML, of which JSON is a part."""
    if public.vqgan is None:
        return None
    shape = {"ch": 128, "ch_mult": [1, 1, 2, 2, 4], "num_res_blocks": 2, "attn_resolutions": [16],
             "z_channels": 256, "resolution": 256, "n_embed": 1024, "embed_dim": 256, **public.config}
    kind, codes, width = shape.pop("kind", "vq"), shape.pop("n_embed"), shape.pop("embed_dim")
    inner = {"double_z": False, "in_channels": 3, "out_ch": 3, "dropout": 0.0, **shape}
    target = {"vq": "VQModel", "gumbel": "GumbelVQ"}[kind]
    whole = {"model": {"target": f"taming.models.vqgan.{target}",
                       "params": {"embed_dim": width, "n_embed": codes, "ddconfig": inner}}}
    path = downloads_folder() / f"{public.name}.{os.getpid()}.yaml"
    make_folder(path.parent)
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path


def _share(info: PackInfo) -> None:
    """Files that another pack has as well take their room once, where the disk knows hard links."""
    others = [one for one in packs.available() if one.name != info.name]
    for file in info.files.values():
        twin = next((other.folder / same.file for other in others for same in other.files.values()
                     if same.sha256 == file.sha256 and same.bytes == file.bytes), None)
        if twin is None:
            continue
        own = info.folder / file.file
        link = own.with_name(f".{own.name}.link")
        try:
            link.unlink(missing_ok=True)
            os.link(twin, link)
            link.replace(own)
        except OSError:
            link.unlink(missing_ok=True)


# -- jobs in the background ------------------------------------------------------------------------------


@dataclass
class _Running:
    """A thread of this process that fetches a pack."""

    thread: threading.Thread
    stop: threading.Event
    doing: Doing


_RUNNING: dict[tuple[str, str], _Running] = {}
_RUNNING_LOCK = threading.Lock()
_LOOKING = threading.Lock()


def _key(name: str) -> tuple[str, str]:
    return str(checkpoints()), name


def start(name: str) -> ShelfItem:
    """Fetch a pack in the background; nothing happens where it is here or on its way.

    PackError or DiskFullError at once where it cannot be done.
    """
    public = catalogue().pack(name)
    if item(name).state in ("ready", "downloading"):
        return item(name)
    packs.check_place(name)
    _room_for(public.files.values())
    _write_job(name, {})
    running = _Running(threading.Thread(target=_run, args=(name,), name=f"fetch {name}", daemon=True),
                       threading.Event(), Doing("beginning", _progress(public)))
    with _RUNNING_LOCK:
        already = _RUNNING.get(_key(name))
        if not (already and already.thread.is_alive()):
            _RUNNING[_key(name)] = running
            running.thread.start()
    return item(name)


def _run(name: str) -> None:
    """The thread of a job: whatever ends it is written down for the shelf."""
    with _RUNNING_LOCK:
        running = _RUNNING[_key(name)]

    def tell(doing: Doing) -> None:
        running.doing = doing

    try:
        fetch(name, on_progress=tell, stopped=running.stop.is_set)
    except (Stopped, MetaMusicError) as end:
        _log.info("Fetching %s ended: %s", name, end)  # `fetch` has kept the reason
    except Exception as error:
        _log.exception("Fetching %s failed", name)
        _write_job(name, {"error": f"{type(error).__name__}: {error}.", "cure": "The server's log says more."})


def pause(name: str) -> ShelfItem:
    """Stop fetching a pack in this process and keep what has come; waits until it has stopped."""
    with _RUNNING_LOCK:
        running = _RUNNING.get(_key(name))
    if running and running.thread.is_alive():
        running.stop.set()
        running.thread.join(timeout=60)
    elif _held(name):
        raise PackError(f"Another process fetches {name!r}.", "Stop it there.")
    return item(name)


def remove(name: str) -> None:
    """Remove a pack and what has come of its files; PackError for `sketch` and where there is nothing."""
    job = _read_job(name) is not None
    if job:
        pause(name)
        _end_job(name)
        _drop_files(catalogue().pack(name))
    if not job or os.path.lexists(checkpoints() / name):
        packs.remove_pack(name)


def _drop_files(public: PublicPack) -> None:
    """What has come of a pack's files, besides those that another job waits for."""
    wanted = {file.key for other in catalogue().packs.values() if other.name != public.name
              and _read_job(other.name) is not None for file in other.files.values()}
    for file in public.files.values():
        if file.key not in wanted:
            forget(file, downloads_folder())


def verify(name: str) -> str:
    """Read every byte of a pack again; a sentence that all is well, or PackError saying what is not."""
    packs.sha256_of.cache_clear()
    info = packs.check(name)
    size = sum(file.bytes for file in info.files.values())
    return f"{name} is whole: {len(info.files)} files, {size / 1e6:,.0f} MB, each as its sha256 says."


def _job(name: str) -> Path:
    return downloads_folder() / f"{name}.job"


def _read_job(name: str) -> dict[str, str] | None:
    try:
        return dict(json.loads(_job(name).read_bytes()))
    except (OSError, ValueError, TypeError):
        return {} if _job(name).is_file() else None


def _write_job(name: str, values: dict[str, str]) -> None:
    make_folder(downloads_folder())
    _job(name).write_text(json.dumps(values), encoding="utf-8")


def _end_job(name: str) -> None:
    _job(name).unlink(missing_ok=True)


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """This process fetches that pack, or PackError."""
    make_folder(downloads_folder())
    lock = FileLock(downloads_folder() / f"{name}.job.lock")
    try:
        lock.acquire(timeout=1)  # whoever only looks whether it is held lets go at once
    except Timeout:
        raise PackError(f"Another process fetches {name!r} already.", "Wait for it, or stop it there.") from None
    try:
        yield
    finally:
        lock.release()


def _held(name: str) -> bool:
    """Whether some process is fetching that pack."""
    lock = FileLock(downloads_folder() / f"{name}.job.lock")
    try:
        with _LOOKING, lock.acquire(timeout=0):  # two tabs that look at once must not take each other for it
            return False
    except (Timeout, OSError):
        return True


# -- files that the user has ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Brought:
    """What became of files: a sentence for each, and for each pack that they completed; those that were refused.

    undecided: names (`bring`'s `chosen`) of what the files may be, where their content leaves it open.
    """

    said: list[str]
    refused: list[str]
    undecided: list[str]


def bring(paths: Sequence[Path], *, chosen: str = "") -> Brought:
    """Recognise files (and what lies in folders), keep those of the catalogue and make the packs that are whole now.

    chosen: a pack, or a file of the catalogue, that the user says they are, where their content leaves it
    open. PackError for a name that is unknown, for no file at all, and for a file that is refused when it is
    the only one.
    """
    if chosen and chosen not in catalogue().packs and chosen not in catalogue().files:
        catalogue().pack(chosen)
    files = _listed(paths)
    said, refused, kept, undecided = [], [], [], []
    for path in files:
        try:
            found = recognise(path)
        except PackError as error:
            if len(files) == 1:
                raise
            refused.append(str(error))
            continue
        file = _decided(found, chosen)
        said.append(_sentence(found, file))
        if file:
            keep(found, file)
            kept.append(file)
        else:
            undecided += [one.key for one in found.files]
    # On the disk names may be bytes in any encoding, and these sentences are shown.
    said, refused = ([line.encode("utf-8", "replace").decode() for line in lines] for lines in (said, refused))
    return Brought(said + _completed(kept, chosen), refused, list(dict.fromkeys(undecided)))


def _listed(paths: Sequence[Path]) -> list[Path]:
    found = []
    for path in paths:
        if not path.exists():
            raise PackError(f"There is no {path}.", "Name a file of weights, or a folder with some.")
        found += sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    if not found:
        raise PackError(f"There is no file in {', '.join(map(str, paths))}.", "Name a folder with weights in it.")
    return found


def _decided(found: Found, chosen: str) -> PublicFile | None:
    """Which file of the catalogue it is: by its hash, or by the user's word among those it may be."""
    if found.certain:
        return found.files[0]
    named = {chosen, *(file.key for file in catalogue().packs[chosen].files.values())} \
        if chosen in catalogue().packs else {chosen}
    return next((file for file in found.files if file.key in named), None)


def _sentence(found: Found, file: PublicFile | None) -> str:
    if file:
        word = "" if found.certain else f"; taken as {file.name}, as you say"
        return f"{found.path.name}: {found.words}{word}."
    if not found.files:
        return f"{found.path.name}: {found.words}; not in the catalogue. A pack of your own can be made of it."
    names = " or ".join(f"{file.key} ({_packs_with(file)})" for file in found.files)
    return (f"{found.path.name}: {found.words}. Nobody states the hash of the published file, so that its shape "
            f"proves nothing: say whether it is {names}.")


def _packs_with(file: PublicFile) -> str:
    """The titles of the packs that a file belongs to."""
    return ", ".join(pack.title for pack in catalogue().packs.values() if file in pack.files.values()) or "in no pack"


def _completed(kept: list[PublicFile], chosen: str) -> list[str]:
    """Make the packs whose last file has come; say what the others still lack."""
    said = []
    for public in catalogue().packs.values():
        own = public.vqgan or public.clip
        wanted = public.name == chosen or own in kept or (_read_job(public.name) is not None and
                                                          any(file in kept for file in public.files.values()))
        if not wanted or _ready(public.name):
            continue
        lacking = [file for role, file in public.files.items() if role not in present(public, lambda: False)]
        if lacking:
            names = ", ".join(f"{file.name} ({file.size / 1e6:,.0f} MB)" for file in lacking)
            said.append(f"{public.name} still lacks {names}; get the pack to fetch that, or bring it as well.")
        else:
            fetch(public.name)
            said.append(f"{public.name} is ready.")
    return said
