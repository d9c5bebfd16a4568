"""The store, and its complaints as the errors that everybody here shows."""

from collections.abc import Iterator
from contextlib import contextmanager

from db import DiskFull, Store, StoreProblem
from metamusic.errors import DiskFullError, StoreError
from metamusic.settings import database_url, home


@contextmanager
def store_errors() -> Iterator[None]:
    """The store's complaints, as the errors that everybody here shows."""
    try:
        yield
    except DiskFull as error:
        raise DiskFullError(error.message, error.cure) from error
    except StoreProblem as error:
        raise StoreError(error.message, error.cure) from error


@store_errors()
def open_store() -> Store:
    """The store in the data folder that METAMUSIC_HOME and METAMUSIC_DATABASE_URL name."""
    return Store.open(home(), database_url())
