"""Songs: kept by their content, listened to once."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db import SongRow, Store
from metamusic.errors import SongError
from metamusic.song import Analysis, analyse, hash_file, probe_song
from metamusic.studio.opening import store_errors

LONGEST_NAME = 120  # bytes; file systems take 255, some that encrypt 143


@store_errors()
def add_song(store: Store, source: Path | bytes, filename: str = "") -> SongRow:
    """Look at a file, refuse it (SongError) or keep it; the same file again is the same song."""
    if isinstance(source, Path):
        return _keep_song(store, source, filename or source.name)
    with on_disk(store, source, filename or "song") as path:
        return _keep_song(store, path, filename)


@contextmanager
def on_disk(store: Store, content: bytes, filename: str) -> Iterator[Path]:
    """What was dropped, as a file for a while, called as the user calls it, because errors name it so."""
    store.files.ensure_room(len(content))
    with tempfile.TemporaryDirectory(dir=store.files.tmp) as folder:
        path = Path(folder) / (short_name(Path(filename).name) or "file")
        with store.files.new_file() as written:  # says in words what keeps it from being written
            written.write_bytes(content)
            written.replace(path)
        yield path


def short_name(name: str) -> str:
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
    row = song_row(store, song_id)
    if row.analysis is not None:
        try:
            return Analysis.from_dict(row.analysis)
        except SongError:
            pass  # another version kept other things: listen again
    found = analyse(row.file)
    store.set_analysis(song_id, found.to_dict())
    return found


def song_row(store: Store, song_id: int) -> SongRow:
    row = store.get_song(song_id)
    if row is None:
        raise SongError(f"There is no song {song_id} in the store.",
                        "Choose another, or drop the file again.")
    if not row.file.is_file():
        raise SongError(f"The file of {row.title!r} is missing from the data folder.", "Drop the song again.")
    return row
