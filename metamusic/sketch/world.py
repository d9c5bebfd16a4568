"""What can happen in the sketch pack's world: a mood and a scene.

Pictures, music and captions of one moment see the same mood and scene and nothing else of each
other: whatever else they draw from chance is theirs alone. That shared part is what the joint
embedding can learn.
"""

from dataclasses import astuple, dataclass

import numpy as np

MOOD_SPREAD = 0.11  # how far a moment strays from its scene's typical mood, per axis
TYPICAL_SHARE = 0.75  # the rest are moods drawn from the whole cube, so that no corner stays unseen


@dataclass(frozen=True)
class Mood:
    """Five axes in [0, 1]: low energy is calm, low brightness dark, low warmth cold, and so on."""

    energy: float
    brightness: float
    warmth: float
    roughness: float
    density: float


@dataclass(frozen=True)
class Moment:
    """One thing to draw, play or describe."""

    mood: Mood
    scene: str


# The typical mood of every scene, spread so that neighbours stay apart.
SCENES: dict[str, Mood] = {
    #                 energy bright warm  rough dense
    "sunset": Mood(0.35, 0.50, 0.85, 0.10, 0.30),
    "ocean": Mood(0.30, 0.35, 0.40, 0.35, 0.20),
    "nebula": Mood(0.15, 0.75, 0.30, 0.10, 0.10),
    "city": Mood(0.70, 0.45, 0.30, 0.30, 0.80),
    "flames": Mood(0.95, 0.40, 0.80, 0.80, 0.70),
    "forest": Mood(0.25, 0.30, 0.65, 0.15, 0.50),
    "ink": Mood(0.50, 0.60, 0.50, 0.05, 0.60),
    "mandala": Mood(0.60, 0.85, 0.75, 0.10, 0.95),
    "storm": Mood(0.85, 0.15, 0.15, 0.90, 0.40),
    "aurora": Mood(0.20, 0.85, 0.10, 0.20, 0.45),
    "dunes": Mood(0.40, 0.20, 0.95, 0.25, 0.15),
    "bokeh": Mood(0.45, 0.95, 0.60, 0.05, 0.75),
    "reef": Mood(0.45, 0.65, 0.20, 0.15, 0.70),
    "snowfall": Mood(0.10, 0.60, 0.05, 0.45, 0.25),
    "blossom": Mood(0.30, 0.90, 0.90, 0.05, 0.40),
    "crystal": Mood(0.85, 0.75, 0.35, 0.45, 0.85),
}
SCENE_NAMES = tuple(SCENES)


def sample_moment(rng: np.random.Generator) -> Moment:
    """A moment: mostly near a scene's typical mood, sometimes any mood with a scene that suits it."""
    if rng.random() < TYPICAL_SHARE:
        scene = SCENE_NAMES[rng.integers(len(SCENE_NAMES))]
        mood = np.clip(np.array(astuple(SCENES[scene])) + rng.normal(0, MOOD_SPREAD, 5), 0, 1)
    else:
        mood = rng.random(5)
        scene = SCENE_NAMES[rng.choice(len(SCENE_NAMES), p=_suitability(mood))]
    return Moment(Mood(*(float(axis) for axis in mood)), scene)


def _suitability(mood: np.ndarray) -> np.ndarray:
    """How well each scene suits a mood [5]: probabilities that fall off with squared distance."""
    typical = np.array([astuple(scene_mood) for scene_mood in SCENES.values()])
    closeness = -((typical - mood) ** 2).sum(1) / 0.04
    odds = np.exp(closeness - closeness.max())
    return odds / odds.sum()
