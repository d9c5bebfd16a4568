"""Films: frames into chunks, chunks into one file with the song's own sound, and a look at the result.

A chunk is encoded by one x264 process and starts with a key frame, so that chunks can be joined without
encoding again: a film whose rendering was interrupted equals an undisturbed one. Frame n is shown at n / fps.

Letters: H W pixels; frames are uint8 [H, W, 3], RGB.
"""

import os
import re
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np

from metamusic import ffmpeg
from metamusic.errors import DiskFullError, EncodingError, MetaMusicError, SettingsError
from metamusic.song import PREROLL_S

SOUND_RATE = 48000          # samples per second of the sound track
SOUND_BITS = "192k"
AAC_FRAME = 1024            # samples; players may only cut the sound there

# One thread: x264 then decides the same on every machine, and a render keeps the other cores busy anyway.
_X264 = ["-c:v", "libx264", "-preset", "medium", "-threads", "1", "-x264-params", "open-gop=0"]
# Preset medium shows a frame at most this many frames after decoding it (its B-frames refer to each other).
_DELAY = 2
_SCALE = "scale=flags=bicubic+accurate_rnd+full_chroma_int"
# The colours are named, too, or browsers guess them by the size of the picture.
_TO_YUV = (f"{_SCALE}:in_range=full:out_range=tv:out_color_matrix=bt709,format=yuv420p,"
           "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv")
# A chunk of a single frame knows nothing of that delay: give every frame of the film the same decoding clock.
_EVEN_CLOCK = f"setts=pts=PTS:dts=(N-{_DELAY})*DURATION"
_ODD_END = "Render it again; if this repeats, report it."
_NO_ROOM = "Free some space on the disk and continue the render."


@dataclass(frozen=True)
class VideoFacts:
    """What is really in a film, counted by decoding it; seconds are exact.

    start_s: how much later than the picture the sound begins. comment: the metadata of that name, or None.
    """

    width: int
    height: int
    fps: float
    frames: int
    video_s: float
    audio_s: float
    has_audio: bool
    comment: str | None
    start_s: float = 0.0


class ChunkEncoder:
    """Frames to H.264 in an mp4 (yuv420p, closed group of pictures), one process per chunk.

    The file appears at `path` when `close()` returns, whole and on the disk; until then, and after `abort()`,
    there is none. As a context manager it closes, or aborts on an exception. Equal frames give equal bytes.

    width, height: even pixels. fps: whole frames per second. crf: 0 (lossless) .. 51.
    Raises SettingsError for an odd size, EncodingError with ffmpeg's last line, DiskFullError.
    """

    def __init__(self, path: Path | str, width: int, height: int, fps: int, crf: int) -> None:
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise SettingsError(f"A film of {width} x {height} pixels cannot be encoded.",
                                "Width and height must be even.")
        self.path = Path(path)
        self.frames = 0
        self._shape = (height, width, 3)
        self._partial = _partial(self.path)
        self._process: ffmpeg.Process | None = ffmpeg.Process(
            ["-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps),
             "-i", "pipe:0", "-an", "-vf", _TO_YUV, *_X264, "-crf", str(crf),
             "-video_track_timescale", str(_ticks(fps)), "-f", "mp4", ffmpeg.spell(self._partial)],
            stdin=subprocess.PIPE)

    def write(self, pixels: np.ndarray) -> None:
        """Append one frame, uint8 [H, W, 3]."""
        if self._process is None:
            raise ValueError(f"{self.path} is closed")
        if pixels.shape != self._shape or pixels.dtype != np.uint8:
            raise ValueError(f"a frame of {self.path} is uint8 {self._shape}, "
                             f"not {pixels.dtype} {pixels.shape}")
        try:
            self._process.stdin.write(np.ascontiguousarray(pixels).data)
        except OSError:
            self._fail()
        self.frames += 1

    def close(self) -> None:
        """End the chunk: every frame encoded, the file on the disk and in its place. May be called twice."""
        if self._process is None:
            return
        if not self.frames:
            self.abort()
            raise EncodingError(f"{self.path.name} would be a film without a frame.")
        try:
            self._process.stdin.close()
        except OSError:
            self._fail()
        if self._process.wait() != 0:
            self._fail()
        self._process.end()
        self._process = None
        _settle(self._partial, self.path)

    def abort(self) -> None:
        """Stop and leave nothing behind."""
        if self._process is not None:
            self._process.end()
            self._process = None
        self._partial.unlink(missing_ok=True)

    def __enter__(self) -> "ChunkEncoder":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _fail(self) -> None:
        assert self._process is not None
        self._process.wait()
        error = _refusal(self._process.log(), "The film could not be encoded")
        self.abort()
        raise error


def join_chunks(chunks: Sequence[Path | str], song_path: Path | str, start_s: float, duration_s: float,
                out: Path | str, metadata: str) -> None:
    """Put chunks one behind the other without encoding again, and the song's sound under them, once.

    song_path, start_s: the original file, and where in it the film begins.
    duration_s: length of the film, frames / fps; the sound is cut, or filled with silence, to just that.
    metadata: text to carry as the film's comment. The file appears at `out` whole, or not at all.
    Raises EncodingError with ffmpeg's last line, DiskFullError.
    """
    if not chunks:
        raise EncodingError("There is nothing to join: not one chunk was encoded.", "Render the film again.")
    out = Path(out)
    partial, listing = _partial(out), out.with_name(f".{out.name}.chunks")
    notes = out.with_name(f".{out.name}.notes")  # a file: the words of a command line are counted, and few
    # The sound comes with a run-up of up to a second, which the filter cuts off again: see song.py.
    runup = min(PREROLL_S, start_s)
    jump = ["-ss", f"{start_s - runup:.6f}"] if start_s > runup else []
    try:
        listing.write_text(_concat_list(chunks), encoding="utf-8")
        notes.write_text(_note(metadata), encoding="utf-8", newline="\n")
        status, _, log = ffmpeg.run([
            "-y", *ffmpeg.source(listing, "-f", "concat", "-safe", "0"),
            *ffmpeg.source(song_path, *jump), *ffmpeg.source(notes, "-f", "ffmetadata"),
            "-map", "0:v:0", "-c:v", "copy", "-bsf:v", _EVEN_CLOCK,
            "-map", "1:a:0", "-filter:a", _sound_filter(runup, duration_s), "-c:a", "aac", "-b:a", SOUND_BITS,
            "-map_metadata", "2", "-map_metadata:s", "-1", "-map_chapters", "-1",
            "-movflags", "+faststart", "-f", "mp4", ffmpeg.spell(partial)])
        if status:
            raise _refusal(log, "The film could not be joined with its sound")
        _settle(partial, out)
    finally:
        listing.unlink(missing_ok=True)
        notes.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)


def probe_video(path: Path | str) -> VideoFacts:
    """Decode a film from end to end and count what is in it. EncodingError if it has no picture to decode."""
    tracks, log = _decode_and_count(path)
    video, audio = tracks.get("video"), tracks.get("audio")
    shape = re.search(r"^\s*Stream #0:\d+\S*: Video: .*?, (\d+)x(\d+)\b.*?([\d.]+) fps", log.text, re.M)
    if video is None or not video.packets or shape is None:
        raise EncodingError(f"{Path(path).name} is not a film that can be decoded ({log.last_complaint}).")
    return VideoFacts(
        int(shape[1]), int(shape[2]), float(shape[3]), video.packets, float(video.end - video.begin),
        float(audio.sounding) if audio else 0.0, audio is not None, read_comment(path),
        float(audio.begin - video.begin) if audio and audio.packets else 0.0)


def check_in_step(path: Path | str, fps: float) -> VideoFacts:
    """The facts of a film whose picture and sound begin and end within one frame of each other.

    Anything else is an EncodingError that tells the lengths.
    """
    facts = probe_video(path)
    allowed = 1 / fps + 1e-6
    if not facts.has_audio:
        raise EncodingError(f"{Path(path).name} has no sound.", _ODD_END)
    if abs(facts.video_s - facts.audio_s) > allowed or abs(facts.start_s) > allowed:
        raise EncodingError(
            f"Picture and sound of {Path(path).name} are not in step: {facts.video_s:.3f} s of picture, "
            f"{facts.audio_s:.3f} s of sound, which begins {facts.start_s:.3f} s after it.",
            _ODD_END)
    return facts


def decode_frames(path: Path | str) -> Iterator[np.ndarray]:
    """Every frame of a film, uint8 [H, W, 3], one at a time; EncodingError where it cannot be decoded."""
    yield from _pictures(path)


def read_frame(path: Path | str, seconds: float) -> np.ndarray:
    """The first frame at or after `seconds`, uint8 [H, W, 3]; EncodingError behind the last one."""
    for picture in _pictures(path, before=["-ss", f"{max(0.0, seconds):.6f}"], after=["-frames:v", "1"]):
        return picture
    raise EncodingError(f"{Path(path).name} has no frame at {seconds:g} s.")


def first_frame(path: Path | str) -> np.ndarray:
    """How a film begins, uint8 [H, W, 3]."""
    return read_frame(path, 0.0)


def last_frame(path: Path | str) -> np.ndarray:
    """How a film ends, uint8 [H, W, 3]; EncodingError where it cannot be decoded."""
    with suppress(EncodingError):  # a film whose clock is odd, or that cannot be searched
        if found := deque(_pictures(path, before=["-sseof", "-4"]), maxlen=1):
            return found[0]
    if found := deque(_pictures(path), maxlen=1):
        return found[0]
    raise EncodingError(f"{Path(path).name} has no frame.")


def read_comment(path: Path | str) -> str | None:
    """The comment a media file carries, or None."""
    _, output, _ = ffmpeg.run([*ffmpeg.source(path), "-f", "ffmetadata", "pipe:1"])
    found = re.search(r"^comment=((?:[^\\\n]|\\.)*)$", output.decode("utf-8", "replace"), re.M | re.S)
    return re.sub(r"\\(.)", r"\1", found[1], flags=re.S) if found else None


# -- helpers ----------------------------------------------------------------------------------------


def _ticks(fps: int) -> int:
    """The clock of a track, ticks per second: fixed, and a whole number of ticks per frame."""
    return fps * 512


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _settle(partial: Path, path: Path) -> None:
    """Let a finished file take its place: on the disk first, then renamed, then the folder too."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _refusal(log: ffmpeg.Log, what: str) -> MetaMusicError:
    if log.disk_full:
        return DiskFullError(f"{what}: the disk is full.", _NO_ROOM)
    return EncodingError(f"{what}: {log.last_complaint.rstrip('.')}.", _ODD_END)


def _concat_list(chunks: Sequence[Path | str]) -> str:
    """The list that ffmpeg's concat reads: quoted as in a shell, a quote itself as '\\''."""
    quoted = (ffmpeg.spell(chunk).replace("'", r"'\''") for chunk in chunks)
    return "ffconcat version 1.0\n" + "".join(f"file '{name}'\n" for name in quoted)


def _note(comment: str) -> str:
    """A film's comment as ffmpeg's ffmetadata reads it, with what means something there escaped."""
    escaped = re.sub(r"([\\=;#\n\r])", r"\\\1", comment)
    return f";FFMETADATA1\ncomment={escaped}\n"


def _sound_filter(runup: float, duration_s: float) -> str:
    """Stereo at SOUND_RATE, without the run-up, filled and cut to whole AAC frames near `duration_s`.

    A decoder gives back whole AAC frames (21 ms), longer than a frame at 60 per second is shown; rounding
    to the nearest keeps the difference under half of that.
    """
    samples = max(1, round(duration_s * SOUND_RATE / AAC_FRAME)) * AAC_FRAME
    return (f"aformat=channel_layouts=stereo,aresample={SOUND_RATE},atrim=start={runup:.6f},"
            f"asetpts=PTS-STARTPTS,apad=whole_len={samples},atrim=end_sample={samples}")


@dataclass
class _Track:
    """Counts of one decoded track, in seconds."""

    clock: Fraction
    packets: int = 0
    begin: Fraction = Fraction(0)
    end: Fraction = Fraction(0)
    sounding: Fraction = Fraction(0)

    def count(self, shown_at: int, lasts: int) -> None:
        at, length = shown_at * self.clock, lasts * self.clock
        self.begin = min(self.begin, at) if self.packets else at
        self.end = max(self.end, at + length)
        self.sounding += length
        self.packets += 1


def _decode_and_count(path: Path | str) -> tuple[dict[str, _Track], ffmpeg.Log]:
    """Decode the first picture and sound track and add up what comes out: kind -> counts."""
    arguments = [*ffmpeg.source(path), "-map", "0:v:0?", "-map", "0:a:0?", "-fps_mode", "passthrough",
                 "-c:v", "wrapped_avframe", "-c:a", "pcm_s16le", "-f", "framecrc", "pipe:1"]
    clocks: dict[str, Fraction] = {}
    tracks: dict[str, _Track] = {}
    with ffmpeg.running(arguments, stdout=subprocess.PIPE) as process:
        kinds: dict[str, str] = {}
        for line in process.stdout:
            text = line.decode()
            if header := re.match(r"#(tb|media_type) (\d+): (.+)", text):
                name, index, value = header.groups()
                if name == "tb":
                    clocks[index] = Fraction(value.strip())
                else:
                    kinds[index] = value.strip()
                    tracks[value.strip()] = _Track(clocks[index])
            elif not text.startswith("#"):
                index, _, shown_at, lasts, *_ = (part.strip() for part in text.split(","))
                tracks[kinds[index]].count(int(shown_at), int(lasts))
        process.wait()
        return tracks, process.log()


def _pictures(path: Path | str, before: Sequence[str] = (),
              after: Sequence[str] = ()) -> Iterator[np.ndarray]:
    """Decoded frames through a pipe of PPM files, which say themselves how large they are."""
    arguments = [*ffmpeg.source(path, *before), "-map", "0:v:0", "-fps_mode", "passthrough", *after,
                 "-vf", _SCALE, "-pix_fmt", "rgb24",
                 "-c:v", "ppm", "-f", "image2pipe", "pipe:1"]
    with ffmpeg.running(arguments, stdout=subprocess.PIPE) as process:
        while (picture := _read_ppm(process.stdout)) is not None:
            yield picture
        if process.wait() != 0:
            raise _refusal(process.log(), f"{Path(path).name} could not be decoded")


def _read_ppm(pipe: IO[bytes]) -> np.ndarray | None:
    """The next picture [H, W, 3] of a pipe, or None at its end."""
    if pipe.readline() != b"P6\n":
        return None
    width, height = map(int, pipe.readline().split())
    pipe.readline()  # 255, the largest value
    data = bytearray(pipe.read(width * height * 3))
    whole = len(data) == width * height * 3
    return np.frombuffer(data, np.uint8).reshape(height, width, 3) if whole else None
