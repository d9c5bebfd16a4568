"""Verbs about renders, as people use them: ask for one, find it, name it, stop it, throw it away."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from statistics import median
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, delete, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload

from db.base import Verbs, whole_renders
from db.errors import NotFound, StoreProblem
from db.models import Picture, Render, RenderTag, Song, Tag, now
from db.rows import ACTIVE, Page, RenderRow
from db.workers import host

LEASE_S = 30.0  # a worker that does not report for so long has lost its render
PAST_RENDERS = 30  # how many of them an estimate looks at


class Renders(Verbs):
    """The renders as people see them."""

    def add_render(self, song_id: int, settings: Mapping[str, Any], *, title: str, kind: str, seed: int,
                   pack: str, pack_digest: str, versions: Mapping[str, Any] | None = None,
                   parent_id: int | None = None, preset: str | None = None, submit_key: str | None = None,
                   plan: Mapping[str, Any] | None = None, work: float | None = None,
                   notes: Iterable[str] = (), worker: str | None = None) -> RenderRow:
        """Put a render in the queue. The same `submit_key` again (a double click) gives the same render.

        `work` is how much there is to do, in any unit that estimates share. With `worker` it is born running
        in that worker's hands, so that no other can claim it in between.
        """
        render = Render(song_id=song_id, settings=dict(settings), title=title, kind=kind, seed=seed,
                        width=settings["width"], height=settings["height"], pack=pack,
                        pack_digest=pack_digest, versions=dict(versions or {}), parent_id=parent_id,
                        preset=preset, submit_key=submit_key, plan=dict(plan) if plan else None, work=work,
                        notes=list(notes))
        if worker is not None:
            render.state, render.worker, render.attempts = "running", worker, 1
            render.started_at, render.lease_until = now(), now() + timedelta(seconds=LEASE_S)
        try:
            return self._insert(render)
        except IntegrityError as error:  # two at once with one key, on a database that lets both begin
            twin = self.find_render(submit_key) if submit_key else None
            if twin is None:
                raise NotFound(f"There is no song {song_id}, or no render {parent_id}.",
                               "Choose the song again.") from error
            return twin

    def _insert(self, render: Render) -> RenderRow:
        with self.sessions.write() as session:
            if render.submit_key is not None:
                twin = session.scalar(select(Render.id).where(Render.submit_key == render.submit_key))
                if twin is not None:
                    return self._fetch(session, twin)
            session.add(render)
            session.flush()
            _refresh_search_text(session, render.id)
            return self._fetch(session, render.id)

    def find_render(self, submit_key: str) -> RenderRow | None:
        """The render that was asked for with this key, or None."""
        with self.sessions.read() as session:
            found = session.scalar(whole_renders().where(Render.submit_key == submit_key))
            return self.render_row(found) if found else None

    def get_render(self, render_id: int) -> RenderRow | None:
        """One render, or None."""
        with self.sessions.read() as session:
            render = session.scalar(whole_renders().where(Render.id == render_id))
            return self.render_row(render) if render else None

    def list_renders(self, *, kind: str | None = None, song: int | None = None,
                     state: str | Sequence[str] | None = None, search: str = "", tag: str | None = None,
                     trashed: bool = False, page: int = 1, per_page: int = 24) -> Page:
        """A page of renders, the newest first, and how many there are in all.

        `search`: every word must occur, in whatever case, in the title, the song's title, a tag, or a setting
        that holds text; a word like `seed:7` also finds that setting.
        """
        wanted: list[ColumnElement[bool]] = []
        wanted.append(Render.deleted_at.is_not(None) if trashed else Render.deleted_at.is_(None))
        if kind is not None:
            wanted.append(Render.kind == kind)
        if song is not None:
            wanted.append(Render.song_id == song)
        if state is not None:
            wanted.append(Render.state.in_([state] if isinstance(state, str) else list(state)))
        if tag is not None:
            wanted.append(Render.tags.any(Tag.name == tag))
        wanted += [_matches(word) for word in search.casefold().split()]
        newest = (whole_renders().where(*wanted).order_by(Render.created_at.desc(), Render.id.desc())
                  .limit(per_page).offset((max(1, page) - 1) * per_page))
        with self.sessions.read() as session:
            total = session.scalar(select(func.count()).select_from(Render).where(*wanted)) or 0
            return Page(self._rows(session.scalars(newest)), total)

    def active_renders(self) -> list[RenderRow]:
        """What is being worked on, then what waits, in the order in which it will be taken."""
        waiting = (whole_renders().where(Render.state.in_(ACTIVE), Render.deleted_at.is_(None))
                   .order_by(Render.state != "running", Render.cancel_requested.desc(), Render.id))
        with self.sessions.read() as session:
            return self._rows(session.scalars(waiting))

    def queue_position(self, render_id: int) -> int | None:
        """0 while it runs, 1 when it is the next, ...; None when it is not in the queue."""
        with self.sessions.read() as session:
            state = session.scalar(select(Render.state).where(Render.id == render_id))
            if state not in ACTIVE:
                return None
            if state == "running":
                return 0
            before = select(func.count()).where(Render.state.in_(("queued", "interrupted")),
                                                Render.deleted_at.is_(None), Render.id < render_id)
            return 1 + (session.scalar(before) or 0)

    def typical_seconds(self, kind: str, pack: str, work: float) -> float | None:
        """How long so much work took in past renders of this host; None where there is none to go by."""
        past = (select(Render.seconds / Render.work)
                .where(Render.kind == kind, Render.pack == pack, Render.state == "done", Render.work > 0,
                       Render.seconds > 0, Render.worker.startswith(f"{host()}:", autoescape=True))
                .order_by(Render.id.desc()).limit(PAST_RENDERS))
        with self.sessions.read() as session:
            rates = session.scalars(past).all()
        return work * median(rates) if rates else None

    def revision(self) -> str:
        """A word that changes whenever a listing may look different; progress alone does not change it."""
        with self.sessions.read() as session:
            return "/".join(str(session.scalar(query)) for query in _NEWEST)

    # -- changing one ----------------------------------------------------------------------------

    def rename(self, render_id: int, title: str) -> RenderRow:
        """Give it another title."""
        return self._change(render_id, title=title.strip())

    def set_tags(self, render_id: int, tags: Iterable[str]) -> RenderRow:
        """Exactly these tags, new ones included."""
        names = sorted({" ".join(tag.split())[:80] for tag in tags} - {""})
        with self.sessions.write() as session:
            self._fetch(session, render_id)
            known = {tag.name: tag for tag in session.scalars(select(Tag).where(Tag.name.in_(names)))}
            session.add_all(Tag(name=name) for name in names if name not in known)
            session.flush()
            ids = session.scalars(select(Tag.id).where(Tag.name.in_(names)))
            session.execute(delete(RenderTag).where(RenderTag.render_id == render_id))
            session.add_all(RenderTag(render_id=render_id, tag_id=tag_id) for tag_id in ids)
            session.flush()
            _touch(session, render_id)
            return self._fetch(session, render_id)

    def list_tags(self) -> list[tuple[str, int]]:
        """Each tag with how many renders carry it, the most used first; unused ones are left out."""
        count = func.count().label("count")
        used = (select(Tag.name, count).join(RenderTag, RenderTag.tag_id == Tag.id)
                .join(Render, Render.id == RenderTag.render_id).where(Render.deleted_at.is_(None))
                .group_by(Tag.name).order_by(count.desc(), Tag.name))
        with self.sessions.read() as session:
            return [(name, number) for name, number in session.execute(used)]

    def cancel(self, render_id: int) -> RenderRow:
        """Ask for an end. What has a worker or a checkpoint is ended by a worker, who keeps what exists."""
        with self.sessions.write() as session:
            _cancel(session, self._fetch(session, render_id))
            return self._fetch(session, render_id)

    def continue_render(self, render_id: int) -> RenderRow:
        """Queue a failed or cancelled render again; it goes on from its last checkpoint."""
        with self.sessions.write() as session:
            row = self._fetch(session, render_id)
            if row.state not in ("failed", "cancelled"):
                raise StoreProblem(f"Render {render_id} is {row.state}; there is nothing to continue.",
                                   "Run it again instead.")
            _touch(session, render_id, state="queued", attempts=0, cancel_requested=False, error="", cure="",
                   finished_at=None, deleted_at=None)
            return self._fetch(session, render_id)

    def trash(self, render_id: int) -> RenderRow:
        """Put it in the trash; if it is still to be worked on, it is cancelled too."""
        with self.sessions.write() as session:
            row = self._fetch(session, render_id)
            _touch(session, render_id, deleted_at=row.deleted_at or now())
            _cancel(session, row)  # after it was thrown away: `restore` tells by that who ended it
            return self._fetch(session, render_id)

    def restore(self, render_id: int) -> RenderRow:
        """Take it out of the trash; what the trash ended goes on, or back into the queue."""
        with self.sessions.write() as session:
            row = self._fetch(session, render_id)
            if row.deleted_at is None:
                return row
            _touch(session, render_id, deleted_at=None, cancel_requested=False)
            if row.state == "cancelled" and row.finished_at and row.finished_at >= row.deleted_at:
                _touch(session, render_id, state="queued", attempts=0, finished_at=None)
            return self._fetch(session, render_id)

    def _change(self, render_id: int, **values: Any) -> RenderRow:
        with self.sessions.write() as session:
            self._fetch(session, render_id)
            _touch(session, render_id, **values)
            return self._fetch(session, render_id)


def _cancel(session: Session, row: RenderRow) -> None:
    if row.state == "running" or (row.active and row.checkpoint_frame is not None):
        _touch(session, row.id, cancel_requested=True)
    elif row.active:
        _touch(session, row.id, state="cancelled", finished_at=now())


def _touch(session: Session, render_id: int, **values: Any) -> None:
    """Change columns of a render in a way that listings should notice."""
    render = session.get_one(Render, render_id)
    for name, value in values.items():
        setattr(render, name, value)
    render.updated_at = now()
    session.flush()
    _refresh_search_text(session, render_id)


def _refresh_search_text(session: Session, render_id: int) -> None:
    """All words a render can be found by, in one column and in one case: SQLite's LIKE folds ASCII only."""
    render = session.get_one(Render, render_id, options=[selectinload(Render.tags)], populate_existing=True)
    song_title = session.scalar(select(Song.title).where(Song.id == render.song_id)) or ""
    spoken = [_with_names(session, value) for value in render.settings.values() if isinstance(value, str)]
    tags = [tag.name for tag in render.tags]
    render.search_text = "\n".join([render.title, song_title, render.preset or "", *tags, *spoken]).casefold()
    session.flush()


def _with_names(session: Session, text: str) -> str:
    """A setting's text with pictures by their names: nobody looks for a digest, and many words are in one."""
    digests = set(_DIGEST.findall(text))
    names = {digest: name for digest, name in session.execute(
        select(Picture.digest, Picture.name).where(Picture.digest.in_(digests)))} if digests else {}
    return _DIGEST.sub(lambda found: names.get(found[0], ""), text)


def _matches(word: str) -> ColumnElement[bool]:
    """Does a render know this word? `name:value` may also be a setting."""
    found = Render.search_text.contains(word, autoescape=True)
    name, colon, value = word.partition(":")
    if not (colon and name and value):
        return found
    settings = cast(Render.settings, Text)  # as both dialects write it: {"seed": 7, "init": "random"}
    spellings = [f'"{name}": {value},', f'"{name}": {value}}}', f'"{name}": "{value}"']
    return or_(found, *(settings.contains(spelling, autoescape=True) for spelling in spellings))


_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
_NEWEST = [select(func.max(Render.updated_at)), select(func.max(Song.id))]
