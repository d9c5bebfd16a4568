"""The one place that knows how ffmpeg is called: which binary, how a path is spelled, how it complains.

imageio-ffmpeg brings ffmpeg along, but no ffprobe; what a file is, ffmpeg prints on its standard error, and
that is read here. Arguments travel as lists, never through a shell.
"""

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

# A damaged file can make ffmpeg complain about every packet: read no more of it than this.
LONGEST_LOG = 200_000

# Formats that only name other files: an uploaded playlist must not make us read what it points at.
PLAYLISTS = frozenset({"hls", "concat", "dash", "imf", "ffmetadata", "sdp", "rtsp"})

_LINE = re.compile(r"^(?:\[[^\]]+ @ [^\]]+\] )*\[(?P<level>[a-z]+)\] ?(?P<text>.*)$")


@cache
def executable() -> str:
    """The path of ffmpeg (IMAGEIO_FFMPEG_EXE names another than the one that came along)."""
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


def spell(path: Path | str) -> str:
    """A path as ffmpeg takes it: never an option, never a protocol, however it is named."""
    return f"file:{Path(path).absolute()}"


def source(path: Path | str, *options: str) -> list[str]:
    """The arguments that open `path` for reading, and nothing that it may point at on a network."""
    return ["-protocol_whitelist", "file,pipe", *options, "-i", spell(path)]


@dataclass(frozen=True)
class Log:
    """What ffmpeg wrote on its standard error, as (level, text) lines."""

    lines: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, raw: bytes) -> "Log":
        """Lines written with `-loglevel level+...`; one without a level continues an information."""
        lines = []
        for line in raw.decode("utf-8", "replace").splitlines():
            found = _LINE.match(line)
            lines.append((found["level"], found["text"]) if found else ("info", line))
        return cls(tuple(lines))

    @property
    def complaints(self) -> tuple[str, ...]:
        """The errors, in order."""
        return tuple(text.strip() for level, text in self.lines if level in ("error", "fatal", "panic"))

    @property
    def last_complaint(self) -> str:
        """The last error, or the last line at all."""
        spoken = self.complaints or tuple(text.strip() for _, text in self.lines if text.strip())
        return spoken[-1] if spoken else "ffmpeg gave no reason"

    @property
    def disk_full(self) -> bool:
        return any(words in self.text for words in ("No space left on device", "Disk quota exceeded"))

    @property
    def text(self) -> str:
        return "\n".join(text for _, text in self.lines)


class Process:
    """A running ffmpeg. Its standard error goes to a temporary file, so that no pipe ever fills up unread."""

    def __init__(self, arguments: Sequence[str], *, stdin: int = subprocess.DEVNULL,
                 stdout: int = subprocess.DEVNULL) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process, see end()
        command = [executable(), "-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info",
                   *arguments]
        try:
            # A session of its own: Ctrl-C in a terminal is for us to hear, not for an encoder in mid-film.
            self._process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=self._errors,
                                             start_new_session=True)
        except BaseException:
            self._errors.close()
            raise

    @property
    def stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def wait(self) -> int:
        """The exit status, once it has ended; negative where a signal ended it."""
        return self._process.wait()

    def log(self) -> Log:
        """What it has written so far: the beginning and the end, where that is very much."""
        size = self._errors.seek(0, 2)
        self._errors.seek(0)
        raw = self._errors.read(LONGEST_LOG)
        if size > LONGEST_LOG:
            self._errors.seek(max(LONGEST_LOG, size - LONGEST_LOG))
            raw += b"\n" + self._errors.read()
        return Log.parse(raw)

    def end(self) -> None:
        """Stop it if it still runs, and let go of its pipes; harmless when called twice."""
        if self._process.poll() is None:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # unflushed frames for a process that is gone
                    pipe.close()
        self._process.wait()
        self._errors.close()


@contextlib.contextmanager
def running(arguments: Sequence[str], **pipes: int) -> Iterator[Process]:
    """A Process that is ended on leaving, also when its reader stops half way."""
    process = Process(arguments, **pipes)
    try:
        yield process
    finally:
        process.end()


def run(arguments: Sequence[str]) -> tuple[int, bytes, Log]:
    """Run ffmpeg to its end: (exit status, standard output, log). For short answers only."""
    with running(arguments, stdout=subprocess.PIPE) as process:
        output = process.stdout.read()
        return process.wait(), output, process.log()
