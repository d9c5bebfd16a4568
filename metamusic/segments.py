"""Segments: the song cut at its beats, in frame numbers on one clock for the whole film.

Frame n shows the song at n / fps seconds. Every border is computed in seconds and rounded to a frame once, so
rounding never adds up however many segments there are. Pure arithmetic: no audio, no torch.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

# Wav2CLIP fails below 257 samples and hears little in less than this; shorter gaps join a neighbour.
SHORTEST_S = 0.5


@dataclass(frozen=True)
class Segment:
    """A stretch of the song that shares one audio target: the frames [first, last), at least one."""

    index: int
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first

    def span_s(self, fps: float) -> tuple[float, float]:
        """(begin, end) in seconds from the start of the region."""
        return self.first / fps, self.last / fps


def frame_count(duration_s: float, fps: float) -> int:
    """How many frames show `duration_s` seconds: the nearest whole number, at least one."""
    return max(1, math.floor(duration_s * fps + 0.5))


def plan_segments(beats: Sequence[float], frames: int, fps: float,
                  beats_per_segment: int, longest_s: float) -> list[Segment]:
    """Segments that tile the frames [0, frames): one per `beats_per_segment` beats, long gaps halved.

    beats: seconds from the start of the region, in any order; those outside of it are left out before
    counting.
    longest_s: a gap longer than this is halved until it is not.
    No segment is longer than `longest_s` (give or take the rounding to a frame), none is empty, and none is
    shorter than SHORTEST_S (or half of `longest_s`, where that is less) unless the film itself is.
    """
    if frames < 1 or fps <= 0 or beats_per_segment < 1 or longest_s <= 0:
        raise ValueError(f"cannot plan {frames} frames at {fps} fps, {beats_per_segment} beats per segment "
                         f"and at most {longest_s} s")
    end = frames / fps
    inside = sorted(beat for beat in beats if 0 <= beat < end)
    borders = _bisect_long(_keep_apart(inside[::beats_per_segment], end), longest_s)
    cuts = sorted({math.floor(border * fps + 0.5) for border in borders} | {0, frames})
    return [Segment(index, *span) for index, span in enumerate(zip(cuts, cuts[1:], strict=False))]


def target_at(frame: float, segments: Sequence[Segment], fade_s: float, fps: float) -> tuple[int, int, float]:
    """What is heard at `frame`: segment i turning into segment j, of which w in [0, 1] has arrived.

    Around each border the targets cross-fade linearly over `fade_s` seconds, half before and half after it; a
    fade never reaches past the middle of either segment, so two fades never meet and each middle is pure
    (i == j, w == 0). With `fade_s` > 0 every segment's share is continuous in time; with 0 it jumps.
    """
    here = bisect.bisect_right(segments, frame, key=lambda segment: segment.first) - 1
    here = min(max(here, 0), len(segments) - 1)
    for left in (here - 1, here):
        if not 0 <= left < len(segments) - 1:
            continue
        half = _half_fade(segments[left], segments[left + 1], fade_s, fps)
        distance = frame - segments[left].last
        if abs(distance) < half:
            return left, left + 1, 0.5 + distance / (2 * half)
    return here, here, 0.0


def _half_fade(left: Segment, right: Segment, fade_s: float, fps: float) -> float:
    """Frames on each side of the border between two neighbours in which they cross-fade."""
    return min(fade_s * fps, len(left), len(right)) / 2


def _keep_apart(times: Sequence[float], end: float) -> list[float]:
    """0, those of the sorted `times` that keep SHORTEST_S from the one before and from `end`, and `end`."""
    kept = [0.0]
    for time in times:
        if time - kept[-1] >= SHORTEST_S and end - time >= SHORTEST_S:
            kept.append(time)
    return [*kept, end]


def _bisect_long(borders: Sequence[float], longest: float) -> list[float]:
    """The same borders with every gap above `longest` halved, and its halves again, until none is."""
    cut = [borders[0]]
    for left, right in zip(borders, borders[1:], strict=False):
        # Tolerate float noise: a gap of exactly `longest` must not be halved.
        halvings = max(0, math.ceil(math.log2((right - left) / longest) - 1e-9))
        pieces = 2**halvings
        cut.extend(left + (right - left) * piece / pieces for piece in range(1, pieces + 1))
    return cut
