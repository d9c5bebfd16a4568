"""MetaMusic as Python: a song in, a picture or a film out, kept in the store like any other render."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db import RenderRow, Store
from metamusic import studio
from metamusic.errors import MetaMusicError, SettingsError
from metamusic.events import Event
from metamusic.settings import RenderSettings

Listener = Callable[[Event], None]
SUFFIXES = {"image": ".png", "video": ".mp4"}


@dataclass(frozen=True)
class Result:
    """What came out: the file, the settings as resolved (seed included), and the render in the store."""

    path: Path
    settings: RenderSettings
    scores: dict[str, float]
    notes: tuple[str, ...]
    render_id: int | None
    seconds: float


def generate_image(song: str | Path, output: str | Path = "picture.png", *, keep: bool = True,
                   on_event: Listener | None = None, **settings: Any) -> Result:
    """Paint one picture (PNG) of a song; `settings` are fields of RenderSettings.

    Raises MetaMusicError with a cure for whatever a caller can mend. With keep=False nothing enters
    the store.
    """
    return generate(song, output, RenderSettings.parse({**settings, "kind": "image"}), keep, on_event)


def generate_video(song: str | Path, output: str | Path = "video.mp4", *, keep: bool = True,
                   on_event: Listener | None = None, **settings: Any) -> Result:
    """Paint a film (MP4, with sound) of a song; otherwise as `generate_image`."""
    return generate(song, output, RenderSettings.parse({**settings, "kind": "video"}), keep, on_event)


def generate(song: str | Path, output: str | Path, settings: RenderSettings, keep: bool = True,
             on_event: Listener | None = None) -> Result:
    """Submit, render in this process, copy the result to `output`."""
    from metamusic.worker import run_now

    song, output = Path(song), check_output(Path(output), settings.kind)
    with _store(keep) as store:
        queued = studio.submit(store, song, settings, title=song.stem, filename=song.name, claim=True)
        row = run_now(store, queued.id, on_event=on_event)
        return _deliver(row, output, keep)


def check_output(output: Path, kind: str) -> Path:
    """The output path as absolute; SettingsError if it cannot be written, before anything is computed."""
    output = output.expanduser().absolute()
    if output.suffix.lower() != SUFFIXES[kind]:
        raise SettingsError(f"The output {output.name!r} does not end in {SUFFIXES[kind]}.",
                            f"A {kind} is written as {SUFFIXES[kind]}; name it so.")
    if not output.parent.is_dir():
        raise SettingsError(f"The folder {str(output.parent)!r} does not exist.", "Create it, or choose another.")
    if not os.access(output.parent, os.W_OK):
        raise SettingsError(f"Nothing can be written into {str(output.parent)!r}.", "Choose another folder.")
    if output.is_dir():
        raise SettingsError(f"The output {str(output)!r} is a folder.", "Name a file.")
    return output


@contextmanager
def _store(keep: bool) -> Iterator[Store]:
    if keep:
        yield studio.open_store()
        return
    with tempfile.TemporaryDirectory(prefix="metamusic-") as folder:
        store = Store.open(Path(folder))
        try:
            yield store
        finally:
            store.close()


def _deliver(row: RenderRow, output: Path, keep: bool) -> Result:
    """Copy the finished file to where it was asked for, never half of it."""
    if row.state != "done" or "final" not in row.assets:
        raise MetaMusicError(row.error or f"The render ended as {row.state}.", row.cure or "")
    partial = output.with_name(f".{output.name}.partial")
    try:
        shutil.copyfile(row.assets["final"].file, partial)
        partial.replace(output)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise MetaMusicError(f"{str(output)!r} could not be written: {error.strerror}.",
                             f"It is kept as render {row.id}." if keep else "Choose another place.") from error
    return Result(output, studio.settings_of(row), dict(row.scores or {}), tuple(row.notes),
                  row.id if keep else None, row.seconds or 0.0)
