"""Starts MetaMusic: `python serve.py`, from any folder.

Wraps app.py into Streamlit's ASGI server and adds what a script cannot give: routes that send pictures,
films and songs from disk (Streamlit alone would hold them in memory), and the store and its worker opened
before the first visitor. Ports and addresses come from .streamlit/config.toml or STREAMLIT_SERVER_*.
"""

import os
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import streamlit as st

# Before torch is loaded: threads that wait for each other sleep instead of spinning, or the pages and the
# browser on the same cores would cost the engine several times what they use (docs/decisions.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

CHECKOUT = Path(__file__).resolve().parent
if str(CHECKOUT) not in sys.path:  # `streamlit run /elsewhere/serve.py` and uvicorn do not add it
    sys.path.insert(0, str(CHECKOUT))

from metamusic.errors import MetaMusicError  # noqa: E402
from pages.parts import media, store  # noqa: E402


@asynccontextmanager
async def lifespan(_: Any) -> AsyncIterator[None]:
    """Open the store and start its worker; what goes wrong is told here and on every page."""
    try:
        await anyio.to_thread.run_sync(store.open_store)
    except MetaMusicError as error:
        print(f"metamusic: {error}", file=sys.stderr)
        yield
        return
    _open_browser()
    try:
        yield
    finally:
        await anyio.to_thread.run_sync(store.close_store)


def _open_browser() -> None:
    """Show the first page to whoever started us at a desk; Streamlit's own way would ask for an e-mail first."""
    at_a_desk = os.name == "nt" or sys.platform == "darwin" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if sys.stdout.isatty() and at_a_desk:
        url = f"http://localhost:{st.get_option('server.port')}"
        threading.Timer(1.0, webbrowser.open, [url]).start()  # by then the port is open


os.environ[media.SERVED] = "1"
app = st.App(CHECKOUT / "app.py", lifespan=lifespan, routes=media.routes())

if __name__ == "__main__":
    from streamlit.web.cli import main  # not app.run(): only the command line reads STREAMLIT_* variables

    main(["run", str(CHECKOUT / "serve.py"), *sys.argv[1:]])
