"""Asking for a render: whatever cannot be done is refused here, before any work has begun."""

import secrets
from pathlib import Path

from db import RenderRow, SongRow, Store
from db.workers import worker_name
from metamusic import packs
from metamusic.effort import effort
from metamusic.errors import PackError, SettingsError, SongError
from metamusic.lyrics import parse_lyrics
from metamusic.material import render_id_of
from metamusic.phrases import parse_prompts, parse_seeds
from metamusic.segments import frame_count
from metamusic.settings import LARGEST_SEED, RenderSettings
from metamusic.song import SHORTEST_S
from metamusic.story import parse_story
from metamusic.studio.library import add_song, song_row
from metamusic.studio.opening import store_errors
from metamusic.studio.pictures import resolve_references
from metamusic.studio.texts import read_texts
from metamusic.studio.versions import judge_packs, versions

STILL_BYTES = 20_000_000  # room that a picture, its previews and checkpoints take
BYTES_PER_PIXEL = 0.5  # of film, twice: in chunks and joined


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
    row = song_row(store, song) if isinstance(song, int) else add_song(store, song, filename)
    resolved = resolve(resolve_references(store, settings, paths_allowed), info)
    _check_region(row, resolved)
    frames = frames_of(resolved, row.duration_s - resolved.start)
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


def check_wishes(settings: RenderSettings) -> None:
    """Refuse texts that cannot be read and judges that cannot be had: SettingsError or PackError."""
    parse_prompts(settings.text)
    parse_prompts(settings.image_prompts)
    if settings.story.strip():
        parse_story(settings.story, settings.story_every, settings.story_fade)
    if settings.lyrics.strip():
        parse_lyrics(settings.lyrics)
    parse_seeds(settings.noise_prompts)
    judge_packs(settings)


def _check_region(row: SongRow, settings: RenderSettings) -> None:
    left = row.duration_s - settings.start
    if left < SHORTEST_S:
        latest = max(0.0, row.duration_s - SHORTEST_S)
        raise SongError(f"{row.title!r} is {row.duration_s:.1f} s long; it cannot begin at "
                        f"{settings.start:.1f} s.", f"Choose a start of at most {latest:.1f} s.")


def frames_of(settings: RenderSettings, seconds: float) -> int:
    if settings.kind == "image":
        return 1
    return frame_count(min(seconds, settings.duration or seconds), settings.fps)


def _bytes_needed(settings: RenderSettings, frames: int) -> int:
    film = 0 if settings.kind == "image" else frames * settings.width * settings.height * BYTES_PER_PIXEL
    return STILL_BYTES + int(film)
