"""The demo song of a first run: half a minute, five sections, played by the sketch pack's own band.

It has to be a fair song for the app: quiet and loud, bright and dark, a beat that a tracker can follow, so
that the picture has something to change with. Key and tempo are shared by all sections; scale, players,
drums and loudness are not.
"""

import wave
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from metamusic.sketch.music import (
    BEATS_PER_BAR,
    Part,
    Score,
    add_at,
    climate,
    echo,
    equalise,
    feel_of,
    limit,
    normalise,
    perform,
    reverberate,
    roughen,
    seconds_axis,
    shaped_noise,
)
from metamusic.sketch.world import Mood

TITLE = "First Light (demo)"
DEMO_SEED = 4
TYPICAL_BAR_S = 60 * BEATS_PER_BAR / 112  # 14 bars at 112 beats a minute are exactly 30 s
FADE_IN_S, FADE_OUT_S = 0.15, 1.5
OVERLAP_S = 0.5  # how long a section keeps sounding into the next one
PEAK = 0.97

LYDIAN, MAJOR = (0, 2, 4, 6, 7, 9, 11), (0, 2, 4, 5, 7, 9, 11)
DORIAN, PHRYGIAN = (0, 2, 3, 5, 7, 9, 10), (0, 1, 3, 5, 7, 8, 10)


@dataclass(frozen=True)
class Section:
    """A stretch of the song with a mood, players and a loudness of its own."""

    name: str
    mood: Mood
    score: Score
    bars: int  # in a song of 14 bars
    scale: tuple[int, ...]
    progression: tuple[int, ...]  # scale degree of each bar's chord
    drums: float  # level
    level_db: float  # root mean square
    rise: bool = False  # does its last bar announce the next section?


SECTIONS = (
    Section(
        name="calm",
        mood=Mood(energy=0.12, brightness=0.55, warmth=0.55, roughness=0.03, density=0.15),
        score=Score(
            parts=(
                Part("hold", ("pad",), octave=0, level=0.6),
                Part("sparkle", ("bell",), octave=1, level=0.25),
                Part("bed", ("strings",), octave=0, level=0.2),
            ),
            textures=(("waves", 0.12),),
            grooves=("tick",),
            drums=1.0,
            room_s=3.0,
            wet=0.6,
            echo=0.3,
        ),
        bars=3,
        scale=LYDIAN,
        progression=(0, 1, 0),
        drums=0.0,
        level_db=-27.0,
        rise=True,
    ),
    Section(
        name="bright",
        mood=Mood(energy=0.45, brightness=0.85, warmth=0.9, roughness=0.03, density=0.5),
        score=Score(
            parts=(
                Part("arpeggio", ("harp",), octave=1, level=0.7),
                Part("melody", ("flute",), octave=1, level=0.45),
                Part("hold", ("strings",), octave=0, level=0.25),
                Part("bass", ("sub",), octave=-1, level=0.5),
                Part("cross", ("mallet",), octave=1, level=0.4),
            ),
            textures=(("birds", 0.04),),
            grooves=("club",),
            drums=1.0,
            room_s=1.2,
            wet=0.3,
            echo=0.3,
        ),
        bars=3,
        scale=MAJOR,
        progression=(0, 4, 5),
        drums=0.35,
        level_db=-21.0,
        rise=True,
    ),
    Section(
        name="driving",
        mood=Mood(energy=0.75, brightness=0.55, warmth=0.35, roughness=0.2, density=0.75),
        score=Score(
            parts=(
                Part("pulse", ("saw",), octave=-1, level=0.8),
                Part("arpeggio", ("square",), octave=1, level=0.3),
                Part("stab", ("organ",), octave=0, level=0.3),
                Part("hold", ("brass",), octave=0, level=0.15),
            ),
            textures=(),
            grooves=("club",),
            drums=1.0,
            room_s=0.8,
            wet=0.15,
            echo=0.25,
        ),
        bars=3,
        scale=DORIAN,
        progression=(0, 2, 6),
        drums=0.9,
        level_db=-16.5,
        rise=True,
    ),
    Section(
        name="storm",
        mood=Mood(energy=0.97, brightness=0.3, warmth=0.15, roughness=0.7, density=0.65),
        score=Score(
            parts=(
                Part("riff", ("overdrive",), octave=0, level=0.8),
                Part("pulse", ("saw",), octave=-1, level=0.6),
                Part("bed", ("brass",), octave=0, level=0.2),
            ),
            textures=(("rumble", 0.4), ("rain", 0.12)),
            grooves=("rock",),
            drums=1.0,
            room_s=1.2,
            wet=0.15,
            echo=0.0,
        ),
        bars=3,
        scale=PHRYGIAN,
        progression=(0, 1, 0),
        drums=1.2,
        level_db=-14.0,
    ),
    Section(
        name="afterglow",
        mood=Mood(energy=0.25, brightness=0.5, warmth=0.85, roughness=0.02, density=0.35),
        score=Score(
            parts=(
                Part("strum", ("guitar",), octave=0, level=0.7),
                Part("hold", ("strings",), octave=0, level=0.4),
                Part("melody", ("piano",), octave=1, level=0.5),
            ),
            textures=(("waves", 0.1),),
            grooves=("tick",),
            drums=1.0,
            room_s=2.5,
            wet=0.5,
            echo=0.0,
        ),
        bars=2,
        scale=MAJOR,
        progression=(3, 0),
        drums=0.25,
        level_db=-24.0,
    ),
)


def compose(seed: int, seconds: float = 30.0, sample_rate: int = 44_100) -> np.ndarray:
    """A song of `SECTIONS` in stereo: float32 [2, T] with a peak of `PEAK`. Seeds differ in key and notes."""
    rng = np.random.default_rng(seed)
    bar_s, lengths = _plan(seconds)
    key = 50.0 + float(rng.integers(-4, 4))
    song = np.zeros((2, int(round(seconds * sample_rate))), np.float32)
    start_s = 0.0
    for section, bars in zip(SECTIONS, lengths, strict=True):
        sound = _play_section(section, key, bar_s, bars, sample_rate, rng)
        for channel, side in zip(song, sound, strict=True):
            add_at(channel, side, int(start_s * sample_rate), 1.0)
        start_s += bars * bar_s
    # One hall for all sections, with another tail for each ear, makes them sound like one place.
    song = np.stack([reverberate(channel, 1.6, 0.12, rng, sample_rate) for channel in song])
    return _master(song, sample_rate)


def write_demo(path: str | Path, seed: int = DEMO_SEED) -> str:
    """Writes the demo song to `path` as 16-bit stereo WAV, 44.1 kHz, and returns its title."""
    rate = 44_100
    song = compose(seed, sample_rate=rate)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(song))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(song.T * 32767).astype("<i2").tobytes())
    return TITLE


def _plan(seconds: float) -> tuple[float, list[int]]:
    """Seconds per bar, and whole bars for each section, that fill the song exactly."""
    shares = np.cumsum([section.bars for section in SECTIONS])
    total = max(len(SECTIONS), round(seconds / TYPICAL_BAR_S))
    ends = np.round(shares / shares[-1] * total).astype(int)
    return seconds / total, np.diff(ends, prepend=0).tolist()


def _play_section(
    section: Section, key: float, bar_s: float, bars: int, rate: int, rng: np.random.Generator
) -> np.ndarray:
    """One section and its overlap into the next, at its own loudness: [2, T]."""
    score = replace(section.score, parts=tuple(replace(part, presence=1.0) for part in section.score.parts))
    feel = replace(
        feel_of(section.mood, score, rng, rate),
        bpm=60 * BEATS_PER_BAR / bar_s,
        root=key,
        scale=section.scale,
        voicing=(0, 2, 4),
        progression=section.progression,
        density=section.mood.density,
        drums=section.drums,
        bass=0.0,
        bustle=0.0,
    )
    seconds = bars * bar_s + OVERLAP_S
    sound = np.zeros((2, int(seconds * rate)), np.float32)
    for index, (name, stem) in enumerate(perform(score, feel, seconds, rng)):
        if score.echo and name != "drums":
            stem = echo(stem, 0.75 * bar_s / BEATS_PER_BAR, score.echo, rate)
        sound += _pan(stem, 0.0 if name in ("drums", "pulse", "bass", "riff") else (-0.5, 0.5)[index % 2])
    if section.rise:
        sound += 0.5 * _riser(len(sound[0]), bar_s, rate, rng)
    sound = _colour(sound, section.mood, score, rate, rng)
    level = 10 ** (section.level_db / 20) / (np.sqrt(np.mean(sound**2)) + 1e-6)
    return sound * level * _leave(len(sound[0]), rate)


def _colour(sound: np.ndarray, mood: Mood, score: Score, rate: int, rng: np.random.Generator) -> np.ndarray:
    """The room, the equaliser and the dirt of a section, less of each than in a training clip: [2, T]."""
    tone = climate(replace(mood, brightness=0.5 + 0.45 * (mood.brightness - 0.5)), rng)
    sides = []
    for side in sound:
        side = reverberate(side, score.room_s, 0.7 * score.wet, rng, rate)
        side = equalise(normalise(side), lambda hz: 0.7 * tone(hz), rate)
        sides.append(roughen(normalise(side), 0.5 * mood.roughness, mood.brightness, rng, rate))
    return np.stack(sides)


def _pan(stem: np.ndarray, place: float) -> np.ndarray:
    """Puts a mono stem [T] between the ears, -1 left to 1 right, at constant power: [2, T]."""
    angle = (place + 1) * np.pi / 4
    return np.stack([np.cos(angle) * stem, np.sin(angle) * stem]) * np.sqrt(2)


def _riser(samples: int, bar_s: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """A hiss that grows through the last bar and stops where the next section starts: [T]."""
    noise = shaped_noise(samples, lambda hz: np.minimum(1, hz / 4000), rng, rate)
    left_s = samples / rate - OVERLAP_S - seconds_axis(samples / rate + 1, rate)[:samples]
    return noise * np.clip(1 - left_s / bar_s, 0, 1) ** 3 * (left_s > 0)


def _leave(samples: int, rate: int) -> np.ndarray:
    """The fade [T] at the end of a section; its start stays sharp, because the downbeat is there."""
    gain = np.ones(samples, np.float32)
    tail = min(samples, int(OVERLAP_S * rate))
    gain[samples - tail :] = np.cos(np.linspace(0, np.pi / 2, tail)) ** 2
    return gain


def _master(song: np.ndarray, rate: int) -> np.ndarray:
    """Tames the peaks, fades both ends, and scales to `PEAK`: float32 [2, T]."""
    song = limit(song, knee=0.6)
    samples = song.shape[1]
    rise, fall = min(samples // 4, int(FADE_IN_S * rate)), min(samples // 4, int(FADE_OUT_S * rate))
    song[:, :rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    song[:, samples - fall :] *= np.linspace(1, 0, fall, dtype=np.float32)
    return (PEAK * song / np.abs(song).max()).astype(np.float32)
