"""Plays the sketch pack's world: a small band, sixteen scores, and a mood that decides how they sound.

Three layers, from small to large. *Sounds* are functions in three dictionaries: `INSTRUMENTS` play one
note, `DRUMS` one stroke, `TEXTURES` a stretch of weather. *Scores* are data: which sounds a scene uses,
in which pattern. A *feel* is what a mood makes of a score: tempo, key, register, attack, dirt.
`perform` plays a score with a feel and returns stems; `play` mixes them into a clip for training.

Shapes: every sound is mono float32 [T] with a peak or a root mean square near 1; `hz` is cycles per second,
pitches are MIDI numbers (69 is A4, 440 Hz), times within a bar are in beats, everything else in seconds.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy.signal import fftconvolve

from metamusic.sketch.world import Moment, Mood

Rng = np.random.Generator
Curve = Callable[[np.ndarray], np.ndarray]  # gains over frequencies in Hz

SAMPLE_RATE = 16_000  # Hz, what Wav2CLIP listens to
TABLE_SIZE = 2048  # samples in one cycle of a wavetable
BEATS_PER_BAR = 4
STEPS_PER_BEAT = 4  # drum patterns and motifs live on a grid of sixteenth notes
STEPS_PER_BAR = BEATS_PER_BAR * STEPS_PER_BEAT
LONGEST_NOTE_S = 5.0
TEXTURE_PRESENCE = 0.85  # the music has to be recognisable without them: recordings seldom have birds in them
GUEST_PRESENCE = 0.15  # how often somebody joins in who has nothing to do with the scene
QUIETEST_DB, LOUDEST_DB = -34.0, -11.0  # root mean square of the calmest and the most violent clip


# ---------------------------------------------------------------------------------------------- values


@dataclass(frozen=True)
class Note:
    """One note of an instrument: it starts `bend` semitones away from its pitch and slides there."""

    hz: float
    seconds: float
    bend: float = 0.0


@dataclass(frozen=True)
class Colour:
    """How every instrument of a piece is played, each in [0, 1]."""

    shine: float  # share of high partials
    softness: float  # slowness of attacks
    hollow: float  # absence of even partials: clarinet rather than saw
    rate: int = SAMPLE_RATE


@dataclass(frozen=True)
class Part:
    """A player of the band. One of `instruments` is drawn for each piece, so that no scene is one timbre."""

    pattern: str
    instruments: tuple[str, ...]
    octave: int = 0
    level: float = 1.0
    bend: float = 0.0
    presence: float = 0.92  # the chance of taking part in a piece at all


@dataclass(frozen=True)
class Score:
    """What makes a scene recognisable by ear."""

    parts: tuple[Part, ...]
    textures: tuple[tuple[str, float], ...]  # (name, level)
    grooves: tuple[str, ...]
    drums: float  # drum level, before energy has its say
    room_s: float  # reverberation time
    wet: float  # reverberation level, 0 to 1
    echo: float = 0.0  # level of a dotted-eighth echo, 0 to 1
    pace: float = 1.0  # tempo relative to what the mood asks for


@dataclass(frozen=True)
class Feel:
    """A mood turned into the numbers a band needs."""

    bpm: float
    root: float  # MIDI pitch of the key
    scale: tuple[int, ...]  # semitones above the root
    voicing: tuple[int, ...]  # scale degrees of a chord
    progression: tuple[int, ...]  # scale degree of each bar's chord
    density: float
    drums: float  # level of the drums, 0 to about 1
    bass: float  # level of the low pulse that energy adds to any scene
    bustle: float  # level of the quick small notes that density adds to any scene
    colour: Colour

    @property
    def bar_s(self) -> float:
        """Seconds in one bar."""
        return BEATS_PER_BAR * 60 / self.bpm


@dataclass(frozen=True)
class Bar:
    """What a pattern may look at: the chord and scale as MIDI pitches, and the part's motif."""

    chord: tuple[float, ...]
    scale: tuple[float, ...]
    density: float
    motif: np.ndarray  # [STEPS_PER_BAR] uniform in [0, 1): the same in every bar, so that music repeats


@dataclass(frozen=True)
class Event:
    """A note on the page: beat within the bar, length in beats, MIDI pitch, velocity in [0, 1]."""

    beat: float
    beats: float
    pitch: float
    velocity: float = 0.8


# ------------------------------------------------------------------------------------------ oscillators


def pitch_hz(pitch: float) -> float:
    """The frequency of a MIDI pitch in equal temperament."""
    return 440.0 * 2 ** ((pitch - 69) / 12)


def seconds_axis(seconds: float, rate: int) -> np.ndarray:
    """Sample times [T] in seconds, float32."""
    return np.arange(max(1, int(seconds * rate)), dtype=np.float32) / rate


def partial_levels(hz: float, slope: float, hollow: float, rate: int, most: int = 48) -> np.ndarray:
    """Levels [H] of harmonics falling as h**-slope, none above the Nyquist frequency."""
    order = np.arange(1, max(1, min(most, int(0.46 * rate / hz))) + 1)
    levels = order**-slope
    levels[1::2] *= 1 - 0.9 * hollow
    return levels


def wavetable(levels: np.ndarray) -> np.ndarray:
    """One cycle [TABLE_SIZE] of a tone with the given harmonic levels [H], scaled to unit power."""
    spectrum = np.zeros(TABLE_SIZE // 2 + 1, complex)
    spectrum[1 : len(levels) + 1] = -1j * levels
    cycle = np.fft.irfft(spectrum)
    return (cycle / (cycle.std() + 1e-9)).astype(np.float32)


def oscillate(table: np.ndarray, hz: float | np.ndarray, samples: int, start: float, rate: int) -> np.ndarray:
    """Reads a wavetable at `hz`, a number or a curve [T], from phase `start` in [0, 1)."""
    cycles = np.cumsum(hz) / rate if isinstance(hz, np.ndarray) else np.arange(samples) * (hz / rate)
    return table[((cycles + start) * TABLE_SIZE).astype(np.int64) & (TABLE_SIZE - 1)]


def glide_hz(
    note: Note, time: np.ndarray, vibrato: float = 0.0, vibrato_hz: float = 5.2
) -> float | np.ndarray:
    """The note's frequency over time [T]: slide from the bend, then vibrato (depth in semitones)."""
    if not note.bend and not vibrato:
        return note.hz
    slide = note.bend * np.exp(-time * 5 / max(0.25, note.seconds))
    sway = vibrato * np.sin(2 * np.pi * vibrato_hz * time) * np.minimum(1, time / 0.5)
    return note.hz * 2 ** ((slide + sway) / 12)


def swell(time: np.ndarray, attack_s: float, release_s: float) -> np.ndarray:
    """An envelope [T] that rises, holds, and falls to nothing at the end."""
    end = time[-1] + 1e-4
    return np.minimum(1, (time + 1e-3) / attack_s) * np.minimum(1, (end - time) / release_s)


def ring(time: np.ndarray, decay_s: float, attack_s: float = 0.002) -> np.ndarray:
    """A struck envelope [T]: short attack, exponential decay, no click at the end."""
    fade = np.minimum(1, (time[-1] + 1e-4 - time) / 0.03)
    return np.minimum(1, (time + 1e-4) / attack_s) * np.exp(-time / decay_s) * fade


def shaped_noise(samples: int, gain: Curve, rng: Rng, rate: int) -> np.ndarray:
    """Noise [T] of unit power whose spectrum follows gain(frequencies in Hz)."""
    spectrum = np.fft.rfft(rng.standard_normal(samples, dtype=np.float32))
    noise = np.fft.irfft(spectrum * gain(np.fft.rfftfreq(samples, 1 / rate) + 1.0), samples)
    return (noise / (noise.std() + 1e-9)).astype(np.float32)


def band(centre_hz: float, octaves: float) -> Curve:
    """A bell-shaped pass band on a logarithmic frequency axis."""
    return lambda hz: np.exp(-0.5 * (np.log2(hz / centre_hz) / octaves) ** 2)


def drift(samples: int, hz: float, rng: Rng, rate: int) -> np.ndarray:
    """A random curve [T] in [0, 1] that turns about `hz` times a second."""
    knots = rng.random(int(samples / rate * hz) + 3)
    place = np.arange(samples) * (hz / rate) + rng.random()
    whole = place.astype(int)
    part = place - whole
    part = part * part * (3 - 2 * part)
    return (knots[whole] * (1 - part) + knots[whole + 1] * part).astype(np.float32)


# ------------------------------------------------------------------------------------------ instruments


def _sustained(
    note: Note,
    colour: Colour,
    rng: Rng,
    slope: float,  # how fast harmonics fall, h**-slope
    attack_s: float,
    voices: int = 1,
    detune: float = 0.0,  # semitones
    vibrato: float = 0.0,  # semitones
) -> np.ndarray:
    """A held tone of detuned voices [T]: the ground of pads, strings, organs and brass."""
    time = seconds_axis(note.seconds, colour.rate)
    table = wavetable(partial_levels(note.hz, slope, colour.hollow, colour.rate))
    hz = glide_hz(note, time, vibrato, rng.uniform(4.5, 6))
    tone = np.zeros_like(time)
    for offset in np.linspace(-1, 1, voices):
        tone += oscillate(table, hz * 2 ** (detune * offset / 12), len(time), rng.random(), colour.rate)
    attack_s = max(0.004, attack_s * (0.15 + 1.7 * colour.softness))
    return 0.6 / np.sqrt(voices) * tone * swell(time, attack_s, min(0.3, note.seconds / 3))


def _struck(note: Note, colour: Colour, rng: Rng, *partials: tuple[float, float, float]) -> np.ndarray:
    """Partials of any (ratio, level, decay in s) [T]: bells, bars and glasses (Risset, 1969)."""
    time = seconds_axis(note.seconds, colour.rate)
    tone = np.zeros_like(time)
    for ratio, level, decay_s in partials:
        if note.hz * ratio < 0.46 * colour.rate:
            level *= (0.35 + 0.9 * colour.shine) ** max(0.0, np.log2(ratio))
            cycles = note.hz * ratio * time + rng.random()
            tone += level * np.exp(-time / decay_s) * np.sin(2 * np.pi * cycles)
    return tone * ring(time, 10.0, 0.001 + 0.015 * colour.softness)


def _plucked(note: Note, colour: Colour, rng: Rng, damping: float, dullness: float) -> np.ndarray:
    """A string of filtered noise (Karplus & Strong, 1983), all its periods computed at once [T].

    Averaging neighbours in a loop of one period is a power in that period's spectrum, so period k is the
    first one times gain**k; reading the result at the exact pitch removes the whole-sample tuning error.
    """
    samples = max(1, int(note.seconds * colour.rate))
    period = max(4, round(colour.rate / note.hz))
    stride = note.hz * period / colour.rate
    periods = int(samples * stride / period) + 2
    harmonics = np.arange(period // 2 + 1)
    spectrum = np.fft.rfft(rng.uniform(-1, 1, period))
    spectrum *= np.exp(-harmonics * note.hz / (900 + 5000 * colour.shine))
    spectrum[0] = 0
    spectrum[2::2] *= 1 - 0.8 * colour.hollow
    gain = damping * np.abs(np.cos(np.pi * harmonics / period)) ** dullness
    string = np.fft.irfft(spectrum * gain ** np.arange(periods)[:, None], period, axis=1).ravel()
    string /= np.abs(string[: 2 * period]).max() + 1e-9
    tone = np.interp(np.arange(samples) * stride, np.arange(len(string)), string)
    return 1.3 * tone * ring(seconds_axis(note.seconds, colour.rate), 10.0, 0.001 + 0.008 * colour.softness)


def pad(note: Note, colour: Colour, rng: Rng) -> np.ndarray:
    """A wide synthesiser pad."""
    return _sustained(note, colour, rng, 2.6 - 1.5 * colour.shine, 0.35, voices=3, detune=0.1)


def strings(note: Note, colour: Colour, rng: Rng) -> np.ndarray:
    """A string section: three bowed voices that never quite agree."""
    return _sustained(note, colour, rng, 1.7 - 0.6 * colour.shine, 0.18, voices=3, detune=0.16, vibrato=0.18)


def brass(note: Note, colour: Colour, rng: Rng) -> np.ndarray:
    """A bright, slowly opening horn."""
    return _sustained(note, colour, rng, 1.6 - 0.7 * colour.shine, 0.06, voices=2, detune=0.06, vibrato=0.08)


def saw(note: Note, colour: Colour, rng: Rng) -> np.ndarray:
    """A sawtooth lead or bass."""
    return _sustained(note, colour, rng, 1.35 - 0.4 * colour.shine, 0.012, voices=2, detune=0.08)


def square(note: Note, colour: Colour, rng: Rng) -> np.ndarray:
    """A square wave: odd partials only."""
    hollow = Colour(colour.shine, colour.softness, 1.0, colour.rate)
    return _sustained(note, hollow, rng, 1.5 - 0.5 * colour.shine, 0.01)


def sub(note: Note, colour: Colour, rng: Rng) -> np.ndarray:
    """Almost a sine: a bass one feels."""
    return _sustained(note, colour, rng, 3.2 - 0.8 * colour.shine, 0.02)


def organ(note: Note, colour: Colour, rng: Rng) -> np.ndarray:
    """Drawbars: octaves and fifths, none of the falling spectrum of a string."""
    time = seconds_axis(note.seconds, colour.rate)
    levels = np.zeros(8)
    levels[[0, 1, 2, 3, 5, 7]] = np.array([1, 0.8, 0.6, 0.5, 0.35, 0.3]) * rng.uniform(0.4, 1, 6)
    levels *= (0.45 + 0.6 * colour.shine) ** np.arange(8)
    levels = levels[: max(1, int(0.46 * colour.rate / note.hz))]
    hz = glide_hz(note, time, 0.06, 6.5)
    return 0.6 * oscillate(wavetable(levels), hz, len(time), 0, colour.rate) * swell(time, 0.02, 0.08)


def flute(note: Note, colour: Colour, rng: Rng) -> np.ndarray:
    """A pure tone and the breath around it."""
    tone = _sustained(note, colour, rng, 2.9 - 0.9 * colour.shine, 0.09, vibrato=0.25)
    breath = shaped_noise(len(tone), band(note.hz * 2, 0.5), rng, colour.rate)
    return tone + 0.07 * breath * np.abs(tone)


def choir(note: Note, colour: Colour, rng: Rng) -> np.ndarray:
    """Voices on one vowel: harmonics weighed by two formants."""
    time = seconds_axis(note.seconds, colour.rate)
    levels = partial_levels(note.hz, 0.8, colour.hollow * 0.5, colour.rate)
    harmonics_hz = note.hz * np.arange(1, len(levels) + 1)
    first, second = ((700, 1150), (450, 850), (350, 2000))[rng.integers(3)]
    levels = levels * (band(first, 0.5)(harmonics_hz) + 0.5 * band(second, 0.4)(harmonics_hz) + 0.03)
    table = wavetable(levels)
    tone = np.zeros_like(time)
    for _ in range(2):
        hz = glide_hz(note, time, 0.22, rng.uniform(4.4, 6))
        tone += oscillate(table, hz, len(time), rng.random(), colour.rate)
    return 0.45 * tone * swell(time, 0.1 + 0.4 * colour.softness, min(0.3, note.seconds / 3))


def piano(note: Note, colour: Colour, rng: Rng) -> np.ndarray:
    """A struck string: bright at first, dark while it rings."""
    time = seconds_axis(note.seconds, colour.rate)
    bright = wavetable(
        partial_levels(note.hz, 1.5 - 0.6 * colour.shine, colour.hollow * 0.6, colour.rate, 20)
    )
    dark = wavetable(partial_levels(note.hz, 2.8 - 0.8 * colour.shine, colour.hollow * 0.6, colour.rate, 12))
    blend = np.exp(-time * 6)
    start = rng.random()
    tone = blend * oscillate(bright, note.hz, len(time), start, colour.rate)
    tone += (1 - blend) * oscillate(dark, note.hz * 1.0008, len(time), start, colour.rate)
    return 0.8 * tone * ring(time, 0.4 + 200 / note.hz, 0.002 + 0.02 * colour.softness)


def electric_piano(note: Note, colour: Colour, rng: Rng) -> np.ndarray:
    """A tine and a tone bar by frequency modulation (Chowning, 1973)."""
    time = seconds_axis(note.seconds, colour.rate)
    depth = (0.4 + 2.0 * colour.shine) * np.exp(-time * 4)
    tone = np.sin(2 * np.pi * note.hz * time + depth * np.sin(2 * np.pi * note.hz * time))
    tine_hz = min(note.hz * 9, 0.45 * colour.rate)
    tine = 0.25 * colour.shine * np.sin(2 * np.pi * tine_hz * time) * np.exp(-time * 14)
    tremolo = 1 + 0.2 * np.sin(2 * np.pi * rng.uniform(4, 6) * time)
    return (tone + tine) * tremolo * ring(time, 0.9, 0.003 + 0.02 * colour.softness)


def bell(note: Note, colour: Colour, rng: Rng) -> np.ndarray:
    """A church bell in small."""
    hum, prime, tierce = (0.5, 0.4, 2.0), (1.0, 1.0, 1.6), (1.19, 0.5, 1.2)
    nominal, deciem, clang = (2.0, 0.6, 0.9), (2.74, 0.5, 0.6), (5.4, 0.4, 0.3)
    return _struck(note, colour, rng, hum, prime, tierce, nominal, deciem, clang)


def glass(note: Note, colour: Colour, rng: Rng) -> np.ndarray:
    """A struck glass: few partials, far apart."""
    return _struck(note, colour, rng, (1, 1, 0.8), (2.32, 0.6, 0.5), (4.25, 0.5, 0.35), (6.63, 0.4, 0.2))


def mallet(note: Note, colour: Colour, rng: Rng) -> np.ndarray:
    """A wooden bar: marimba or kalimba."""
    return _struck(note, colour, rng, (1, 1.1, 0.35), (3.93, 0.5, 0.12), (9.2, 0.3, 0.05))


def harp(note: Note, colour: Colour, rng: Rng) -> np.ndarray:
    """A long, bright string."""
    return _plucked(note, colour, rng, 0.997, 0.7)


def guitar(note: Note, colour: Colour, rng: Rng) -> np.ndarray:
    """A nylon string."""
    return _plucked(note, colour, rng, 0.993, 1.2)


def koto(note: Note, colour: Colour, rng: Rng) -> np.ndarray:
    """A short, hard pluck."""
    return _plucked(note, colour, rng, 0.985, 0.5)


def overdrive(note: Note, colour: Colour, rng: Rng) -> np.ndarray:
    """An electric guitar through an amplifier that is too small for it."""
    string = _plucked(note, colour, rng, 0.998, 0.35) + 0.25 * saw(note, colour, rng)
    return 0.8 * np.tanh((3 + 5 * colour.shine) * string)


INSTRUMENTS: dict[str, Callable[[Note, Colour, Rng], np.ndarray]] = {
    function.__name__: function
    for function in (
        pad, strings, brass, saw, square, sub, organ, flute, choir, piano, electric_piano,
        bell, glass, mallet, harp, guitar, koto, overdrive,
    )
}  # fmt: skip


# ------------------------------------------------------------------------------------------------ drums


def kick(colour: Colour, rng: Rng) -> np.ndarray:
    """A falling sine with a click."""
    time = seconds_axis(0.3, colour.rate)
    fall = 45 * time + rng.uniform(4, 6) * (1 - np.exp(-time * 28))
    return 1.4 * np.sin(2 * np.pi * fall) * ring(time, 0.11, 0.001)


def snare(colour: Colour, rng: Rng) -> np.ndarray:
    """A drum head and the wires under it."""
    time = seconds_axis(0.22, colour.rate)
    wires = shaped_noise(len(time), band(2500 + 2500 * colour.shine, 1.0), rng, colour.rate)
    return (0.5 * np.sin(2 * np.pi * 190 * time) + 0.6 * wires) * ring(time, 0.07, 0.001)


def hat(colour: Colour, rng: Rng) -> np.ndarray:
    """A closed cymbal."""
    time = seconds_axis(0.08, colour.rate)
    return 0.5 * shaped_noise(len(time), band(7000, 0.5), rng, colour.rate) * ring(time, 0.02, 0.0005)


def crash(colour: Colour, rng: Rng) -> np.ndarray:
    """A cymbal that is left to ring."""
    time = seconds_axis(1.0, colour.rate)
    return 0.5 * shaped_noise(len(time), band(5000, 0.9), rng, colour.rate) * ring(time, 0.3, 0.001)


def tom(colour: Colour, rng: Rng) -> np.ndarray:
    """A hand drum or a floor tom."""
    time = seconds_axis(0.35, colour.rate)
    hz = rng.choice((85, 110, 145))
    skin = np.sin(2 * np.pi * (hz * time + 1.2 * (1 - np.exp(-time * 20))))
    return (1.1 * skin + 0.1 * rng.standard_normal(len(time))) * ring(time, 0.12, 0.002)


def shaker(colour: Colour, rng: Rng) -> np.ndarray:
    """A soft shake."""
    time = seconds_axis(0.11, colour.rate)
    return 0.35 * shaped_noise(len(time), band(5000, 0.6), rng, colour.rate) * ring(time, 0.05, 0.025)


DRUMS: dict[str, Callable[[Colour, Rng], np.ndarray]] = {
    function.__name__: function for function in (kick, snare, hat, crash, tom, shaker)
}

# One bar on a grid of sixteenths: X loud, x normal, o only in dense music.
GROOVES: dict[str, dict[str, str]] = {
    "rock": {"kick": "X.....x.X.o.....", "snare": "....X.......X..o", "hat": "x.x.x.x.x.x.x.x."},
    "blast": {
        "kick": "X.x.X.x.X.x.X.xx",
        "snare": "..X...X...X...X.",
        "crash": "X...............",
        "hat": "x.x.x.x.x.x.x.x.",
    },
    "club": {"kick": "X...X...X...X...", "hat": "o.x.o.x.o.x.o.xo", "snare": "....x.......x..."},
    "break": {"kick": "X..x......X.o...", "snare": "....X..o.o..X..o", "hat": "x.xox.xox.xox.xo"},
    "hand": {"tom": "X..x..x.x..x..xo", "shaker": "o.x.o.x.o.x.o.x."},
    "tribal": {"tom": "X..xo.x.X.oxo.x.", "kick": "X.......X......."},
    "brushes": {"shaker": "x..ox..ox..ox..o", "kick": "X.........x....."},
    "waltz": {"kick": "X...........o...", "shaker": "....x...x...o...", "hat": "o...o...o...o..."},
    "thunder": {"tom": "X.x.........X...", "kick": "X...........X..o", "crash": "........o......."},
    "tick": {"hat": "x.o.x.o.x.o.x.o.", "kick": "X.......x......."},
}


# --------------------------------------------------------------------------------------------- textures


def wind(samples: int, colour: Colour, pace: float, rng: Rng) -> np.ndarray:
    """Gusts: neighbouring bands of noise that rise and fall on their own."""
    out = np.zeros(samples, np.float32)
    for hz in (rng.uniform(250, 400), rng.uniform(600, 900), rng.uniform(1300, 2000)):
        gust = drift(samples, 0.5 + pace, rng, colour.rate) ** 2
        out += gust * shaped_noise(samples, band(hz * (0.6 + 0.8 * colour.shine), 0.35), rng, colour.rate)
    return 1.6 * out


def waves(samples: int, colour: Colour, pace: float, rng: Rng) -> np.ndarray:
    """Surf: a dull roar that swells, and a hiss on each crest."""
    time = np.arange(samples, dtype=np.float32) / colour.rate
    swelling = 0.5 + 0.5 * np.sin(2 * np.pi * ((0.22 + 0.25 * pace) * time + rng.random()))
    roar = shaped_noise(samples, band(280 + 300 * colour.shine, 1.1), rng, colour.rate)
    hiss = shaped_noise(samples, band(2500 + 2500 * colour.shine, 0.9), rng, colour.rate)
    return roar * (0.25 + swelling**1.5) + 0.6 * hiss * swelling**4


def rumble(samples: int, colour: Colour, pace: float, rng: Rng) -> np.ndarray:
    """Far thunder: very low noise in uneven rolls."""
    rolls = drift(samples, 2 + 3 * pace, rng, colour.rate) ** 1.5
    return 1.8 * rolls * shaped_noise(samples, band(65 + 60 * colour.shine, 0.7), rng, colour.rate)


def _sprinkle(samples: int, sounds: list[np.ndarray], count: int, rng: Rng) -> np.ndarray:
    """Short sounds dropped at random times and levels [T]."""
    out = np.zeros(samples, np.float32)
    for start in rng.integers(0, samples, count):
        add_at(out, sounds[rng.integers(len(sounds))], int(start), rng.random() ** 1.5)
    return out


def crackle(samples: int, colour: Colour, pace: float, rng: Rng) -> np.ndarray:
    """Sparks or old vinyl: single clicks, each a little different."""
    clicks = []
    for _ in range(5):
        time = seconds_axis(0.012, colour.rate)
        clicks.append(3 * rng.standard_normal(len(time)) * np.exp(-time * rng.uniform(400, 1500)))
    return _sprinkle(samples, clicks, int(samples / colour.rate * (15 + 40 * pace)), rng)


def rain(samples: int, colour: Colour, pace: float, rng: Rng) -> np.ndarray:
    """A broad hiss with drops in it."""
    hiss = shaped_noise(samples, band(3500 + 2000 * colour.shine, 1.0), rng, colour.rate)
    return 0.8 * hiss + 0.5 * crackle(samples, colour, 1.0, rng)


def bubbles(samples: int, colour: Colour, pace: float, rng: Rng) -> np.ndarray:
    """Rising blips, small ones high."""
    blips = []
    for _ in range(8):
        time = seconds_axis(rng.uniform(0.03, 0.09), colour.rate)
        hz = rng.uniform(350, 1500) * (0.7 + 0.6 * colour.shine)
        blips.append(1.2 * np.sin(2 * np.pi * hz * time * (1 + 5 * time)) * ring(time, 0.03))
    return _sprinkle(samples, blips, int(samples / colour.rate * (6 + 12 * pace)), rng)


def birds(samples: int, colour: Colour, pace: float, rng: Rng) -> np.ndarray:
    """A few calls, each a trill around its own pitch."""
    calls = []
    for _ in range(3):
        time = seconds_axis(rng.uniform(0.12, 0.4), colour.rate)
        hz = rng.uniform(2000, 4200)
        trill = hz * time + rng.uniform(5, 18) * np.sin(2 * np.pi * rng.uniform(8, 24) * time)
        calls.append(1.3 * np.sin(2 * np.pi * trill) * np.sin(np.pi * time / time[-1]) ** 2)
    return _sprinkle(samples, calls, max(2, int(samples / colour.rate * (1.5 + 2 * pace))), rng)


def shimmer(samples: int, colour: Colour, pace: float, rng: Rng) -> np.ndarray:
    """Thin whistling bands that fade in and out, like light on ice."""
    out = np.zeros(samples, np.float32)
    for hz in rng.uniform(1800, 5500, 4):
        light = drift(samples, 1.5 + 2 * pace, rng, colour.rate)
        out += light * shaped_noise(samples, band(hz, 0.03), rng, colour.rate)
    return 0.9 * out


def traffic(samples: int, colour: Colour, pace: float, rng: Rng) -> np.ndarray:
    """A mains hum and cars passing under it."""
    mains = wavetable(partial_levels(100, 1.2, 0.3, colour.rate, 12))
    hum = oscillate(mains, 100, samples, rng.random(), colour.rate)
    cars = shaped_noise(samples, band(450, 1.2), rng, colour.rate) * drift(
        samples, 1 + pace, rng, colour.rate
    )
    return 0.35 * hum + cars


def sizzle(samples: int, colour: Colour, pace: float, rng: Rng) -> np.ndarray:
    """Fire: a flickering roar with sparks."""
    roar = shaped_noise(samples, band(500, 1.3), rng, colour.rate) * drift(samples, 9, rng, colour.rate)
    return roar + 0.6 * crackle(samples, colour, pace, rng)


def hiss(samples: int, colour: Colour, pace: float, rng: Rng) -> np.ndarray:
    """Tape."""
    return shaped_noise(samples, lambda hz: (hz / 1000) ** (-0.8 + 0.8 * colour.shine), rng, colour.rate)


TEXTURES: dict[str, Callable[[int, Colour, float, Rng], np.ndarray]] = {
    function.__name__: function
    for function in (wind, waves, rumble, crackle, rain, bubbles, birds, shimmer, traffic, sizzle, hiss)
}


# --------------------------------------------------------------------------------------------- patterns


def _subdivision(density: float) -> int:
    """Notes to a beat."""
    return 1 if density < 0.25 else 2 if density < 0.6 else 4


def _share(bar: Bar) -> float:
    """The velocity of one tone of a chord: thick chords are not louder than thin ones."""
    return 1.2 / np.sqrt(len(bar.chord))


def _hold(bar: Bar) -> Iterable[Event]:
    """The chord, held for the bar."""
    for pitch in bar.chord:
        yield Event(0, 4.1, pitch, _share(bar))


def _drone(bar: Bar) -> Iterable[Event]:
    """Root and fifth of the key, whatever the chord."""
    yield Event(0, 4.2, bar.scale[0], 0.9)
    yield Event(0, 4.2, bar.scale[0] + 7, 0.6)


def _bed(bar: Bar) -> Iterable[Event]:
    """One low note that never ends: the chord does not reach it."""
    yield Event(0, 4.3, bar.scale[0] - 12, 0.9)
    yield Event(0, 4.3, bar.scale[0], 0.5)


def _strum(bar: Bar) -> Iterable[Event]:
    """The chord, spread a little like fingers over strings, two to four times a bar."""
    for beat in np.arange(0, BEATS_PER_BAR, 2 if bar.density < 0.4 else 1):
        for index, pitch in enumerate((bar.chord[0] - 12, *bar.chord)):
            yield Event(beat + 0.06 * index, 2, pitch, 0.8 * _share(bar))


def _arpeggio(bar: Bar) -> Iterable[Event]:
    """The chord up and down, one note at a time."""
    tones = (*bar.chord, bar.chord[0] + 12)
    order = (*tones, *tones[-2:0:-1])
    step = 1 / _subdivision(bar.density)
    for index in range(int(BEATS_PER_BAR / step)):
        velocity = 0.8 if index % 4 == 0 else 0.6
        yield Event(index * step, max(step * 1.5, 0.6), order[index % len(order)], velocity)


def _cascade(bar: Bar) -> Iterable[Event]:
    """The chord tumbling down two octaves, over and over."""
    tones = [pitch + 12 * octave for octave in (1, 0) for pitch in reversed(bar.chord)]
    step = 1 / _subdivision(bar.density)
    for index in range(int(BEATS_PER_BAR / step)):
        yield Event(index * step, max(step * 1.5, 0.5), tones[index % len(tones)], 0.7)


def _patter(bar: Bar) -> Iterable[Event]:
    """Sixteenths that the motif thins out, the fewer the sparser."""
    for index in range(STEPS_PER_BAR):
        if bar.motif[index] < bar.density:
            pitch = bar.chord[int(bar.motif[(index * 3) % STEPS_PER_BAR] * len(bar.chord))]
            yield Event(index / STEPS_PER_BEAT, 0.4, pitch, 0.5 + 0.4 * bar.motif[index])


def _cross(bar: Bar) -> Iterable[Event]:
    """Three against four: the second hand of an interlocking pattern."""
    notes = 3 * _subdivision(bar.density) if bar.density < 0.8 else 24
    for index in range(notes):
        yield Event(index * BEATS_PER_BAR / notes, 0.5, bar.chord[-1 - index % min(3, len(bar.chord))], 0.7)


def _melody(bar: Bar) -> Iterable[Event]:
    """A walk over the scale that the motif remembers."""
    step = 1 / _subdivision(bar.density)
    place = int(bar.motif[0] * 5)
    for index in range(int(BEATS_PER_BAR / step)):
        chance = bar.motif[(3 * index + 1) % STEPS_PER_BAR]
        if chance < 0.55 + 0.35 * bar.density or index == 0:
            place += round(4 * (bar.motif[index % STEPS_PER_BAR] - 0.5))
            place = min(max(place, 0), len(bar.scale) - 1)
            yield Event(index * step, step * (1.1 if chance < 0.3 else 1.9), bar.scale[place], 0.85)


def _pulse(bar: Bar) -> Iterable[Event]:
    """The root over and over, with an octave now and then."""
    step = 1 / min(2, _subdivision(bar.density)) if bar.density < 0.75 else 0.25
    for index in range(int(BEATS_PER_BAR / step)):
        leap = 12 * (bar.motif[index % STEPS_PER_BAR] > 0.8)
        yield Event(index * step, step * 0.85, bar.chord[0] + leap, 0.9 if index % 2 == 0 else 0.65)


def _bass(bar: Bar) -> Iterable[Event]:
    """Root and fifth, walking when there is time for it."""
    yield Event(0, 1.8, bar.chord[0], 0.9)
    if bar.density > 0.5:
        yield Event(1, 0.9, bar.chord[1], 0.7)
        yield Event(3, 0.9, bar.chord[0] - 2, 0.7)
    yield Event(2, 1.2, bar.chord[0] + (7 if bar.motif[2] > 0.4 else 0), 0.8)


def _riff(bar: Bar) -> Iterable[Event]:
    """Fifths hammered on a syncopated grid."""
    busy = 0.35 + 0.55 * bar.density
    for index in range(STEPS_PER_BAR):
        if index % 4 == 0 or bar.motif[index] < busy * (0.9 if index % 2 == 0 else 0.55):
            shift = (0, 0, 0, 3, 5)[int(bar.motif[(index * 5) % STEPS_PER_BAR] * 5)]
            for interval in (0, 7):
                yield Event(index / 4, 0.45, bar.chord[0] + shift + interval, 0.9 if index % 4 == 0 else 0.7)


def _sparkle(bar: Bar) -> Iterable[Event]:
    """Single notes at unruly moments."""
    for index in range(2 + int(10 * bar.density)):
        place = int(bar.motif[(index * 3 + 1) % STEPS_PER_BAR] * len(bar.scale))
        beat = BEATS_PER_BAR * bar.motif[index % STEPS_PER_BAR]
        yield Event(beat, 2.5, bar.scale[place], 0.5 + 0.4 * bar.motif[(index * 7) % STEPS_PER_BAR])


def _stab(bar: Bar) -> Iterable[Event]:
    """Short chords off the beat, as a lounge pianist leaves room for the others."""
    beats = (0, 1.5, 2.5) if bar.density < 0.5 else (0, 0.75, 1.5, 2.5, 3.25)
    for beat in beats:
        for pitch in bar.chord:
            yield Event(beat, 0.7, pitch, _share(bar))


def _swoop(bar: Bar) -> Iterable[Event]:
    """Long notes that slide into each other (their part's bend does it)."""
    notes = 2 if bar.density < 0.5 else 4
    length = BEATS_PER_BAR / notes
    for index in range(notes):
        yield Event(index * length, length * 1.1, bar.scale[int(bar.motif[index] * len(bar.scale))], 0.8)


PATTERNS: dict[str, Callable[[Bar], Iterable[Event]]] = {
    function.__name__.removeprefix("_"): function
    for function in (
        _hold, _drone, _bed, _strum, _arpeggio, _cascade, _patter, _cross, _melody, _pulse, _bass, _riff,
        _sparkle, _stab, _swoop,
    )
}  # fmt: skip


# ----------------------------------------------------------------------------------------------- scores

SCORES: dict[str, Score] = {
    "sunset": Score(
        parts=(
            Part("hold", ("strings", "choir", "pad"), level=0.6),
            Part("strum", ("guitar", "harp"), level=0.8),
            Part("melody", ("flute", "strings", "guitar"), octave=1, level=0.5, presence=0.6),
        ),
        textures=(("hiss", 0.04),),
        grooves=("brushes", "waltz"),
        drums=0.5,
        room_s=1.4,
        wet=0.3,
    ),
    "ocean": Score(
        parts=(
            Part("hold", ("pad", "choir", "organ"), level=0.5),
            Part("swoop", ("pad", "strings"), octave=1, level=0.2, presence=0.5),
        ),
        textures=(("waves", 1.0),),
        grooves=("brushes", "thunder"),
        drums=0.4,
        room_s=2.2,
        wet=0.4,
        pace=0.8,
    ),
    "nebula": Score(
        parts=(
            Part("bed", ("pad", "choir", "organ"), level=0.8),
            Part("hold", ("pad", "choir", "strings"), octave=1, level=0.6),
            Part("sparkle", ("bell", "glass"), octave=2, level=0.15, presence=0.4),
        ),
        textures=(("shimmer", 0.06),),
        grooves=("thunder", "tick"),
        drums=0.25,
        room_s=3.5,
        wet=0.8,
        pace=0.6,
    ),
    "city": Score(
        parts=(
            Part("pulse", ("saw", "square", "sub"), octave=-1, level=0.9),
            Part("stab", ("saw", "organ", "brass"), level=0.35, presence=0.8),
            Part("arpeggio", ("square", "saw"), octave=1, level=0.25, presence=0.5),
        ),
        textures=(("traffic", 0.3),),
        grooves=("club", "break", "tick"),
        drums=1.2,
        room_s=0.6,
        wet=0.12,
        echo=0.2,
    ),
    "flames": Score(
        parts=(
            Part("riff", ("overdrive", "overdrive", "brass"), level=0.9),
            Part("pulse", ("saw", "overdrive"), octave=-1, level=0.5),
        ),
        textures=(("sizzle", 0.45),),
        grooves=("rock", "blast", "tribal"),
        drums=1.1,
        room_s=0.5,
        wet=0.1,
    ),
    "forest": Score(
        parts=(
            Part("melody", ("flute", "flute", "mallet"), octave=1, level=0.9),
            Part("hold", ("strings", "organ", "guitar"), level=0.3),
            Part("arpeggio", ("mallet", "harp", "guitar"), level=0.4, presence=0.7),
        ),
        textures=(("birds", 0.3), ("wind", 0.1)),
        grooves=("hand", "brushes"),
        drums=0.5,
        room_s=0.9,
        wet=0.25,
    ),
    "ink": Score(
        parts=(
            Part("swoop", ("square", "flute", "strings", "sub"), octave=1, level=0.9, bend=-7),
            Part("swoop", ("pad", "choir"), level=0.5, bend=9),
            Part("bass", ("sub", "guitar"), octave=-1, level=0.5, presence=0.7),
        ),
        textures=(("bubbles", 0.05),),
        grooves=("brushes", "tick"),
        drums=0.6,
        room_s=1.2,
        wet=0.3,
        echo=0.3,
    ),
    "mandala": Score(
        parts=(
            Part("arpeggio", ("mallet", "harp", "piano"), octave=1, level=0.7),
            Part("cross", ("mallet", "bell", "koto"), octave=2, level=0.6, presence=1),
            Part("drone", ("organ", "strings", "koto"), octave=-1, level=0.3),
        ),
        textures=(),
        grooves=("tick", "hand", "club"),
        drums=0.55,
        room_s=0.8,
        wet=0.2,
        echo=0.15,
    ),
    "storm": Score(
        parts=(
            Part("bed", ("saw", "brass", "organ"), octave=-1, level=0.7),
            Part("hold", ("strings", "brass"), level=0.3, presence=0.6),
            Part("riff", ("overdrive",), octave=-1, level=0.3, presence=0.35),
        ),
        textures=(("rumble", 0.9), ("rain", 0.4), ("crackle", 0.4)),
        grooves=("thunder", "tribal", "blast"),
        drums=0.9,
        room_s=2.0,
        wet=0.35,
    ),
    "aurora": Score(
        parts=(
            Part("swoop", ("strings", "pad", "choir"), octave=1, level=0.6, bend=4),
            Part("swoop", ("pad", "choir"), octave=2, level=0.4, bend=-5),
            Part("hold", ("pad", "choir"), octave=1, level=0.3),
        ),
        textures=(("shimmer", 0.35),),
        grooves=("tick",),
        drums=0.3,
        room_s=3.0,
        wet=0.6,
    ),
    "dunes": Score(
        parts=(
            Part("drone", ("strings", "organ", "saw"), octave=-1, level=0.6),
            Part("melody", ("koto", "guitar", "brass"), octave=1, level=0.6, bend=-1, presence=0.75),
        ),
        textures=(("wind", 0.15),),
        grooves=("hand", "tribal"),
        drums=1.5,
        room_s=0.7,
        wet=0.15,
    ),
    "bokeh": Score(
        parts=(
            Part("stab", ("electric_piano", "piano", "organ"), level=0.7),
            Part("bass", ("sub", "guitar"), octave=-1, level=0.7),
            Part("melody", ("electric_piano", "flute", "bell"), octave=1, level=0.45, presence=0.6),
        ),
        textures=(("crackle", 0.06),),
        grooves=("brushes", "waltz", "break"),
        drums=0.7,
        room_s=0.8,
        wet=0.2,
    ),
    "reef": Score(
        parts=(
            Part("arpeggio", ("koto", "mallet", "harp"), octave=1, level=0.7),
            Part("sparkle", ("mallet", "harp"), octave=1, level=0.6),
            Part("hold", ("pad", "electric_piano"), level=0.25),
        ),
        textures=(("bubbles", 0.7),),
        grooves=("hand", "tick", "brushes"),
        drums=0.6,
        room_s=1.0,
        wet=0.3,
        echo=0.5,
    ),
    "snowfall": Score(
        parts=(
            Part("sparkle", ("bell", "glass", "piano"), octave=2, level=0.6),
            Part("hold", ("choir", "pad"), level=0.15, presence=0.5),
        ),
        textures=(("wind", 0.45),),
        grooves=("waltz", "tick"),
        drums=0.3,
        room_s=2.4,
        wet=0.6,
        pace=0.8,
    ),
    "blossom": Score(
        parts=(
            Part("melody", ("koto", "harp", "koto"), octave=1, level=0.9),
            Part("strum", ("harp", "koto"), level=0.4),
            Part("hold", ("flute", "strings"), level=0.15, presence=0.5),
        ),
        textures=(("hiss", 0.02),),
        grooves=("waltz", "brushes"),
        drums=0.35,
        room_s=0.7,
        wet=0.2,
    ),
    "crystal": Score(
        parts=(
            Part("cascade", ("glass", "bell", "glass"), octave=2, level=0.8),
            Part("cascade", ("glass", "square"), octave=1, level=0.35),
            Part("pulse", ("square", "saw"), octave=-1, level=0.3, presence=0.6),
        ),
        textures=(("shimmer", 0.06),),
        grooves=("club", "break", "blast"),
        drums=0.75,
        room_s=1.5,
        wet=0.3,
        echo=0.4,
    ),
}

# From cold to warm: the scales, the chord voicings (scale degrees) and the progressions of each climate.
CLIMATES: tuple[tuple[tuple[tuple[int, ...], ...], tuple[int, ...], tuple[tuple[int, ...], ...]], ...] = (
    (((0, 1, 3, 4, 6, 7, 9, 10), (0, 1, 4, 6, 7, 8, 11)), (0, 1, 4), ((0, 1, 0, 4), (0, 3, 1, 0))),
    (((0, 1, 3, 5, 7, 8, 10), (0, 2, 3, 6, 7, 8, 11)), (0, 2, 4), ((0, 1, 0, 6), (0, 5, 1, 0))),
    (
        ((0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10)),
        (0, 2, 4, 6),
        ((0, 5, 2, 6), (0, 3, 5, 4), (0, 6, 5, 6)),
    ),
    (((0, 2, 4, 5, 7, 9, 10), (0, 2, 4, 5, 7, 9, 11)), (0, 2, 4, 6), ((0, 3, 5, 4), (0, 5, 1, 4))),
    (((0, 2, 4, 5, 7, 9, 11), (0, 2, 4, 6, 7, 9, 11)), (0, 2, 4), ((0, 3, 4, 0), (0, 4, 5, 3), (0, 3, 0, 4))),
)
QUICK_INSTRUMENTS = ("mallet", "koto", "guitar", "piano", "electric_piano", "square", "harp")
PENTATONIC = ((0, 2, 3, 7, 10), (0, 2, 4, 7, 9))  # cold and warm; blossom's scale, and now and then anyone's


# ---------------------------------------------------------------------------------------------- playing


def feel_of(mood: Mood, score: Score, rng: Rng, rate: int = SAMPLE_RATE) -> Feel:
    """Turns a mood into tempo, key, register and touch, with some chance about it."""
    warmth = np.clip(mood.warmth + rng.normal(0, 0.05), 0, 1)
    scales, voicing, progressions = CLIMATES[min(len(CLIMATES) - 1, int(warmth * len(CLIMATES)))]
    scale = scales[rng.integers(len(scales))]
    density = float(np.clip(mood.density + rng.normal(0, 0.05), 0, 1))
    return Feel(
        bpm=(58 + 112 * mood.density) * score.pace ** (1 - mood.density) * rng.uniform(0.92, 1.08),
        root=38 + 22 * mood.brightness + rng.uniform(-3.5, 3.5),
        scale=scale,
        voicing=thicken(voicing, scale, density),
        progression=progressions[rng.integers(len(progressions))],
        density=density,
        drums=score.drums * max(0.0, mood.energy - 0.2) * rng.uniform(0.7, 1.3),
        bass=max(0.0, mood.energy - 0.55) * rng.uniform(0.5, 1.3),
        bustle=1.8 * max(0.0, mood.density - 0.25) * rng.uniform(0.7, 1.3),
        colour=Colour(
            shine=float(np.clip(mood.brightness + rng.normal(0, 0.08), 0, 1)),
            softness=float(np.clip(1 - 1.1 * mood.energy + rng.normal(0, 0.08), 0, 1)),
            hollow=float(np.clip(0.9 - 1.3 * mood.warmth + rng.normal(0, 0.1), 0, 1)),
            rate=rate,
        ),
    )


def thicken(voicing: tuple[int, ...], scale: tuple[int, ...], density: float) -> tuple[int, ...]:
    """A chord of two to six tones: a bare interval in sparse music, two octaves in dense."""
    tones = 2 + round(4 * density)
    return tuple(voicing[tone % len(voicing)] + len(scale) * (tone // len(voicing)) for tone in range(tones))


def add_at(mix: np.ndarray, sound: np.ndarray, start: int, level: float) -> None:
    """Adds a sound into a mix from sample `start`, which may be negative; what sticks out is cut off."""
    first, last = max(0, start), min(len(mix), start + len(sound))
    if first < last:
        mix[first:last] += level * sound[first - start : last - start]


def perform(
    score: Score, feel: Feel, seconds: float, rng: Rng, entry_s: float = 0.0
) -> list[tuple[str, np.ndarray]]:
    """Plays `seconds` of a score from `entry_s` on: stems as (what it is, float32 [T])."""
    parts = [part for part in score.parts if rng.random() < part.presence] or list(score.parts[:1])
    if feel.bass > 0:
        parts.append(Part("pulse", ("sub", "saw"), octave=-1, level=feel.bass))
    if feel.bustle > 0:
        parts.append(Part("patter", QUICK_INSTRUMENTS, octave=1, level=feel.bustle))
    stems = [(part.pattern, _play_part(part, feel, seconds, entry_s, rng)) for part in parts]
    if feel.drums > 0:
        groove = GROOVES[score.grooves[rng.integers(len(score.grooves))]]
        stems.append(("drums", feel.drums * _play_groove(groove, feel, seconds, entry_s, rng)))
    samples = int(seconds * feel.colour.rate)
    for name, level in score.textures:
        if rng.random() > TEXTURE_PRESENCE:
            continue
        weather = TEXTURES[name](samples, feel.colour, feel.density, rng)
        stems.append((name, level * rng.uniform(0.6, 1.4) * weather))
    return [(name, stem.astype(np.float32)) for name, stem in stems]


def _play_part(part: Part, feel: Feel, seconds: float, entry_s: float, rng: Rng) -> np.ndarray:
    """One player's stem [T]. Notes repeat, so each is synthesised once and kept for the piece."""
    rate = feel.colour.rate
    instrument = INSTRUMENTS[part.instruments[rng.integers(len(part.instruments))]]
    motif = rng.random(STEPS_PER_BAR)
    stem = np.zeros(int(seconds * rate), np.float32)
    kept: dict[tuple[float, float], np.ndarray] = {}
    beat_s = feel.bar_s / BEATS_PER_BAR
    for number in range(int(entry_s / feel.bar_s) - 1, int((entry_s + seconds) / feel.bar_s) + 1):
        for event in PATTERNS[part.pattern](_bar(feel, part.octave, number, motif)):
            start_s = number * feel.bar_s + event.beat * beat_s - entry_s
            length_s = min(LONGEST_NOTE_S, max(0.12, event.beats * beat_s))
            if start_s + length_s <= 0 or start_s >= seconds:
                continue
            key = (event.pitch, length_s)
            if key not in kept:
                kept[key] = instrument(Note(pitch_hz(event.pitch), length_s, part.bend), feel.colour, rng)
            add_at(stem, kept[key], int(start_s * rate), part.level * event.velocity)
    return stem


def _bar(feel: Feel, octave: int, number: int, motif: np.ndarray) -> Bar:
    """Chord and scale of bar `number`, moved by `octave`, kept between double bass and piccolo."""
    root = feel.root + 12 * octave
    root += 12 * max(0, np.ceil((28 - root) / 12)) - 12 * max(0, np.ceil((root - 84) / 12))
    degree = feel.progression[number % len(feel.progression)]
    degree -= len(feel.scale) if degree > 3 else 0  # upper chords go below the root: shorter leaps
    return Bar(
        chord=tuple(root + _degree(feel.scale, degree + step) for step in feel.voicing),
        scale=tuple(root + _degree(feel.scale, step) for step in range(len(feel.scale) + 3)),
        density=feel.density,
        motif=motif,
    )


def _degree(scale: tuple[int, ...], degree: int) -> int:
    """Semitones above the root of a scale degree, which may lie beyond the octave."""
    return scale[degree % len(scale)] + 12 * (degree // len(scale))


def _play_groove(groove: dict[str, str], feel: Feel, seconds: float, entry_s: float, rng: Rng) -> np.ndarray:
    """The drum stem [T]."""
    rate = feel.colour.rate
    stem = np.zeros(int(seconds * rate), np.float32)
    levels = {"X": 1.0, "x": 0.7, "o": 0.5 if feel.density > 0.5 else 0.0, ".": 0.0}
    for name, steps in groove.items():
        strokes = [DRUMS[name](feel.colour, rng) for _ in range(2)]
        for number in range(int(entry_s / feel.bar_s) - 1, int((entry_s + seconds) / feel.bar_s) + 1):
            for step, mark in enumerate(steps):
                if levels[mark]:
                    start_s = (number + step / STEPS_PER_BAR) * feel.bar_s - entry_s
                    level = levels[mark] * rng.uniform(0.85, 1.1)
                    add_at(stem, strokes[step % 2], int(start_s * rate), level)
    return stem


# ------------------------------------------------------------------------------------ mixing and colour


def reverberate(sound: np.ndarray, room_s: float, wet: float, rng: Rng, rate: int) -> np.ndarray:
    """Adds a hall: convolution with exponentially decaying noise (Moorer, 1979)."""
    time = seconds_axis(min(1.6, room_s), rate)
    tail = rng.standard_normal(len(time), dtype=np.float32) * np.exp(-6.9 * time / room_s)
    tail *= wet / (np.sqrt((tail**2).sum()) + 1e-9)
    return sound + fftconvolve(sound, tail)[: len(sound)].astype(np.float32)


def echo(sound: np.ndarray, delay_s: float, level: float, rate: int) -> np.ndarray:
    """Adds three fading repeats."""
    out = sound.copy()
    for repeat in range(1, 4):
        add_at(out, sound, int(repeat * delay_s * rate), level**repeat)
    return out


def equalise(sound: np.ndarray, gain_db: Curve, rate: int) -> np.ndarray:
    """Filters by a gain curve in decibels over frequencies in Hz (zero phase)."""
    hz = np.maximum(30, np.fft.rfftfreq(len(sound), 1 / rate))
    return np.fft.irfft(np.fft.rfft(sound) * 10 ** (gain_db(hz) / 20), len(sound)).astype(np.float32)


def roughen(sound: np.ndarray, roughness: float, shine: float, rng: Rng, rate: int) -> np.ndarray:
    """Distortion, grit and a rasping tremolo, none at 0, plenty at 1. Expects and returns unit power."""
    time = np.arange(len(sound), dtype=np.float32) / rate
    drive = 0.3 + 5 * roughness**1.5
    sound = normalise(np.tanh(drive * sound))
    # Amplitude modulation between 30 and 70 Hz is what the ear calls rough (Fastl & Zwicker).
    sound *= 1 + 0.7 * max(0, roughness - 0.2) * np.sin(2 * np.pi * rng.uniform(30, 70) * time)
    grit = shaped_noise(len(sound), band(800 + 3500 * shine, 1.6), rng, rate)
    grit *= 0.6 + 0.8 * drift(len(sound), 6, rng, rate)
    return normalise(sound + 0.75 * max(0, roughness - 0.08) ** 1.2 * grit)


def normalise(sound: np.ndarray) -> np.ndarray:
    """Scales to unit root mean square."""
    return sound / (np.sqrt(np.mean(sound**2)) + 1e-6)


def climate(mood: Mood, rng: Rng) -> Curve:
    """The mood's equaliser in dB: brightness tilts the spectrum, warmth fills or empties its lower middle."""
    tilt_db = 7 * (mood.brightness - 0.5) + rng.normal(0, 0.6)  # per octave
    body_db = 22 * (mood.warmth - 0.5) + rng.normal(0, 1.5)
    return lambda hz: np.clip(tilt_db * np.log2(hz / 900), -22, 14) + body_db * band(300, 0.7)(hz)


def freeze(sound: np.ndarray, feel: Feel, coldness: float) -> np.ndarray:
    """Ring modulation at a tritone: the metallic side of cold."""
    time = np.arange(len(sound), dtype=np.float32) / feel.colour.rate
    return sound + coldness * sound * np.sin(2 * np.pi * pitch_hz(feel.root + 30) * time)


def record(sound: np.ndarray, rng: Rng, rate: int) -> np.ndarray:
    """Does what microphones, rooms and codecs do, so that training does not hang on clean sounds."""
    if rng.random() < 0.3:
        sound = reverberate(sound, rng.uniform(0.2, 0.8), rng.uniform(0.05, 0.3), rng, rate)
    centres, gains = rng.uniform(np.log2(120), np.log2(6000), 2), rng.normal(0, 2.0, 2)
    low_hz = rng.uniform(30, 110)
    high_hz = rng.uniform(4500, 12000)

    def gain_db(hz: np.ndarray) -> np.ndarray:
        bumps = sum(gain * band(2**centre, 0.8)(hz) for centre, gain in zip(centres, gains, strict=True))
        return bumps - 6 * np.maximum(0, low_hz / hz - 1) - 10 * np.maximum(0, np.log2(hz / high_hz))

    sound = normalise(equalise(sound, gain_db, rate))
    return sound + 10 ** rng.uniform(-3.0, -1.6) * rng.standard_normal(len(sound), dtype=np.float32)


def play(
    moment: Moment, rng: np.random.Generator, seconds: float = 2.0, sample_rate: int = SAMPLE_RATE
) -> np.ndarray:
    """A clip of the moment's music, starting anywhere in the piece: float32 [T] in [-1, 1]."""
    mood, score = moment.mood, SCORES[moment.scene]
    feel = feel_of(mood, score, rng, sample_rate)
    if moment.scene == "blossom" or rng.random() < 0.12:
        feel = _pentatonic(feel, mood)
    lead_in_s = 0.6  # played and cut off, so that rooms and echoes are already sounding
    entry_s = rng.uniform(1, 5) * feel.bar_s
    stems = perform(score, feel, seconds + lead_in_s, rng, entry_s)
    dry = np.sum([stem for _, stem in stems], axis=0)
    if score.echo:
        dry = echo(dry, 0.75 * feel.bar_s / BEATS_PER_BAR, score.echo, sample_rate)
    if rng.random() < GUEST_PRESENCE:
        dry += 0.3 * _play_part(_guest(rng), feel, seconds + lead_in_s, entry_s, rng)
    wet = score.wet * (1.2 - 0.5 * mood.energy) * rng.uniform(0.6, 1.4)
    mix = reverberate(dry, score.room_s * rng.uniform(0.7, 1.3), wet, rng, sample_rate)
    mix = freeze(normalise(mix), feel, 1.4 * max(0, 0.45 - mood.warmth))
    mix = normalise(equalise(normalise(mix), climate(mood, rng), sample_rate))
    mix = roughen(mix, mood.roughness, mood.brightness, rng, sample_rate)
    mix = record(mix[-int(seconds * sample_rate) :], rng, sample_rate)
    level_db = QUIETEST_DB + (LOUDEST_DB - QUIETEST_DB) * mood.energy + rng.normal(0, 1.3)
    return limit(10 ** (level_db / 20) * mix)


def _guest(rng: Rng) -> Part:
    """Any instrument in any pattern."""
    pattern = list(PATTERNS)[rng.integers(len(PATTERNS))]
    return Part(pattern, tuple(INSTRUMENTS), octave=int(rng.integers(-1, 2)))


def _pentatonic(feel: Feel, mood: Mood) -> Feel:
    """The same feel on five notes."""
    scale = PENTATONIC[int(mood.warmth > 0.45)]
    return replace(feel, scale=scale, voicing=thicken((0, 2, 4), scale, feel.density))


def limit(sound: np.ndarray, knee: float = 0.7) -> np.ndarray:
    """Bends what is louder than `knee` so that it stays below 1; leaves the rest alone."""
    over = np.abs(sound) > knee
    bent = np.sign(sound) * (knee + (1 - knee) * np.tanh((np.abs(sound) - knee) / (1 - knee)))
    return np.where(over, bent, sound).astype(np.float32)
