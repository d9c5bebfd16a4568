"""What the sketch pack's captions promise: known words, the right scene, graded moods."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from metamusic.sketch.captions import (
    ADJECTIVES,
    COLOURS,
    FEWEST_WORDS,
    LEVELS,
    LIGHT,
    MOOD_MUSIC,
    MOST_WORDS,
    SCENE_MUSIC,
    SCENE_NAMES_IN_WORDS,
    VOCABULARY,
    describe,
    words_of,
)
from metamusic.sketch.world import SCENE_NAMES, SCENES, Moment, sample_moment


def captions(count: int, seed: int = 0) -> list[tuple[Moment, str]]:
    """Random moments and what is said of them."""
    rng = np.random.default_rng(seed)
    return [(moment, describe(moment, rng)) for moment in (sample_moment(rng) for _ in range(count))]


def test_a_caption_is_short_and_uses_known_words_only():
    for _, caption in captions(1500):
        words = words_of(caption)
        assert FEWEST_WORDS <= len(words) <= MOST_WORDS, caption
        assert set(words) <= set(VOCABULARY), caption
        assert "{" not in caption and caption == caption.lower()


def test_the_vocabulary_is_sorted_and_has_no_word_twice():
    assert list(VOCABULARY) == sorted(set(VOCABULARY))
    assert {"storm", "forest", "calm", "piano", "gold", "moonlit"} <= set(VOCABULARY)


def test_every_scene_and_level_has_words():
    assert set(SCENE_NAMES_IN_WORDS) == set(SCENE_MUSIC) == set(SCENES)
    for levels in (*ADJECTIVES.values(), LIGHT, COLOURS, MOOD_MUSIC):
        assert len(levels) == LEVELS and all(levels)


def test_no_adjective_means_two_things():
    phrases = [phrase for levels in ADJECTIVES.values() for words in levels for phrase in words]
    assert len(phrases) == len(set(phrases))


def test_no_scene_shares_a_name():
    for (_, one), (_, other) in itertools.combinations(SCENE_NAMES_IN_WORDS.items(), 2):
        assert not set(one) & set(other)


def test_the_scene_is_named_often():
    named = [
        any(name in text for name in SCENE_NAMES_IN_WORDS[moment.scene]) for moment, text in captions(800)
    ]
    assert np.mean(named) > 0.7


def test_most_captions_tell_most_of_the_mood():
    """Counts axes told by an adjective, or by the light or colour that may stand in for one."""
    tables = [[*levels] for levels in ADJECTIVES.values()]
    tables[1] += LIGHT
    tables[2] += COLOURS

    def told(caption: str) -> int:
        padded = f" {' '.join(words_of(caption))} "
        return sum(any(f" {phrase} " in padded for words in levels for phrase in words) for levels in tables)

    assert np.mean([told(caption) >= 4 for _, caption in captions(800)]) > 0.6


@pytest.mark.parametrize("axis", ADJECTIVES)
def test_words_follow_the_mood(axis):
    """The level of the words used rises with the axis."""
    rng = np.random.default_rng(0)

    def spoken_level(value: float) -> float:
        levels = []
        for _ in range(120):
            moment = Moment(replace(SCENES["ocean"], **{axis: value}), "ocean")
            padded = f" {' '.join(words_of(describe(moment, rng)))} "
            levels += [
                level
                for level, words in enumerate(ADJECTIVES[axis])
                if any(f" {phrase} " in padded for phrase in words)
            ]
        return float(np.mean(levels))

    low, middle, high = map(spoken_level, (0.1, 0.5, 0.9))
    assert low < 1 < middle < 3 < high


def test_the_same_chance_gives_the_same_caption():
    assert captions(20, seed=3) == captions(20, seed=3)
    assert captions(20, seed=3) != captions(20, seed=4)


def test_scenes_and_brief_facts_vary():
    rng = np.random.default_rng(0)
    moment = Moment(SCENES[SCENE_NAMES[0]], SCENE_NAMES[0])
    assert len({describe(moment, rng) for _ in range(100)}) > 90
