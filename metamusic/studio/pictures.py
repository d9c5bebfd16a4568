"""Pictures that settings name: kept by their content, found again by digest or by render."""

import io
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from db import PictureRow, Store
from metamusic.errors import PictureError
from metamusic.material import Material, is_digest, places, render_id_of, with_references
from metamusic.pictures import read_picture, suffix_of
from metamusic.settings import RenderSettings
from metamusic.song import hash_file
from metamusic.studio.library import on_disk
from metamusic.studio.opening import store_errors
from metamusic.studio.paths import path_of, shortened

LARGEST_SIDE = 4096  # pixels of a picture that is shown to the engine


@store_errors()
def add_picture(store: Store, source: Path | bytes, filename: str = "") -> PictureRow:
    """Look at a picture (or a film: its last frame), refuse it (PictureError) or keep the original file.

    The same file again is the same picture.
    """
    if isinstance(source, Path):
        return _keep_picture(store, source, filename or source.name)
    if not source:
        raise PictureError(f"{filename or 'The picture'!r} is empty.", "Choose the picture again.")
    with on_disk(store, source, filename or "picture") as path:
        return _keep_picture(store, path, filename or "picture")


def _keep_picture(store: Store, path: Path, filename: str) -> PictureRow:
    name = Path(filename).name.encode(errors="replace").decode()  # a name on disk need not be UTF-8
    suffix = suffix_of(path, name)
    digest = hash_file(path)
    if (known := store.get_picture(digest)) is not None and known.file.is_file():
        return store.add_picture(path, digest, suffix, name, known.width, known.height)  # young again for the sweep
    height, width = read_picture(path, name).shape[:2]
    return store.add_picture(path, digest, suffix, name, width, height)


def material_of(store: Store, settings: RenderSettings) -> Material:
    """The pictures that a render's settings name by digest, ready for the engine; PictureError if one is gone.

    Larger ones come reduced to LARGEST_SIDE pixels: no canvas is larger, and several fit into memory.
    """
    return Material({digest: _reduced(read_picture(picture_row(store, digest, setting).file))
                     for digest, setting in places(settings).items()})


def _reduced(pixels: np.ndarray) -> np.ndarray:
    """A picture, uint8 [H, W, 3], with no side longer than LARGEST_SIDE."""
    if max(pixels.shape) <= LARGEST_SIDE:
        return pixels
    image = Image.fromarray(pixels)
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    return np.array(image)


def picture_row(store: Store, digest: str, setting: str) -> PictureRow:
    """A kept picture by its digest; PictureError names the setting that asks for it."""
    with store_errors():
        row = store.get_picture(digest) if is_digest(digest) else None
    if row is None or not row.file.is_file():
        called = f" ({row.name!r})" if row else ""
        raise PictureError(f"The picture {digest[:12]}...{called} that {setting} names is not in this data folder.",
                           f"Give the picture's file to {setting} again, or leave it out.")
    return row


def resolve_references(store: Store, settings: RenderSettings, paths_allowed: bool) -> RenderSettings:
    """The settings with every picture by its digest, kept in the store."""
    return with_references(settings, {reference: _found(store, reference, setting, paths_allowed)
                                      for reference, setting in places(settings).items()})


def _found(store: Store, reference: str, setting: str, paths_allowed: bool) -> str:
    """The digest of what a reference names. Who may name paths could read every picture of this machine."""
    if is_digest(reference):
        return picture_row(store, reference, setting).digest
    if (render_id := render_id_of(reference)) is not None:
        return add_picture(store, _made_by(store, render_id), f"render {render_id}").digest
    if "://" in reference or reference.startswith("data:"):
        raise PictureError(f"{setting} names an address, {shortened(reference)!r}; nothing is fetched from the "
                           "network.", "Save the picture and name its file.")
    if not paths_allowed:
        raise PictureError(f"{setting} names a file of this computer, {shortened(reference)!r}.",
                           "Drop the picture on the page, or write #7 for what render 7 made.")
    return add_picture(store, path_of(reference, setting)).digest


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
            row = picture_row(source, _found(source, reference, setting, paths_allowed=False), setting)
            carried[reference] = add_picture(target, row.file, row.name).digest
    return with_references(settings, carried)


@lru_cache(maxsize=128)
def thumbnail(file: Path, side: int = 192) -> bytes:
    """A kept picture, at most `side` pixels wide and high, as WebP; PictureError if it cannot be read."""
    small, buffer = Image.fromarray(read_picture(file)), io.BytesIO()
    small.thumbnail((side, side))
    small.save(buffer, "WEBP", quality=80)
    return buffer.getvalue()
