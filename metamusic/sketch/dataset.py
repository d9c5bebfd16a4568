"""Training data of the sketch pack, drawn and played by our own generators, kept in shards.

Every item has its own counted seeds (purpose, number, part), so shard k holds the same items whoever
makes it and however often, and an interrupted run goes on at the first missing file. Evaluation draws
from purposes of its own and therefore never meets a picture or a sound that something was trained on.

    .training/pictures/000.npz    pictures at 256 px for the VQGAN
    .training/pairs/000.npz       what belongs together for the joint embedding: picture, sound, captions
    .training/held-out/000.npz    the same for evaluation only

Letters: n items, S pixels, T samples.
"""

import os
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from metamusic.settings import CHECKOUT
from metamusic.sketch.world import SCENE_NAMES, Moment, sample_moment

TRAINING = CHECKOUT / ".training"

PICTURE_SIZE = 256  # px; what the VQGAN must be able to paint
PICTURES_PER_SHARD = 100
PAIR_SIZE = 128  # px; twice what the image towers look at, so that they can be shown crops
PAIRS_PER_SHARD = 500
HELD_OUT_PER_DRAW = 256
CLIP_SECONDS = 2.0
SAMPLE_RATE = 16_000
CAPTIONS_PER_PAIR = 4

# First word of every seed. Numbers of different purposes never meet.
_PICTURES, _PAIRS, _HELD_OUT_PAIRS, _HELD_OUT_PICTURES = 11, 12, 91, 92
# Last word: each part of an item draws from its own stream, so that a change of the painter's luck
# leaves the sound of the same item as it was.
_MOMENT, _PICTURE, _SOUND, _CAPTIONS = range(4)


@dataclass(frozen=True)
class Pairs:
    """Moments seen, heard and described.

    pictures uint8 [n, 3, 128, 128]; audio float16 [n, T] at 16 kHz, 2 s; moods float32 [n, 5] in
    [0, 1]; scenes int64 [n], an index into SCENE_NAMES; captions str [n, 4].
    """

    pictures: np.ndarray
    audio: np.ndarray
    moods: np.ndarray
    scenes: np.ndarray
    captions: np.ndarray

    def __len__(self) -> int:
        return len(self.scenes)


def picture_shard(shard: int, folder: Path = TRAINING) -> np.ndarray:
    """Shard of pictures, uint8 [100, 3, 256, 256]; drawn if the file is not there yet."""
    first = shard * PICTURES_PER_SHARD
    return _kept(shard_file(folder, "pictures", shard), lambda: {
        "pictures": _pictures(_PICTURES, first, PICTURES_PER_SHARD, PICTURE_SIZE)})["pictures"]


def pair_shard(shard: int, folder: Path = TRAINING) -> Pairs:
    """Shard of 500 pairs; drawn, played and described if the file is not there yet."""
    make = partial(_pairs, _PAIRS, shard * PAIRS_PER_SHARD, PAIRS_PER_SHARD)
    return Pairs(**_kept(shard_file(folder, "pairs", shard), make))


def held_out_pairs(draw: int, folder: Path = TRAINING) -> Pairs:
    """256 pairs that no trainer ever sees; another `draw` gives others, equally unseen."""
    make = partial(_pairs, _HELD_OUT_PAIRS, draw * HELD_OUT_PER_DRAW, HELD_OUT_PER_DRAW)
    return Pairs(**_kept(shard_file(folder, "held-out", draw), make))


def held_out_pictures(size: int, count: int = 64) -> np.ndarray:
    """Pictures that no trainer ever sees, drawn at `size` px: uint8 [count, 3, size, size]."""
    return _pictures(_HELD_OUT_PICTURES, 0, count, size)


def shard_file(folder: Path, kind: str, shard: int) -> Path:
    """Where a shard lies or would lie; `kind` is pictures, pairs or held-out."""
    return folder / kind / f"{shard:03d}.npz"


def shards_at_hand(kind: str, folder: Path = TRAINING) -> list[int]:
    """Numbers of the shards of a kind that are already made, ascending."""
    return sorted(int(path.stem) for path in (folder / kind).glob("[0-9]*.npz"))


def rng_for(purpose: int, number: int, part: int) -> np.random.Generator:
    """The stream of one part of one item. Always three words: numpy pads shorter seeds with zeros."""
    return np.random.default_rng([purpose, number, part])


def _pictures(purpose: int, first: int, count: int, size: int) -> np.ndarray:
    """`count` pictures of sampled moments: uint8 [count, 3, size, size]."""
    return np.stack([_picture(_moment(purpose, number), purpose, number, size)
                     for number in range(first, first + count)])


def _pairs(purpose: int, first: int, count: int) -> dict[str, np.ndarray]:
    """The fields of `Pairs` for `count` sampled moments."""
    numbers = range(first, first + count)
    moments = [_moment(purpose, number) for number in numbers]
    items = list(zip(moments, numbers, strict=True))
    return dict(
        pictures=np.stack([_picture(moment, purpose, number, PAIR_SIZE) for moment, number in items]),
        audio=np.stack([_sound(moment, purpose, number) for moment, number in items]),
        moods=np.array([astuple(moment.mood) for moment in moments], np.float32),
        scenes=np.array([SCENE_NAMES.index(moment.scene) for moment in moments], np.int64),
        captions=np.array([_captions(moment, purpose, number) for moment, number in items]),
    )


def _moment(purpose: int, number: int) -> Moment:
    """What item `number` is a picture and a sound of."""
    return sample_moment(rng_for(purpose, number, _MOMENT))


def _picture(moment: Moment, purpose: int, number: int, size: int) -> np.ndarray:
    """uint8 [3, size, size]"""
    from metamusic.sketch.scenes import draw

    picture = draw(moment, rng_for(purpose, number, _PICTURE), size)
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def _sound(moment: Moment, purpose: int, number: int) -> np.ndarray:
    """float16 [T]"""
    from metamusic.sketch.music import play

    return play(moment, rng_for(purpose, number, _SOUND), CLIP_SECONDS).astype(np.float16)


def _captions(moment: Moment, purpose: int, number: int) -> list[str]:
    from metamusic.sketch.captions import describe

    rng = rng_for(purpose, number, _CAPTIONS)
    return [describe(moment, rng) for _ in range(CAPTIONS_PER_PAIR)]


def _kept(path: Path, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays in `path`; made and written under a temporary name first if absent or damaged."""
    try:
        with np.load(path) as arrays:
            return dict(arrays)
    except (FileNotFoundError, BadZipFile, EOFError, ValueError):
        arrays = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Our own temporary name: two makers of one shard must not write into each other's file.
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    np.savez(unfinished, **arrays)  # type: ignore[arg-type]
    unfinished.replace(path)
    return arrays
