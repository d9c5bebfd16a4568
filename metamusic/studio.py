"""The verbs of MetaMusic, as pages, the command line and Python call them. No torch until something needs it.

Everything a user can mend comes as a MetaMusicError with a message and a cure, and comes here, before any
work has begun: an impossible region, a pack that is not whole, a disk that is full.
"""

import io
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

import metamusic
from db import DiskFull, PictureRow, PresetRow, RenderRow, SongRow, Store, StoreProblem
from db.workers import worker_name
from metamusic import packs
from metamusic import shelf as packs_shelf
from metamusic.effort import decoder_memory, effort, seconds_per_look
from metamusic.errors import DiskFullError, PackError, PictureError, SettingsError, SongError, StoreError
from metamusic.lyrics import parse_lyrics, read_lyrics
from metamusic.material import Material, is_digest, places, render_id_of, with_references
from metamusic.metadata import read_settings
from metamusic.phrases import format_prompts, parse_prompts, parse_weighted
from metamusic.pictures import read_picture, suffix_of
from metamusic.segments import frame_count
from metamusic.settings import BUILT_IN_PRESETS, CHECKOUT, LARGEST_SEED, RenderSettings, database_url, home
from metamusic.shelf import ShelfItem
from metamusic.song import SHORTEST_S, Analysis, analyse, hash_file, probe_song
from metamusic.story import parse_story

if TYPE_CHECKING:
    from metamusic.lyrics import Line
    from metamusic.phrases import PromptSpec
    from metamusic.plan import ExecutionPlan
    from metamusic.story import Story
    from metamusic.worker import WorkerState

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
JUDGE = "judge "  # what the versions of a render call the packs that look on, before their names
LYRICS_SUFFIXES = (".lrc", ".srt", ".csv", ".txt")
LARGEST_SIDE = 4096  # pixels of a picture that is shown to the engine
# What besides torch can change a picture: who decodes, listens, turns and looks.
LIBRARIES = ("numpy", "librosa", "kornia", "open_clip_torch", "wav2clip", "imageio-ffmpeg")
REPLAYED = ("device", "threads", "precision", "cutouts_at_once")  # of a past plan
PIXEL_CELL = 2  # px, of the canvas of raw pixels
DECODER_SHARE = 0.6  # of the memory; the rest is for CLIP, its cutouts and other programs
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
    with _on_disk(store, source, filename or "song") as path:
        return _keep_song(store, path, filename)


@contextmanager
def _on_disk(store: Store, content: bytes, filename: str) -> Iterator[Path]:
    """What was dropped, as a file for a while, called as the user calls it, because errors name it so."""
    store.files.ensure_room(len(content))
    with tempfile.TemporaryDirectory(dir=store.files.tmp) as folder:
        path = Path(folder) / (_short(Path(filename).name) or "file")
        with store.files.new_file() as written:  # says in words what keeps it from being written
            written.write_bytes(content)
            written.replace(path)
        yield path


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


# -- pictures -----------------------------------------------------------------------------------------


@store_errors()
def add_picture(store: Store, source: Path | bytes, filename: str = "") -> PictureRow:
    """Look at a picture (or a film: its last frame), refuse it (PictureError) or keep the original file.

    The same file again is the same picture.
    """
    if isinstance(source, Path):
        return _keep_picture(store, source, filename or source.name)
    if not source:
        raise PictureError(f"{filename or 'The picture'!r} is empty.", "Choose the picture again.")
    with _on_disk(store, source, filename or "picture") as path:
        return _keep_picture(store, path, filename or "picture")


def _keep_picture(store: Store, path: Path, filename: str) -> PictureRow:
    name = Path(filename).name.encode(errors="replace").decode()  # a name on disk need not be UTF-8
    suffix = suffix_of(path, name)
    digest = hash_file(path)
    if (known := store.get_picture(digest)) is not None and known.file.is_file():
        return known
    height, width = read_picture(path, name).shape[:2]
    return store.add_picture(path, digest, suffix, name, width, height)


def material_of(store: Store, settings: RenderSettings) -> Material:
    """The pictures that a render's settings name by digest, ready for the engine; PictureError if one is gone.

    Larger ones come reduced to LARGEST_SIDE pixels: no canvas is larger, and several fit into memory.
    """
    return Material({digest: _reduced(read_picture(_picture(store, digest, setting).file))
                     for digest, setting in places(settings).items()})


def _reduced(pixels: np.ndarray) -> np.ndarray:
    """A picture, uint8 [H, W, 3], with no side longer than LARGEST_SIDE."""
    if max(pixels.shape) <= LARGEST_SIDE:
        return pixels
    image = Image.fromarray(pixels)
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    return np.array(image)


def _picture(store: Store, digest: str, setting: str) -> PictureRow:
    """A kept picture by its digest; PictureError names the setting that asks for it."""
    with store_errors():
        row = store.get_picture(digest) if is_digest(digest) else None
    if row is None or not row.file.is_file():
        called = f" ({row.name!r})" if row else ""
        raise PictureError(f"The picture {digest[:12]}...{called} that {setting} names is not in this data folder.",
                           f"Give the picture's file to {setting} again, or leave it out.")
    return row


def _resolve_references(store: Store, settings: RenderSettings, paths_allowed: bool) -> RenderSettings:
    """The settings with every picture by its digest, kept in the store."""
    return with_references(settings, {reference: _found(store, reference, setting, paths_allowed)
                                      for reference, setting in places(settings).items()})


def _found(store: Store, reference: str, setting: str, paths_allowed: bool) -> str:
    """The digest of what a reference names. Who may name paths could read every picture of this machine."""
    if is_digest(reference):
        return _picture(store, reference, setting).digest
    if (render_id := render_id_of(reference)) is not None:
        return add_picture(store, _made_by(store, render_id), f"render {render_id}").digest
    if "://" in reference or reference.startswith("data:"):
        raise PictureError(f"{setting} names an address, {_shortened(reference)!r}; nothing is fetched from the "
                           "network.", "Save the picture and name its file.")
    if not paths_allowed:
        raise PictureError(f"{setting} names a file of this computer, {_shortened(reference)!r}.",
                           "Drop the picture on the page, or write #7 for what render 7 made.")
    return add_picture(store, Path(reference).expanduser()).digest


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _made_by(store: Store, render_id: int) -> Path:
    """The finished picture or film of a render, also of one in the trash."""
    row = store.get_render(render_id)
    if row is None:
        raise PictureError(f"There is no render {render_id} whose picture could be taken.",
                           "Look up its number in the gallery.")
    final = row.assets.get("final")
    if final is None or not final.file.is_file():
        raise PictureError(f"Render {render_id} has made no picture yet: it is {row.state}.",
                           "Wait until it is done, or choose another.")
    return final.file


def names_kept_pictures(settings: RenderSettings) -> bool:
    """Do the settings name a picture by what the store knows of it, a digest or a render?"""
    return any(is_digest(name) or render_id_of(name) is not None for name in places(settings))


@store_errors()
def carry_pictures(settings: RenderSettings, source: Store, target: Store) -> RenderSettings:
    """The settings with what they name of one store (digests, #7) copied into another; paths stay."""
    carried = {}
    for reference, setting in places(settings).items():
        if is_digest(reference) or render_id_of(reference) is not None:
            row = _picture(source, _found(source, reference, setting, paths_allowed=False), setting)
            carried[reference] = add_picture(target, row.file, row.name).digest
    return with_references(settings, carried)


# -- asking for a render ------------------------------------------------------------------------------


@store_errors()
def submit(store: Store, song: int | Path, settings: RenderSettings, *, title: str = "",
           submit_key: str | None = None, parent_id: int | None = None, preset: str | None = None,
           filename: str = "", claim: bool = False, paths_allowed: bool = False) -> RenderRow:
    """Put a render in the queue, after refusing whatever cannot be done.

    song: an id, or a file to keep first. submit_key: the same key again (a double click) gives the same
    render. claim: the calling process will render it itself, with `worker.run_now`. paths_allowed: settings
    may name files (pictures, lyrics, a story), relative to the current folder; never for what came over a
    network.
    """
    info = packs.check(settings.pack)
    settings = read_texts(settings, paths_allowed)
    check_wishes(settings)
    row = _song(store, song) if isinstance(song, int) else add_song(store, song, filename)
    resolved = resolve(_resolve_references(store, settings, paths_allowed), info)
    _check_region(row, resolved)
    frames = _frames(resolved, row.duration_s - resolved.start)
    store.files.ensure_room(_bytes_needed(resolved, frames))
    replayed = store.get_render(parent_id) if parent_id is not None else None
    if parent_id is None:  # what a picture goes on from is its parent, but its plan is its own
        parent_id = render_id_of(settings.init_image.strip())
    return store.add_render(
        row.id, resolved.model_dump(mode="json"), title=title or row.title, kind=resolved.kind,
        seed=resolved.seed or 0, pack=info.name, pack_digest=info.digest, versions=versions(resolved),
        parent_id=parent_id, preset=preset, submit_key=submit_key, plan=replayed.plan if replayed else None,
        work=effort(resolved, frames), worker=worker_name() if claim else None)


def resolve(settings: RenderSettings, info: packs.PackInfo) -> RenderSettings:
    """What is left open is decided now and kept: an empty seed becomes a number, init auto what suits."""
    if settings.canvas == "vqgan" and info.vqgan is None:
        raise PackError(f"Pack {info.name!r} has no VQGAN to paint with.",
                        "Choose the canvas pixels, or another pack.")
    seed = secrets.randbelow(LARGEST_SEED + 1) if settings.seed is None else settings.seed
    return settings.changed(seed=seed, init=_beginning(settings, "bank" in info.files))


def _beginning(settings: RenderSettings, bank: bool) -> str:
    """How the first picture is made; refused where it cannot be."""
    if settings.init == "auto":
        return "image" if settings.init_image.strip() else "nearest" if bank else "random"
    if settings.init == "nearest" and not bank:
        raise PackError(f"Pack {settings.pack!r} has no bank of pictures to start from.",
                        "Choose init random or smooth.")
    if settings.init == "image" and not settings.init_image.strip():
        raise SettingsError("The first picture is to be one of yours (init image), but init_image names none.",
                            "Name a picture in init_image, or choose another init.")
    if settings.init != "image" and settings.init_image.strip():
        raise SettingsError(f"init_image names a picture to start from, but init is {settings.init}.",
                            "Choose init image, or leave init_image empty.")
    return settings.init


def read_texts(settings: RenderSettings, paths_allowed: bool) -> RenderSettings:
    """Lyrics and story that are the name of a file, as what stands in it; anything else stays as it is."""
    lyrics = _text_of(settings.lyrics, LYRICS_SUFFIXES, "lyrics", paths_allowed)
    story = _text_of(settings.story, (".txt",), "story", paths_allowed)
    return settings.changed(lyrics=lyrics, story=story)


def _text_of(text: str, suffixes: tuple[str, ...], setting: str, paths_allowed: bool) -> str:
    name = text.strip()
    if "\n" in name or not name.lower().endswith(suffixes):
        return text
    if not paths_allowed:
        raise SettingsError(f"{setting} names a file of this computer, {_shortened(name)!r}.",
                            "Drop the file on the page, or paste its text.")
    path = Path(name).expanduser()
    return read_lyrics(path) if setting == "lyrics" else _read_story(path)


def _read_story(path: Path) -> str:
    """The text of a story's file; how long it may be, the setting says."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"The story {str(path)!r} cannot be read: {error.strerror}.",
                            "Check the name; it is looked for from the current folder.") from error
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(f"The story {path.name!r} is not text in UTF-8.",
                            "Save it as plain text (UTF-8) in an editor.") from error


def check_wishes(settings: RenderSettings) -> None:
    """Refuse texts that cannot be read and judges that cannot be had: SettingsError or PackError."""
    parse_prompts(settings.text)
    parse_prompts(settings.image_prompts)
    if settings.story.strip():
        parse_story(settings.story, settings.story_every, settings.story_fade)
    if settings.lyrics.strip():
        parse_lyrics(settings.lyrics)
    for seed, _ in parse_weighted(settings.noise_prompts, "noise prompt"):
        if not (seed.isascii() and seed.isdecimal() and int(seed) <= LARGEST_SEED):
            raise SettingsError(f"The noise prompt {seed!r} is not a seed, a whole number from 0 to {LARGEST_SEED}.",
                                "Write it as seed:weight, for example 7:0.5.")
    _judges(settings)


def _judges(settings: RenderSettings) -> list[packs.PackInfo]:
    """The packs that look on as well, checked; the render's own pack may be named to change its weight."""
    names = [name for name, _ in parse_weighted(settings.judges, "pack")]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"The judge {twice[0]!r} is named twice.", "Name it once, with the weight you want.")
    return [packs.check(name) for name in names if name != settings.pack]


def defaults_for(pack: str) -> dict[str, Any]:
    """Settings that suit a pack better than the general ones; {} where it says none, or is not here.

    A size that is too large for the memory of the device here is made smaller, in its own proportions.
    """
    info = next((info for info in packs.available() if info.name == pack), None)
    if info is None:
        return {}
    return {**info.defaults, **_size_that_fits(info)}


def _size_that_fits(info: packs.PackInfo) -> dict[str, int]:
    """The pack's own width and height, or the largest below it whose decoder leaves room for its judges."""
    if info.vqgan is None or not {"width", "height"} <= info.defaults.keys():
        return {}
    from metamusic.plan import device_memory

    width, height = int(info.defaults["width"]), int(info.defaults["height"])
    room = max(0, device_memory() * DECODER_SHARE - packs.memory_need(info))
    shrink = min(1.0, (room / decoder_memory(info.vqgan, width, height)) ** 0.5)
    return {"width": max(64, int(width * shrink) // 16 * 16), "height": max(64, int(height * shrink) // 16 * 16)}


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
    if past is not None:
        return Estimate(past, True)
    return Estimate(work * seconds_per_look(packs.check(settings.pack).perceptor), False)


def painted_size(settings: RenderSettings) -> tuple[int, int]:
    """Width and height as they will be painted: rounded down to the cells of the canvas."""
    cell = PIXEL_CELL if settings.canvas == "pixels" else packs.check(settings.pack).cell
    return settings.width // cell * cell, settings.height // cell * cell


def layered(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Settings put over one another, later ones win: over what suits their pack, the layers in their order.

    Who names a picture to start from means to start from it, whatever a layer below says of the start; and who
    names another start does not mean the picture of a layer below.
    """
    values: dict[str, Any] = {}
    pack = next((layer["pack"] for layer in reversed(layers) if layer.get("pack")), RenderSettings.parse({}).pack)
    for layer in (defaults_for(str(pack)), *layers):
        if layer.get("init_image") and "init" not in layer:
            values["init"] = "image"
        if "init" in layer and layer["init"] != "image" and "init_image" not in layer:
            values.pop("init_image", None)
        values |= layer
    return values


# -- once more, and what would differ -----------------------------------------------------------------


def settings_of(row: RenderRow | PresetRow) -> RenderSettings:
    """The settings of a render or a preset; SettingsError if a newer MetaMusic wrote them."""
    return RenderSettings.parse(row.settings)


def run_again(store: Store, render_id: int, *, submit_key: str | None = None) -> RenderRow:
    """The same song, settings, seed and execution plan once more."""
    past = _render(store, render_id)
    return submit(store, past.song.id, settings_of(past), title=past.title, submit_key=submit_key,
                  parent_id=past.id, preset=past.preset)


@store_errors()
def continue_from(store: Store, render_id: int) -> RenderSettings:
    """The settings of a render, to go on painting at its picture (of a film: its last frame), with a new seed."""
    past = _render(store, render_id)
    _made_by(store, render_id)
    return settings_of(past).changed(init="image", init_image=f"#{render_id}", seed=None)


@store_errors()
def settings_from(store: Store, source: Path | bytes, filename: str = "") -> RenderSettings:
    """The settings in a JSON file, or in a picture or film that MetaMusic made; SettingsError if there are none."""
    if isinstance(source, Path):
        return read_settings(source)
    with _on_disk(store, source, filename or "settings") as path:
        return read_settings(path)


def what_differs(store: Store, render_id: int) -> list[str]:
    """One sentence for each thing that keeps Run again from giving the same pixels; none if nothing does."""
    past = _render(store, render_id)
    found = [*_weights_differ(past), *judges_differ(past), *_plan_differs(past), *_libraries_differ(past),
             *_pictures_differ(store, past)]
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


def judges_differ(past: RenderRow) -> Iterator[str]:
    """One sentence for each judge of a render whose weights are not here any more, or others."""
    for key, digest in past.versions.items():
        if not key.startswith(JUDGE):
            continue
        name = key.removeprefix(JUDGE)
        try:
            if packs.check(name).digest[:16] != digest:
                yield f"The weights of judge {name!r} are others now."
        except PackError as error:
            yield str(error)


def _pictures_differ(store: Store, past: RenderRow) -> Iterator[str]:
    try:
        named = places(settings_of(past))
    except SettingsError as error:
        yield error.message
        return
    for digest, setting in named.items():
        try:
            _picture(store, digest, setting)
        except PictureError as error:
            yield error.message


def _plan_differs(past: RenderRow) -> Iterator[str]:
    from metamusic.plan import plan_differences

    if past.plan is None:
        yield "How it was computed is not known: it never began."
        return
    replayed = tuple((name, past.plan[name]) for name in REPLAYED if name in past.plan)
    for difference in plan_differences(past.plan, _plan_now(replayed)):
        yield f"{difference[0].upper()}{difference[1:]}."


@cache
def _plan_now(replayed: tuple[tuple[str, Any], ...]) -> "ExecutionPlan":
    """What replaying such a plan would come to here; asking torch takes a while, so it is asked once."""
    from metamusic.plan import choose_plan

    return choose_plan(dict(replayed))


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


def versions(settings: RenderSettings | None = None) -> dict[str, str]:
    """MetaMusic's version and commit, and those of the libraries that can change a picture (torch is in the plan).

    With settings, also which weights their judges have: "judge NAME" -> beginning of its digest.
    """
    judges = {f"{JUDGE}{info.name}": info.digest[:16] for info in _judges(settings)} if settings else {}
    return {"metamusic": metamusic.__version__, "commit": _commit(),
            **{name: _installed(name) for name in LIBRARIES}, **judges}


@cache
def _commit() -> str:
    """The git commit of the checkout this runs from, "" if it is none."""
    return commit_of(CHECKOUT)


def commit_of(checkout: Path) -> str:
    """The commit that is checked out in a folder, as git's own files tell; "" where they do not."""
    try:
        folder = checkout / ".git"
        if folder.is_file():  # a worktree, or a submodule: its git folder lies elsewhere
            folder = checkout / folder.read_text().partition("gitdir:")[2].strip()
        head = (folder / "HEAD").read_text().strip()
        return head if _COMMIT.fullmatch(head) else _commit_at(folder, head.removeprefix("ref: "))
    except (OSError, UnicodeDecodeError):
        return ""


def _commit_at(folder: Path, ref: str) -> str:
    """Where a branch stands. Worktrees share branches; old ones are packed into one file."""
    shared = folder / "commondir"
    folder = folder / shared.read_text().strip() if shared.is_file() else folder
    if (folder / ref).is_file():
        lines = [(folder / ref).read_text().strip()]
    else:
        lines = [line.split()[0] for line in (folder / "packed-refs").read_text().splitlines()
                 if line.endswith(f" {ref}")]
    return next((line for line in lines if _COMMIT.fullmatch(line)), "")


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


# -- for the form -------------------------------------------------------------------------------------


def prompts_of(line: str) -> "tuple[PromptSpec, ...]":
    """The prompts of a line: words, or references to pictures. SettingsError as `parse_prompts`."""
    return parse_prompts(line)


def prompt_line(specs: "Iterable[PromptSpec]") -> str:
    """The line that `prompts_of` reads as these."""
    return format_prompts(specs)


def lyrics_lines(text: str) -> "tuple[Line, ...]":
    """Timed lyrics line by line, times in seconds of the song; SettingsError with the number of a bad line."""
    return parse_lyrics(text) if text.strip() else ()


def lyrics_of_file(content: bytes, filename: str) -> str:
    """The lyrics in a file somebody dropped, as text; SettingsError if it holds none."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (_short(Path(filename).name) or "lyrics.txt")
        path.write_bytes(content)
        return read_lyrics(path)


def story_of(text: str, every_s: float, fade_s: float) -> "Story":
    """A story's scenes; SettingsError with the number of a bad line."""
    return parse_story(text, every_s, fade_s)


@lru_cache(maxsize=128)
def thumbnail(file: Path, side: int = 192) -> bytes:
    """A kept picture, at most `side` pixels wide and high, as WebP; PictureError if it cannot be read."""
    small, buffer = Image.fromarray(read_picture(file)), io.BytesIO()
    small.thumbnail((side, side))
    small.save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


def packs_folder() -> tuple[Path, int]:
    """The folder of all packs, and how many bytes are free on its disk."""
    folder = packs.checkpoints()
    there = next(place for place in (folder, *folder.parents) if place.is_dir())
    return folder, shutil.disk_usage(there).free


def make_pack(name: str, files: Mapping[str, Path], **said: str | None) -> str:
    """Make a pack of one's own weights; a sentence when it is ready, PackError where it cannot be.

    files: role -> path; vqgan, vqgan_config, clip, wav2clip, as far as there are any. said: what the files do
    not prove, as `conversion.import_pack` takes it: clip_model, space, title, licence.
    """
    from metamusic.conversion import import_pack

    given: dict[str, Any] = {**files, **said}
    info = import_pack(name, **given)
    return f"{info.name} is ready, space {info.space}."


# -- packs --------------------------------------------------------------------------------------------


def shelf() -> list[ShelfItem]:
    """Every pack that is here or in the catalogue, the usable ones first; cheap enough to ask each second."""
    return packs_shelf.items()


def get_pack(name: str) -> ShelfItem:
    """Begin to fetch a pack in the background, or go on after a pause; PackError or DiskFullError at once
    where it cannot be done. The shelf tells how far it is."""
    return packs_shelf.start(name)


def pause_pack(name: str) -> ShelfItem:
    """Stop fetching and keep what has come; `get_pack` goes on from there."""
    return packs_shelf.pause(name)


def remove_pack(name: str) -> None:
    """Remove a pack's folder and what has come of its files; MetaMusic's own sketch pack is refused."""
    packs_shelf.remove(name)


def verify_pack(name: str) -> str:
    """Read every byte of a pack again; a sentence that all is well, or PackError saying what is not."""
    return packs_shelf.verify(name)


def import_pack_files(paths: Sequence[Path], *, chosen: str = "") -> list[str]:
    """Recognise weights by their content and complete the packs of the catalogue that they belong to; one
    sentence for each file. `chosen`: the pack they are said to be of, where content leaves it open."""
    brought = packs_shelf.bring(paths, chosen=chosen)
    return [*brought.said, *brought.refused]
