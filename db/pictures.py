"""Verbs about the pictures that people bring."""

import os
import re
from datetime import timedelta
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from db.base import Verbs, insert_once
from db.models import Picture, Preset, Render, now
from db.rows import PictureRow

KEPT_FOR = timedelta(days=7)  # what nobody renders with; a form may still hold what was dropped today
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Pictures(Verbs):
    """Pictures come in once: the same file given again is the same row."""

    def add_picture(self, path: Path, digest: str, suffix: str, name: str, width: int,
                    height: int) -> PictureRow:
        """Copy a file into the store, or find it there already."""
        if (known := self.get_picture(digest)) is not None and known.file.is_file():
            os.utime(known.file)  # young again: the sweeper leaves what was just asked for
            return known
        digest = self.files.put(path, suffix)  # of what was copied: the file may have changed since
        with self.sessions.write() as session:
            insert_once(session, Picture, {"digest": digest, "suffix": suffix, "name": name, "width": width,
                                           "height": height}, renewed=("suffix",))
            return self._picture_row(_of(session, digest))

    def get_picture(self, digest: str) -> PictureRow | None:
        """The picture with this content, or None."""
        with self.sessions.read() as session:
            picture = _of(session, digest)
            return self._picture_row(picture) if picture else None

    def list_pictures(self, limit: int = 100) -> list[PictureRow]:
        """The newest pictures first."""
        newest = select(Picture).order_by(Picture.created_at.desc(), Picture.id.desc()).limit(limit)
        with self.sessions.read() as session:
            return [self._picture_row(picture) for picture in session.scalars(newest)]

    def forget_pictures(self) -> int:
        """Drop the rows of pictures that nobody has brought for a week and that no render, in the trash or not, and
        no preset names; returns how many. Their files are left to the sweep."""
        before = now() - KEPT_FOR
        with self.sessions.write() as session:
            old = session.scalars(select(Picture).where(Picture.created_at < before)).all()
            named = _named(session) if old else set()
            gone = [picture.id for picture in old
                    if picture.digest not in named and not self._touched_since(picture, before.timestamp())]
            session.execute(delete(Picture).where(Picture.id.in_(gone)))
        return len(gone)

    def _touched_since(self, picture: Picture, moment: float) -> bool:
        file = self.files.path_of(picture.digest, picture.suffix)
        return file.is_file() and file.stat().st_mtime >= moment

    def _picture_row(self, picture: Picture | None) -> PictureRow:
        assert picture is not None
        return PictureRow(digest=picture.digest, name=picture.name, width=picture.width, height=picture.height,
                          file=self.files.path_of(picture.digest, picture.suffix), created_at=picture.created_at)


def _named(session: Session) -> set[str]:
    """Every digest that stands somewhere in the settings of a render or a preset."""
    return {digest for table in (Render, Preset) for settings in session.scalars(select(table.settings))
            for text in settings.values() if isinstance(text, str) for digest in _DIGEST.findall(text)}


def _of(session: Session, digest: str) -> Picture | None:
    return session.scalar(select(Picture).where(Picture.digest == digest))
