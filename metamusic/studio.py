"""The verbs of MetaMusic, as pages, the command line and Python call them. No torch until something needs it.

Everything a user can mend comes as a MetaMusicError with a message and a cure, and comes here, before any
work has begun: an impossible region, a pack that is not whole, a disk that is full.
"""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import metamusic
from db import DiskFull, PresetRow, RenderRow, SongRow, Store, StoreProblem
from db.workers import worker_name
from metamusic import packs
from metamusic.effort import SECONDS_PER_LOOK, effort
from metamusic.errors import DiskFullError, PackError, SettingsError, SongError, StoreError
from metamusic.phrases import parse_prompts
from metamusic.segments import frame_count
from metamusic.settings import BUILT_IN_PRESETS, LARGEST_SEED, RenderSettings, database_url, home
from metamusic.song import SHORTEST_S, Analysis, analyse, hash_file, probe_song

if TYPE_CHECKING:
    from metamusic.plan import ExecutionPlan
    from metamusic.worker import WorkerState

# What besides torch can change a picture: who decodes, listens, turns and looks.
LIBRARIES = ("numpy", "librosa", "kornia", "open_clip_torch", "wav2clip", "imageio-ffmpeg")
STILL_BYTES = 20_000_000  # room that a picture, its previews and checkpoints take
LONGEST_NAME = 120  # bytes; file systems take 255, some that encrypt 143
BYTES_PER_PIXEL = 0.5  # of film, twice: in chunks and joined


@dataclass(frozen=True)
class Estimate:
    """How long a render will take; `measured` if past renders of this machine say so."""

    seconds: float
    measured: bool


@contextmanager
def store_errors() -> Iterator[None]:
    """The store's complaints, as the errors that everybody here shows."""
    try:
        yield
    except DiskFull as error:
        raise DiskFullError(error.message, error.cure) from error
    except StoreProblem as error:
        raise StoreError(error.message, error.cure) from error


@store_errors()
def open_store() -> Store:
    """The store in the data folder that METAMUSIC_HOME and METAMUSIC_DATABASE_URL name."""
    return Store.open(home(), database_url())


# -- songs --------------------------------------------------------------------------------------------


@store_errors()
def add_song(store: Store, source: Path | bytes, filename: str = "") -> SongRow:
    """Look at a file, refuse it (SongError) or keep it; the same file again is the same song."""
    if isinstance(source, Path):
        return _keep_song(store, source, filename or source.name)
    store.files.ensure_room(len(source))
    with tempfile.TemporaryDirectory(dir=store.files.tmp) as folder:
        path = Path(folder) / (_short(Path(filename).name) or "song")  # errors name the file as the user did
        with store.files.new_file() as written:  # says in words what keeps it from being written
            written.write_bytes(source)
            written.replace(path)
        return _keep_song(store, path, filename)


def _short(name: str) -> str:
    """The end of a file name, suffix included: file systems count bytes, and a letter may take four."""
    return name.encode(errors="replace")[-LONGEST_NAME:].decode(errors="ignore")


def _keep_song(store: Store, path: Path, filename: str) -> SongRow:
    digest = hash_file(path)
    if (known := store.find_song(digest)) is not None and known.file.is_file():
        return known
    facts = probe_song(path)
    title = Path(filename).stem.encode(errors="replace").decode()  # a name on disk need not be UTF-8
    return store.add_song(path, digest, title or "Song", facts.duration_s, facts.notes)


@store_errors()
def demo_song(store: Store) -> SongRow:
    """The song of a first run, composed by the sketch pack's own band."""
    from metamusic.sketch.demo import TITLE, write_demo

    known = next((row for row in store.list_songs() if row.title == TITLE and row.file.is_file()), None)
    if known is not None:
        return known
    with tempfile.TemporaryDirectory(dir=store.files.tmp) as folder:
        path = Path(folder) / f"{TITLE}.wav"
        write_demo(path)
        return _keep_song(store, path, path.name)


@store_errors()
def analysis(store: Store, song_id: int) -> Analysis:
    """Beats, loudness and peaks of a song; computed once (it takes seconds) and kept with it."""
    row = _song(store, song_id)
    if row.analysis is not None:
        try:
            return Analysis.from_dict(row.analysis)
        except SongError:
            pass  # another version kept other things: listen again
    found = analyse(row.file)
    store.set_analysis(song_id, found.to_dict())
    return found


def _song(store: Store, song_id: int) -> SongRow:
    row = store.get_song(song_id)
    if row is None:
        raise SongError(f"There is no song {song_id} in the store.",
                        "Choose another, or drop the file again.")
    if not row.file.is_file():
        raise SongError(f"The file of {row.title!r} is missing from the data folder.", "Drop the song again.")
    return row


# -- asking for a render ------------------------------------------------------------------------------


@store_errors()
def submit(store: Store, song: int | Path, settings: RenderSettings, *, title: str = "",
           submit_key: str | None = None, parent_id: int | None = None, preset: str | None = None,
           filename: str = "", claim: bool = False) -> RenderRow:
    """Put a render in the queue, after refusing whatever cannot be done.

    song: an id, or a file to keep first. submit_key: the same key again (a double click) gives the same
    render. claim: the calling process will render it itself, with `worker.run_now`.
    """
    info = packs.check(settings.pack)
    row = _song(store, song) if isinstance(song, int) else add_song(store, song, filename)
    resolved = resolve(settings, info)
    _check_region(row, resolved)
    parse_prompts(resolved.text)
    frames = _frames(resolved, row.duration_s - resolved.start)
    store.files.ensure_room(_bytes_needed(resolved, frames))
    parent = store.get_render(parent_id) if parent_id is not None else None
    return store.add_render(
        row.id, resolved.model_dump(mode="json"), title=title or row.title, kind=resolved.kind,
        seed=resolved.seed or 0, pack=info.name, pack_digest=info.digest, versions=versions(),
        parent_id=parent_id, preset=preset, submit_key=submit_key, plan=parent.plan if parent else None,
        work=effort(resolved, frames), worker=worker_name() if claim else None)


def resolve(settings: RenderSettings, info: packs.PackInfo) -> RenderSettings:
    """What is left open is decided now and kept: an empty seed becomes a number, init auto what suits."""
    if settings.canvas == "vqgan" and info.vqgan is None:
        raise PackError(f"Pack {info.name!r} has no VQGAN to paint with.",
                        "Choose the canvas pixels, or another pack.")
    bank = "bank" in info.files
    if settings.init == "nearest" and not bank:
        raise PackError(f"Pack {info.name!r} has no bank of pictures to start from.",
                        "Choose init random or smooth.")
    seed = secrets.randbelow(LARGEST_SEED + 1) if settings.seed is None else settings.seed
    init = ("nearest" if bank else "random") if settings.init == "auto" else settings.init
    return settings.changed(seed=seed, init=init)


def _check_region(row: SongRow, settings: RenderSettings) -> None:
    left = row.duration_s - settings.start
    if left < SHORTEST_S:
        latest = max(0.0, row.duration_s - SHORTEST_S)
        raise SongError(f"{row.title!r} is {row.duration_s:.1f} s long; it cannot begin at "
                        f"{settings.start:.1f} s.", f"Choose a start of at most {latest:.1f} s.")


def _frames(settings: RenderSettings, seconds: float) -> int:
    if settings.kind == "image":
        return 1
    return frame_count(min(seconds, settings.duration or seconds), settings.fps)


def _bytes_needed(settings: RenderSettings, frames: int) -> int:
    film = 0 if settings.kind == "image" else frames * settings.width * settings.height * BYTES_PER_PIXEL
    return STILL_BYTES + int(film)


def estimate(store: Store, settings: RenderSettings, song_s: float) -> Estimate:
    """How long it will take to paint `song_s` seconds of song (or the settings' duration, if less)."""
    work = effort(settings, _frames(settings, song_s))
    with store_errors():
        past = store.typical_seconds(settings.kind, settings.pack, work)
    return Estimate(past, True) if past is not None else Estimate(work * SECONDS_PER_LOOK, False)


# -- once more, and what would differ -----------------------------------------------------------------


def settings_of(row: RenderRow | PresetRow) -> RenderSettings:
    """The settings of a render or a preset; SettingsError if a newer MetaMusic wrote them."""
    return RenderSettings.parse(row.settings)


def run_again(store: Store, render_id: int, *, submit_key: str | None = None) -> RenderRow:
    """The same song, settings, seed and execution plan once more."""
    past = _render(store, render_id)
    return submit(store, past.song.id, settings_of(past), title=past.title, submit_key=submit_key,
                  parent_id=past.id, preset=past.preset)


def what_differs(store: Store, render_id: int) -> list[str]:
    """One sentence for each thing that keeps Run again from giving the same pixels; none if nothing does."""
    past = _render(store, render_id)
    found = [*_weights_differ(past), *_plan_differs(past), *_libraries_differ(past)]
    return found if past.song.file.is_file() else [*found, "The song's file is missing."]


def _render(store: Store, render_id: int) -> RenderRow:
    with store_errors():
        row = store.get_render(render_id)
    if row is None:
        raise StoreError(f"There is no render {render_id}.", "It may have been made in another data folder.")
    return row


def _weights_differ(past: RenderRow) -> Iterator[str]:
    try:
        same = packs.check(past.pack).digest == past.pack_digest
    except PackError as error:
        yield str(error)
        return
    if not same:
        yield f"The weights of pack {past.pack!r} are others now."


def _plan_differs(past: RenderRow) -> Iterator[str]:
    from metamusic.plan import plan_differences

    if past.plan is None:
        yield "How it was computed is not known: it never began."
        return
    for difference in plan_differences(past.plan, _plan_now(past.plan["device"], past.plan["threads"])):
        yield f"{difference[0].upper()}{difference[1:]}."


@cache
def _plan_now(device: str, threads: int) -> "ExecutionPlan":
    """What replaying such a plan would come to here; asking torch takes a while, so it is asked once."""
    from metamusic.plan import choose_plan

    return choose_plan({"device": device, "threads": threads})


def _libraries_differ(past: RenderRow) -> Iterator[str]:
    now = versions()
    for name in LIBRARIES:
        if name in past.versions and past.versions[name] != now[name]:
            yield f"{name}: {past.versions[name]} then, {now[name]} now."


@cache
def _installed(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


def versions() -> dict[str, str]:
    """MetaMusic's version and those of the libraries that can change a picture (torch is in the plan)."""
    return {"metamusic": metamusic.__version__, **{name: _installed(name) for name in LIBRARIES}}


# -- presets ------------------------------------------------------------------------------------------


def presets(store: Store) -> dict[str, RenderSettings]:
    """Draft, Standard and Fine, then the team's own by name; `unreadable_presets` are left out."""
    found = {name: RenderSettings.parse(values) for name, values in BUILT_IN_PRESETS.items()}
    for row in _preset_rows(store):
        try:
            found[row.name] = settings_of(row)
        except SettingsError:
            continue
    return found


def unreadable_presets(store: Store) -> dict[str, SettingsError]:
    """Presets that this MetaMusic cannot read, and why: a newer one has written them. They stay kept."""
    found = {}
    for row in _preset_rows(store):
        try:
            settings_of(row)
        except SettingsError as error:
            found[row.name] = error
    return found


def _preset_rows(store: Store) -> list[PresetRow]:
    with store_errors():
        return store.list_presets()


@store_errors()
def save_preset(store: Store, name: str, settings: RenderSettings) -> PresetRow:
    """Keep settings under a name; the same name again replaces them."""
    if name.strip() in BUILT_IN_PRESETS:
        raise SettingsError(f"{name.strip()!r} is one of MetaMusic's own presets.", "Give it another name.")
    return store.save_preset(name, settings.model_dump(mode="json"))


@store_errors()
def delete_preset(store: Store, name: str) -> None:
    """Forget a preset of the team."""
    store.delete_preset(name)


# -- what becomes of a render -------------------------------------------------------------------------


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


# -- the worker ---------------------------------------------------------------------------------------


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

