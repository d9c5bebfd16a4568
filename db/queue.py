"""Verbs of workers. The queue is the renders table: there is one truth.

queued -> running -> done | failed | cancelled. Running -> interrupted when its worker is lost; from there it
is claimed like a queued one and goes on from its checkpoint.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import and_, case, delete, or_, select, update
from sqlalchemy.orm import Session

from db.base import Verbs
from db.models import Asset, Render, now
from db.renders import LEASE_S
from db.rows import Answer, NewAsset, RenderRow
from db.workers import describe, is_gone

ATTEMPTS = 5  # that got no further: then a render has failed for good
WAITING = ("queued", "interrupted")


class Queue(Verbs):
    """Claim a render, report on it, end it. Whoever lost a render changes nothing by any verb."""

    def claim_render(self, worker: str, lease_s: float = LEASE_S,
                     render_id: int | None = None) -> RenderRow | None:
        """Take the next render (or this one), or None. Each is given to one worker only."""
        if not self._work_in_sight():
            return None  # looking takes no lock, so an idle worker disturbs nobody
        with self.sessions.write() as session:
            _notice_lost_workers(session)
            _give_up_hopeless(session)
            mine = Render.id == render_id if render_id is not None else Render.id.is_not(None)
            next_id = (select(Render.id).where(Render.state.in_(WAITING), Render.deleted_at.is_(None), mine)
                       .order_by(Render.cancel_requested.desc(), Render.id).limit(1)
                       .with_for_update(skip_locked=True).scalar_subquery())
            claimed = session.scalar(
                update(Render).where(Render.id == next_id)
                .values(state="running", worker=worker, lease_until=now() + timedelta(seconds=lease_s),
                        attempts=Render.attempts + 1, error="", cure="", updated_at=now())
                .returning(Render.id).execution_options(synchronize_session=False))
            if claimed is None:
                return None
            session.execute(update(Render).where(Render.id == claimed, Render.started_at.is_(None))
                            .values(started_at=now()))
            return self._fetch(session, claimed)

    def _work_in_sight(self) -> bool:
        """Is anything waiting, or running without a sign of life?"""
        with self.sessions.read() as session:
            waits = select(Render.id).where(Render.state.in_(WAITING), Render.deleted_at.is_(None)).limit(1)
            return session.scalar(waits) is not None or bool(_lost(session))

    def report(self, render_id: int, worker: str, progress: Mapping[str, Any] | None = None, *,
               seconds: float | None = None, lease_s: float = LEASE_S) -> Answer:
        """The heartbeat: prolong the lease, tell the progress, hear whether to go on."""
        values: dict[str, Any] = {"lease_until": now() + timedelta(seconds=lease_s)}
        if progress is not None:
            values["progress"] = dict(progress)
        if seconds is not None:
            values["seconds"] = seconds
        with self.sessions.write() as session:
            cancel = session.scalar(_owned(render_id, worker).values(**values)
                                    .returning(Render.cancel_requested))
        return Answer(owned=cancel is not None, cancel=bool(cancel))

    def record_checkpoint(self, render_id: int, worker: str, frame: int, step: int) -> bool:
        """A checkpoint is on disk; if it is further than the last, all earlier attempts are forgiven."""
        further = or_(Render.checkpoint_frame.is_(None), Render.checkpoint_frame < frame,
                      and_(Render.checkpoint_frame == frame, Render.checkpoint_step < step))
        with self.sessions.write() as session:
            session.execute(_owned(render_id, worker).where(further)
                            .values(checkpoint_frame=frame, checkpoint_step=step, attempts=0))
            return _owns(session, render_id, worker)

    def set_plan(self, render_id: int, plan: Mapping[str, Any], *, versions: Mapping[str, Any] | None = None,
                 pack_digest: str | None = None, notes: Iterable[str] = ()) -> None:
        """How and with what it is computed, known once it has begun; notes are added to those it has."""
        with self.sessions.write() as session:
            render = session.get_one(Render, render_id)
            render.plan, render.versions = dict(plan), dict(versions or render.versions)
            render.pack_digest = pack_digest or render.pack_digest
            render.notes = list(dict.fromkeys([*render.notes, *notes]))

    def set_preview(self, render_id: int, path: Path) -> None:
        """Where the picture can be seen while it grows."""
        with self.sessions.write() as session:
            session.execute(update(Render).where(Render.id == render_id)
                            .values(preview=path.relative_to(self.home).as_posix()))

    def finish(self, render_id: int, worker: str, state: Literal["done", "cancelled"], *,
               assets: Sequence[NewAsset] = (), scores: Mapping[str, float] | None = None,
               seconds: float | None = None) -> bool:
        """Files first, then everything else in one transaction. False if the render was lost meanwhile."""
        sizes = [asset.path.stat().st_size for asset in assets]
        digests = [self.files.take(asset.path, asset.path.suffix) for asset in assets]
        with self.sessions.write() as session:
            if not _owns(session, render_id, worker):
                return False
            render = session.get_one(Render, render_id)
            _end(render, state)
            render.scores = dict(scores or {})
            render.seconds = seconds if seconds is not None else render.seconds
            render.preview = None if assets else render.preview
            session.execute(delete(Asset).where(Asset.render_id == render_id))
            session.add_all(_asset(render_id, *made) for made in zip(assets, digests, sizes, strict=True))
            return True

    def fail(self, render_id: int, worker: str, error: str, cure: str = "", *,
             seconds: float | None = None) -> bool:
        """It could not be done, and why; its checkpoints stay, so that it can be continued."""
        with self.sessions.write() as session:
            if not _owns(session, render_id, worker):
                return False
            render = session.get_one(Render, render_id)
            _end(render, "failed")
            render.error, render.cure = error, cure
            render.seconds = seconds if seconds is not None else render.seconds
            return True

    def give_back(self, render_id: int, worker: str, *, seconds: float | None = None) -> bool:
        """Back into the queue in good order, with its checkpoints; the attempt does not count."""
        values: dict[str, Any] = {} if seconds is None else {"seconds": seconds}
        uncounted = case((Render.attempts > 0, Render.attempts - 1), else_=0)  # a checkpoint made it 0
        with self.sessions.write() as session:
            given = session.scalar(
                _owned(render_id, worker).where(Render.cancel_requested.is_(False))
                .values(state="queued", worker=None, lease_until=None, attempts=uncounted,
                        updated_at=now(), **values).returning(Render.id))
        return given is not None


def _owned(render_id: int, worker: str) -> Any:
    """An UPDATE that only reaches a render which this worker still holds."""
    return update(Render).where(Render.id == render_id, Render.worker == worker, Render.state == "running")


def _owns(session: Session, render_id: int, worker: str) -> bool:
    held = select(Render.id).where(Render.id == render_id, Render.worker == worker, Render.state == "running")
    return session.scalar(held.with_for_update()) is not None


def _end(render: Render, state: str) -> None:
    render.state, render.lease_until, render.cancel_requested = state, None, False
    render.finished_at = render.updated_at = now()


def _asset(render_id: int, asset: NewAsset, digest: str, size: int) -> Asset:
    return Asset(render_id=render_id, role=asset.role, digest=digest, suffix=asset.path.suffix,
                 mime=asset.mime, width=asset.width, height=asset.height, duration_s=asset.duration_s,
                 bytes=size)


def _lost(session: Session) -> list[Render]:
    """Running renders whose worker is gone: its lease ran out, or its process on this host has ended."""
    running = session.scalars(select(Render).where(Render.state == "running"))
    return [render for render in running
            if render.lease_until is None or render.lease_until < now() or is_gone(render.worker or "")]


def _notice_lost_workers(session: Session) -> None:
    for render in _lost(session):
        gone = "ended without a word" if is_gone(render.worker or "") else "did not report any more"
        render.state, render.lease_until, render.updated_at = "interrupted", None, now()
        render.error = f"It was interrupted: {describe(render.worker)} {gone}."
    session.flush()


def _give_up_hopeless(session: Session) -> None:
    """After so many attempts that got no further, one more would not either."""
    hopeless = select(Render).where(Render.state.in_(WAITING), Render.attempts >= ATTEMPTS)
    for render in session.scalars(hopeless):
        reason = render.error or "Its worker was lost."
        _end(render, "failed")
        render.error = f"It was begun {render.attempts} times and got no further. {reason}"
        render.cure = "If the machine ran out of memory, choose a smaller size; otherwise continue it."
    session.flush()
