"""Puts a moment of the sketch pack's world into words: short captions such as people type.

A caption is a template filled with facts. Each of the five mood axes has words on five levels, from low to
high; a scene has names, and both scene and mood have music that suits them. Most captions tell nearly
everything, because a text that says "storm" fits a hundred pictures; some tell one fact only, because that
is what people write.
"""

import re
from dataclasses import asdict

import numpy as np

from metamusic.sketch.world import Moment, Mood

FEWEST_WORDS, MOST_WORDS = 2, 14
DETAILED_SHARE = 0.68  # captions that tell at least four axes
LEVELS = 5  # of words on each axis
LEVEL_BLUR = 0.07  # people do not agree where "dim" ends and "dark" begins


def _words(text: str) -> tuple[str, ...]:
    """Splits a list written with commas."""
    return tuple(part.strip() for part in text.split(","))


# Words for each axis, from 0 to 1. No word stands on two axes, and on one axis none on two levels.
ADJECTIVES: dict[str, tuple[tuple[str, ...], ...]] = {
    "energy": (
        _words("still, sleepy, motionless, hushed, silent, serene, meditative"),
        _words("calm, gentle, quiet, peaceful, relaxed, slow, tender, soothing"),
        _words("moderate, flowing, easygoing, steady, swaying, walking, mellow"),
        _words("lively, energetic, driving, upbeat, fast, dancing, powerful, strong"),
        _words("violent, furious, explosive, wild, raging, frantic, intense, thunderous"),
    ),
    "brightness": (
        _words("black, pitch dark, lightless, gloomy, nocturnal, midnight, deep"),
        _words("dark, dim, shadowy, dusky, murky, low, moonlit"),
        _words("twilit, half lit, overcast, muted, hazy"),
        _words("bright, light, clear, sunlit, shining, luminous"),
        _words("radiant, dazzling, brilliant, glowing white, blazing bright, glittering, high"),
    ),
    "warmth": (
        _words("icy, freezing, frozen, glacial, eerie, dissonant, arctic"),
        _words("cold, chilly, cool, sad, melancholic, minor, wintry"),
        _words("bittersweet, wistful, temperate, dreamy, pensive, nostalgic"),
        _words("warm, friendly, sweet, happy, major, cosy, heartfelt"),
        _words("hot, scorching, joyful, burning, tropical, blissful, sunny"),
    ),
    "roughness": (
        _words("silky, velvet, pure, smooth, polished, clean"),
        _words("soft, rounded, supple, fluffy, fine"),
        _words("grainy, textured, dusty, brushed, woolly"),
        _words("rough, gritty, coarse, raw, scratchy, fuzzy"),
        _words("jagged, distorted, harsh, noisy, crushed, torn, abrasive"),
    ),
    "density": (
        _words("empty, minimal, bare, lonely, vast, solitary"),
        _words("sparse, open, spacious, simple, airy"),
        _words("balanced, measured, regular, woven"),
        _words("busy, rich, full, layered, detailed"),
        _words("dense, crowded, teeming, intricate, packed, overflowing"),
    ),
}

# Phrases that end a caption in place of the adjective: light for brightness, colours for warmth.
LIGHT: tuple[tuple[str, ...], ...] = (
    _words("at night, at midnight, in the dark, in deep shadow, under a black sky"),
    _words("after dusk, in the dim light, by moonlight, late in the evening, under stars"),
    _words("at dusk, in twilight, in the haze, under clouds"),
    _words("at dawn, in daylight, in the morning light, in soft light"),
    _words("at noon, in dazzling light, in the brightest light, under a white sun"),
)
COLOURS: tuple[tuple[str, ...], ...] = (
    _words("in ice blue, in teal and cyan, in cold blue, in pale turquoise, in blue and green"),
    _words("in blue, in blue and violet, in indigo, in cobalt and grey, in navy"),
    _words("in violet, in purple and mauve, in lilac, in plum, in magenta and blue"),
    _words("in pink, in rose and red, in crimson, in magenta and orange, in coral"),
    _words("in orange, in gold, in red and gold, in amber, in yellow and orange, in golden orange"),
)

SCENE_NAMES_IN_WORDS: dict[str, tuple[str, ...]] = {
    "sunset": _words(
        "sunset, evening sky, sundown, sun over the horizon, setting sun, evening glow, afterglow"
    ),
    "ocean": _words("ocean, sea, waves, tide, surf, sea shore, beach, coast, open water"),
    "nebula": _words("nebula, galaxy, outer space, cosmos, stars, starfield, milky way, universe"),
    "city": _words("city, skyline, streets, skyscrapers, town, downtown, neon city, towers, buildings"),
    "flames": _words("flames, fire, blaze, inferno, bonfire, campfire, embers, wildfire"),
    "forest": _words("forest, woods, trees, pines, woodland, jungle, grove, fir trees"),
    "ink": _words("ink, ink in water, smoke, swirls, marbled paint, liquid, swirling ink, paint"),
    "mandala": _words(
        "mandala, kaleidoscope, ornament, rosette, symmetry, geometric pattern, circles, wheel"
    ),
    "storm": _words(
        "storm, thunderstorm, lightning, tempest, thunder, rain storm, thunder clouds, hurricane"
    ),
    "aurora": _words("aurora, northern lights, polar lights, aurora borealis, light curtains, polar sky"),
    "dunes": _words("dunes, desert, sand, sahara, sand dunes, sandy hills, wasteland"),
    "bokeh": _words(
        "bokeh, blurred lights, lanterns, fairy lights, party lights, lights out of focus, light spots"
    ),
    "reef": _words("reef, coral reef, underwater garden, fish, lagoon, corals, sea bed, aquarium"),
    "snowfall": _words("snowfall, snow, snowflakes, winter, blizzard, snowy hills, falling snow"),
    "blossom": _words("blossom, flowers, cherry blossom, petals, spring, garden, blooming branches, flower"),
    "crystal": _words("crystal, crystals, shards, gemstone, facets, broken glass, prism, diamond"),
}

SCENE_MUSIC: dict[str, tuple[str, ...]] = {
    "sunset": _words("strings, acoustic guitar, ballad, soft guitar, violins, love song, soul"),
    "ocean": _words("ambient, swelling pads, chill out, slow pads, waves of sound, downtempo"),
    "nebula": _words("space music, drone, ambient, endless pad, synthesizer, choir"),
    "city": _words("techno, electro, house beat, bass line, club music, synth pop, traffic, hip hop"),
    "flames": _words("rock, metal, distorted guitar, punk, riffs, hard rock, drums and guitars"),
    "forest": _words("flute, folk, bird song, wooden flute, marimba, birds singing"),
    "ink": _words("gliding synth, trip hop, sliding notes, theremin, cello, contemporary dance"),
    "mandala": _words("arpeggios, minimalism, gamelan, sitar, trance, raga, interlocking patterns"),
    "storm": _words("rumbling drone, noise, doom metal, roaring bass, industrial, low brass, orchestra"),
    "aurora": _words("shimmering pads, glissando, ethereal choir, theremin, floating synth"),
    "dunes": _words("hand drums, drone, desert blues, oud, tribal drums, oriental melody, percussion"),
    "bokeh": _words("jazz, lounge, electric piano, bossa nova, swing, cafe music, vinyl"),
    "reef": _words("marimba, bubbling plucks, kalimba, steel drums, echoing plucks"),
    "snowfall": _words("bells, lullaby, music box, celesta, wind and bells, carol"),
    "blossom": _words("koto, harp, pentatonic melody, waltz, plucked strings, flutes"),
    "crystal": _words("glassy arpeggios, glockenspiel, fast bells, hyperpop, glass sounds, chiptune"),
}

# What anyone might call music of this energy, whatever it shows.
MOOD_MUSIC: tuple[tuple[str, ...], ...] = (
    _words("ambient, drone, lullaby, meditation music, piano, silence"),
    _words("piano, ballad, slow song, acoustic music, waltz, choral music"),
    _words("song, melody, jazz, folk, blues, pop, reggae"),
    _words("pop, dance music, funk, disco, electronic music, march"),
    _words("rock, metal, techno, drum and bass, hardcore, orchestra"),
)

# {1} to {5} are adjectives of different axes, in any order; {tail} is a phrase of light or colour.
DETAILED_TEMPLATES = (
    "{1} {2} {3} {4} {5} {scene}",
    "{1} {2} {3} {4} {scene} {tail}",
    "{1}, {2}, {3}, {4}, {5} {scene}",
    "{scene}, {1}, {2}, {3}, {4} and {5}",
    "{1} {2} {scene}, {3}, {4} and {5}",
    "{1} and {2} {scene}, {3} {4} {tail}",
    "{1} {2} {3} {scene} with {4} {5} {music}",
    "{1} {2} {scene} with {3} {4} {music} {tail}",
    "{1} {2} {music}, {3} {4} {5} {scene}",
    "{1} {2} {music} for a {3} {4} {5} {scene}",
    "{scene} {tail}, {1} {2} {3} {4}",
    "{tail}: {1} {2} {3} {4} {scene}",
    "{music}: {1}, {2}, {3}, {4}, {5}",
    "{1} {2} {3} {4} {5} {music}",
    "{music} like {1} {2} {3} {4} {scene}",
    "a picture of {1} {2} {3} {4} {5} {scene}",
    "{scene}, {1} but {2}, {3}, {4} {tail}",
    "{1} {2} {3} {4} sound of {scene}",
)
BRIEF_TEMPLATES = (
    "{1} {scene}",
    "{1} {music}",
    "{1} {2} {scene}",
    "{1} {2} {music}",
    "{1} and {2} {music}",
    "{scene} {tail}",
    "{1} {scene} {tail}",
    "{scene} and {music}",
    "{music} {tail}",
    "{scene}, {1} and {2}",
    "a {1} {scene}",
    "the {scene}",
    "{scene} music",
    "{music} music",
    "{1} and {2}",
    "{1} {2} {3} {scene}",
    "something {1} and {2}",
    "sound of {scene}",
    "painting of {scene}",
    "a {1} song",
    "{1} music with {scene}",
    "{1} {2} {3}",
    "{scene} with {music}",
    "{1} colors {tail}",
    "{1} light and {2} {music}",
)


def describe(moment: Moment, rng: np.random.Generator) -> str:
    """One caption of a moment: lower case, 2 to 14 words, all of them in `VOCABULARY`."""
    while True:
        caption = _fill(_pick(_templates(rng), rng), moment, rng)
        if FEWEST_WORDS <= len(words_of(caption)) <= MOST_WORDS:
            return caption


def words_of(text: str) -> list[str]:
    """The lower-case words of a text, as the text tower reads them."""
    return re.findall(r"[a-z]+", text.lower())


def _templates(rng: np.random.Generator) -> tuple[str, ...]:
    return DETAILED_TEMPLATES if rng.random() < DETAILED_SHARE else BRIEF_TEMPLATES


def _fill(template: str, moment: Moment, rng: np.random.Generator) -> str:
    """Fills a template's slots; an axis that the tail already tells is not told again."""
    levels = _levels(moment.mood, rng)
    told = ("brightness", "warmth")[rng.integers(2)]
    tail = _pick({"brightness": LIGHT, "warmth": COLOURS}[told][levels[told]], rng)
    free = [axis for axis in ADJECTIVES if "{tail}" not in template or axis != told]
    adjectives = [_pick(ADJECTIVES[axis][levels[axis]], rng) for axis in rng.permutation(free)]
    slots = {str(place): word for place, word in enumerate(adjectives, 1)}
    music = SCENE_MUSIC[moment.scene] if rng.random() < 0.7 else MOOD_MUSIC[levels["energy"]]
    slots |= {
        "scene": _pick(SCENE_NAMES_IN_WORDS[moment.scene], rng),
        "music": _pick(music, rng),
        "tail": tail,
    }
    caption = re.sub(r"{(\w+)}", lambda slot: slots[slot[1]], template)
    return re.sub(r"\ba (?=[aeiou])", "an ", caption)


def _levels(mood: Mood, rng: np.random.Generator) -> dict[str, int]:
    """The level of each axis, 0 to LEVELS - 1, blurred as words are."""
    return {
        axis: int(np.clip((value + rng.normal(0, LEVEL_BLUR)) * LEVELS, 0, LEVELS - 1))
        for axis, value in asdict(mood).items()
    }


def _pick(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[rng.integers(len(choices))]


def _vocabulary() -> tuple[str, ...]:
    """Every word a caption can hold."""
    graded = [
        *ADJECTIVES.values(),
        LIGHT,
        COLOURS,
        (*SCENE_NAMES_IN_WORDS.values(), *SCENE_MUSIC.values()),
        MOOD_MUSIC,
    ]
    phrases = [phrase for levels in graded for phrases in levels for phrase in phrases]
    templates = [re.sub(r"{\w+}", " ", template) for template in DETAILED_TEMPLATES + BRIEF_TEMPLATES]
    return tuple(sorted({"an"}.union(*map(words_of, phrases + templates))))


VOCABULARY = _vocabulary()
