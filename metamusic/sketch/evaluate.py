"""Measure a pack: how well its VQGAN repaints, and how well its towers find what belongs together.

Everything is drawn and played afresh from seeds that no trainer ever sees.
"""

import math
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metamusic import packs
from metamusic.errors import PackError
from metamusic.perceptor import Perceptor, windows_of
from metamusic.sketch import dataset
from metamusic.sketch.bank import look
from metamusic.sketch.scenes import draw
from metamusic.sketch.train_joint import retrieval
from metamusic.sketch.world import SCENES, Moment
from metamusic.vqgan import VQGAN

PICTURES = 64
PICTURE_SIZE = 128  # px
PUBLISHED_DRAW = 0  # of held-out pairs; the trainers watch themselves on another
KEYS = ("psnr", "codebook_used", "audio_image_r1", "audio_image_r5", "text_image_r1")
RECORDING_WINDOW_S = 2.0


def evaluate(pack: str = "sketch") -> dict[str, float]:
    """The figures of a pack on held-out moments.

    psnr: dB, mean over 64 pictures at 128 px; codebook_used: share of the codebook on those pictures;
    audio_image_r1, audio_image_r5, text_image_r1: how often a sound's or caption's own picture comes
    first, or among the first five, of 64, over four draws, by the plain tower. Raises PackError if the
    pack cannot be used or has no VQGAN.
    """
    models = packs.load(pack)
    if models.vqgan is None:
        raise PackError(f"Pack {pack!r} has no VQGAN, so there is nothing to repaint with.",
                        "Evaluate a pack that paints.")
    # A second process draws and plays while this one repaints: one thread each, or they would wait in line.
    with _one_thread(), _fresh_pairs() as pairs:
        figures = repaint(models.vqgan) | retrieval(models.perceptor, pairs())
    return {key: figures[key] for key in KEYS}


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _fresh_pairs() -> Iterator[Callable[[], dataset.Pairs]]:
    """Held-out pairs in the making, never kept: nothing stale is ever measured."""
    with (tempfile.TemporaryDirectory() as folder,
          ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool):
        yield pool.submit(dataset.held_out_pairs, PUBLISHED_DRAW, Path(folder)).result


@torch.no_grad()
def repaint(vqgan: VQGAN, count: int = PICTURES, size: int = PICTURE_SIZE) -> dict[str, float]:
    """psnr in dB and codebook_used, a share, over held-out pictures encoded to codes and decoded."""
    used: set[int] = set()
    levels = []
    for some in torch.from_numpy(dataset.held_out_pictures(size, count)).split(8):
        pictures = some.float() / 255
        codes = vqgan.codes(vqgan.encode(pictures))
        error = (vqgan.decode(vqgan.lookup(codes)) - pictures).square().mean((1, 2, 3))
        levels += [-10 * math.log10(each) for each in error.tolist()]
        used.update(codes.unique().tolist())
    share = len(used) / vqgan.config.n_embed
    return {"psnr": round(float(np.mean(levels)), 2), "codebook_used": round(share, 4)}


def carry_over(perceptor: Perceptor, recordings: dict[str, np.ndarray]) -> dict[str, float | dict[str, str]]:
    """How recordings from outside the pack's world are heard, in windows of 2 s.

    recordings: at least two, title -> mono float32 [T] at 16 kHz, each of 4 s or more. Gives `within`
    and `between`, the mean cosines of windows of one recording and of different ones; `scenes`, how many
    scenes the windows lead to; `most`, the share of the commonest; `heard_as`, each recording's scene.
    """
    embeds, owners = [], []
    for owner, waveform in enumerate(recordings.values()):
        for window in windows_of(torch.from_numpy(waveform), RECORDING_WINDOW_S):
            embeds.append(perceptor.embed_audio(window))
            owners.append(owner)
    heard, owner_of = torch.stack(embeds), torch.tensor(owners)
    led_to = (heard @ scene_prototypes(perceptor).T).argmax(1)
    likeness = heard @ heard.T
    same = owner_of[:, None] == owner_of
    other_window = ~torch.eye(len(heard), dtype=torch.bool)
    scenes = list(SCENES)
    return {
        "within": round(likeness[same & other_window].mean().item(), 3),
        "between": round(likeness[~same].mean().item(), 3),
        "windows": len(heard),
        "scenes": int(led_to.unique().numel()),
        "most": round(led_to.bincount().max().item() / len(led_to), 3),
        "heard_as": {title: scenes[int(led_to[owner_of == owner].mode().values)]
                     for owner, title in enumerate(recordings)},
    }


def scene_prototypes(perceptor: Perceptor, each: int = 4) -> Tensor:
    """One unit vector per scene [16, D]: the mean of a few typical pictures as the plain tower sees them."""
    prototypes = []
    for number, (scene, mood) in enumerate(SCENES.items()):
        pictures = [draw(Moment(mood, scene), np.random.default_rng([93, number, item]), PICTURE_SIZE)
                    for item in range(each)]
        seen = look(perceptor, torch.from_numpy((np.clip(np.stack(pictures), 0, 1) * 255).astype(np.uint8)))
        prototypes.append(F.normalize(seen.mean(0), dim=-1))
    return torch.stack(prototypes)
