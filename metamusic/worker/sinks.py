"""Where frames go: a picture, a film, and the preview that people watch meanwhile."""

import os
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from db import NewAsset
from metamusic.events import Started
from metamusic.job import chunk_length
from metamusic.metadata import encode, thumbnail, write_png
from metamusic.settings import RenderSettings
from metamusic.video import ChunkEncoder, check_in_step, join_chunks, read_frame

THUMB, POSTER, PREVIEW = 512, 1280, 768  # longest side, pixels
PREVIEW_EVERY_S = 0.5


class Sink(Protocol):
    """What takes the frames of a render and makes its files."""

    @property
    def has_something(self) -> bool:
        """Is there anything worth keeping yet?"""

    def resume(self, frame: int) -> bool:
        """Stand where `frame` is the next to come; False if what came before is not there any more."""

    def begin(self, event: Started) -> None:
        """The render begins, or goes on."""

    def show(self, pixels: np.ndarray) -> None:
        """The picture has grown."""

    def frame(self, pixels: np.ndarray) -> None:
        """The next frame is finished."""

    def close_chunk(self) -> None:
        """All frames so far must be on disk now."""

    def finish(self, record: dict[str, Any]) -> list[NewAsset]:
        """Make files of what came, carrying their record."""

    def abort(self) -> None:
        """Let go of what is half done; harmless after `finish`."""


class ImageSink:
    """Keeps the newest picture."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pixels: np.ndarray | None = None

    @property
    def has_something(self) -> bool:
        return self._pixels is not None

    def resume(self, frame: int) -> bool:
        return True

    def begin(self, event: Started) -> None:
        pass

    def show(self, pixels: np.ndarray) -> None:
        self._pixels = pixels

    frame = show

    def close_chunk(self) -> None:
        pass

    def finish(self, record: dict[str, Any]) -> list[NewAsset]:
        assert self._pixels is not None
        final = self._folder / "final.png"
        write_png(self._pixels, final, record)
        height, width = self._pixels.shape[:2]
        return [NewAsset("final", final, "image/png", width, height),
                small(self._pixels, self._folder / "thumb.webp", THUMB, "thumb")]

    def abort(self) -> None:
        pass


class FilmSink:
    """Encodes frames in chunks whose borders the settings fix, then joins them with the song's own sound."""

    def __init__(self, folder: Path, settings: RenderSettings, song: Path) -> None:
        self._folder, self._settings, self._song = folder, settings, song
        self._per_chunk = chunk_length(settings)
        self._frames = 0
        self._encoder: ChunkEncoder | None = None
        self._size = (0, 0)

    @property
    def has_something(self) -> bool:
        return self._frames > 0

    def resume(self, frame: int) -> bool:
        """Chunks that hold a frame from here on are dropped: they will be painted again."""
        whole = -(-frame // self._per_chunk)  # the last chunk of a finished film may be short
        if not all(self._chunk(number).is_file() for number in range(whole)):
            return False
        for path in self._chunks()[whole:]:
            path.unlink()
        self._frames = frame
        return True

    def begin(self, event: Started) -> None:
        self._size = (event.width, event.height)

    def show(self, pixels: np.ndarray) -> None:
        pass

    def frame(self, pixels: np.ndarray) -> None:
        if self._encoder is None:
            self._encoder = ChunkEncoder(self._chunk(self._frames // self._per_chunk), *self._size,
                                         self._settings.fps, self._settings.crf)
        self._encoder.write(pixels)
        self._frames += 1

    def close_chunk(self) -> None:
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None

    def finish(self, record: dict[str, Any]) -> list[NewAsset]:
        self.close_chunk()  # open only where a film is kept before its end
        fps = self._settings.fps
        final = self._folder / "final.mp4"
        join_chunks(self._chunks(), self._song, self._settings.start, self._frames / fps, final,
                    encode(record))
        facts = check_in_step(final, fps)
        middle = read_frame(final, (facts.frames // 2) / fps)
        return [NewAsset("final", final, "video/mp4", facts.width, facts.height, facts.video_s),
                small(middle, self._folder / "poster.webp", POSTER, "poster"),
                small(middle, self._folder / "thumb.webp", THUMB, "thumb")]

    def abort(self) -> None:
        if self._encoder is not None:
            self._encoder.abort()
            self._encoder = None

    def _chunk(self, number: int) -> Path:
        return self._folder / f"chunk-{number:06d}.mp4"

    def _chunks(self) -> list[Path]:
        return sorted(self._folder.glob("chunk-*.mp4"))


def small(pixels: np.ndarray, path: Path, size: int, role: Any) -> NewAsset:
    """A small WebP of a picture."""
    thumbnail(pixels, path, size)
    with Image.open(path) as image:
        return NewAsset(role, path, "image/webp", image.width, image.height)


class PreviewFile:
    """The file that shows how a running render looks: replaced as a whole, at most twice a second.

    It is not made durable: after a power cut nobody misses it.
    """

    def __init__(self, folder: Path, render_id: int) -> None:
        self.path = folder / f"{render_id}.jpg"
        self._last = -PREVIEW_EVERY_S

    def show(self, pixels: np.ndarray) -> bool:
        """Write it, unless one was written just now; tells whether it did."""
        if time.monotonic() - self._last < PREVIEW_EVERY_S:
            return False
        self._last = time.monotonic()
        image = Image.fromarray(pixels)
        image.thumbnail((PREVIEW, PREVIEW), Image.Resampling.BICUBIC)
        partial = self.path.with_suffix(".partial")
        image.save(partial, "JPEG", quality=88)
        os.replace(partial, self.path)
        return True
