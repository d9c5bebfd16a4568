"""How the music moves: curves of its loudness, bands, onsets and beats, as formulas use them.

Each band is a Butterworth band pass of order 5, as pytti has them, run forwards and backwards: an envelope is not
later than what is heard. Songs are heard at 16 kHz, so nothing above 8 kHz exists here and treble ends at 7.5 kHz.
Everything is computed in blocks: beside the waveform, hours need little more memory than minutes.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import butter, get_window, sosfiltfilt

from metamusic.formula import VARIABLES
from metamusic.song import SAMPLE_RATE, SILENT_PEAK

BANDS = {"bass": (20.0, 150.0), "mid": (150.0, 2000.0), "treble": (2000.0, 7500.0)}  # Hz
ORDER = 5
HOP = 320                   # samples between two values
RATE = SAMPLE_RATE / HOP    # 50 values per second
WINDOW = 512                # samples that one value of onset or mel power hears (32 ms)
DECAY_S = 0.15              # in which a pulse falls to 1/e
FAINT = 5e-3                # a band that stays 46 dB below the song's peak is the filter's leakage, not music
BLOCK = 1500                # values computed at a time (30 s)
RUN_UP = SAMPLE_RATE        # samples of both neighbours that a block is filtered with
MIRRORED = SAMPLE_RATE // 4


@dataclass(frozen=True, eq=False)
class Envelopes:
    """Curves of a region, each [n] float32 in 0..1; value k belongs to k / rate seconds from the region's start.

    curves: loudness, bass, mid, treble (each 1 at its own loudest moment of the region, 0 throughout if there is
    none), onset and beat (pulses that rise at once and decay).
    """

    rate: float
    curves: dict[str, np.ndarray]

    def at(self, time_s: float) -> dict[str, float]:
        """Every variable of a formula at a time from the start of the region; beyond its ends, as at the end."""
        place = max(0.0, time_s * self.rate)
        left, share = int(place), place % 1
        values = {}
        for name, curve in self.curves.items():
            one, other = (float(curve[min(index, len(curve) - 1)]) for index in (left, left + 1))
            values[name] = one + share * (other - one)
        return {**dict.fromkeys(VARIABLES, 0.0), **values, "time": float(time_s)}


def make_envelopes(waveform: np.ndarray, beats: Sequence[float]) -> Envelopes:
    """The curves of a region.

    waveform: [T] float32 mono at 16 kHz, the region only. beats: seconds from the start of the region. Silence and
    an empty waveform have curves of zeros; never NaN.
    """
    count = _count(waveform)
    peak = float(np.abs(waveform).max()) if len(waveform) else 0.0
    if peak < SILENT_PEAK:
        curves = {name: np.zeros(count, np.float32) for name in ("loudness", *BANDS, "onset")}
    else:
        curves = {"loudness": _loudness(waveform, peak)}
        curves |= {name: _band(waveform, peak, *span) for name, span in BANDS.items()}
        curves["onset"] = _onsets(waveform, peak)
    return Envelopes(RATE, {**curves, "beat": _beats(beats, count)})


def loudness_of(waveform: np.ndarray, spans: Sequence[tuple[float, float]]) -> list[float]:
    """How loud each span is in its loudest moment, 0..1: mel power, 1 for the loudest span (as Music2Video has it).

    waveform: [T] float32 mono at 16 kHz. spans: (begin, end) in seconds from its start; what lies outside of it is
    silent, and a span without any of it has 0. Power, not level: half the amplitude is a quarter.
    """
    if not spans or len(waveform) == 0 or float(np.abs(waveform).max()) < SILENT_PEAK:
        return [0.0] * len(spans)
    power = _mel_power(waveform)
    loudest = [float(power[_values(begin, end, len(power))].max(initial=0.0)) for begin, end in spans]
    top = max(loudest)
    return [value / top if top > 0 else 0.0 for value in loudest]


def _count(waveform: np.ndarray) -> int:
    """How many values a waveform has: one at its start and after each hop begun."""
    return math.ceil(len(waveform) / HOP) + 1


def _values(begin_s: float, end_s: float, count: int) -> slice:
    """The values inside a span of seconds: at least the nearest one if the span has any length within the region."""
    first, last = max(0, math.floor(begin_s * RATE + 0.5)), min(count, math.floor(end_s * RATE + 0.5))
    if begin_s < end_s and first >= last and 0 <= first < count and end_s > 0:
        last = first + 1
    return slice(first, max(first, last))


# -- loudness and bands -------------------------------------------------------------------------------


def _loudness(waveform: np.ndarray, peak: float) -> np.ndarray:
    """Root mean square over 100 ms."""
    power = _per_hop(waveform, lambda block: (block / peak) ** 2, np.mean)
    smooth = uniform_filter1d(np.append(power, power[-1]), 5, mode="nearest")
    return _normalised(np.sqrt(np.maximum(smooth, 0.0)), FAINT)


def _band(waveform: np.ndarray, peak: float, low: float, high: float) -> np.ndarray:
    """The largest amplitude of a band in the 40 ms around each value: one half-wave of its lowest note at least."""
    sos = butter(ORDER, (low, high), "bandpass", fs=SAMPLE_RATE, output="sos")

    def heard(block: np.ndarray) -> np.ndarray:
        # The clip mirrored at its ends, so that the filter does not ring where a region cuts into the music.
        return np.abs(sosfiltfilt(sos, block / peak, padtype="even",
                                  padlen=min(MIRRORED, len(block) - 1)))

    bins = _per_hop(waveform, heard, np.max)
    if len(bins) > 4:  # the cut itself sounds in every band; the last bin may be but a few samples long
        bins[0] = min(bins[:2])
        bins[-2:] = np.minimum(bins[-2:], bins[-3])
    return _normalised(np.maximum(np.append(bins, 0.0), np.append(0.0, bins)), FAINT)


def _per_hop(waveform: np.ndarray, change: Callable[[np.ndarray], np.ndarray],
             gather: Callable[..., np.ndarray]) -> np.ndarray:
    """[ceil(T / HOP)]: each HOP samples of the changed waveform gathered to one value, block by block."""
    values = []
    for first in range(0, len(waveform), BLOCK * HOP):
        last = min(first + BLOCK * HOP, len(waveform))
        begin = max(0, first - RUN_UP)
        block = change(waveform[begin:last + RUN_UP].astype(np.float64))[first - begin:last - begin]
        whole = np.pad(block, (0, -len(block) % HOP))
        values.append(gather(whole.reshape(-1, HOP), axis=1))
    return np.concatenate(values)


def _normalised(curve: np.ndarray, faint: float) -> np.ndarray:
    """The curve over its maximum, zeros where that stays below `faint`."""
    top = float(curve.max(initial=0.0))
    return (curve / top if top > faint else np.zeros_like(curve)).astype(np.float32)


# -- onsets and beats ---------------------------------------------------------------------------------


def _onsets(waveform: np.ndarray, peak: float) -> np.ndarray:
    """Spectral flux (the rise of each frequency's log magnitude) above what is usual around it, as pulses."""
    flux, before = [], None
    for spectrum in _spectra(waveform):
        level = np.log1p(1000 * np.abs(spectrum) / (peak * WINDOW / 4))  # a full sine is 1000
        rise = np.diff(level, axis=0, prepend=level[:1] if before is None else before)
        flux.append(np.maximum(rise, 0).mean(axis=1))
        before = level[-1:]
    rises = np.concatenate(flux)
    strength = rises - 1.5 * uniform_filter1d(rises, round(RATE), mode="reflect") - 0.05
    # Only the top of a rise is an onset; it may take several values to be reached.
    tops = np.where(rises >= maximum_filter1d(rises, 5), np.maximum(strength, 0), 0)
    return _decaying(_normalised(tops, 0.0))


def _decaying(pulses: np.ndarray) -> np.ndarray:
    """max over j <= k of p[j] exp(-(k - j) / d): each value, or what is left of a larger one before it."""
    slope = np.arange(len(pulses)) / (DECAY_S * RATE)
    with np.errstate(divide="ignore"):  # log 0 is -inf, which is never the largest
        left = np.exp(np.maximum.accumulate(np.log(pulses.astype(np.float64)) + slope) - slope)
    return np.minimum(left, 1.0).astype(np.float32)


def _beats(beats: Sequence[float], count: int) -> np.ndarray:
    """[count]: 1 at each beat, decaying until the next."""
    times = np.arange(count) / RATE
    starts = np.sort(np.asarray(beats, np.float64))
    starts = starts[np.isfinite(starts)]
    if len(starts) == 0:
        return np.zeros(count, np.float32)
    # A beat between two values belongs to the later one in full: no beat is weaker for where it falls.
    starts = np.ceil(starts * RATE - 1e-6) / RATE
    last = np.searchsorted(starts, times + 1e-9, side="right") - 1
    since = np.where(last >= 0, times - starts[np.maximum(last, 0)], np.inf)
    return np.exp(-np.maximum(since, 0.0) / DECAY_S).astype(np.float32)


def _spectra(waveform: np.ndarray) -> Iterator[np.ndarray]:
    """Blocks [n, WINDOW / 2 + 1] of complex spectra, one row per value, centred on its time.

    At both ends the window stays inside of the waveform: half of it in silence would look like an onset.
    """
    count = _count(waveform)
    if len(waveform) < WINDOW:
        waveform = np.pad(waveform, (0, WINDOW - len(waveform)))
    shape = get_window("hann", WINDOW).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(waveform, WINDOW)
    for first in range(0, count, BLOCK):
        centres = np.arange(first, min(first + BLOCK, count)) * HOP
        yield np.fft.rfft(frames[np.clip(centres - WINDOW // 2, 0, len(frames) - 1)] * shape, axis=1)


def _mel_power(waveform: np.ndarray) -> np.ndarray:
    """[n]: mean power of the mel bands at each value."""
    import librosa

    weights = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=WINDOW, n_mels=64).mean(axis=0)
    return np.concatenate([np.abs(spectrum) ** 2 @ weights for spectrum in _spectra(waveform)])
