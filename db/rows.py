"""What the store hands out: frozen values, safe to keep, pass between threads and compare."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
Kind = Literal["image", "video"]
Role = Literal["final", "thumb", "poster", "preview"]

STATES: tuple[State, ...] = ("queued", "running", "done", "failed", "cancelled", "interrupted")
# Still to be worked on. An interrupted render lost its worker and is taken up again by itself.
ACTIVE: tuple[State, ...] = ("queued", "running", "interrupted")


@dataclass(frozen=True)
class SongRow:
    """An audio file of the store; `digest` (sha256 of the file) is its identity."""

    id: int
    digest: str
    title: str
    file: Path
    duration_s: float
    analysis: dict[str, Any] | None
    notes: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True)
class PictureRow:
    """A picture that somebody brought, as the original file; `digest` (sha256 of the file) is its identity.

    width, height: as it is seen, turned as its EXIF says. The file may be a film, whose last frame is meant.
    """

    digest: str
    name: str
    file: Path
    width: int
    height: int
    created_at: datetime


@dataclass(frozen=True)
class AssetRow:
    """A file that a render made. The digest of a `preview` only tells one preview from the next."""

    role: Role
    digest: str
    file: Path
    mime: str
    width: int | None
    height: int | None
    duration_s: float | None
    bytes: int


@dataclass(frozen=True)
class NewAsset:
    """A finished file on its way into the store; `finish` moves it there."""

    role: Role
    path: Path
    mime: str
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None


@dataclass(frozen=True)
class RenderRow:
    """One render: song + settings + seed + weights + versions + state + outputs + lineage.

    `progress` has step, steps, frame, frames, eta_s, started (bool), losses ([[step, loss], ...]), listening.
    `error` of a failed render says why, of an interrupted one what became of its worker.
    """

    id: int
    title: str
    kind: Kind
    state: State
    settings: dict[str, Any]
    seed: int
    pack: str
    pack_digest: str
    song: SongRow
    plan: dict[str, Any] | None
    versions: dict[str, Any]
    progress: dict[str, Any] | None
    notes: tuple[str, ...]
    attempts: int
    checkpoint_frame: int | None
    checkpoint_step: int | None
    worker: str | None
    lease_until: datetime | None
    cancel_requested: bool
    error: str
    cure: str
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    seconds: float
    scores: dict[str, Any]
    parent_id: int | None
    preset: str | None
    assets: dict[str, AssetRow]
    tags: tuple[str, ...]
    deleted_at: datetime | None

    @property
    def active(self) -> bool:
        """Is it still to be worked on?"""
        return self.state in ACTIVE


@dataclass(frozen=True)
class PresetRow:
    """Settings the team gave a name to."""

    id: int
    name: str
    settings: dict[str, Any]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class Page:
    """One page of a listing, and how many rows there are on all pages together."""

    rows: list[RenderRow] = field(default_factory=list)
    total: int = 0


@dataclass(frozen=True)
class Answer:
    """What a worker hears when it reports: is the render still mine, and was a cancel asked for?"""

    owned: bool
    cancel: bool
