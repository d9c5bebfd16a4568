"""The pages' way to the store: one per process, with its worker."""

import os
from typing import TYPE_CHECKING

import streamlit as st

from metamusic import studio

if TYPE_CHECKING:
    from db import Store

WORKER = "METAMUSIC_WORKER"  # "off" keeps the worker thread from starting: another process renders


def _here() -> bool:
    return os.environ.get(WORKER, "on") != "off"


def worker_message() -> str:
    """Why this process does not render, where it does not; empty otherwise."""
    return studio.start_worker(open_store()).message if _here() else "Another process renders what is queued."


@st.cache_resource(show_spinner=False)
def open_store() -> "Store":
    """Opens the store once per process, however many tabs there are, and starts the worker thread."""
    opened = studio.open_store()
    if _here():
        studio.start_worker(opened)
    return opened


def close_store() -> None:
    """The server stops: the worker puts its render back into the queue."""
    opened = open_store()
    studio.stop_worker(opened)
    opened.close()
