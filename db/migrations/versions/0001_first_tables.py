"""The first tables: songs, renders (the queue is this table), assets, presets, tags."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Spelled out here and not taken from db.models: a migration must stay what it was when it was written.
JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
MOMENT = sa.DateTime(timezone=True)
KINDS = ("image", "video")
STATES = ("queued", "running", "done", "failed", "cancelled", "interrupted")
ROLES = ("final", "thumb", "poster")


def words(*values: str, name: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=16)


def upgrade() -> None:
    op.create_table(
        "songs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("suffix", sa.String(16), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("duration_s", sa.Double, nullable=False),
        sa.Column("analysis", JSON),
        sa.Column("notes", JSON, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
    )
    op.create_table(
        "renders",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("song_id", sa.Integer, sa.ForeignKey("songs.id"), nullable=False, index=True),
        sa.Column("parent_id", sa.Integer, sa.ForeignKey("renders.id", ondelete="SET NULL"), index=True),
        sa.Column("submit_key", sa.String(64), unique=True),
        sa.Column("preset", sa.Text),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("search_text", sa.Text, nullable=False),
        sa.Column("settings", JSON, nullable=False),
        sa.Column("kind", words(*KINDS, name="kind"), nullable=False, index=True),
        sa.Column("seed", sa.BigInteger, nullable=False, index=True),
        sa.Column("width", sa.Integer, nullable=False, index=True),
        sa.Column("height", sa.Integer, nullable=False, index=True),
        sa.Column("pack", sa.String(64), nullable=False, index=True),
        sa.Column("pack_digest", sa.String(64), nullable=False),
        sa.Column("work", sa.Double),
        sa.Column("state", words(*STATES, name="state"), nullable=False),
        sa.Column("plan", JSON),
        sa.Column("versions", JSON, nullable=False),
        sa.Column("progress", JSON),
        sa.Column("preview", sa.Text),
        sa.Column("scores", JSON, nullable=False),
        sa.Column("notes", JSON, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("cure", sa.Text, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("worker", sa.String(200)),
        sa.Column("lease_until", MOMENT),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("checkpoint_frame", sa.Integer),
        sa.Column("checkpoint_step", sa.Integer),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False, index=True),
        sa.Column("started_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.Column("deleted_at", MOMENT),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_renders_newest", "renders", ["deleted_at", "created_at", "id"])
    op.create_index("ix_renders_queue", "renders", ["state", "deleted_at", "id"])
    op.create_table(
        "assets",
        sa.Column("render_id", sa.Integer, sa.ForeignKey("renders.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("role", words(*ROLES, name="role"), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False, index=True),
        sa.Column("suffix", sa.String(16), nullable=False),
        sa.Column("mime", sa.String(64), nullable=False),
        sa.Column("width", sa.Integer),
        sa.Column("height", sa.Integer),
        sa.Column("duration_s", sa.Double),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
    )
    op.create_table(
        "presets",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(80), nullable=False, unique=True),
        sa.Column("settings", JSON, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
    )
    op.create_table(
        "tags",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(80), nullable=False, unique=True),
    )
    op.create_table(
        "render_tags",
        sa.Column("render_id", sa.Integer, sa.ForeignKey("renders.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("tag_id", sa.Integer, sa.ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True,
                  index=True),
    )
