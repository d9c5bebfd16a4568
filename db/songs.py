"""Verbs about songs."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from db.base import Verbs, insert_once
from db.models import Song
from db.rows import SongRow


class Songs(Verbs):
    """Songs come in once: the same file given again is the same row."""

    def add_song(self, path: Path, digest: str, title: str, duration_s: float,
                 notes: Iterable[str] = ()) -> SongRow:
        """Copy a file into the store, or find it there already."""
        if (known := self.find_song(digest)) is not None and known.file.is_file():
            return known
        suffix = path.suffix.lower()[:16]
        digest = self.files.put(path, suffix)  # of what was copied: the file may have changed since
        with self.sessions.write() as session:
            insert_once(session, Song, {"digest": digest, "suffix": suffix, "title": title,
                                        "duration_s": duration_s, "notes": list(notes)}, renewed=("suffix",))
            return self.song_row(session.scalars(select(Song).where(Song.digest == digest)).one())

    def set_analysis(self, song_id: int, analysis: dict[str, Any]) -> None:
        """Keep what listening found out, so that it is computed once."""
        with self.sessions.write() as session:
            session.execute(update(Song).where(Song.id == song_id).values(analysis=analysis))

    def get_song(self, song_id: int) -> SongRow | None:
        """One song, or None."""
        with self.sessions.read() as session:
            song = session.get(Song, song_id)
            return self.song_row(song) if song else None

    def find_song(self, digest: str) -> SongRow | None:
        """The song with this content, or None."""
        with self.sessions.read() as session:
            song = session.scalar(select(Song).where(Song.digest == digest))
            return self.song_row(song) if song else None

    def list_songs(self) -> list[SongRow]:
        """All songs, the newest first."""
        with self.sessions.read() as session:
            newest = select(Song).order_by(Song.created_at.desc(), Song.id.desc())
            return [self.song_row(song) for song in session.scalars(newest)]
