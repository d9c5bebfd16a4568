"""Verbs about the pictures that people bring."""

from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.base import Verbs, insert_once
from db.models import Picture
from db.rows import PictureRow


class Pictures(Verbs):
    """Pictures come in once: the same file given again is the same row."""

    def add_picture(self, path: Path, digest: str, suffix: str, name: str, width: int,
                    height: int) -> PictureRow:
        """Copy a file into the store, or find it there already."""
        if (known := self.get_picture(digest)) is not None and known.file.is_file():
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

    def _picture_row(self, picture: Picture | None) -> PictureRow:
        assert picture is not None
        return PictureRow(digest=picture.digest, name=picture.name, width=picture.width, height=picture.height,
                          file=self.files.path_of(picture.digest, picture.suffix), created_at=picture.created_at)


def _of(session: Session, digest: str) -> Picture | None:
    return session.scalar(select(Picture).where(Picture.digest == digest))
