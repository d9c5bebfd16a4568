"""The painter of the sketch pack: sixteen scenes whose mood can be read from the picture."""

from dataclasses import replace

import numpy as np
import pytest

from metamusic.sketch.scenes import SCENE_PAINTERS, draw
from metamusic.sketch.world import SCENE_NAMES, SCENES, Moment, Mood

NEUTRAL = Mood(0.5, 0.5, 0.5, 0.3, 0.5)


def picture(scene: str, mood: Mood, seed: int = 0, size: int = 64) -> np.ndarray:
    return draw(Moment(mood, scene), np.random.default_rng(seed), size)


def along(axis: str, measure, scenes=SCENE_NAMES, steps=(0.1, 0.5, 0.9), size: int = 64) -> np.ndarray:
    """A measure [scenes, steps] of pictures that differ in one mood axis only, averaged over two seeds."""
    return np.array(
        [
            [
                np.mean(
                    [measure(picture(s, replace(NEUTRAL, **{axis: step}), seed, size)) for seed in (1, 2)]
                )
                for step in steps
            ]
            for s in scenes
        ]
    )


def lightness(image: np.ndarray) -> float:
    return float(image.mean())


def colourfulness(image: np.ndarray) -> float:
    return float((image.max(0) - image.min(0)).mean())


def redness(image: np.ndarray) -> float:
    return float((image[0] - image[2]).mean())


def fine_detail(image: np.ndarray) -> float:
    """Mean second difference across and down, relative to contrast: what turbulence and grain add."""
    grey = image.mean(0)
    curvature = np.abs(np.diff(grey, 2, axis=0)).mean() + np.abs(np.diff(grey, 2, axis=1)).mean()
    return float(curvature / grey.std())


def edges(image: np.ndarray) -> float:
    grey = image.mean(0)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


def test_every_scene_of_the_world_has_a_painter():
    assert tuple(SCENE_PAINTERS) == SCENE_NAMES


@pytest.mark.parametrize("scene", SCENE_NAMES)
@pytest.mark.parametrize("size", [64, 128])
def test_a_picture_is_finite_float32_in_range_with_contrast(scene, size):
    image = picture(scene, SCENES[scene], size=size)
    assert image.shape == (3, size, size) and image.dtype == np.float32
    assert np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1
    assert image.std() > 0.03


@pytest.mark.parametrize("scene", SCENE_NAMES)
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_the_corners_of_the_mood_cube_can_be_drawn(scene, level):
    image = picture(scene, Mood(level, level, level, level, level), seed=3)
    assert np.isfinite(image).all() and image.std() > 0.01


@pytest.mark.parametrize("scene", SCENE_NAMES)
def test_one_seed_gives_one_picture_and_another_seed_another(scene):
    first, again, other = (picture(scene, SCENES[scene], seed) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert np.abs(first - other).mean() > 0.01


@pytest.mark.parametrize("scene", SCENE_NAMES)
def test_size_changes_the_sharpness_and_not_the_composition(scene):
    small = picture(scene, SCENES[scene], seed=7, size=128)
    large = picture(scene, SCENES[scene], seed=7, size=256)
    halved = large.reshape(3, 128, 2, 128, 2).mean((2, 4))
    assert np.abs(halved - small).mean() < 0.05


@pytest.mark.parametrize("size", [64, 128])
def test_chance_is_drawn_in_the_same_amount_at_every_size(size):
    for scene in SCENE_NAMES:
        after = []
        for drawn in (size, 96):
            rng = np.random.default_rng(11)
            draw(Moment(SCENES[scene], scene), rng, drawn)
            after.append(rng.random())
        assert after[0] == after[1], scene


@pytest.mark.parametrize(
    ("axis", "measure"),
    [("brightness", lightness), ("energy", colourfulness), ("warmth", redness)],
    ids=["brightness-lightness", "energy-colourfulness", "warmth-redness"],
)
def test_colour_axes_rise_in_every_scene(axis, measure):
    levels = along(axis, measure)
    assert (np.diff(levels.mean(0)) > 0).all()
    rises = levels[:, -1] > levels[:, 0]
    assert rises.all(), [scene for scene, rise in zip(SCENE_NAMES, rises, strict=True) if not rise]


def test_warm_pictures_are_redder_than_blue_and_cold_ones_bluer_than_red():
    levels = along("warmth", redness, steps=(0.05, 0.95))
    assert (levels[:, 0] < 0).all() and (levels[:, 1] > 0).all()


def test_roughness_adds_texture_and_density_adds_detail():
    for axis, measure in (("roughness", fine_detail), ("density", edges)):
        levels = along(axis, measure, size=128)
        assert (np.diff(levels.mean(0)) > 0).all(), axis
        assert (levels[:, -1] > levels[:, 0]).mean() >= 0.8, axis


def test_no_warm_picture_turns_olive():
    """Dark yellow is the one colour the palettes avoid: warm shadows go to plum."""
    for scene in ("sunset", "dunes", "flames", "forest"):
        red, green, blue = picture(scene, replace(SCENES[scene], warmth=1.0, brightness=0.3), seed=2)
        olive = (green > 0.85 * red) & (green > 1.25 * blue) & (red > 0.1) & (red < 0.65)
        assert olive.mean() < 0.02, scene


def test_an_unknown_scene_is_refused_by_name():
    with pytest.raises(ValueError, match="volcano"):
        picture("volcano", NEUTRAL)
