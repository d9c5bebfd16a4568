"""Engines and transactions: how SQLite is set up so that readers and writers never trip over each other."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from db.errors import DiskFull, StoreProblem

BUSY_SECONDS = 30


def make_engine(url: str | URL, *, foreign_keys: bool = True) -> Engine:
    """An engine for a SQLite file or any other database that SQLAlchemy has a driver for."""
    try:
        sqlite = make_url(url).get_backend_name() == "sqlite"
        engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS} if sqlite else {},
                               pool_pre_ping=not sqlite)
    except (ArgumentError, NoSuchModuleError) as error:
        raise StoreProblem(f"The database URL cannot be read: {error}",
                           "Write METAMUSIC_DATABASE_URL like postgresql://user@host/name.") from error
    except ImportError as error:
        raise StoreProblem(f"The driver of this database is not installed: {error}.",
                           "For PostgreSQL: pip install 'psycopg[binary]'.") from error
    if sqlite:
        _prepare_sqlite(engine, foreign_keys)
    return engine


def _prepare_sqlite(engine: Engine, foreign_keys: bool) -> None:
    """WAL, so that pages read while the worker writes; BEGIN IMMEDIATE for whoever will write.

    A transaction that reads first and then writes fails at once with "database is locked", however long the
    busy timeout: so a writer takes the lock at its beginning.
    """
    # synchronous FULL: in WAL, NORMAL does not wait for the disk at a commit. A film's chunks go right after
    # the row says `done`; a power cut must not take back that row when they are gone.
    pragmas = [f"busy_timeout = {BUSY_SECONDS * 1000}",  # first: switching to WAL may have to wait already
               "journal_mode = WAL", "synchronous = FULL",
               f"foreign_keys = {'ON' if foreign_keys else 'OFF'}"]

    @event.listens_for(engine, "connect")
    def set_up(connection: DBAPIConnection, _record: Any) -> None:
        connection.isolation_level = None  # sqlite3 must not begin transactions on its own: `begin` does
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class Sessions:
    """Short transactions: `read()` sees one moment, `write()` commits as a whole or not at all."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._read = sessionmaker(engine)
        self._write = sessionmaker(engine.execution_options(write=True))

    @contextmanager
    def read(self) -> Iterator[Session]:
        with _explained(), self._read() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        with _explained(), self._write.begin() as session:
            yield session


@contextmanager
def _explained() -> Iterator[None]:
    """What a user can mend about the database, said in words."""
    try:
        yield
    except OperationalError as error:
        reason = str(error.orig)
        if "disk is full" in reason:
            raise DiskFull("There is no room left for the database.",
                           "Free some space and try again.") from error
        if "locked" in reason:
            raise StoreProblem(f"Another program held the database for more than {BUSY_SECONDS} s.",
                               "Close what else has it open, then try again.") from error
        if "unable to open" in reason or "readonly" in reason or "onnect" in reason:
            raise StoreProblem(f"The database cannot be opened: {reason}.",
                               "Check that the data folder (METAMUSIC_HOME) can be written.") from error
        raise
