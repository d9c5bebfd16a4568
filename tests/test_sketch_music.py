"""What the sketch pack's music promises: clips of the right form in which mood and scene can be heard."""

import wave
from collections.abc import Callable
from dataclasses import astuple, replace

import numpy as np
import pytest

from metamusic.sketch.demo import PEAK, SECTIONS, TITLE, compose, write_demo
from metamusic.sketch.music import (
    DRUMS,
    GROOVES,
    INSTRUMENTS,
    PATTERNS,
    SAMPLE_RATE,
    SCORES,
    TEXTURES,
    Colour,
    Note,
    play,
)
from metamusic.sketch.world import SCENE_NAMES, SCENES, Moment, Mood

COLOUR = Colour(shine=0.5, softness=0.3, hollow=0.3)


def clip(scene: str, seed: int = 0, **axes: float) -> np.ndarray:
    """A clip of a scene in its typical mood, with some axes set."""
    return play(Moment(replace(SCENES[scene], **axes), scene), np.random.default_rng(seed))


def loudness(sound: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(sound**2)))


def centroid_octaves(sound: np.ndarray) -> float:
    """Where the power lies on a logarithmic frequency axis."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    hz = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)
    heard = hz > 40
    return float(np.average(np.log2(hz[heard]), weights=power[heard]))


def flatness(sound: np.ndarray) -> float:
    """Noise against tone: the ratio of geometric to arithmetic mean power, averaged over short frames."""
    frames = sound[: len(sound) // 1024 * 1024].reshape(-1, 1024)
    power = np.abs(np.fft.rfft(frames)[:, 4:]) ** 2 + 1e-9
    return float(np.mean(np.log(power)) - np.mean(np.log(power.mean(1))))


def attacks(sound: np.ndarray) -> int:
    """How often many bands of the spectrum jump up at once, frames of 25 ms."""
    frames = sound[: len(sound) // 400 * 400].reshape(-1, 400) * np.hanning(400)
    power = np.abs(np.fft.rfft(frames))[:, :200] ** 2
    edges = np.unique(np.geomspace(1, 200, 17).astype(int))
    bands = np.log10(np.add.reduceat(power, edges[:-1], axis=1) + 1e-3 * power.mean())
    jumps = np.maximum(np.diff(bands, axis=0), 0).mean(1)
    peaks = (jumps[1:-1] > jumps[:-2]) & (jumps[1:-1] >= jumps[2:]) & (jumps[1:-1] > 0.2)
    return int(peaks.sum())


def fingerprint(sound: np.ndarray) -> np.ndarray:
    """Mean and movement of a coarse spectrum."""
    frames = sound[: len(sound) // 512 * 512].reshape(-1, 512) * np.hanning(512)
    power = np.abs(np.fft.rfft(frames))[:, 1:] ** 2
    edges = np.unique(np.geomspace(1, 256, 25).astype(int))
    bands = np.log10(np.add.reduceat(power, edges[:-1], axis=1) + 1e-6)
    return np.concatenate([bands.mean(0), 2 * bands.std(0), 2 * np.abs(np.diff(bands, axis=0)).mean(0)])


def average(measure: Callable[[np.ndarray], float], **axes: float) -> float:
    """A measure averaged over every other scene, to keep the test quick."""
    return float(np.mean([measure(clip(scene, seed, **axes)) for seed, scene in enumerate(SCENE_NAMES[::2])]))


@pytest.mark.parametrize("scene", SCENE_NAMES)
def test_a_clip_has_the_promised_form(scene):
    sound = clip(scene)
    assert sound.shape == (2 * SAMPLE_RATE,)
    assert sound.dtype == np.float32
    assert np.isfinite(sound).all()
    assert loudness(sound) > 0.002 and np.abs(sound).max() <= 1


@pytest.mark.parametrize("value", (0.0, 1.0))
def test_the_corners_of_the_mood_cube_can_be_played(value):
    for seed, scene in enumerate(SCENE_NAMES):
        sound = play(Moment(Mood(*[value] * 5), scene), np.random.default_rng(seed), seconds=0.5)
        assert np.isfinite(sound).all() and 0 < np.abs(sound).max() <= 1


def test_length_and_rate_are_the_callers_choice():
    sound = play(Moment(SCENES["city"], "city"), np.random.default_rng(0), seconds=1.3, sample_rate=22_050)
    assert len(sound) == int(1.3 * 22_050)


def test_the_same_chance_plays_the_same_clip():
    assert np.array_equal(clip("reef", 5), clip("reef", 5))
    assert not np.array_equal(clip("reef", 5), clip("reef", 6))


@pytest.mark.parametrize(
    ("axis", "measure"),
    [
        ("energy", loudness),
        ("brightness", centroid_octaves),
        ("roughness", flatness),
        ("density", attacks),
    ],
)
def test_a_mood_axis_can_be_heard(axis, measure):
    low, middle, high = (average(measure, **{axis: value}) for value in (0.05, 0.5, 0.95))
    assert low < middle < high


def test_warmth_fills_the_lower_middle():
    def body(sound: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(sound)) ** 2
        hz = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)
        return float(np.log(power[(hz > 150) & (hz < 600)].sum() / power[hz > 600].sum()))

    cold, mild, warm = (average(body, warmth=value) for value in (0.05, 0.5, 0.95))
    assert cold < mild < warm


def test_scenes_sound_different():
    """A clip is nearer to other clips of its scene than to those of most others."""
    seen = np.array([[fingerprint(clip(scene, seed)) for seed in range(4)] for scene in SCENE_NAMES])
    seen = (seen - seen.mean((0, 1))) / seen.std((0, 1))
    centres = seen[:, :3].mean(1)
    distances = ((seen[:, 3, None] - centres[None]) ** 2).sum(-1)
    right = (distances.argmin(1) == np.arange(len(SCENE_NAMES))).mean()
    assert right > 0.5


def test_every_scene_has_a_score_made_of_known_sounds():
    assert set(SCORES) == set(SCENES)
    for score in SCORES.values():
        assert {part.pattern for part in score.parts} <= set(PATTERNS)
        assert {name for part in score.parts for name in part.instruments} <= set(INSTRUMENTS)
        assert {name for name, _ in score.textures} <= set(TEXTURES)
        assert set(score.grooves) <= set(GROOVES)
    for groove in GROOVES.values():
        assert set(groove) <= set(DRUMS)
        assert {len(steps) for steps in groove.values()} == {16}


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_an_instrument_plays_the_pitch_it_is_asked_for(name):
    hz = 330.0
    sound = INSTRUMENTS[name](Note(hz, 1.0), COLOUR, np.random.default_rng(0))
    assert len(sound) == SAMPLE_RATE and np.isfinite(sound).all()
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2  # 1 Hz per bin
    assert 320 < 300 + power[300:360].argmax() < 340
    assert power[322:338].sum() > 3 * power[350:480].sum()


def test_the_demo_song_has_its_length_and_does_not_clip():
    song = compose(seed=1, seconds=12.0, sample_rate=16_000)
    assert song.shape == (2, 12 * 16_000) and song.dtype == np.float32
    assert np.isfinite(song).all() and np.abs(song).max() == pytest.approx(PEAK, abs=1e-3)
    assert np.abs(song[:, :20]).max() < 0.05 and np.abs(song[:, -20:]).max() < 0.05
    assert not np.array_equal(song[0], song[1])


def test_the_demo_song_has_a_calm_start_a_climax_and_a_calm_end():
    song = compose(seed=1, seconds=30.0, sample_rate=8_000).mean(0)
    bars = np.cumsum([0] + [section.bars for section in SECTIONS]) / sum(section.bars for section in SECTIONS)
    pieces = [song[int(a * len(song)) : int(b * len(song))] for a, b in zip(bars, bars[1:], strict=False)]
    calm, bright, driving, storm, afterglow = map(loudness, pieces)
    assert calm < bright < driving < storm and afterglow < bright
    prints = [fingerprint(piece) for piece in pieces]
    assert min(np.abs(a - b).mean() for a, b in zip(prints, prints[1:], strict=False)) > 0.2


def test_the_demo_song_is_written_as_a_wave_file(tmp_path, monkeypatch):
    short = compose(2, seconds=5.0, sample_rate=44_100)
    monkeypatch.setattr("metamusic.sketch.demo.compose", lambda seed, sample_rate: short)
    assert write_demo(tmp_path / "demo.wav") == TITLE
    with wave.open(str(tmp_path / "demo.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 44_100)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2).T / 32767
    assert np.abs(samples - short).max() < 1e-4


def test_a_moments_music_depends_on_nothing_but_mood_scene_and_chance():
    mood = Mood(*astuple(SCENES["ink"]))
    first, second = (play(Moment(mood, "ink"), np.random.default_rng(9)) for _ in range(2))
    assert np.array_equal(first, second)
