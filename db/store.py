"""The store as one object: `Store.open(home)` and all verbs as methods of it."""

from pathlib import Path

from sqlalchemy import URL, select

from db.files import Files
from db.migrate import migrate
from db.models import Asset, Picture, Render, Song
from db.pictures import Pictures
from db.presets import Presets
from db.queue import Queue
from db.renders import Renders
from db.session import Sessions, make_engine
from db.songs import Songs

DATABASE = "metamusic.sqlite3"


class Store(Songs, Pictures, Renders, Queue, Presets):
    """Songs, pictures, renders, presets and their files; safe to share between threads."""

    def __init__(self, home: Path, url: str | URL) -> None:
        self.home = home
        self.files = Files(home)
        self.sessions = Sessions(make_engine(url))

    @classmethod
    def open(cls, home: Path, url: str | None = None) -> "Store":
        """The store in a data folder, brought up to date; `url` names another database than its own."""
        home = Path(home).resolve()
        Files(home)  # makes the folder, or says why it cannot
        place = url or URL.create("sqlite", database=str(home / DATABASE))
        migrate(place, home)
        return cls(home, place)

    def close(self) -> None:
        """Let go of the database."""
        self.sessions.engine.dispose()

    def sweep(self) -> int:
        """Remove files of yesterday that no row points at, unless something runs; returns how many files.

        A picture that nothing names any more loses its row first, a week after somebody brought it.
        """
        with self.sessions.read() as session:
            if session.scalar(select(Render.id).where(Render.state == "running").limit(1)) is not None:
                return 0
        self.forget_pictures()
        with self.sessions.read() as session:
            digests = (Song.digest, Picture.digest, Asset.digest)
            known = {digest for column in digests for digest in session.scalars(select(column))}
            goes_on = select(Render.id).where(Render.state != "done", Render.deleted_at.is_(None))
            unfinished = set(session.scalars(goes_on))
        return self.files.sweep(known, unfinished)

