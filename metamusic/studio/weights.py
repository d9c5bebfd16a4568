"""Packs of weights: what is here, what can be had, what somebody brings."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metamusic import packs
from metamusic import shelf as packs_shelf
from metamusic.shelf import ShelfItem


def packs_folder() -> tuple[Path, int]:
    """The folder of all packs, and how many bytes are free on its disk."""
    folder = packs.checkpoints()
    there = next(place for place in (folder, *folder.parents) if place.is_dir())
    return folder, shutil.disk_usage(there).free


def make_pack(name: str, files: Mapping[str, Path], **said: str | None) -> str:
    """Make a pack of one's own weights; a sentence when it is ready, PackError where it cannot be.

    files: role -> path; vqgan, vqgan_config, clip, wav2clip, as far as there are any. said: what the files do
    not prove, as `conversion.import_pack` takes it: clip_model, space, title, licence. A name of the catalogue is
    refused: one's own weights would pass for the published ones.
    """
    from metamusic.conversion import import_pack

    given: dict[str, Any] = {**files, **said}
    info = import_pack(name, **given)
    return f"{info.name} is ready, space {info.space}."


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
