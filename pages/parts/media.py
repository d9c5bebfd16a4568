"""Pictures, films and songs by URL.

Under serve.py they come from disk through the routes below; nothing but the files of known renders and songs
can be asked for, because a URL names a row, never a path. Without the routes (plain `streamlit run app.py`,
AppTest) small files travel inside the page.
"""

import base64
import os
from mimetypes import guess_type
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from db import StoreProblem
from metamusic.errors import MetaMusicError
from pages.parts import store

if TYPE_CHECKING:
    from db import AssetRow, RenderRow, SongRow

SERVED = "METAMUSIC_MEDIA_ROUTES"  # set by serve.py, which has the routes
INLINE_LIMIT = 4_000_000  # bytes that may travel inside the page where there are no routes
FOREVER = "private, max-age=31536000, immutable"  # the URL carries the content's digest
FRESH = "no-store"
SONG_TYPES = {".flac": "audio/flac", ".ogg": "audio/ogg", ".oga": "audio/ogg", ".opus": "audio/ogg",
              ".m4a": "audio/mp4", ".mkv": "video/x-matroska"}  # Python knows these on some machines only
HEADERS = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}


def asset_url(render: "RenderRow", role: str) -> str | None:
    """Where the browser finds a file of this render; None when there is none."""
    asset = render.assets.get(role)
    if asset is None:
        return None
    return _routed(f"render/{render.id}/{role}?v={asset.digest[:16]}") or _inline(asset.file, asset.mime)


def song_url(song: "SongRow") -> str | None:
    """Where the browser finds the sound of a song."""
    return _routed(f"song/{song.id}?v={song.digest[:16]}") or _inline(song.file, _mime_of_song(song.file))


def download_url(render: "RenderRow") -> str | None:
    """As asset_url of the final file, but saved under its title instead of shown."""
    asset = render.assets.get("final")
    return _routed(f"render/{render.id}/final?v={asset.digest[:16]}&save=1") if asset else None


def file_name(render: "RenderRow", asset: "AssetRow") -> str:
    """What a saved file is called."""
    return f"{render.title} {render.id}{asset.file.suffix}"


def routes() -> list[Route]:
    """The two routes that serve.py adds to Streamlit's server."""
    return [Route("/files/render/{id:int}/{role}", _send_asset), Route("/files/song/{id:int}", _send_song)]


def _routed(tail: str) -> str | None:
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    return f"{'/' + base if base else ''}/files/{tail}" if os.environ.get(SERVED) else None


def _inline(file: Path, mime: str) -> str | None:
    if not file.is_file() or file.stat().st_size > INLINE_LIMIT:
        return None
    return f"data:{mime};base64,{base64.b64encode(file.read_bytes()).decode()}"


def _send_asset(request: Request) -> Response:
    render = _row("get_render", request)
    asset: AssetRow | None = render.assets.get(request.path_params["role"]) if render else None
    if asset is None or render is None:
        return Response("No such file.", status_code=404)
    name = file_name(render, asset) if "save" in request.query_params else None
    return _send(asset.file, asset.mime, name, _cache(request, asset.digest), kept=asset.role != "preview")


def _send_song(request: Request) -> Response:
    song = _row("get_song", request)
    if song is None:
        return Response("No such file.", status_code=404)
    return _send(song.file, _mime_of_song(song.file), None, _cache(request, song.digest))


def _row(verb: str, request: Request) -> Any:
    """The row that a URL names, or None."""
    try:
        return getattr(store.open_store(), verb)(request.path_params["id"])
    except (MetaMusicError, StoreProblem, OverflowError):  # a longer number than the database counts
        return None


def _cache(request: Request, digest: str) -> str:
    """A URL that does not carry this content's digest may show something else tomorrow."""
    return FOREVER if request.query_params.get("v") == digest[:16] else FRESH


def _send(file: Path, mime: str, name: str | None, cache: str, *, kept: bool = True) -> Response:
    """kept: the file stays as it is; a preview is replaced while it is read, and swept away at the end."""
    headers = {**HEADERS, "Cache-Control": cache}
    try:
        if not kept:
            return Response(file.read_bytes(), media_type=mime, headers=headers)
        if file.is_file():
            return FileResponse(file, media_type=mime, filename=name, headers=headers)
    except FileNotFoundError:
        pass
    return Response("The file is gone.", status_code=404)


def _mime_of_song(file: Path) -> str:
    """By the file's name. A song is only ever played: whatever it holds, it must not become a page."""
    guess = SONG_TYPES.get(file.suffix.lower()) or guess_type(file.name)[0] or ""
    return guess if guess.startswith(("audio/", "video/")) else "application/octet-stream"
