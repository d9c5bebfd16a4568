"""Procedural pictures of a moment: sixteen scenes, each coloured and shaped by its mood.

The mood is all that pictures and music share, so every axis must be readable in every picture:

    energy      colourfulness, contrast, how far forms reach
    brightness  lightness, from night to day
    warmth      hue, from teal over blue, violet, magenta and red to gold
    roughness   turbulence: the share of fine octaves in all noise, and the grain of the surface
    density     how many things there are, or how fine a pattern is

Everything is laid out in frame units (x to the right and y down, both in [0, 1]) and chance is drawn
in amounts that do not depend on the size, so one seed gives one composition at every size.
Pictures are float32 arrays [3, size, size] (channels first), layers and masks [size, size].
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy import ndimage

from metamusic.sketch.world import Moment, Mood

Array = np.ndarray
Window = tuple[slice, slice]
Parts = Iterable[tuple[Sequence[Sequence[float]], Array]]  # corners and colour [3, 1, 1] of each part

RAMP_STEPS = 768  # colours in a palette's ramp: fine enough that smooth skies show no bands
BLOOM_CELLS = 64  # glow is blurred on a grid of about this size, whatever the picture's size
FINEST_CELL = 0.6  # noise cells per pixel beyond which an octave would only alias

# Hues (OKLCH degrees, unwrapped) of a palette's five stops, shadow to glow, by warmth. Shadows lag
# behind lights on the way to gold because a dark yellow is olive, and a dark plum is beautiful.
HUE_WARMTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
STOP_HUES = np.array(
    [
        [262, 250, 232, 214, 206],
        [278, 268, 255, 240, 222],
        [288, 297, 312, 335, 360],
        [305, 338, 370, 393, 420],
        [338, 374, 398, 417, 440],
    ]
)
NIGHT_LIGHTNESS = np.array([0.08, 0.17, 0.31, 0.49, 0.78])
DAY_LIGHTNESS = np.array([0.33, 0.53, 0.72, 0.86, 0.97])
STOP_CHROMA = np.array([0.065, 0.12, 0.16, 0.135, 0.06])

OKLAB_TO_LMS = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
LMS_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


# ---------------------------------------------------------------------------------------- colour


class Palette:
    """A mood's colour ramp from shadow (0) over deep, mid and light to glow (1)."""

    def __init__(self, mood: Mood, green: float = 0.0):
        """``green`` turns the cold end by so many degrees from blue towards green."""
        hues = np.array([np.interp(mood.warmth, HUE_WARMTHS, stop) for stop in STOP_HUES.T])
        hues = np.radians(hues - green * max(0.0, 1 - 2 * mood.warmth))
        lightness = NIGHT_LIGHTNESS + (DAY_LIGHTNESS - NIGHT_LIGHTNESS) * mood.brightness
        chroma = STOP_CHROMA * (0.58 + 0.67 * mood.energy)
        stops = np.stack([lightness, chroma * np.cos(hues), chroma * np.sin(hues)])
        places = np.linspace(0, len(lightness) - 1, RAMP_STEPS)
        ramp = np.stack([np.interp(places, np.arange(len(lightness)), stop) for stop in stops])
        self.ramp = _oklab_to_srgb(ramp).astype(np.float32)

    def __call__(self, tone: Array) -> Array:
        """Tones [...] (clipped to [0, 1]) -> colours [3, ...]."""
        steps = np.clip(tone * (RAMP_STEPS - 1), 0, RAMP_STEPS - 1).astype(np.int32)
        return np.take(self.ramp, steps, axis=1)

    def flat(self, tone: float) -> Array:
        """One colour [3, 1, 1], ready to be mixed into a picture."""
        return self(np.array([[tone]]))


def _oklab_to_srgb(lab: Array) -> Array:
    """OKLab [3, n] -> sRGB [3, n] in [0, 1]; colours out of gamut lose chroma, never lightness."""
    inside, outside = np.zeros(lab.shape[1]), np.ones(lab.shape[1])
    for _ in range(10):  # bisection, not steps: a chroma that falls in steps shows as bands in skies
        share = (inside + outside) / 2
        linear = _oklab_to_linear(lab, share)
        fits = ((linear > -1e-4) & (linear < 1 + 1e-4)).all(0)
        inside, outside = np.where(fits, share, inside), np.where(fits, outside, share)
    linear = np.clip(_oklab_to_linear(lab, inside), 0, 1)
    return np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _oklab_to_linear(lab: Array, chroma_share: Array) -> Array:
    """OKLab [3, n] with so much of its chroma [n] -> linear RGB [3, n], not clipped."""
    scaled = np.stack([lab[0], lab[1] * chroma_share, lab[2] * chroma_share])
    return LMS_TO_RGB @ (OKLAB_TO_LMS @ scaled) ** 3


# ---------------------------------------------------------------------------------------- canvas


@dataclass
class Canvas:
    """The mood to paint, the chance to paint it with, and the grid to paint it on."""

    mood: Mood
    rng: np.random.Generator
    size: int
    palette: Palette
    accent: Palette  # a neighbouring warmth, for the second voice of a picture
    x: Array  # pixel centres [1, size] ...
    y: Array  # ... and [size, 1]

    @classmethod
    def create(cls, mood: Mood, rng: np.random.Generator, size: int, green: float = 0.0) -> "Canvas":
        warmth = float(np.clip(mood.warmth + rng.normal(0, 0.015), 0, 1))
        accent = warmth + (0.28 if warmth < 0.5 else -0.28)
        centres = ((np.arange(size) + 0.5) / size).astype(np.float32)
        return cls(
            mood,
            rng,
            size,
            Palette(replace(mood, warmth=warmth), green),
            Palette(replace(mood, warmth=accent), green),
            centres[None, :],
            centres[:, None],
        )

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def blank(self) -> Array:
        """An empty layer [size, size]."""
        return np.zeros((self.size, self.size), np.float32)

    def cover(self, distance: Array, softness: float = 0.0) -> Array:
        """Signed distance to an edge (inside positive) -> anti-aliased coverage in [0, 1]."""
        return np.clip(0.5 + distance / (1 / self.size + softness), 0, 1)

    def window(self, left: float, top: float, right: float, bottom: float) -> Window:
        """The pixels of a frame rectangle, clipped to the picture; may be empty."""
        corners = np.array([top, bottom, left, right]) * self.size + (0, 1, 0, 1)
        row, end_row, column, end_column = np.clip(corners, 0, self.size).astype(int)
        return slice(row, end_row), slice(column, end_column)

    def grid(self, window: Window) -> tuple[Array, Array]:
        """Pixel centres (x [1, w], y [h, 1]) of a window."""
        return self.x[:, window[1]], self.y[window[0]]


def mix(below: Array, above: Array, mask: Array | float) -> Array:
    """Lay ``above`` over ``below`` where the mask is 1."""
    return below + (above - below) * mask


def smoothstep(low: float, high: float, value: Array) -> Array:
    """Hermite step: 0 below ``low``, 1 above ``high``, flat at both ends."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


# ----------------------------------------------------------------------------------------- noise


@lru_cache(maxsize=512)
def _cubic_weights(nodes: int, first: float, last: float, size: int) -> Array:
    """Catmull-Rom weights [size, nodes] that read a row of nodes at ``size`` places in (first, last)."""
    place = first + (np.arange(size) + 0.5) / size * (last - first)
    base = np.floor(place).astype(int)
    t = place - base
    taps = [
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    ]
    weights = np.zeros((size, nodes), np.float32)
    for offset, tap in enumerate(taps, start=-1):
        np.add.at(weights, (np.arange(size), np.clip(base + offset, 0, nodes - 1)), tap)
    return weights


def fbm(c: Canvas, cells: float, octaves: int = 5, stretch: float = 1.0, gain: float | None = None) -> Array:
    """Fractal Brownian motion [size, size], about 0.5 +- 0.2.

    ``cells`` noise cells down the frame, ``cells * stretch`` across, doubling with every octave.
    Roughness decides how much the fine octaves weigh unless ``gain`` says so.
    """
    gain = 0.38 + 0.27 * c.mood.roughness if gain is None else gain
    total = c.blank()
    for octave in range(octaves):
        rows, columns = (max(1, round(cells * 2**octave * s)) for s in (1.0, stretch))
        nodes = c.rng.random((rows + 3, columns + 3), np.float32) - 0.5
        if max(rows, columns) <= FINEST_CELL * c.size:
            down = _cubic_weights(rows + 3, 1, rows + 1, c.size)
            across = _cubic_weights(columns + 3, 1, columns + 1, c.size)
            total += gain**octave * (down @ nodes @ across.T)
    # Octaves are independent: the root of the summed squares keeps the contrast at any gain.
    return 0.5 + 0.9 * total / sum(gain ** (2 * octave) for octave in range(octaves)) ** 0.5


def ridge_line(c: Canvas, cells: float, octaves: int = 6, gain: float | None = None) -> Array:
    """One-dimensional fractal noise [size], about 0 +- 0.2: a skyline, a crest, a swaying edge."""
    gain = 0.33 + 0.27 * c.mood.roughness if gain is None else gain
    total = np.zeros(c.size, np.float32)
    for octave in range(octaves):
        columns = max(1, round(cells * 2**octave))
        nodes = c.rng.random(columns + 3, np.float32) - 0.5
        if columns <= FINEST_CELL * c.size:
            total += gain**octave * (_cubic_weights(columns + 3, 1, columns + 1, c.size) @ nodes)
    return total


def sample(field: Array, x: Array, y: Array) -> Array:
    """Read a layer at frame coordinates (mirrored beyond the frame): the core of domain warping."""
    size = field.shape[-1]
    x, y = np.broadcast_arrays(x, y)
    return ndimage.map_coordinates(field, [y * size - 0.5, x * size - 0.5], order=1, mode="mirror")


def warped_fbm(c: Canvas, cells: float, strength: float, octaves: int = 6, stretch: float = 1.0) -> Array:
    """Fractal noise read at places that two other fractal noises displace (domain warping)."""
    field = fbm(c, cells, octaves, stretch)
    shift_x, shift_y = fbm(c, 2, 4), fbm(c, 2, 4)
    return sample(field, c.x + strength * (shift_x - 0.5), c.y + strength * (shift_y - 0.5))


# ---------------------------------------------------------------------------------------- shapes


def splat(c: Canvas, layer: Array, x: float, y: float, radius: float, strength: float) -> None:
    """Add a Gaussian spot. Spots below a pixel get wider and fainter, so their light stays the same."""
    widened = max(radius, 0.55 / c.size)
    strength *= (radius / widened) ** 1.2
    window = c.window(x - 3 * widened, y - 3 * widened, x + 3 * widened, y + 3 * widened)
    gx, gy = c.grid(window)
    falloff = -0.5 / widened**2
    layer[window] += strength * np.exp(falloff * (gy - y) ** 2) * np.exp(falloff * (gx - x) ** 2)


def stroke(c: Canvas, layer: Array, start: Array, end: Array, thick: float, thin: float) -> None:
    """Draw a round-capped line that tapers from half-width ``thick`` to ``thin`` (brighter wins)."""
    pad = max(thick, thin) + 1 / c.size
    (left, top), (right, bottom) = np.minimum(start, end) - pad, np.maximum(start, end) + pad
    window = c.window(left, top, right, bottom)
    gx, gy = c.grid(window)
    run, rise = end[0] - start[0], end[1] - start[1]
    along = ((gx - start[0]) * run + (gy - start[1]) * rise) / max(run * run + rise * rise, 1e-9)
    along = np.clip(along, 0, 1)
    distance = np.hypot(gx - start[0] - along * run, gy - start[1] - along * rise)
    np.maximum(layer[window], c.cover(thick + (thin - thick) * along - distance), out=layer[window])


def polygon(c: Canvas, points: Array) -> tuple[Window, Array]:
    """A convex polygon's window and its coverage there. ``points`` [n, 2] are (x, y), any winding."""
    (left, top), (right, bottom) = points.min(0), points.max(0)
    window = c.window(left - 1 / c.size, top - 1 / c.size, right + 1 / c.size, bottom + 1 / c.size)
    gx, gy = c.grid(window)
    edges = np.roll(points, -1, axis=0) - points
    area = points[:, 0] @ np.roll(points[:, 1], -1) - points[:, 1] @ np.roll(points[:, 0], -1)
    inside = np.full((gy.shape[0], gx.shape[1]), 1.0, np.float32)
    for (px, py), (run, rise) in zip(points, edges, strict=True):
        side = np.copysign(1 / max(np.hypot(run, rise), 1e-9), area)
        np.minimum(inside, side * (run * (gy - py) - rise * (gx - px)), out=inside)
    return window, c.cover(inside)


def paint_parts(c: Canvas, image: Array, place: Array, scale: float, parts: Parts) -> None:
    """Paint convex parts, given around (0, 0) in units of ``scale``, one over the other."""
    for corners, colour in parts:
        window, mask = polygon(c, np.array(corners) * scale + place)
        image[:, *window] = mix(image[:, *window], colour, mask)


def fir(c: Canvas, layer: Array, x: float, foot: float, height: float) -> None:
    """Add a fir's silhouette: a cone whose edge is notched by tiers of branches."""
    window = c.window(x - 0.3 * height, foot - height, x + 0.3 * height, foot)
    gx, gy = c.grid(window)
    down = (gy - foot + height) / height
    tier = (down * 6) % 1
    half_width = 0.22 * height * np.clip(down, 0, 1) * (0.55 + 0.45 * tier)
    np.maximum(layer[window], c.cover(half_width - np.abs(gx - x)), out=layer[window])


def firs(c: Canvas, ground: Array, count: int, height: float) -> Array:
    """A layer of firs that stand on a ground line [size], in loose groups."""
    layer = c.blank()
    groups = c.rng.random(max(1, count // 4))
    for _ in range(count):
        x = (groups[c.rng.integers(len(groups))] + c.rng.normal(0, 0.06)) % 1
        fir(c, layer, x, ground[int(x * c.size)] + 0.02, height * c.between(0.5, 1.0))
    return layer


def stars(c: Canvas, count: int, size: float = 1.0) -> Array:
    """A layer of stars: many faint ones, a few bright ones with a cross of diffraction."""
    layer = c.blank()
    for _ in range(count):
        x, y, magnitude = c.rng.random(3)
        splat(c, layer, x, y, size * (0.0022 + 0.006 * magnitude**6), 0.35 + 0.75 * magnitude**2)
        if magnitude > 0.94:
            sparkle(c, layer, x, y, size * c.between(0.025, 0.05), 0.8)
    return layer


def sparkle(c: Canvas, layer: Array, x: float, y: float, reach: float, strength: float) -> None:
    """Add a four-pointed glint."""
    window = c.window(x - 2 * reach, y - 2 * reach, x + 2 * reach, y + 2 * reach)
    gx, gy = np.abs(c.grid(window)[0] - x) / reach, np.abs(c.grid(window)[1] - y) / reach
    # The product falls off slowly along the axes and fast away from them: a star's concave outline.
    layer[window] += strength * np.exp(-3 * (gx + gy) - 30 * np.sqrt(gx * gy))


def bloom(c: Canvas, image: Array, strength: float, radius: float = 0.04) -> Array:
    """Let what is light glow over its surroundings: ``radius`` is in frame units."""
    step = max(1, c.size // BLOOM_CELLS)
    cells = c.size // step
    crop = image[:, : cells * step, : cells * step]
    small = crop.reshape(3, cells, step, cells, step).mean((2, 4))
    light = ndimage.gaussian_filter(np.clip(small - 0.35, 0, 1), (0, radius * cells, radius * cells))
    resize = _cubic_weights(cells, -0.5, cells - 0.5, c.size)
    return image + strength * (resize @ light @ resize.T)


# -------------------------------------------------------------------------------------- building


def luminary(c: Canvas, horizon: float) -> tuple[float, float]:
    """Where the sun or moon stands: near a vertical third, above the horizon."""
    x = (0.3 if c.chance(0.5) else 0.7) + c.between(-0.14, 0.14)
    return x, horizon * c.between(0.35, 0.9)


def sky(c: Canvas, horizon: float, light: tuple[float, float], disc: float, clouds: float = 0.6) -> Array:
    """Sky [3, size, size] that lightens to the horizon and around its light, with lit clouds."""
    away = np.hypot(c.x - light[0], c.y - light[1])
    height = np.clip(1 - c.y / horizon, 0, 1)
    tone = 0.74 - 0.58 * height**0.85 + 0.26 * np.exp(-away / 0.22)
    cloud = fbm(c, 4, 6, stretch=0.45)
    # Clouds are lit where they thin out towards the light: their slope, read a little way off.
    slope = cloud - sample(cloud, c.x + 0.05 * (light[0] - c.x), c.y + 0.05 * (light[1] - c.y))
    image = mix(c.palette(tone), c.accent(tone - 0.05), 0.45 * height)
    cloud_tone = tone + 0.16 + 1.3 * slope - 0.1 * height
    image = mix(image, c.palette(cloud_tone), clouds * smoothstep(0.45, 0.8, cloud))
    image = image + 0.35 * np.exp(-away / 0.09) * c.palette.flat(0.9)
    face = c.palette(1.0 - 0.16 * smoothstep(-disc, disc, c.y - light[1]))
    return mix(image, face * 1.05, c.cover(disc - away, 0.004))


def mirror(c: Canvas, image: Array, line: float, ripple: float) -> Array:
    """Reflect what is above ``line`` in water below it; ripples grow towards the viewer."""
    depth = np.clip(c.y - line, 0, 1)
    waves = fbm(c, 26, 3, stretch=0.12) - 0.5
    shift_x, shift_y = ripple * waves * (0.15 + depth), 0.5 * ripple * waves * depth
    x, y = c.x + shift_x, line - depth * 1.05 + shift_y
    reflected = np.stack([sample(channel, x, y) for channel in image])
    water = mix(reflected * (0.86 - 0.25 * depth), c.palette.flat(0.08), 0.12)
    return mix(image, water + 0.1 * np.clip(waves * 3, 0, 1) * c.palette.flat(0.9), c.cover(c.y - line))


def sunset(c: Canvas) -> Array:
    """The sun goes down behind ranges of hills, each a little darker than the last."""
    horizon = c.between(0.5, 0.68)
    light = luminary(c, horizon)
    image = sky(c, horizon, light, c.between(0.05, 0.09))
    count = 2 + round(4 * c.mood.density + c.between(0, 1))
    for index in range(count):
        near = (index + 1) / count
        reach = (0.16 + 0.3 * c.mood.energy) * (0.6 + 0.5 * near)
        line = horizon - 0.06 + 0.36 * near**1.3 + reach * ridge_line(c, 2 + index, 7)
        haze = np.clip((c.y - line) / 0.22, 0, 1) * (1 - near) * 0.28
        tone = (
            0.5 * (1 - near) ** 1.1 + 0.03 + haze + 0.12 * np.exp(-np.abs(c.x - light[0]) / 0.2) * (1 - near)
        )
        image = mix(image, c.palette(tone), c.cover(c.y - line))
    if c.chance(0.4):
        shore = c.between(0.74, 0.84)
        image = mirror(c, image, shore, 0.1 + 0.35 * c.mood.roughness)
        line = 0.97 + 0.12 * ridge_line(c, 2, 6)
        image = mix(image, c.palette.flat(0.02), c.cover(c.y - line))
    if c.chance(0.5):
        image = mix(image, c.palette.flat(0.0), firs(c, line, 4 + round(22 * c.mood.density), 0.2))
    return image


def ocean(c: Canvas) -> Array:
    """Waves run to the horizon under a low light that glitters on them."""
    horizon = c.between(0.3, 0.5)
    light = luminary(c, horizon)
    image = sky(c, horizon, light, c.between(0.03, 0.06))
    depth = np.clip((c.y - horizon) / (1 - horizon), 1e-3, 1)
    distance = 1 / (depth + 0.07)
    swell = fbm(c, 4 + 8 * c.mood.density, 5, stretch=0.5)
    chop = fbm(c, 16, 4, stretch=0.45, gain=0.7)
    wave = sample(swell, 0.5 + (c.x - 0.5) * distance * 0.2, distance * 0.55) - 0.5
    ripple = sample(chop, 0.5 + (c.x - 0.5) * distance * 0.3, distance * 0.6) - 0.5
    height = (0.6 + 1.5 * c.mood.energy) * wave + (0.15 + 0.9 * c.mood.roughness) * ripple * depth**0.3
    sea = c.palette(0.34 + 0.22 * (1 - depth) ** 2 + 0.75 * height - 0.1 * depth)
    foam = smoothstep(0.2, 0.42, height) * depth**0.5 * (0.25 + 0.7 * c.mood.roughness)
    sea = mix(sea, c.palette.flat(0.97), foam)
    path = np.exp(-(((c.x - light[0]) / (0.04 + 0.17 * depth)) ** 2))
    sea = sea + path * smoothstep(-0.05, 0.28, ripple + 0.5 * wave) * c.palette.flat(0.95) * 0.85
    image = mix(image, sea, c.cover(c.y - horizon))
    if c.chance(0.35):
        _sailing_boat(c, image, horizon)
    return image


def _sailing_boat(c: Canvas, image: Array, horizon: float) -> None:
    """Paint two sails and a hull a little below the horizon."""
    place = np.array([c.between(0.15, 0.85), horizon + c.between(0.04, 0.12)])
    parts = (
        ([[0.02, -0.95], [0.45, -0.15], [0.02, -0.15]], c.palette.flat(0.9)),
        ([[0.02, -0.8], [-0.3, -0.15], [0.02, -0.15]], c.palette.flat(0.7)),
        ([[-0.4, -0.12], [0.55, -0.12], [0.35, 0.03], [-0.25, 0.03]], c.palette.flat(0.02)),
    )
    paint_parts(c, image, place, c.between(0.1, 0.2), parts)


def nebula(c: Canvas) -> Array:
    """Clouds of glowing gas, lanes of dust, and stars; sometimes a planet."""
    strength = 0.6 + 0.5 * c.mood.energy + 0.4 * c.mood.roughness
    detail = 0.5 + 0.14 * c.mood.roughness
    swirl_x, swirl_y = (strength * (fbm(c, 1.6, 4) - 0.5) for _ in range(2))
    gas, second, dust = (
        sample(fbm(c, cells, 6, gain=detail), c.x + swirl_x, c.y + swirl_y) for cells in (2, 2, 3)
    )
    # Fine detail that the swirl has not smeared keeps the gas crisp.
    gas = gas + 0.55 * (fbm(c, 9, 5, gain=0.62) - 0.5)
    x, y = c.between(0.25, 0.75), c.between(0.25, 0.75)
    turn = c.between(0, np.pi)
    # Gas gathers along a slanting band, as seen across a galaxy, around one bright nursery of stars.
    across = (c.x - x) * np.cos(turn) + (c.y - y) * np.sin(turn) + 0.5 * swirl_x
    band, heart = np.exp(-((across / 0.3) ** 2)), np.exp(-np.hypot(c.x - x, c.y - y) / 0.16)
    filaments = (1 - np.abs(2 * dust - 1)) ** 5
    tone = 0.06 + (0.15 + 0.5 * band) * smoothstep(0.25, 0.85, gas) + 0.3 * band * gas + 0.35 * heart
    tone = tone + 0.2 * filaments * band * (gas - 0.2)
    image = mix(c.palette(tone), c.accent(tone + 0.1), smoothstep(0.42, 0.72, second))
    lanes = smoothstep(0.5, 0.72, sample(dust, c.x + 0.1, c.y - 0.07)) * (1 - heart)
    image = image * (1 - (0.3 + 0.4 * c.mood.energy) * lanes)
    image = image + stars(c, 40 + round(200 * c.mood.density), 1.2) * c.palette.flat(1.0)
    return _planet(c, image, dust) if c.chance(0.35) else image


def _planet(c: Canvas, image: Array, texture: Array) -> Array:
    """A banded sphere, lit from the upper left, with a rim of air."""
    x, y, radius = c.between(0.15, 0.85), c.between(0.15, 0.85), c.between(0.07, 0.17)
    away = np.hypot(c.x - x, c.y - y)
    day = (x - c.x + 1.3 * (y - c.y)) / radius
    bands = 0.5 + 0.3 * np.sin(9 * (c.y - y + 0.4 * (c.x - x)) / radius + 5 * texture) * c.mood.energy
    image = image + 0.3 * np.exp(-np.clip(away - radius, 0, 1) / 0.025) * c.accent.flat(0.8) * (day > -1.2)
    return mix(image, c.accent(bands * (0.25 + 0.95 * smoothstep(-1.0, 0.9, day))), c.cover(radius - away))


def _skyline(c: Canvas, near: float) -> tuple[Array, Array, Array]:
    """One row of towers: roof line, tower number and place across the tower, each [size]."""
    widths = c.rng.uniform(0.035, 0.11, 40) * (0.75 + 0.6 * near) * (1.35 - 0.6 * c.mood.density)
    edges = np.concatenate([[-0.03], -0.03 + np.cumsum(widths)])
    tower = np.searchsorted(edges, c.x[0]) - 1
    heights = c.rng.beta(1.3, 2.2, 40) * (0.35 + 0.32 * c.mood.energy) + 0.1
    # A downtown: towers rise towards one place.
    centre = c.between(0.2, 0.8)
    heights *= 0.55 + 0.75 * np.exp(-((((edges[:-1] + edges[1:]) / 2 - centre) / 0.3) ** 2))
    across = (c.x[0] - edges[tower]) / widths[tower]
    inset = np.where(np.abs(across - 0.5) > 0.32, c.rng.uniform(0, 0.05, 40)[tower], 0)
    mast = np.where(np.abs(across - 0.5) * widths[tower] < 0.003, (c.rng.random(40) < 0.3)[tower] * 0.07, 0)
    return heights[tower] - inset + mast, tower, c.x[0] - edges[tower]


def city(c: Canvas) -> Array:
    """Towers with lit windows under a glowing sky, often doubled in wet dark water."""
    shore = c.between(0.74, 0.88)
    light = luminary(c, shore * 0.7)
    image = sky(c, shore, light, c.between(0.04, 0.08), clouds=0.4)
    for near in (0.0, 0.5, 1.0):
        height, tower, across = _skyline(c, near)
        roof = shore - height * (1 - 0.3 * near)
        wall = c.palette(0.36 * (1 - near) + 0.03 + 0.22 * np.clip((c.y - roof) / 0.5, 0, 1) * (1 - near))
        pitch = 0.017 + 0.006 * near
        row, column = np.floor((c.y - roof) / pitch), np.floor(across / pitch)
        chances = c.rng.random((40, 64, 16), np.float32)
        index = (tower[None], np.clip(row, 0, 63).astype(int), np.clip(column, 0, 15).astype(int)[None])
        lit = chances[index] < 0.12 + 0.5 * c.mood.density
        pane = c.cover(0.33 * pitch - np.abs((c.y - roof) - (row + 0.5) * pitch)) * c.cover(
            0.3 * pitch - np.abs(across - (column + 0.5) * pitch)
        )
        warm = c.rng.random(40) < 0.6
        glass = np.where(warm[tower], c.palette.flat(0.97), c.accent.flat(0.8))
        wall = mix(wall, glass, pane * lit * (row >= 1) * (0.45 + 0.5 * near) * (0.5 + 0.6 * chances[index]))
        neon = (c.rng.random(40) < 0.1 + 0.4 * c.mood.energy)[tower] * c.cover(0.004 - across) * near
        wall = mix(wall, c.accent.flat(0.75) * 1.2, neon)
        image = mix(image, wall, c.cover(c.y - roof))
    image = bloom(c, image, 0.35 + 0.4 * c.mood.energy, 0.025)
    return mirror(c, image, shore, 0.06 + 0.25 * c.mood.roughness)


def flames(c: Canvas) -> Array:
    """Tongues of fire with hot cores, and the sparks that leave them."""
    calm = 1 - c.y
    flicker = (0.12 + 0.45 * c.mood.roughness) * calm**0.7
    x = c.x + flicker * (fbm(c, 3, 5) - 0.5) + 0.15 * calm * (fbm(c, 1.5, 2) - 0.5)
    y = c.y + 0.6 * flicker * (fbm(c, 4, 4) - 0.5)
    heat = c.blank()
    centre, base = c.between(0.38, 0.62), c.between(1.0, 1.08)
    for _ in range(3 + round(9 * c.mood.density)):
        offset = c.rng.normal(0, 0.2)
        reach = (0.45 + 0.5 * c.mood.energy) * c.between(0.6, 1.15) * np.exp(-3 * offset**2)
        width = c.between(0.1, 0.2) * (1.2 - 0.4 * c.mood.density)
        up = np.clip((base - y) / reach, 0, 1.2)
        half = width * np.clip(1 - up, 0, 1) ** 0.8 * (0.75 + 1.1 * up) + 1e-3
        tongue = np.clip(1 - np.abs(x - centre - offset - 0.08 * np.sin(5 * up + 9 * offset)) / half, 0, 1)
        tongue = tongue * smoothstep(1.0, 0.93, up)
        heat = np.maximum(heat, tongue * (1.05 - 0.5 * up)) + 0.22 * tongue * (1 - up)
    heat += 0.5 * np.exp(-np.clip(base - y, 0, 2) / 0.1 - ((x - centre) / 0.32) ** 2)
    streaks = sample(fbm(c, 4, 5, stretch=2.2), x, y * 0.7)
    heat = heat**0.8 * (0.55 + 0.85 * streaks)
    smoke = warped_fbm(c, 2, 0.6)
    image = c.palette(0.16 * smoke + 0.16 * c.y**2) * 0.8
    image = mix(image, c.palette(0.12 + heat * 0.95), smoothstep(0.02, 0.3, heat))
    sparks = c.blank()
    for _ in range(8 + round(50 * c.mood.density)):
        size = c.between(0.002, 0.005)
        splat(c, sparks, centre + c.rng.normal(0, 0.25), c.rng.beta(1.6, 1.3), size, c.between(0.6, 1.4))
    return bloom(c, image + sparks * c.palette.flat(0.9), 0.5, 0.05)


def forest(c: Canvas) -> Array:
    """Trunks recede into lit mist; beams of light fall between them."""
    glow_x, glow_y = c.between(0.2, 0.8), c.between(0.15, 0.45)
    away = np.hypot(c.x - glow_x, (c.y - glow_y) * 0.8)
    image = c.palette(0.5 + 0.48 * np.exp(-away / 0.3) + 0.2 * (fbm(c, 3, 4) - 0.5))
    layers = 4
    for index in range(layers):
        near = (index + 1) / layers
        mask = c.blank()
        for _ in range(3 + round((3 + 7 * c.mood.density) * (1.3 - 0.7 * near))):
            x, width = c.rng.random(), (0.006 + 0.03 * near**2) * c.between(0.6, 1.3)
            sway = c.rng.normal(0, 0.03) * c.y + 0.012 * np.sin(5 * c.y + 6 * x) * (1 + c.mood.roughness)
            mask = np.maximum(mask, c.cover(width * (0.55 + 0.6 * c.y**2) - np.abs(c.x - x - sway)))
        leaves = fbm(c, 7 + 2 * index, 5, gain=0.72)
        canopy = smoothstep(0.5, 0.58 + 0.1 * (1 - near), 0.7 * leaves + 0.22 + 0.1 * near - 1.25 * c.y)
        ground = 0.72 + 0.24 * near + 0.08 * ridge_line(c, 5, 6)
        mask = np.maximum(np.maximum(mask, canopy), c.cover(c.y - ground))
        tone = 0.5 * (1 - near) + 0.03 + 0.2 * np.exp(-away / 0.25) * (1 - near) + 0.1 * (leaves - 0.5)
        image = mix(image, c.palette(tone), mask)
        image = mix(image, c.palette.flat(0.8), 0.2 * (1 - near) * smoothstep(0.4, 0.9, c.y))
    angle = np.arctan2(c.x - glow_x, c.y - glow_y + 0.25)
    beams = np.interp(angle, np.linspace(-np.pi, np.pi, 90), c.rng.random(90)) ** 3
    beams = beams * np.exp(-away / 0.45) * smoothstep(-0.2, 0.3, c.y - glow_y + 0.2)
    return bloom(c, image + (0.25 + 0.35 * c.mood.energy) * beams * c.palette.flat(0.9), 0.35, 0.06)


def ink(c: Canvas) -> Array:
    """Inks fold through each other like silk: contours of a twice warped field, lit from a side."""
    strength = 0.7 + 1.3 * c.mood.energy
    smooth = 0.25 + 0.3 * c.mood.roughness
    fields = [fbm(c, cells, 3 + round(3 * c.mood.roughness), gain=smooth) for cells in (2, 2, 1.5, 2, 2)]
    x = c.x + strength * (fields[0] - 0.5)
    y = c.y + strength * (fields[1] - 0.5)
    field = sample(fields[2], x + 0.6 * (sample(fields[3], x, y) - 0.5), y)
    second = sample(fields[4], x, y)
    phase = 2 * np.pi * (1.5 + 5 * c.mood.density) * field + 3 * c.between(-1, 1) * c.x
    fold = 0.5 + 0.5 * np.sin(phase)
    slope_y, slope_x = np.gradient(ndimage.gaussian_filter(fold, c.size / 128), np.float32(64 / c.size))
    tilt = c.between(0, 2 * np.pi)
    sheen = slope_x * np.cos(tilt) + slope_y * np.sin(tilt)
    tone = 0.14 + 0.72 * fold**1.4 + 0.5 * sheen
    image = mix(c.palette(tone), c.accent(tone), smoothstep(0.42, 0.6, second))
    vein = np.exp(-(((np.sin(phase / 2 + 1)) / 0.09) ** 2))
    return mix(image, c.palette.flat(1.0), 0.6 * vein * smoothstep(0.35, 0.65, second))


def mandala(c: Canvas) -> Array:
    """Rings of petals around a light, laid from the outside in."""
    wobble = 0.12 * c.mood.roughness
    x = c.x - 0.5 + wobble * (fbm(c, 4, 5) - 0.5)
    y = c.y - 0.5 + wobble * (fbm(c, 4, 5) - 0.5)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    fold = int(c.rng.choice([5, 6, 7, 8, 10, 12]))
    turn = c.between(0, 2 * np.pi)
    image = c.palette(0.2 + 0.3 * np.exp(-radius * 4) + 0.05 * np.cos(2 * fold * angle + turn))
    rings = 4 + round(7 * c.mood.density)
    for ring in range(rings):
        outer = 0.62 * (1 - ring / rings) ** 0.9 + 0.04
        petals = fold * int(c.rng.choice([1, 1, 2]))
        wave = np.abs(np.cos(petals / 2 * angle + turn + np.pi / 2 * ring)) ** c.between(0.5, 1.6)
        inside = outer * (1 - (0.15 + 0.4 * c.mood.energy) * (1 - wave)) - radius
        depth = np.clip(inside / (0.35 * outer), 0, 1)
        tone = c.between(0.05, 0.45) + 0.5 * depth + 0.08 * np.cos(depth * 25 * (0.3 + c.mood.density))
        colours = (c.palette, c.accent)[ring % 2](tone)
        shadow = 1 - 0.5 * np.exp(-np.clip(-inside, 0, 1) / 0.015)
        image = mix(image * shadow, colours, c.cover(inside))
        image = mix(image, c.palette.flat(0.98), 0.85 * c.cover(0.0035 - np.abs(inside - 0.008)))
        beads = np.hypot(radius - 0.82 * outer, radius * np.sin(petals * angle / 2 + turn) / petals * 2)
        image = mix(image, c.palette.flat(0.95), c.cover(0.018 * outer + 0.003 - beads) * (ring % 2))
    image = image + 0.6 * np.exp(-radius / 0.05) * c.palette.flat(1.0)
    return bloom(c, image * (1.08 - 0.7 * radius**1.5), 0.3)


def _lightning(c: Canvas, layer: Array, start: Array, end: Array, width: float, forks: int) -> None:
    """Stroke a jagged path of 24 pieces; forks leave it downwards at a narrower width."""
    path = start + np.linspace(0, 1, 25)[:, None] * (end - start)
    walk = np.cumsum(c.rng.normal(0, 0.04, 25)) * np.hypot(*(end - start))
    path[:, 0] += walk - np.linspace(0, walk[-1], 25)
    for here, there in pairwise(path):
        stroke(c, layer, here, there, width, width)
    for place in c.rng.integers(4, 18, forks):
        tip = path[place] + (c.rng.normal(0, 0.17), c.between(0.12, 0.35))
        _lightning(c, layer, path[place], tip, width * 0.5, 0)


def storm(c: Canvas) -> Array:
    """Lightning forks out of a churning sky over a dark sea or land, through slanting rain."""
    ground = c.between(0.74, 0.9)
    clouds = warped_fbm(c, 2.2, 0.35 + 0.4 * c.mood.roughness, stretch=0.7)
    billow = 1 - np.abs(2 * warped_fbm(c, 3, 0.5, stretch=0.7) - 1)
    strike = np.array([c.between(0.2, 0.8), c.between(0.08, 0.26)])
    foot = np.array([strike[0] + c.rng.normal(0, 0.13), ground])
    glow = np.exp(-np.hypot((c.x - strike[0]) * 0.9, (c.y - strike[1]) * 1.3) / 0.24)
    ceiling = smoothstep(0.42, 0.2, c.y + 0.5 * (clouds - 0.5))
    tone = 0.42 * clouds + 0.42 * (billow - 0.55) * (0.35 + ceiling) + 0.12 * (1 - ceiling)
    tone = tone + (0.25 + 0.35 * c.mood.energy) * glow * (0.2 + 1.2 * clouds)
    image = c.palette(tone + 0.2 * smoothstep(0.3, 0.0, ground - c.y))
    bolts = c.blank()
    for index in range(1 + round(1.8 * c.mood.density)):
        shift = np.array([0.0 if index == 0 else c.rng.normal(0, 0.3), 0.0])
        width = 0.0042 / (1 + 0.8 * index)
        _lightning(c, bolts, strike + shift, foot + shift * 1.2, width, 1 + round(3 * c.mood.energy))
    land = ground + 0.09 * ridge_line(c, 3, 7)
    image = bloom(c, image + bolts * c.cover(land - c.y) * c.palette.flat(1.0) * 1.2, 0.9, 0.035)
    image = mix(image, c.palette(0.02 + 0.4 * np.exp(-(c.y - land) / 0.05) * glow), c.cover(c.y - land))
    slant = c.between(0.12, 0.4)
    rain = c.blank()
    for _ in range(40 + round(160 * c.mood.density)):
        start, length = c.rng.random(2) * 1.2 - 0.1, c.between(0.04, 0.13)
        stroke(c, rain, start, start + length * np.array([-slant, 1.0]), 0.0008, 0.0018)
    return mix(image, c.palette.flat(0.85), (0.28 + 0.3 * c.mood.density) * rain)


def aurora(c: Canvas) -> Array:
    """Curtains of light over mountains, often doubled in a lake."""
    shore = c.between(0.72, 0.88)
    image = c.palette(0.05 + 0.3 * c.y**1.5)
    image = image + stars(c, 40 + round(80 * c.mood.density)) * c.palette.flat(0.95) * 0.8
    for index in range(2 + round(3 * c.mood.density)):
        hem = c.between(0.25, 0.62) + (0.35 + 0.5 * c.mood.energy) * ridge_line(c, 1.5, 3 + index % 2)
        above = hem - c.y
        rays = 0.55 + 1.2 * ridge_line(c, 14 + 26 * c.mood.density, 3, gain=0.6)
        tall = c.between(0.12, 0.3) * (0.7 + 0.6 * c.mood.energy)
        curtain = np.where(above > 0, np.exp(-above / tall), np.exp(above / 0.035)) * np.clip(rays, 0.1, 1.4)
        fade = np.clip(above / tall / 1.6, 0, 1)
        colours = mix(c.palette(0.72 + 0 * above), c.accent(0.62 + 0 * above), fade)
        image = image + curtain * colours * c.between(0.45, 0.85)
    image = bloom(c, image, 0.35, 0.05)
    for near in (0.5, 1.0):
        line = (
            shore - 0.13 * (1.5 - near) + 0.3 * (0.4 + 0.6 * c.mood.energy) * ridge_line(c, 3 + 3 * near, 7)
        )
        image = mix(image, c.palette.flat(0.16 * (1 - near)) * (1.0 - 0.45 * near), c.cover(c.y - line))
    if c.chance(0.6):
        return mirror(c, image, shore, 0.08 + 0.3 * c.mood.roughness)
    trees = firs(c, np.full(c.size, shore + 0.08), 8 + round(30 * c.mood.density), 0.26)
    return mix(image, c.palette.flat(0.0) * 0.4, np.maximum(trees, c.cover(c.y - shore - 0.04)))


def dunes(c: Canvas) -> Array:
    """Dunes with a lit and a shaded flank, ripples of sand, and a low sun."""
    horizon = c.between(0.35, 0.52)
    light = luminary(c, horizon)
    image = sky(c, horizon, light, c.between(0.04, 0.1), clouds=0.3)
    side = 1.0 if light[0] > 0.5 else -1.0
    count = 3 + round(4 * c.mood.density)
    sway = fbm(c, 3, 3)
    for index in range(count):
        near = (index + 1) / count
        crest = (
            (0.5 + 0.6 * c.mood.energy) * (0.3 + 0.4 * near) * ridge_line(c, 1.6 + 0.5 * index, 2, gain=0.3)
        )
        line = horizon + 0.02 + 0.5 * (near - 1 / count) ** 1.3 + crest
        below = c.y - line
        slope = np.gradient(line) * c.size
        # Flanks turn where the crest's slope does; the edge leans away from the light on its way down.
        turned = np.interp(c.x + side * 0.55 * below, c.x[0], slope) * side
        lit = smoothstep(-0.12, 0.12, turned + 0.25 * (sway - 0.5))
        ripples = np.sin((below * 110 + 25 * sway + 12 * c.x) * (1.4 - 0.7 * near))
        ripples = ripples * (0.015 + 0.07 * c.mood.roughness) * lit * np.exp(-np.abs(below - 0.1) / 0.15)
        tone = 0.1 + 0.26 * (1 - near) + (0.3 + 0.14 * c.mood.energy) * lit + ripples - 0.12 * below
        tone = tone + 0.16 * np.exp(-np.clip(below, 0, 1) / 0.012) * lit
        image = mix(image, c.palette(tone), c.cover(below))
    return image


def bokeh(c: Canvas) -> Array:
    """Lights out of focus: discs of many depths over a soft dusk."""
    image = c.palette(0.12 + 0.35 * fbm(c, 2, 3, gain=0.4) + 0.3 * c.y * c.between(0.2, 1.0))
    image = mix(image, c.accent(0.4 + 0 * c.y), 0.5 * smoothstep(0.45, 0.8, fbm(c, 1.5, 2)))
    x0, y0, slope, bend = c.rng.random(), c.between(0.25, 0.75), c.rng.normal(0, 0.4), c.rng.normal(0, 0.9)
    strings = c.chance(0.5)
    for _ in range(14 + round(50 * c.mood.density)):
        x, spread = c.between(-0.05, 1.05), c.rng.normal(0, 0.12 if strings else 0.5)
        y = y0 + slope * (x - x0) + bend * (x - x0) ** 2 + spread
        radius = (0.018 + 0.1 * c.rng.random() ** 1.8) * (1.25 - 0.4 * c.mood.density)
        palette, tone = (c.palette, c.accent)[int(c.chance(0.35))], c.between(0.45, 0.95)
        strength = c.between(0.2, 0.6) * (0.6 + 0.5 * c.mood.energy)
        window = c.window(x - 1.3 * radius, y - 1.3 * radius, x + 1.3 * radius, y + 1.3 * radius)
        gx, gy = c.grid(window)
        away = np.hypot(gx - x, gy - y) / radius
        rim = 0.65 + 0.35 * np.clip(away, 0, 1) ** 5
        disc = c.cover((1 - away) * radius, 0.05 * radius) * rim
        image[:, *window] += strength * disc * palette.flat(tone) * (1.1 - 0.6 * image[:, *window])
    glints = c.blank()
    for _ in range(round(6 + 20 * c.mood.roughness)):
        x, y = c.rng.random(2)
        sparkle(c, glints, x, y, c.between(0.02, 0.06), 0.8)
    return bloom(c, image + glints * c.palette.flat(1.0), 0.35, 0.06)


def _coral(
    c: Canvas, layer: Array, foot: Array, angle: float, length: float, width: float, depth: int
) -> None:
    """Grow a branching silhouette upwards; every fork is shorter and thinner."""
    tip = foot + length * np.array([np.sin(angle), -np.cos(angle)])
    stroke(c, layer, foot, tip, width, width * 0.75)
    if depth:
        for turn in c.rng.normal([-0.45, 0.45], 0.2):
            _coral(c, layer, tip, angle + turn, length * c.between(0.65, 0.9), width * 0.72, depth - 1)


def _fish(c: Canvas, layer: Array, x: float, y: float, length: float, heading: float) -> None:
    """Add a fish's silhouette: an almond and a tail fin."""
    window = c.window(x - length, y - 0.5 * length, x + length, y + 0.5 * length)
    gx, gy = c.grid(window)
    along, across = heading * (gx - x) / length, np.abs(gy - y) / length
    body = 0.2 * np.clip(1 - (along / 0.5) ** 2, 0, 1) ** 0.8 - across
    tail = np.minimum(0.55 * (-along - 0.38) + 0.02 - across, along + 0.72)
    np.maximum(layer[window], c.cover(np.maximum(body, tail) * length), out=layer[window])


def reef(c: Canvas) -> Array:
    """Shafts of light fall through water on corals, a school of fish and rising bubbles."""
    sun_x = c.between(0.15, 0.85)
    away = np.hypot(c.x - sun_x, c.y + 0.05)
    angle = np.arctan2(c.x - sun_x, c.y + 0.35)
    shafts = np.interp(angle, np.linspace(-1.6, 1.6, 70), c.rng.random(70)) ** 2 * np.exp(-c.y / 0.5)
    caustics = 1 - np.abs(2 * sample(warped_fbm(c, 6, 0.3, 3), c.x, c.y * 1.5) - 1)
    tone = 0.72 - 0.55 * c.y**0.8 + 0.3 * np.exp(-away / 0.25) + 0.2 * caustics**6 * np.exp(-c.y / 0.16)
    image = c.palette(tone + 0.1 * (fbm(c, 3, 5) - 0.5))
    image = image + (0.2 + 0.3 * c.mood.energy) * shafts * c.palette.flat(0.95)
    for near in (0.0, 0.5, 1.0):
        floor = 0.82 + 0.12 * near + (0.25 + 0.2 * c.mood.energy) * ridge_line(c, 3, 7)
        mask = c.cover(c.y - floor)
        for _ in range(1 + round(3.5 * c.mood.density)):
            x = c.rng.random()
            foot = np.array([x, floor[int(x * c.size)] + 0.03])
            size = 0.045 + 0.035 * near
            _coral(c, mask, foot, c.rng.normal(0, 0.15), size, 0.012 + 0.008 * near, 4)
        lit = 0.3 * (1 - near) + 0.05 + 0.16 * shafts * (1 - near)
        colours = (c.accent if near == 0.5 else c.palette)(lit + 0.1 * near + 0.12 * (fbm(c, 9, 4) - 0.5))
        colours = colours if near < 1 else c.accent.flat(0.1)
        image = mix(image, colours, mask)
        school, heading = c.rng.random(2) * (0.8, 0.45) + (0.1, 0.15), 1.0 if c.chance(0.5) else -1.0
        fish = c.blank()
        for _ in range(1 + round((12 - 9 * near) * c.mood.density)):
            x, y = school + c.rng.normal(0, (0.14, 0.07))
            _fish(c, fish, x, y, (0.035 + 0.05 * near) * c.between(0.7, 1.2), heading)
        image = mix(image, c.accent.flat(0.85) if near == 0.5 else c.palette.flat(0.15), fish)
    return image + 0.5 * _bubbles(c, 4 + round(24 * c.mood.density)) * c.palette.flat(1.0)


def _bubbles(c: Canvas, count: int) -> Array:
    """A layer of bright rings, faintly filled."""
    layer = c.blank()
    for _ in range(count):
        x, y, radius = c.rng.random(), c.rng.random(), c.between(0.005, 0.018)
        window = c.window(x - 2 * radius, y - 2 * radius, x + 2 * radius, y + 2 * radius)
        gx, gy = c.grid(window)
        ring = np.hypot(gx - x, gy - y)
        layer[window] += c.cover(0.0025 - np.abs(ring - radius)) + 0.25 * c.cover(radius - ring)
    return layer


def snowfall(c: Canvas) -> Array:
    """Snowy mountains, firs, perhaps a lit cabin, behind flakes of every depth."""
    horizon = c.between(0.55, 0.66)
    light = luminary(c, horizon * 0.7)
    image = sky(c, horizon, light, c.between(0.025, 0.05), clouds=0.5)
    image = c.palette.flat(0.3) * 0.28 + image * 0.68
    for near in (0.0, 1.0):
        image = _snow_range(c, image, horizon, near, 1.0 if light[0] > 0.5 else -1.0)
    drift = horizon + 0.14 + 0.1 * ridge_line(c, 2, 3)
    trees = firs(c, drift, 5 + round(40 * c.mood.density), c.between(0.16, 0.3))
    image = mix(image, c.palette.flat(0.04), trees)
    below = c.y - drift
    snow = 0.92 - 0.5 * below + 0.3 * (fbm(c, 3, 5, stretch=0.6) - 0.5)
    image = mix(image, c.palette(snow), c.cover(below))
    if c.chance(0.45):
        image = _cabin(c, image, drift)
    gusts = sample(fbm(c, 5, 5, stretch=0.5), c.x + 0.6 * c.y, c.y) - 0.4
    image = mix(image, c.palette.flat(0.85), np.clip(c.mood.roughness * gusts, 0, 0.6))
    flakes = c.blank()
    for _ in range(60 + round(240 * c.mood.density)):
        x, y, nearness = c.rng.random(3)
        splat(c, flakes, x, y, 0.003 + 0.009 * nearness**5, c.between(0.6, 1.1) * (1 - 0.4 * nearness**5))
    return mix(image, c.palette.flat(1.0) * 1.06, np.clip(flakes, 0, 0.95))


def _snow_range(c: Canvas, image: Array, horizon: float, near: float, side: float) -> Array:
    """Peaks with a sunlit and a shaded flank each, tall ones behind, sinking into mist."""
    count = 3 + round(2 * near)
    centres = (c.rng.permutation(count) + c.rng.uniform(0.1, 0.9, count)) / count
    heights = np.sort(c.rng.uniform(0.4, 1.0, count))[::-1]
    rock = fbm(c, 7, 6, gain=0.62) - 0.5
    for centre, height in zip(centres.tolist(), heights.tolist(), strict=True):
        left, right = c.between(0.55, 0.95), c.between(0.55, 0.95)
        offset = c.x - centre
        flank = np.where(offset < 0, left, right) * (0.75 + 0.5 * c.mood.energy) * np.abs(offset)
        jag = (0.05 + 0.1 * c.mood.roughness) * ridge_line(c, 6, 6, gain=0.6)
        summit = horizon + 0.03 + 0.05 * near - height * (0.27 + 0.2 * c.mood.energy) * (1 - 0.45 * near)
        below = c.y - summit - flank - jag
        # The border of the two flanks zigzags down from the peak; bare rock shows in streaks.
        fall = np.clip(c.y - summit, 0, 1)
        lit = smoothstep(-0.012, 0.02, side * offset + fall * (0.12 + 0.7 * rock))
        bare = smoothstep(0.02, 0.2, (0.7 + 0.6 * c.mood.roughness) * rock + 0.5 * below - 0.06)
        tone = 0.46 + 0.08 * (1 - near) + 0.42 * lit - 0.2 * bare + 0.3 * fall * (1 - lit)
        image = mix(image, c.palette(tone), c.cover(below))
    return mix(image, c.palette.flat(0.68), 0.5 * smoothstep(-0.06, 0.16, c.y - horizon))


def _cabin(c: Canvas, image: Array, ground: Array) -> Array:
    """A hut with snow on its roof and one warm window."""
    x, size = c.between(0.15, 0.85), c.between(0.05, 0.08)
    place = np.array([x, ground[int(x * c.size)] + 0.05])
    parts: Parts = (
        ([[-1, -1], [1, -1], [1, 0.1], [-1, 0.1]], c.palette.flat(0.08)),
        ([[-1.35, -0.85], [0, -1.9], [1.35, -0.85]], c.palette.flat(0.98)),
        ([[-0.3, -0.7], [0.3, -0.7], [0.3, -0.2], [-0.3, -0.2]], np.array([1.0, 0.8, 0.42])[:, None, None]),
    )
    paint_parts(c, image, place, size, parts)
    light = c.blank()
    splat(c, light, place[0], place[1] - 0.45 * size, size, 0.35)
    return image + light * np.array([1.0, 0.62, 0.3])[:, None, None]


def _flower(
    c: Canvas, image: Array, petals: Palette, place: tuple[float, float], radius: float, tone: float
) -> None:
    """Paint a five-petalled blossom, petals light at the rim and deep at the heart."""
    (x, y), turn = place, c.between(0, 2 * np.pi)
    window = c.window(x - 1.1 * radius, y - 1.1 * radius, x + 1.1 * radius, y + 1.1 * radius)
    gx, gy = (c.grid(window)[0] - x) / radius, (c.grid(window)[1] - y) / radius
    away = np.hypot(gx, gy)
    petal = 0.52 + 0.48 * np.sqrt(np.abs(np.cos(2.5 * (np.arctan2(gy, gx) + turn))))
    colours = petals(tone + 0.42 * away - 0.12 * (gx + gy))
    heart = smoothstep(0.28, 0.1, away)
    colours = mix(colours, c.accent.flat(0.35), heart)
    image[:, *window] = mix(image[:, *window], colours, c.cover((petal - away) * radius))


def blossom(c: Canvas) -> Array:
    """Flowering branches reach in from a side, against a soft far light."""
    glow_x, glow_y = c.between(0.2, 0.8), c.between(0.2, 0.7)
    tone = 0.62 + 0.33 * np.exp(-np.hypot(c.x - glow_x, c.y - glow_y) / 0.35) - 0.2 * c.y
    image = mix(c.palette(tone), c.accent(tone), 0.75 * smoothstep(0.3, 0.8, fbm(c, 1.5, 3)))
    for _ in range(8):
        x, y, radius = c.rng.random(), c.rng.random(), c.between(0.05, 0.13)
        away = np.hypot(c.x - x, c.y - y)
        image = mix(image, c.palette.flat(0.92), 0.22 * c.cover(radius - away, 0.02))
    wood, tips = c.blank(), []
    side = 1.0 if c.chance(0.5) else -1.0
    for _ in range(2 + round(2 * c.mood.density)):
        point = np.array([0.5 - side * 0.55, c.between(-0.05, 0.75)])
        heading, width = c.rng.normal(0, 0.35), c.between(0.012, 0.022)
        for _ in range(9):
            heading += c.rng.normal(0, 0.16 + 0.35 * c.mood.roughness)
            step = c.between(0.07, 0.13) * (0.75 + 0.5 * c.mood.energy)
            end = point + step * np.array([side * np.cos(heading), np.sin(heading)])
            stroke(c, wood, point, end, width, width * 0.84)
            twig = end + c.between(0.05, 0.13) * np.array([side * 0.7, c.rng.normal(0, 0.8)])
            stroke(c, wood, end, twig, width * 0.4, width * 0.15)
            tips += [end, twig]
            point, width = end, width * 0.84
    image = mix(image, c.palette.flat(0.05), wood)
    for _ in range(14 + round(70 * c.mood.density)):
        x, y = tips[c.rng.integers(len(tips))] + c.rng.normal(0, 0.035, 2)
        petals = (c.palette, c.accent)[int(c.chance(0.5))]
        _flower(c, image, petals, (x, y), c.between(0.025, 0.058), c.between(0.45, 0.66))
    falling = c.blank()
    for _ in range(6 + round(30 * c.mood.density)):
        start = c.rng.random(2)
        stroke(c, falling, start, start + c.rng.normal(0, 0.009, 2), 0.007, 0.003)
    return bloom(c, mix(image, c.accent.flat(0.85), 0.9 * falling), 0.2, 0.06)


def _shard(
    c: Canvas, image: Array, foot: Array, angle: float, length: float, width: float, tone: float
) -> None:
    """Paint a pointed prism: two flanks and two tip facets that catch the light differently."""
    axis, normal = np.array([np.sin(angle), -np.cos(angle)]), np.array([np.cos(angle), np.sin(angle)])
    ridge = c.between(-0.35, 0.35)
    frame = {
        "left": foot - 0.6 * width * normal,
        "middle": foot + ridge * width * normal,
        "right": foot + 0.6 * width * normal,
        "left_top": foot + 0.8 * length * axis - width * normal,
        "middle_top": foot + 0.72 * length * axis + ridge * width * normal,
        "right_top": foot + 0.78 * length * axis + width * normal,
        "tip": foot + length * axis,
    }
    facets = (
        (("left", "middle", "middle_top", "left_top"), 0.22),
        (("middle", "right", "right_top", "middle_top"), -0.14),
        (("left_top", "middle_top", "tip"), 0.38),
        (("middle_top", "right_top", "tip"), 0.06),
    )
    for corners, light in facets:
        window, mask = polygon(c, np.array([frame[corner] for corner in corners]))
        gx, gy = c.grid(window)
        along = ((gx - foot[0]) * axis[0] + (gy - foot[1]) * axis[1]) / length
        palette = c.accent if light < 0 else c.palette
        colours = palette(tone + (0.6 + 0.7 * c.mood.energy) * light + 0.28 * (along - 0.4))
        image[:, *window] = mix(image[:, *window], colours, 0.93 * mask)
    edges = c.blank()
    for start, end in (("middle", "middle_top"), ("left_top", "tip"), ("middle_top", "tip")):
        stroke(c, edges, frame[start], frame[end], 0.0016, 0.0016)
    image += 0.35 * edges * c.palette.flat(1.0)


def crystal(c: Canvas) -> Array:
    """A cluster of faceted shards bursts from the ground, lit from within."""
    foot = np.array([c.between(0.32, 0.68), c.between(0.82, 1.02)])
    away = np.hypot(c.x - foot[0], (c.y - foot[1]) * 0.8)
    angle = np.arctan2(c.x - foot[0], foot[1] - c.y + 0.05)
    rays = np.interp(angle, np.linspace(-np.pi, np.pi, 120), c.rng.random(120)) ** 2
    image = c.palette(
        0.1 + 0.5 * np.exp(-away / 0.35) + 0.18 * rays * np.exp(-away / 0.5) + 0.1 * fbm(c, 3, 5)
    )
    count = 6 + round(16 * c.mood.density)
    angles = np.linspace(-1.25, 1.25, count) + c.rng.normal(0, 0.12, count)
    order = c.rng.permutation(count)
    for place, index in enumerate(order):
        near = place / count
        length = (0.42 + 0.4 * c.mood.energy) * (1.15 - 0.6 * near) * c.between(0.7, 1.1)
        length *= np.exp(-0.35 * angles[index] ** 2)
        start = foot + np.array([0.12 * angles[index], 0.02 + 0.08 * near])
        width = length * c.between(0.09, 0.16)
        _shard(c, image, start, angles[index], length, width, 0.3 + 0.25 * near)
    glints = c.blank()
    for _ in range(4 + round(14 * c.mood.energy)):
        x, y = c.rng.random(2)
        sparkle(c, glints, x, y, c.between(0.02, 0.06), 0.9)
    image = image + 0.5 * np.exp(-away / 0.12) * c.palette.flat(0.9) + glints * c.palette.flat(1.0)
    return bloom(c, image, 0.4, 0.045)


Painter = Callable[[Canvas], Array]

SCENE_PAINTERS: dict[str, Painter] = {
    "sunset": sunset,
    "ocean": ocean,
    "nebula": nebula,
    "city": city,
    "flames": flames,
    "forest": forest,
    "ink": ink,
    "mandala": mandala,
    "storm": storm,
    "aurora": aurora,
    "dunes": dunes,
    "bokeh": bokeh,
    "reef": reef,
    "snowfall": snowfall,
    "blossom": blossom,
    "crystal": crystal,
}

# Where nature's cold is green, the cold end turns that way by so many degrees of hue.
GREEN_TURN = {"aurora": 65.0, "forest": 75.0, "reef": 18.0}


def finish(c: Canvas, image: Array) -> Array:
    """Grade a painted picture: glow, grain by roughness, contrast by energy, exposure, shoulder."""
    image = bloom(c, image, 0.16, 0.05)
    grain = fbm(c, 48, 2, gain=1.0) - 0.5
    image = image * (1 + (0.01 + 0.32 * c.mood.roughness**1.6) * grain)
    image = image * (1.03 - 0.45 * ((c.x - 0.5) ** 2 + (c.y - 0.5) ** 2))
    middle = 0.2 + 0.4 * c.mood.brightness
    image = middle + (image - middle) * (0.86 + 0.32 * c.mood.energy)
    # A soft shoulder keeps lights from clipping to flat white, and a soft toe keeps shadows open.
    image = np.where(image > 0.8, 0.8 + 0.2 * np.tanh((image - 0.8) / 0.2), image)
    return np.where(image < 0.06, 0.06 * np.exp(np.minimum(image - 0.06, 0) / 0.06), image)


def draw(moment: Moment, rng: np.random.Generator, size: int = 128) -> Array:
    """Draw a moment: float32 [3, size, size] in [0, 1]. One seed gives one composition at any size."""
    if moment.scene not in SCENE_PAINTERS:
        raise ValueError(f"no painter for scene {moment.scene!r}; there are {', '.join(SCENE_PAINTERS)}")
    canvas = Canvas.create(moment.mood, rng, size, GREEN_TURN.get(moment.scene, 0.0))
    image = finish(canvas, SCENE_PAINTERS[moment.scene](canvas))
    return np.clip(image, 0, 1).astype(np.float32)
