"""What all verbs of the store share: the sessions, the files, and turning rows into values."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Select, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, selectinload

from db.errors import NotFound
from db.files import Files
from db.models import Asset, Base, Render, Song
from db.rows import AssetRow, Kind, RenderRow, Role, SongRow, State
from db.session import Sessions


class Verbs:
    """Base of the groups of verbs; `db.store.Store` puts them together."""

    home: Path
    files: Files
    sessions: Sessions

    def song_row(self, song: Song) -> SongRow:
        """A song as a value."""
        return SongRow(id=song.id, digest=song.digest, title=song.title,
                       file=self.files.path_of(song.digest, song.suffix), duration_s=song.duration_s,
                       analysis=song.analysis, notes=tuple(song.notes), created_at=song.created_at)

    def render_row(self, render: Render) -> RenderRow:
        """A render as a value; its song, assets and tags must have been loaded with it."""
        same = {name: getattr(render, name) for name in _SAME}
        return RenderRow(**same, kind=cast(Kind, render.kind), state=cast(State, render.state),
                         song=self.song_row(render.song), notes=tuple(render.notes),
                         assets=self._assets(render), tags=tuple(tag.name for tag in render.tags))

    def _assets(self, render: Render) -> dict[str, AssetRow]:
        rows = {asset.role: self._asset_row(asset) for asset in render.assets}
        if render.preview is not None:
            with suppress(FileNotFoundError):  # it may be gone by now: the render has just finished
                rows["preview"] = _preview_row(self.home / render.preview)
        return rows

    def _asset_row(self, asset: Asset) -> AssetRow:
        return AssetRow(role=cast(Role, asset.role), digest=asset.digest, mime=asset.mime,
                        file=self.files.path_of(asset.digest, asset.suffix), width=asset.width,
                        height=asset.height, duration_s=asset.duration_s, bytes=asset.bytes)

    def _fetch(self, session: Session, render_id: int) -> RenderRow:
        """A render as a value; NotFound if there is none."""
        render = session.scalar(whole_renders().where(Render.id == render_id)
                                .execution_options(populate_existing=True))
        if render is None:
            raise NotFound(f"There is no render {render_id}.",
                           "It may have been made in another data folder.")
        return self.render_row(render)

    def _rows(self, renders: Iterable[Render]) -> list[RenderRow]:
        return [self.render_row(render) for render in renders]


def whole_renders() -> Select[Render]:
    """Renders with all that a value of them needs."""
    return select(Render).options(selectinload(Render.song), selectinload(Render.assets),
                                  selectinload(Render.tags))


def insert_once(session: Session, table: type[Base], values: dict[str, Any], renewed: Iterable[str]) -> None:
    """Insert a row with a `digest`; where two come with the same one, the first wins but for `renewed`.

    Both dialects say it alike.
    """
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    session.execute(dialect.insert(table).values(**values).on_conflict_do_update(
        index_elements=["digest"], set_={name: values[name] for name in renewed}))


_SAME = ("id", "title", "settings", "seed", "pack", "pack_digest", "plan", "versions", "progress", "attempts",
         "checkpoint_frame", "checkpoint_step", "worker", "lease_until", "cancel_requested", "error", "cure",
         "created_at", "updated_at", "started_at", "finished_at", "seconds", "scores", "parent_id", "preset",
         "deleted_at")


def _preview_row(file: Path) -> AssetRow:
    facts: Any = file.stat()
    mime = {".jpg": "image/jpeg", ".png": "image/png"}.get(file.suffix, "image/webp")
    return AssetRow(role="preview", digest=f"{facts.st_mtime_ns:x}", file=file, mime=mime,
                    width=None, height=None, duration_s=None, bytes=facts.st_size)
