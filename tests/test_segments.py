"""Segments tile the film, whatever the beats; fades between them never jump."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metamusic.segments import SHORTEST_S, Segment, frame_count, plan_segments, target_at

FPS = st.sampled_from([1, 8, 12, 24, 25, 30, 60])
PLANS = st.builds(
    lambda beats, frames, fps, every, longest:
        (plan_segments(beats, frames, fps, every, longest), fps, longest),
    beats=st.lists(st.floats(-5, 400), max_size=60), frames=st.integers(1, 9000), fps=FPS,
    every=st.integers(1, 8), longest=st.floats(0.5, 60))


@given(PLANS)
def test_segments_tile_the_frames(plan):
    segments, _, _ = plan
    assert segments[0].first == 0
    assert [s.index for s in segments] == list(range(len(segments)))
    assert all(left.last == right.first for left, right in zip(segments, segments[1:], strict=False))
    assert all(len(s) >= 1 for s in segments)


@given(st.integers(1, 9000), FPS, st.lists(st.floats(0, 400), max_size=60))
def test_frames_add_up(frames, fps, beats):
    segments = plan_segments(beats, frames, fps, 2, 4.0)
    assert sum(len(s) for s in segments) == segments[-1].last == frames


@given(PLANS)
def test_no_segment_is_longer_than_asked(plan):
    segments, fps, longest = plan
    assert max(len(s) for s in segments) <= math.ceil(longest * fps) + 1


@given(PLANS)
def test_no_segment_is_too_short_to_hear(plan):
    segments, fps, longest = plan
    shortest = min(SHORTEST_S, longest / 2, segments[-1].last / fps)
    assert min(len(s) for s in segments) >= max(1, math.floor(shortest * fps) - 1)


def test_every_second_beat_is_a_border():
    beats = [0.5 * n for n in range(1, 20)]  # 120 per minute, ten seconds
    segments = plan_segments(beats, 120, 12, 2, 4.0)
    assert [s.first for s in segments] == [0, 6, *range(18, 115, 12)]
    assert segments[-1].last == 120


def test_a_song_without_beats_is_halved_until_short_enough():
    assert [s.first for s in plan_segments([], 120, 12, 2, 4.0)] == [0, 30, 60, 90]
    assert plan_segments([], 48, 12, 2, 4.0) == [Segment(0, 0, 48)]  # just four seconds stay whole


def test_beats_at_the_very_ends_make_no_empty_segment():
    assert plan_segments([0.0, 0.01, 1.99, 2.0, 2.5], 24, 12, 1, 4.0) == [Segment(0, 0, 24)]


def test_borders_are_rounded_on_one_clock():
    """The border of beat 100 lies where it sounds: the roundings of the 99 before it do not add up."""
    beats = [n * 0.7137 for n in range(1, 200)]
    firsts = [s.first for s in plan_segments(beats, 1700, 12, 1, 4.0)]
    assert len(firsts) > 190
    assert all(abs(a / 12 - b) <= 0.5 / 12 + 1e-9 for a, b in zip(firsts[1:], beats, strict=False))


def test_one_frame_is_one_segment():
    assert plan_segments([0.1, 0.5], 1, 1, 2, 4.0) == [Segment(0, 0, 1)]


@pytest.mark.parametrize("bad", [(0, 12, 2, 4.0), (10, 0, 2, 4.0), (10, 12, 0, 4.0), (10, 12, 2, 0)])
def test_impossible_plans_are_refused(bad):
    with pytest.raises(ValueError, match="cannot plan"):
        plan_segments([], *bad)


@pytest.mark.parametrize(("seconds", "fps", "frames"), [
    (2.0, 12, 24), (7.3, 1, 7), (7.3, 12, 88), (7.3, 24, 175), (7.3, 60, 438), (0.5, 1, 1), (0.01, 1, 1)])
def test_frame_count(seconds, fps, frames):
    assert frame_count(seconds, fps) == frames


def shares(frame, segments, fade, fps):
    """How much of each segment is heard at `frame`."""
    left, right, arrived = target_at(frame, segments, fade, fps)
    heard = [0.0] * len(segments)
    heard[left] += 1 - arrived
    heard[right] += arrived
    return heard


@given(PLANS, st.floats(0.05, 10), st.floats(0, 1), st.floats(0, 0.2))
def test_fades_are_continuous(plan, fade, where, step):
    """Within the time that one fade takes, nothing changes faster than a straight line through it."""
    segments, fps, _ = plan
    frame = where * segments[-1].last
    shortest = min([fade * fps, *(len(s) for s in segments)])
    here, there = shares(frame, segments, fade, fps), shares(frame + step, segments, fade, fps)
    assert max(abs(a - b) for a, b in zip(here, there, strict=True)) <= step / shortest + 1e-6


@given(PLANS, st.floats(0, 10))
def test_the_middle_of_every_segment_is_pure_and_borders_are_half_way(plan, fade):
    segments, fps, _ = plan
    for s in segments:
        assert target_at((s.first + s.last) / 2, segments, fade, fps) == (s.index, s.index, 0.0)
    for left, right in zip(segments, segments[1:], strict=False):
        half_way = (left.index, right.index, 0.5) if fade * fps > 0 else (right.index, right.index, 0.0)
        assert target_at(left.last, segments, fade, fps) == half_way


@given(PLANS, st.floats(0, 10), st.floats(-0.5, 1.5))
def test_targets_are_neighbours_and_shares_are_shares(plan, fade, where):
    segments, fps, _ = plan
    i, j, w = target_at(where * segments[-1].last, segments, fade, fps)
    assert 0 <= w <= 1
    assert j in (i, i + 1)
    assert 0 <= i <= j < len(segments)


def test_span():
    assert Segment(3, 12, 30).span_s(12) == (1.0, 2.5)
