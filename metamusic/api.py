"""MetaMusic as Python: a song in, a picture or a film out, kept in the store like any other render.

Settings that name files (pictures, lyrics, a story) name them from the current folder.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from db import RenderRow, Store
from metamusic import studio
from metamusic.errors import MetaMusicError, SettingsError
from metamusic.events import Event
from metamusic.metadata import check_fits_jpeg, read_record, to_jpeg, write_sidecar
from metamusic.settings import RenderSettings

Listener = Callable[[Event], None]
JPEG = (".jpg", ".jpeg")
SUFFIXES = {"image": (".png", *JPEG), "video": (".mp4",)}


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
                   on_event: Listener | None = None, sidecar: bool = False, **settings: Any) -> Result:
    """Paint one picture of a song, as PNG or (by the output's name) JPEG.

    settings: fields of RenderSettings; what is left out is as suits the pack. keep=False: nothing enters the
    store. sidecar: write the record beside the output, too, as picture.json.
    Raises MetaMusicError with a cure for whatever a caller can mend.
    """
    return generate(song, output, _settings("image", settings), keep, on_event, sidecar)


def generate_video(song: str | Path, output: str | Path = "video.mp4", *, keep: bool = True,
                   on_event: Listener | None = None, sidecar: bool = False, **settings: Any) -> Result:
    """Paint a film (MP4, with sound) of a song; otherwise as `generate_image`."""
    return generate(song, output, _settings("video", settings), keep, on_event, sidecar)


def _settings(kind: str, values: dict[str, Any]) -> RenderSettings:
    """What a caller says, over what suits the pack."""
    values = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    return RenderSettings.parse({**studio.layered(values), "kind": kind})


def generate(song: str | Path, output: str | Path, settings: RenderSettings, keep: bool = True,
             on_event: Listener | None = None, sidecar: bool = False, settings_file: Path | None = None) -> Result:
    """Submit, render in this process, copy the result to `output`.

    settings_file: where the settings come from, if from a file; like the song and what they name, it is not written
    over.
    """
    from metamusic.worker import run_now

    song = studio.path_of(song, "The song")
    inputs = {song: "song", **({settings_file: "settings"} if settings_file else {}), **studio.named_files(settings)}
    output = check_output(output, settings.kind, sidecar, inputs)
    settings = studio.read_texts(settings, paths_allowed=True)
    if output.suffix.lower() in JPEG:
        check_fits_jpeg(settings)
    with _store(keep) as store:
        if not keep:
            settings = _with_kept_pictures(settings, store)
        queued = studio.submit(store, song, settings, title=song.stem, filename=song.name, claim=True,
                               paths_allowed=True)
        row = run_now(store, queued.id, on_event=on_event)
        return _deliver(row, output, keep, sidecar)


def _with_kept_pictures(settings: RenderSettings, store: Store) -> RenderSettings:
    """`#7` and digests mean what is in the data folder, also for a render that does not enter it."""
    if not studio.names_kept_pictures(settings):
        return settings
    kept = studio.open_store()
    try:
        return studio.carry_pictures(settings, kept, store)
    finally:
        kept.close()


def check_output(output: str | Path, kind: str, sidecar: bool = False,
                 inputs: Mapping[Path, str] = MappingProxyType({})) -> Path:
    """The output path as absolute; SettingsError if it or its sidecar cannot be written, before anything is computed.

    inputs: files that must not be written over, and what each of them is.
    """
    output = studio.path_of(output, "The output").absolute()
    if output.suffix.lower() not in SUFFIXES[kind]:
        *others, last = SUFFIXES[kind]
        endings = f"{', '.join(others)} or {last}" if others else last
        raise SettingsError(f"The output {output.name!r} does not end in {endings}.",
                            f"A {'picture' if kind == 'image' else kind} is written as {endings}; name it so.")
    if not output.parent.is_dir():
        raise SettingsError(f"The folder {str(output.parent)!r} does not exist.", "Create it, or choose another.")
    if not os.access(output.parent, os.W_OK):
        raise SettingsError(f"Nothing can be written into {str(output.parent)!r}.", "Choose another folder.")
    _check_free(output, "output", inputs)
    if sidecar:
        _check_free(_sidecar_of(output), "sidecar", inputs)
    return output


def _sidecar_of(output: Path) -> Path:
    return output.with_suffix(".json")


def _check_free(path: Path, called: str, inputs: Mapping[Path, str]) -> None:
    """SettingsError for a folder, and for what would be lost if this were written."""
    if path.is_dir():
        raise SettingsError(f"The {called} {str(path)!r} is a folder.", "Name a file.")
    for file, what in inputs.items():
        if os.path.exists(path) and os.path.exists(file) and os.path.samefile(path, file):
            raise SettingsError(f"The {called} {str(path)!r} would be written over a file it is made from ({what}).",
                                "Give the output another name.")


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


def _deliver(row: RenderRow, output: Path, keep: bool, sidecar: bool) -> Result:
    """Copy the finished file to where it was asked for, never half of it."""
    if row.state != "done" or "final" not in row.assets:
        raise MetaMusicError(row.error or f"The render ended as {row.state}.", row.cure or "")
    final = row.assets["final"].file
    with _told(output, f"It is kept as render {row.id}." if keep else "Choose another place."):
        _copy(final, output)
    if sidecar:
        with _told(_sidecar_of(output), f"What was painted is in {str(output)!r}, its settings inside."):
            write_sidecar(_sidecar_of(output), read_record(final) or {})
    return Result(output, studio.settings_of(row), dict(row.scores or {}), tuple(row.notes),
                  row.id if keep else None, row.seconds or 0.0)


@contextmanager
def _told(path: Path, cure: str) -> Iterator[None]:
    """What keeps a file from being written, as a MetaMusicError."""
    try:
        yield
    except OSError as error:
        raise MetaMusicError(f"{str(path)!r} could not be written: {error.strerror}.", cure) from error


def _copy(final: Path, output: Path) -> None:
    """The finished file under the name that was asked for, as JPEG if that says so."""
    if output.suffix.lower() in JPEG:
        to_jpeg(final, output)
        return
    partial = output.with_name(f".{output.name}.partial")
    try:
        shutil.copyfile(final, partial)
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
