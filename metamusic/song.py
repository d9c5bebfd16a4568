"""Songs: what ffmpeg can hear in a file, decoded, measured and named by its content. No torch here.

Two readers share one pipe. `load_song` takes the chosen region as one array for the perceptor; `analyse`
streams the whole file once, in blocks, so that hours of music need little more memory than minutes.

Letters: T samples (float32, mono, 16 kHz, nominally in [-1, 1]).
"""

import hashlib
import json
import math
import re
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from metamusic import ffmpeg
from metamusic.errors import SongError

SAMPLE_RATE = 16000         # Wav2CLIP was trained at this rate
SHORTEST_S = 0.5            # less than this is no music to anybody
SILENT_PEAK = 1e-3          # -60 dB: a song that never gets louder is taken for silence
CUT_SHORT_S = 0.5           # a file that ends this much before its header says was cut off
PREROLL_S = 1.0             # decoded before a region and dropped: codecs need a run-up after a jump

LOUDNESS_PER_S = 10         # values per second of the loudness curve
PEAKS = 1200                # values of the waveform as drawn, about one per pixel
BLOCK = 10 * SAMPLE_RATE    # samples the analysis holds at a time

_ANOTHER = "Choose an mp3, wav, flac, ogg or m4a file, or an mp4 with sound."


@dataclass(frozen=True, eq=False)
class Song:
    """A region of an audio file as decoded for listening; the file itself stays the sound track.

    waveform: [T], the region only. start_s: where the region begins in the file. duration_s: its length,
    T / 16 kHz. notes: what the user should know (cut off, silent, shorter than asked).
    """

    path: Path
    digest: str
    title: str
    waveform: np.ndarray = field(repr=False)
    start_s: float
    duration_s: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SongFacts:
    """What a first look tells: seconds of sound (to about a hundredth), and what the user should know."""

    duration_s: float
    has_audio: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Analysis:
    """A whole song as measured, kept with it: enough to draw it and to cut it at its beats.

    tempo: beats per minute, 0 without a beat. beats: seconds from the start of the file. loudness: root mean
    square 0..1 of each tenth of a second. peaks: largest amplitude 0..1 of about 1200 equal stretches.
    silent: never above -60 dB.
    """

    duration_s: float
    tempo: float
    beats: tuple[float, ...]
    loudness: tuple[float, ...]
    peaks: tuple[float, ...]
    silent: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as the store keeps them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Analysis":
        """The inverse of `to_dict`, also after a trip through JSON; SongError for anything else."""
        names = {item.name for item in fields(cls)}
        if set(values) != names:
            raise SongError(f"This analysis has the keys {sorted(values)}, not {sorted(names)}.",
                            "Analyse the song again.")
        plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value
                                 for name, value in values.items()}
        return cls(**plain)

    def to_json(self) -> str:
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> "Analysis":
        return cls.from_dict(json.loads(text))

    def beats_in(self, start_s: float, duration_s: float) -> tuple[float, ...]:
        """The beats of a region, in seconds from the region's start, as `plan_segments` wants them."""
        return tuple(beat - start_s for beat in self.beats if start_s <= beat < start_s + duration_s)


def load_song(path: Path | str, start: float = 0.0, duration: float | None = None, *,
              title: str | None = None) -> Song:
    """Decode a region of any file ffmpeg reads: `duration` seconds from `start` (None: to the end).

    Nothing outside the region is held in memory: 64 kB per second of it, for a moment twice that.
    Raises SongError, with a cure, if the file is missing, unreadable or without sound, if it ends before
    `start`, or if the region holds less than half a second. What is usable, but not as expected, is told in
    `notes`.
    """
    path = Path(path)
    header = _read_header(path)
    if start and header.exact_s is not None and start >= header.exact_s:
        # Asked here, not after decoding: ffmpeg plays an ogg from its beginning when sent beyond its end.
        raise _begins_too_late(path, start, header.exact_s)
    waveform, log = _decode(path, start, duration)
    seconds = len(waveform) / SAMPLE_RATE
    if seconds < SHORTEST_S:
        raise _too_short(path, start, duration, seconds, log)
    wanted_to = None if duration is None else start + duration
    notes = [*_damage(path, header, log, start + seconds, wanted_to), *_shortfall(start, duration, seconds)]
    if float(np.abs(waveform).max()) < SILENT_PEAK:
        notes.append("This music is silent: the seed and the text lead.")
    return Song(path, hash_file(path), title or path.stem, waveform, start, seconds, tuple(notes))


def hash_file(path: Path | str) -> str:
    """SHA-256 of the file's bytes, as hex: the identity of a song."""
    with _open(Path(path)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def probe_song(path: Path | str) -> SongFacts:
    """A first look, in about a second even at three hours: is there sound, does it decode, how long is it?

    The length is counted from the packets that are really in the file, not believed from its header.
    Raises SongError as `load_song` does.
    """
    path = Path(path)
    header = _read_header(path)
    beginning, log = _decode(path, 0.0, 2 * SHORTEST_S)
    if len(beginning) < SHORTEST_S * SAMPLE_RATE:
        raise _too_short(path, 0.0, None, len(beginning) / SAMPLE_RATE, log)
    seconds, log = _count_packets(path)
    return SongFacts(seconds, True, tuple(_damage(path, header, log, seconds, wanted_to=None)))


def analyse(path: Path | str) -> Analysis:
    """Beats, loudness and peaks of the whole file, streamed once; memory hardly grows with its length.

    The first call of a process also loads librosa (seconds; see `warm_up`). Music without a beat has no beats
    and tempo 0. Raises SongError as `load_song` does.
    """
    path = Path(path)
    _read_header(path)
    meter = _Meter()
    with _Decoder(path, 0.0, None) as decoder:
        for block in decoder.blocks(BLOCK):
            meter.hear(block)
        seconds, log = meter.samples / SAMPLE_RATE, decoder.finish()
    if seconds < SHORTEST_S:
        raise _too_short(path, 0.0, None, seconds, log)
    silent = meter.peak < SILENT_PEAK
    tempo, beats = (0.0, ()) if silent else _find_beats(meter.onsets())
    return Analysis(round(seconds, 4), tempo, tuple(b for b in beats if b < seconds),
                    meter.loudness(), meter.peaks(), silent)


def warm_up() -> None:
    """Load librosa and its compiled parts (seconds), so that the first analysis need not."""
    clicks = np.zeros(20 * ONSETS_PER_S, np.float32)
    clicks[::ONSETS_PER_S // 2] = 1
    _mel_filters()
    _find_beats(clicks)


# -- reading ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Header:
    """What ffmpeg reads off the front of a file.

    exact_s: seconds of sound the file promises; None where ffmpeg only guesses, or may mean a film's picture.
    """

    exact_s: float | None


def _open(path: Path) -> BufferedReader:
    """The file, open for reading; SongError for what no ffmpeg could read either."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise SongError(f"There is no file {str(path)!r}.", "Check the name.") from None
    except IsADirectoryError:
        raise SongError(f"{str(path)!r} is a folder, not a song.", _ANOTHER) from None
    except OSError as error:
        raise SongError(f"{str(path)!r} cannot be read: {error.strerror}.", "Look who may.") from error


def _read_header(path: Path) -> _Header:
    """What the file says of itself; SongError unless it is an audio file that ffmpeg knows."""
    _open(path).close()
    if path.stat().st_size == 0:
        raise SongError(f"{path.name!r} is empty.", _ANOTHER)
    _, _, log = ffmpeg.run(ffmpeg.source(path))
    shape = re.search(r"^Input #0, (.+?), from '", log.text, re.MULTILINE)
    if shape is None or ffmpeg.PLAYLISTS & set(shape[1].split(",")):
        raise SongError(f"{path.name!r} is not a sound file that ffmpeg can read.", _ANOTHER)
    streams = re.findall(r"^\s*Stream #0:\d+\S*: (\w+): (.*)$", log.text, re.MULTILINE)
    if not any(kind == "Audio" for kind, _ in streams):
        raise SongError(f"{path.name!r} has no sound.", _ANOTHER)
    # The header's length is the longest track's; a cover picture is a track, but has no length.
    pictures = any(kind == "Video" and "(attached pic)" not in about for kind, about in streams)
    guessed = "Estimating duration from bitrate" in log.text
    length = re.search(r"^\s*Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", log.text, re.MULTILINE)
    if length is None or pictures or guessed:
        return _Header(None)
    hours, minutes, seconds = (float(part) for part in length.groups())
    return _Header(hours * 3600 + minutes * 60 + seconds)


class _Decoder:
    """ffmpeg decoding the first sound track of a file, `duration` seconds of it from `start`."""

    def __init__(self, path: Path, start: float, duration: float | None) -> None:
        preroll = min(PREROLL_S, start)
        jump = ["-ss", f"{start - preroll:.6f}"] if start > preroll else []
        # Cut by sample after resampling: ffmpeg's own -ss loses the codec's run-up (24 ms of an m4a).
        end = "" if duration is None else f":end={preroll + duration:.6f}"
        sound = f"aformat=channel_layouts=mono,aresample={SAMPLE_RATE},atrim=start={preroll:.6f}{end}"
        self._process = ffmpeg.Process(
            [*ffmpeg.source(path, *jump), "-map", "0:a:0", "-filter:a", sound, "-f", "f32le", "pipe:1"],
            stdout=subprocess.PIPE)

    def __enter__(self) -> "_Decoder":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.end()

    def blocks(self, samples: int) -> Iterator[np.ndarray]:
        """The sound in arrays of `samples` (the last one shorter), writable and free of NaN."""
        while data := bytearray(self._process.stdout.read(4 * samples)):
            # A float wav may hold anything; the rest of MetaMusic need not know.
            whole = np.frombuffer(data[:len(data) // 4 * 4], np.float32)
            yield np.nan_to_num(whole, copy=False, nan=0.0, posinf=1.0, neginf=-1.0)

    def finish(self) -> ffmpeg.Log:
        """What ffmpeg had to say, once all blocks are read."""
        self._process.wait()
        return self._process.log()


def _decode(path: Path, start: float, duration: float | None) -> tuple[np.ndarray, ffmpeg.Log]:
    """The region as one array [T], and what ffmpeg said."""
    with _Decoder(path, start, duration) as decoder:
        blocks = list(decoder.blocks(BLOCK))
        waveform = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
        return waveform, decoder.finish()


def _count_packets(path: Path) -> tuple[float, ffmpeg.Log]:
    """Seconds of sound that are really in the file, read without decoding: a second for three hours."""
    _, output, log = ffmpeg.run([*ffmpeg.source(path), "-map", "0:a:0", "-c", "copy",
                                 "-progress", "pipe:1", "-f", "null", "-"])
    times = re.findall(rb"^out_time_us=(\d+)", output, re.MULTILINE)
    return (int(times[-1]) / 1e6 if times else 0.0), log


# -- what to say of it ------------------------------------------------------------------------------


def _damage(path: Path, header: _Header, log: ffmpeg.Log, heard_to: float,
            wanted_to: float | None) -> Iterator[str]:
    """A note if the file is cut off or torn; `heard_to` and `wanted_to` are seconds from its beginning."""
    declared = header.exact_s
    if declared is not None and heard_to < min(declared, wanted_to or math.inf) - CUT_SHORT_S:
        yield (f"The file is cut off or damaged: it should last {_clock(declared)}, "
               f"but only {_clock(heard_to)} can be decoded; that is used.")
        return
    to_the_end = wanted_to is None or heard_to < wanted_to - CUT_SHORT_S
    if log.complaints or re.search(r"corrupt (input )?packet|packet corrupt", log.text, re.IGNORECASE):
        yield "Parts of the file are damaged; what can be decoded is used."
    elif to_the_end and _is_torn_ogg(path):
        yield f"The file is cut off after {_clock(heard_to)}; what there is, is used."


def _shortfall(start: float, duration: float | None, seconds: float) -> Iterator[str]:
    if duration is not None and seconds < duration - 0.05:
        yield (f"The song ends at {_clock(start + seconds)}: {seconds:.1f} s are used "
               f"instead of the {duration:g} s asked for.")


def _is_torn_ogg(path: Path) -> bool:
    """Ogg alone does not say in its header how long it is; its last page must be marked as the last."""
    with _open(path) as file:
        if file.read(4) != b"OggS":
            return False
        file.seek(-min(path.stat().st_size, 1 << 17), 2)  # a page is at most 64 kB
        tail = file.read()
    page = tail.rfind(b"OggS")
    ends_stream = 0x04
    return page < 0 or len(tail) < page + 6 or not tail[page + 5] & ends_stream


def _begins_too_late(path: Path, start: float, length_s: float) -> SongError:
    return SongError(f"{path.name!r} is {_clock(length_s)} long; it cannot begin at {_clock(start)}.",
                     f"Choose a start before {_clock(max(0.0, length_s - SHORTEST_S))}.")


def _too_short(path: Path, start: float, duration: float | None, seconds: float,
               log: ffmpeg.Log) -> SongError:
    """Why there is less than half a second: the region, the file, or the decoder."""
    if duration is not None and duration < SHORTEST_S:
        return SongError(f"{duration:g} s of sound were asked for; at least {SHORTEST_S} s are needed.",
                         "Choose a longer region.")
    length = _count_packets(path)[0] if start else seconds
    if start >= length > 0:
        return _begins_too_late(path, start, length)
    if start and length > 0:
        return SongError(f"Only {seconds:.2f} s of {path.name!r} are left after {_clock(start)}; "
                         f"at least {SHORTEST_S} s are needed.", "Choose an earlier start.")
    if seconds == 0:
        return SongError(f"Nothing in {path.name!r} can be decoded ({log.last_complaint.rstrip('.')}).",
                         "The file is damaged: get it again, or choose another.")
    return SongError(f"{path.name!r} holds only {seconds:.2f} s of sound; "
                     f"at least {SHORTEST_S} s are needed.", "Choose a longer song.")


def _clock(seconds: float) -> str:
    """75.5 -> '1:15.5', 10800 -> '3:00:00'."""
    tenths = round(seconds * 10)
    hours, minutes = divmod(tenths // 600, 60)
    rest = f"{tenths % 600 / 10:04.1f}".removesuffix(".0")
    return f"{hours}:{minutes:02d}:{rest}" if hours else f"{minutes}:{rest}"


# -- measuring --------------------------------------------------------------------------------------

WINDOW = 1024               # samples one look at the spectrum takes in, 64 ms
ONSETS_PER_S = 50           # how often it looks
HOP = SAMPLE_RATE // ONSETS_PER_S
MELS = 128
FLOOR = 1e-6                # of mel power; quieter is not heard: about 90 dB below full scale
FINE = 40                   # samples one first maximum covers, before they are thinned out to PEAKS
TEMPO_S = 600               # one tempo per ten minutes of a long mix ...
ONE_TEMPO_S = 1200          # ... and one for any song up to twenty


class _Meter:
    """Hears a song block by block and keeps per-second figures of it, never the sound itself."""

    def __init__(self) -> None:
        self.samples = 0
        self.peak = 0.0
        self._squares: list[np.ndarray] = []
        self._maxima: list[np.ndarray] = []
        self._flux: list[np.ndarray] = []
        self._tail = np.zeros(WINDOW // 2, np.float32)  # so that look k is centred on sample k * HOP
        self._last: np.ndarray | None = None

    def hear(self, block: np.ndarray) -> None:
        """Take in the next block [T]; all but the last are BLOCK long, which every stretch below divides."""
        self.samples += len(block)
        self.peak = max(self.peak, float(np.abs(block).max()))
        self._squares.append(_fold(np.square(block), SAMPLE_RATE // LOUDNESS_PER_S, np.add))
        self._maxima.append(_fold(np.abs(block), FINE, np.maximum))
        self._look(block)

    def loudness(self) -> tuple[float, ...]:
        """Root mean square of each tenth of a second, 0..1."""
        stretch = SAMPLE_RATE // LOUDNESS_PER_S
        squares = np.concatenate(self._squares)
        counts = np.full(len(squares), stretch)
        counts[-1] = self.samples - stretch * (len(squares) - 1)
        return _rounded(np.sqrt(squares / counts), 4)

    def peaks(self) -> tuple[float, ...]:
        """Largest amplitude of PEAKS equal stretches (fewer for less than three seconds), 0..1."""
        maxima = np.concatenate(self._maxima)
        starts = np.linspace(0, len(maxima), min(PEAKS, len(maxima)), endpoint=False).astype(int)
        return _rounded(np.maximum.reduceat(maxima, starts), 3)

    def onsets(self) -> np.ndarray:
        """How much louder the bands of the spectrum got, at ONSETS_PER_S: [n], >= 0."""
        self._look(np.zeros(WINDOW // 2, np.float32))
        return np.concatenate(self._flux)

    def _look(self, block: np.ndarray) -> None:
        """Spectral flux: the mean rise, over mel bands, of the level in dB."""
        sound = np.concatenate([self._tail, block])
        looks = max(0, (len(sound) - WINDOW) // HOP + 1)
        self._tail = sound[looks * HOP:]
        if not looks:
            return
        windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP][:looks]  # [looks, WINDOW]
        spectrum = np.fft.rfft(windows * np.hanning(WINDOW).astype(np.float32))
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        level = 10 * np.log10(np.maximum(power @ _mel_filters().T, FLOOR))  # [looks, MELS]
        before = level[:1] if self._last is None else self._last
        self._last = level[-1:]
        rise = np.diff(level, axis=0, prepend=before)
        self._flux.append(np.maximum(rise, 0).mean(axis=1))


@cache
def _mel_filters() -> np.ndarray:
    """[MELS, WINDOW / 2 + 1]"""
    import librosa

    return librosa.filters.mel(sr=SAMPLE_RATE, n_fft=WINDOW, n_mels=MELS)


def _find_beats(onsets: np.ndarray) -> tuple[float, tuple[float, ...]]:
    """(tempo in beats per minute, beats in seconds) of an onset curve [n]; (0, ()) where nothing beats."""
    import librosa

    if len(onsets) < 2 * ONSETS_PER_S or not onsets.any():
        return 0.0, ()  # no two seconds have a tempo
    stretch = len(onsets) if len(onsets) <= ONE_TEMPO_S * ONSETS_PER_S else TEMPO_S * ONSETS_PER_S
    parts = [onsets[at:at + stretch] for at in range(0, len(onsets), stretch)]
    if len(parts) > 1 and len(parts[-1]) < stretch / 2:
        parts[-2:] = [np.concatenate(parts[-2:])]
    tempos = [_tempo(part) for part in parts]
    per_onset = np.concatenate([np.full(len(part), tempo) for part, tempo in zip(parts, tempos, strict=True)])
    _, beats = librosa.beat.beat_track(onset_envelope=onsets, sr=SAMPLE_RATE, hop_length=HOP,
                                       bpm=per_onset if len(parts) > 1 else tempos[0])
    if len(beats) < 2:
        return 0.0, ()
    return round(float(np.median(tempos)), 1), tuple(round(int(beat) / ONSETS_PER_S, 2) for beat in beats)


def _tempo(onsets: np.ndarray) -> float:
    """Beats per minute, from the mean autocorrelation of the onset curve, minute by minute to save memory."""
    import librosa

    minute = 60 * ONSETS_PER_S
    total: np.ndarray | float = 0.0
    for at in range(0, len(onsets), minute):
        grams = librosa.feature.tempogram(onset_envelope=onsets[at:at + minute], sr=SAMPLE_RATE,
                                          hop_length=HOP, win_length=8 * ONSETS_PER_S)
        total = total + grams.sum(axis=1)
    mean = np.asarray(total) / len(onsets)
    return float(librosa.feature.tempo(tg=mean[:, None], sr=SAMPLE_RATE, hop_length=HOP)[0])


def _fold(values: np.ndarray, size: int, join: np.ufunc) -> np.ndarray:
    """`join` over each run of `size` values, the last run shorter: [T] -> [ceil(T / size)]."""
    return join.reduceat(values, np.arange(0, len(values), size), dtype=np.float32)


def _rounded(values: np.ndarray, digits: int) -> tuple[float, ...]:
    return tuple(round(float(value), digits) for value in np.minimum(values, 1.0))
