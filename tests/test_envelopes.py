"""Envelopes: what moves with the music, on tones, clicks, noise and silence made here."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamusic.envelopes import BLOCK, HOP, RATE, Envelopes, loudness_of, make_envelopes
from metamusic.formula import VARIABLES, evaluate

SR = 16000


def tone(hertz: float, seconds: float, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * SR)) / SR)).astype(np.float32)


def noise(seconds: float, level: float = 0.1, seed: int = 0) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(int(seconds * SR))).astype(np.float32)


def clicks(seconds: float, times: tuple[float, ...]) -> np.ndarray:
    wave = np.zeros(int(seconds * SR), np.float32)
    for time in times:
        start = int(time * SR)
        wave[start:start + 400] += noise(400 / SR, 0.5) * np.exp(-np.arange(400) / 80).astype(np.float32)
    return wave


@pytest.mark.parametrize(("hertz", "band"), [(60, "bass"), (600, "mid"), (5000, "treble")])
def test_a_tone_is_in_its_band_alone(hertz, band):
    curves = make_envelopes(tone(hertz, 3), ()).curves
    inside = slice(25, 125)
    assert curves[band][inside].min() > 0.9
    for other in {"bass", "mid", "treble"} - {band}:
        assert curves[other][inside].max() < 0.1


def test_a_faint_band_is_not_blown_up():
    """A band's own maximum would make the filter's leakage look like music."""
    quiet = tone(600, 3) + tone(60, 3, 1e-4)
    assert make_envelopes(quiet, ()).curves["bass"][25:125].max() == 0


def test_bands_follow_without_delay():
    wave = np.concatenate([np.zeros(SR, np.float32), tone(70, 1), np.zeros(SR, np.float32)])
    bass = make_envelopes(wave, ()).curves["bass"]
    above = np.flatnonzero(bass > 0.5) / RATE
    assert above[0] == pytest.approx(1.0, abs=0.04) and above[-1] == pytest.approx(2.0, abs=0.04)


def test_loudness_follows_the_level():
    wave = np.concatenate([tone(440, 2, 0.2), tone(440, 2, 0.8)])
    loudness = make_envelopes(wave, ()).curves["loudness"]
    assert loudness[50] == pytest.approx(0.25, abs=0.02) and loudness[150] == pytest.approx(1, abs=0.02)


def test_onsets_rise_at_clicks_and_decay():
    times = (0.5, 1.0, 1.7, 2.6)
    onset = make_envelopes(clicks(3.5, times) + noise(3.5, 1e-3), ()).curves["onset"]
    for time in times:
        around = onset[round(time * RATE) - 2:round(time * RATE) + 3]
        assert around.max() > 0.4
        assert onset[round((time + 0.4) * RATE)] < 0.3 * around.max()
    assert onset[:20].max() < 0.1


@pytest.mark.parametrize("wave", [tone(440, 4), noise(4), noise(4)[:-7]], ids=["tone", "noise", "odd"])
def test_what_is_steady_has_no_onsets(wave):
    assert make_envelopes(wave, ()).curves["onset"].max() == 0


def test_beats_are_pulses():
    curves = make_envelopes(noise(3), (2.0, 0.503, math.nan)).curves["beat"]
    assert curves[25] == 0 and curves[26] == 1 and curves[100] == 1
    assert curves[26 + 15] == pytest.approx(math.exp(-0.3 / 0.15), rel=1e-4)
    assert (np.diff(curves[26:100]) < 0).all()


def test_a_beat_before_the_region_still_rings():
    assert make_envelopes(noise(1), (-0.15,)).curves["beat"][0] == pytest.approx(math.exp(-1), rel=0.15)


@pytest.mark.parametrize("samples", [0, 1, 100, 319, 320, 321, 511, 512, 8000])
@pytest.mark.parametrize("level", [0.0, 1e-4, 0.3])
def test_silence_and_short_clips_are_finite(samples, level):
    envelopes = make_envelopes(noise(1, level)[:samples], ())
    lengths = {len(curve) for curve in envelopes.curves.values()}
    assert lengths == {math.ceil(samples / HOP) + 1}
    for curve in envelopes.curves.values():
        assert np.isfinite(curve).all() and curve.min() >= 0 and curve.max() <= 1
        assert level > 1e-3 or curve.max() == 0
    assert set(envelopes.at(0.1)) == set(VARIABLES)


def test_blocks_leave_no_seam():
    """70 s are three blocks; the same sound in one block must give the same curves."""
    half = 35 * SR
    wave = np.concatenate([tone(60, 35, 0.3), tone(90, 35, 0.4)]) + noise(70, 0.05)
    curves = make_envelopes(wave, ()).curves
    seam = BLOCK
    piece = wave[(seam - 400) * HOP:(seam + 400) * HOP]
    alone = make_envelopes(piece, ()).curves
    for name in ("bass", "mid", "treble", "loudness"):
        one, other = curves[name][seam - 200:seam + 200], alone[name][200:600]
        assert one / one.max() == pytest.approx(other / other.max(), abs=1e-3)
    assert len(wave) == 2 * half


def test_values_between_are_interpolated_and_the_ends_hold():
    envelopes = Envelopes(50.0, {"bass": np.array([0.0, 1.0, 0.5], np.float32)})
    values = [envelopes.at(time)["bass"] for time in (-1, 0, 0.005, 0.02, 0.03, 0.04, 99)]
    assert values == pytest.approx([0, 0, 0.25, 1, 0.75, 0.5, 0.5])
    assert envelopes.at(2.5)["time"] == 2.5 and envelopes.at(1)["beat"] == 0
    assert evaluate("bass + time", envelopes.at(0.02)) == pytest.approx(1.02)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 100), st.floats(0, 2), st.lists(st.floats(-1, 3), max_size=5), st.floats(-1, 5))
def test_every_value_is_from_0_to_1(seed, level, beats, time):
    wave = noise(1.5, level, seed) * np.linspace(0, 1, int(1.5 * SR), dtype=np.float32)
    at = make_envelopes(wave, beats).at(time)
    assert all(0 <= at[name] <= 1 for name in VARIABLES if name != "time")


# -- loudness of spans --------------------------------------------------------------------------------


def test_spans_are_as_loud_as_the_loudest():
    wave = np.concatenate([tone(440, 1, 0.2), tone(440, 1, 0.4), np.zeros(SR, np.float32)])
    values = loudness_of(wave, [(0.1, 0.9), (1.1, 1.9), (2.1, 2.9)])
    assert values == pytest.approx([0.25, 1, 0], abs=0.02) and max(values) == 1


def test_spans_outside_or_without_length_are_silent():
    wave = tone(440, 1)
    assert loudness_of(wave, [(0.2, 0.4), (2, 3), (0.5, 0.5), (-2, -1), (0.3, 0.305)])[1:4] == [0, 0, 0]
    assert loudness_of(wave, [(0.2, 0.4), (0.3, 0.305)])[1] > 0.9
    assert loudness_of(wave, []) == [] and loudness_of(np.zeros(SR, np.float32), [(0, 1)]) == [0]
    assert loudness_of(np.zeros(0, np.float32), [(0, 1)]) == [0]
    assert loudness_of(wave[:100], [(0, 1)]) == [1]
