"""The pages' way to the store: one per process, with its worker."""

import os
from typing import TYPE_CHECKING

import streamlit as st

from metamusic import studio

if TYPE_CHECKING:
    from db import Store

WORKER = "METAMUSIC_WORKER"  # "off" keeps the worker thread from starting: another process renders


@st.cache_resource(show_spinner=False)
def open_store() -> "Store":
    """Opens the store once per process, however many tabs there are, and starts the worker thread."""
    opened = studio.open_store()
    if os.environ.get(WORKER, "on") != "off":
        studio.start_worker(opened)
    return opened


def close_store() -> None:
    """The server stops: the worker puts its render back into the queue."""
    opened = open_store()
    studio.stop_worker(opened)
    opened.close()
