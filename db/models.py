"""The tables, as SQLAlchemy sees them. What leaves the package are the frozen values of `db.rows`."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from db.rows import STATES

# Every constraint has a name from day one: SQLite cannot drop one without, and migrations must.
NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UTCDateTime(TypeDecorator[datetime]):
    """Moments are aware and in UTC on the Python side; SQLite itself keeps no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
Digest = String(64)


def words(*values: str, name: str) -> Enum:
    """A column of few words, kept as text with a named check."""
    return Enum(*values, name=name, native_enum=False, create_constraint=True, length=16)


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {datetime: UTCDateTime, dict[str, Any]: Json, list[str]: Json, str: Text}


class Song(Base):
    """An audio file; the content is its identity."""

    __tablename__ = "songs"

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(Digest, unique=True)
    suffix: Mapped[str] = mapped_column(String(16))
    title: Mapped[str]
    duration_s: Mapped[float]
    analysis: Mapped[dict[str, Any] | None]
    notes: Mapped[list[str]] = mapped_column(default=list)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Picture(Base):
    """A picture that somebody brought; the content is its identity."""

    __tablename__ = "pictures"

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(Digest, unique=True)
    suffix: Mapped[str] = mapped_column(String(16))
    name: Mapped[str]
    width: Mapped[int]
    height: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)


class Render(Base):
    """A render and, while it waits or runs, its place in the queue: there is one truth."""

    __tablename__ = "renders"
    __table_args__ = (
        Index("ix_renders_newest", "deleted_at", "created_at", "id"),
        Index("ix_renders_queue", "state", "deleted_at", "id"),
        {"sqlite_autoincrement": True},  # a number is never given twice: links and work folders carry it
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    song_id: Mapped[int] = mapped_column(ForeignKey("songs.id"), index=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("renders.id", ondelete="SET NULL"), index=True)
    submit_key: Mapped[str | None] = mapped_column(String(64), unique=True)
    preset: Mapped[str | None]
    title: Mapped[str]
    search_text: Mapped[str] = mapped_column(default="")

    # What was asked: the settings whole, and of them what is filtered by.
    settings: Mapped[dict[str, Any]]
    kind: Mapped[str] = mapped_column(words("image", "video", name="kind"), index=True)
    seed: Mapped[int] = mapped_column(BigInteger, index=True)
    width: Mapped[int] = mapped_column(index=True)
    height: Mapped[int] = mapped_column(index=True)
    pack: Mapped[str] = mapped_column(String(64), index=True)
    pack_digest: Mapped[str] = mapped_column(Digest)
    work: Mapped[float | None]

    # What became of it.
    state: Mapped[str] = mapped_column(words(*STATES, name="state"), default="queued")
    plan: Mapped[dict[str, Any] | None]
    versions: Mapped[dict[str, Any]] = mapped_column(default=dict)
    progress: Mapped[dict[str, Any] | None]
    preview: Mapped[str | None]
    scores: Mapped[dict[str, Any]] = mapped_column(default=dict)
    notes: Mapped[list[str]] = mapped_column(default=list)
    error: Mapped[str] = mapped_column(default="")
    cure: Mapped[str] = mapped_column(default="")
    seconds: Mapped[float] = mapped_column(default=0.0)

    # The queue.
    worker: Mapped[str | None] = mapped_column(String(200))
    lease_until: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    checkpoint_frame: Mapped[int | None]
    checkpoint_step: Mapped[int | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)

    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, index=True)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    # Rows are turned into values while the session is open; touching anything later is an error.
    song: Mapped[Song] = relationship(lazy="raise")
    assets: Mapped[list["Asset"]] = relationship(lazy="raise", passive_deletes=True)
    tags: Mapped[list["Tag"]] = relationship(secondary="render_tags", order_by="Tag.name", lazy="raise")


class Asset(Base):
    """A file that a render made: `digest` and `suffix` name the blob."""

    __tablename__ = "assets"

    render_id: Mapped[int] = mapped_column(ForeignKey("renders.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(words("final", "thumb", "poster", name="role"), primary_key=True)
    digest: Mapped[str] = mapped_column(Digest, index=True)
    suffix: Mapped[str] = mapped_column(String(16))
    mime: Mapped[str] = mapped_column(String(64))
    width: Mapped[int | None]
    height: Mapped[int | None]
    duration_s: Mapped[float | None]
    bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Preset(Base):
    """Settings with a name."""

    __tablename__ = "presets"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    settings: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class Tag(Base):
    """A word that the team puts on renders."""

    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)


class RenderTag(Base):
    """Which render carries which tag."""

    __tablename__ = "render_tags"

    render_id: Mapped[int] = mapped_column(ForeignKey("renders.id", ondelete="CASCADE"), primary_key=True)
    tag_id: Mapped[int] = mapped_column(ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True,
                                        index=True)
