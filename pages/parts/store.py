"""The pages' way to the store: one per process, with its worker."""

import os
from typing import TYPE_CHECKING

import streamlit as st

from metamusic.settings import database_url, home

if TYPE_CHECKING:
    from db import Store

WORKER = "METAMUSIC_WORKER"  # "off" keeps the worker thread from starting: another process renders


@st.cache_resource(show_spinner=False)
def open_store() -> "Store":
    """Opens the store once per process, however many tabs there are, and starts the worker thread."""
    from db import Store
    from metamusic import studio

    opened = Store.open(home(), database_url())
    if os.environ.get(WORKER, "on") != "off":
        studio.start_worker(opened)
    return opened


def close_store() -> None:
    """Lets the worker put its work down in order; called when the server stops."""
    from metamusic import studio

    studio.stop_worker()
