"""The sketch pack's bank of pictures, and the export of everything that was trained as one pack.

The bank holds pictures of every scene in many moods, encoded by the pack's own VQGAN. A render starts
from the one that its music is nearest to, and targets are mixed through all of them; what is in the bank
decides which compositions there are, so its pictures are chosen, not just drawn: colourful and
contrasted ones, and of those the most different.

Letters: n pictures, D embedding width, S pixels, h w code cells.
"""

from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from metamusic.packs import Bank, PackInfo, write_pack
from metamusic.perceptor import SKETCH, Perceptor
from metamusic.sketch import dataset, train_robust, train_vqgan
from metamusic.sketch.scenes import draw
from metamusic.sketch.train_joint import full_view, write
from metamusic.sketch.train_robust import codes_of, paint, plain_perceptor
from metamusic.sketch.world import MOOD_SPREAD, SCENES, Moment, Mood
from metamusic.vqgan import VQGAN

SIZE = 256  # px; a render at its default size starts from a picture as it was drawn
PER_SCENE = 25
CANDIDATES = 3 * PER_SCENE  # drawn to choose from
PLAIN_SHARE = 0.3  # of a scene's candidates, the least striking, that are never kept
BANK_SPREAD = 1.6 * MOOD_SPREAD  # wider than in training: the corners of a scene's mood are asked for too
SUMMARY = ("Sixteen painted scenes in many moods, drawn and played by this project's own generators: soft, "
           "never photographic, and only ever these scenes. README.md beside the weights says more.")
_PURPOSE = 13  # first word of the seeds; dataset.py uses 11, 12, 91 and 92


def build_bank(vqgan: VQGAN, perceptor: Perceptor, folder: Path = dataset.TRAINING, seed: int = 0,
               per_scene: int = PER_SCENE) -> Bank:
    """The chosen pictures of all scenes as codes [n, h, w], with the plain tower's view of them [n, D]."""
    chosen = [choose(candidates(scene, seed, folder), perceptor, per_scene) for scene in SCENES]
    codes = codes_of(vqgan, torch.cat(chosen))
    return Bank(codes.to(torch.uint16), look(perceptor, paint(vqgan, codes)))


def candidates(scene: str, seed: int, folder: Path = dataset.TRAINING, count: int = CANDIDATES) -> Tensor:
    """Pictures uint8 [count, 3, 256, 256] of one scene in moods around its typical one, drawn once."""
    path = folder / "bank" / f"{scene}-{count}-{seed}.npy"
    if not path.exists():
        pictures = np.stack([_candidate(scene, item, seed) for item in range(count)])
        write(path, lambda unfinished: _save(unfinished, pictures))
    return torch.from_numpy(np.load(path))


def _candidate(scene: str, item: int, seed: int) -> np.ndarray:
    """One picture, uint8 [3, 256, 256]."""
    rng = np.random.default_rng([_PURPOSE, seed, list(SCENES).index(scene), item])
    mood = np.clip(np.array(astuple(SCENES[scene])) + rng.normal(0, BANK_SPREAD, 5), 0, 1)
    picture = draw(Moment(Mood(*mood.tolist()), scene), rng, SIZE)
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def _save(path: Path, pictures: np.ndarray) -> None:
    with path.open("wb") as file:  # given a name, numpy would add a suffix of its own
        np.save(file, pictures)


def choose(pictures: Tensor, perceptor: Perceptor, count: int) -> Tensor:
    """The `count` pictures that are striking and most unlike each other, of pictures [n, 3, S, S].

    Greedy: the most striking first, then always the one whose nearest chosen neighbour is farthest.
    """
    appeal = striking(pictures)
    keep = appeal.argsort(descending=True)[: max(count, round(len(pictures) * (1 - PLAIN_SHARE)))]
    embeds = look(perceptor, pictures[keep])
    chosen = [0]
    nearest = embeds @ embeds[0]
    while len(chosen) < count:
        nearest[chosen] = torch.inf
        chosen.append(int(nearest.argmin()))
        nearest = torch.maximum(nearest, embeds @ embeds[chosen[-1]])
    return pictures[keep[chosen]]


def striking(pictures: Tensor) -> Tensor:
    """Colourfulness (Hasler and Suesstrunk 2003) plus contrast of pictures [n, 3, S, S], [n]."""
    red, green, blue = full_view(pictures).flatten(2).unbind(1)  # [n, S S]
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = torch.hypot(red_green.std(1), yellow_blue.std(1))
    strength = torch.hypot(red_green.mean(1), yellow_blue.mean(1))
    return spread + 0.3 * strength + (0.3 * red + 0.6 * green + 0.1 * blue).std(1)


@torch.no_grad()
def look(perceptor: Perceptor, pictures: Tensor) -> Tensor:
    """The plain tower's unit vectors [n, D] of pictures uint8 [n, 3, S, S]."""
    return torch.cat([perceptor.embed_images(full_view(some))[0] for some in pictures.split(50)])


# -- the pack -----------------------------------------------------------------------------------------


def export_pack(folder: Path = dataset.TRAINING, name: str = "sketch", seed: int = 0, *,
                bank: Bank | None = None, per_scene: int = PER_SCENE) -> PackInfo:
    """Write the pack from the exports that lie in `folder`, with a bank if none is given.

    Until the robust tower is trained, a copy of the plain one stands in for it.
    """
    vqgan, plain = train_vqgan.load_export(folder), plain_perceptor(folder)
    bank = bank or build_bank(vqgan, plain, folder, seed, per_scene)
    return write_pack(name, title="Sketch", licence="MIT", card=SUMMARY, bank=bank,
                      vqgan=(vqgan.config, vqgan.state_dict()),
                      perceptor=(SKETCH, both_towers(folder, plain)))


def both_towers(folder: Path, plain: Perceptor) -> dict[str, Tensor]:
    """The state of a perceptor with plain and robust tower."""
    state: dict[str, Any] = dict(plain.state_dict())
    path = folder / train_robust.EXPORT
    robust = load_file(path) if path.exists() else plain.clip.visual.state_dict()
    # Copies, because safetensors refuses two names for the same memory.
    return state | {f"second_opinions.0.{key}": value.clone() for key, value in robust.items()}
