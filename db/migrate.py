"""Bringing a database to this code's tables: under a lock, after a backup, never backwards."""

import logging
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from filelock import FileLock
from sqlalchemy import URL, Connection, Engine, inspect, text

from db.errors import NewerDatabase, StoreProblem
from db.models import Base
from db.session import make_engine

SCRIPTS = Path(__file__).parent / "migrations"
log = logging.getLogger(__name__)


def migrate(url: str | URL, home: Path) -> None:
    """Upgrade the database at `url` to the newest revision; several processes may ask at once."""
    with FileLock(home / "migrate.lock"):
        # Batch migrations drop and remake tables: with foreign keys on, that deletes what points at them.
        engine = make_engine(url, foreign_keys=False)
        try:
            _upgrade(engine, home)
        finally:
            engine.dispose()


def _upgrade(engine: Engine, home: Path) -> None:
    scripts = ScriptDirectory(str(SCRIPTS))
    head = scripts.get_current_head()
    current = current_revision(engine)
    if current == head:
        return
    _refuse_newer(scripts, current)
    if current is not None and has_rows(engine):
        back_up(engine, home / "backups", head or "base")
    with engine.execution_options(write=True).begin() as connection:
        if engine.dialect.name == "postgresql":  # the file lock only holds on this machine
            connection.execute(text("SELECT pg_advisory_xact_lock(7304)"))
        command.upgrade(configuration(connection), "head")
        _check_references(connection)
    log.info("database migrated from %s to %s", current, head)


def current_revision(engine: Engine) -> str | None:
    """The revision that the database is at; None for an empty one."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def has_rows(engine: Engine) -> bool:
    """Is there anything that a backup would keep?"""
    with engine.connect() as connection:
        there = set(inspect(connection).get_table_names())
        return any(connection.execute(text(f"SELECT 1 FROM {name} LIMIT 1")).first()
                   for name in Base.metadata.tables if name in there)


def back_up(engine: Engine, folder: Path, revision: str) -> Path | None:
    """A consistent copy as backups/before-<revision>.sqlite3; other databases have their own tools."""
    if engine.dialect.name != "sqlite":
        log.warning("no automatic backup of a %s database before its migration", engine.dialect.name)
        return None
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"before-{revision}.sqlite3"
    if target.exists():  # an earlier attempt failed half way; its backup is the older and the better one
        target = folder / f"before-{revision}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.sqlite3"
    with closing(engine.raw_connection()) as connection:  # VACUUM wants to be outside of any transaction
        connection.cursor().execute("VACUUM INTO ?", (str(target),))
    return target


def configuration(connection: Connection) -> Config:
    """Alembic's configuration for a connection that is already open."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _refuse_newer(scripts: ScriptDirectory, current: str | None) -> None:
    try:
        if current is not None:
            scripts.get_revision(current)
    except CommandError as error:
        raise NewerDatabase(
            f"The database was written by a newer MetaMusic (revision {current}).",
            "Update MetaMusic, or name another data folder in METAMUSIC_HOME. "
            "The copy made before it was upgraded is in the folder backups.") from error


def _check_references(connection: Connection) -> None:
    """With foreign keys off, nothing else would notice a row that points at nothing."""
    if connection.dialect.name == "sqlite":
        lost = connection.execute(text("PRAGMA foreign_key_check")).first()
        if lost is not None:
            raise StoreProblem(f"The migration would leave a row of {lost[0]} that points at nothing.",
                               "Nothing was changed. Please report this.")
