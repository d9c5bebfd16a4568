"""Train the sketch pack's second image tower, which is hard to please with noise.

Guidance asks a tower for the gradient of its judgement, and a tower trained in the ordinary way answers
with speckle that no eye would call the thing it names. The second tower starts as a copy of the plain
one and learns to judge the same under attack (Madry et al. 2018, arXiv:1706.06083): small changes of the
picture are searched that hurt most, and the tower is corrected on those. Three kinds of pictures take
part: drawn ones, the VQGAN's repaintings of them, which is what guidance will show, and junk that the
VQGAN paints from senseless codes, which no sound may ever find near.

A pull towards the plain tower's opinion of the untouched picture (Schlarmann et al. 2024,
arXiv:2402.12336) keeps both in one space, so texts work with it though none are used here.

Letters: n items, B batch, D embedding width, h w code cells.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from metamusic.perceptor import Perceptor
from metamusic.sketch import dataset, train_joint, train_vqgan
from metamusic.sketch.train_joint import PLAIN, Report, fast_bfloat16, full_view, random_crops, ranks, write
from metamusic.vqgan import VQGAN

CHECKPOINT = "robust.pt"
EXPORT = "robust_export.safetensors"


@dataclass(frozen=True)
class Recipe:
    """What worked. Times are shares of the whole budget; radii are L2 over a picture in [0, 1] at 64 px."""

    pairs: int = 6000
    repainted: int = 400
    junk: int = 240
    hunted: int = 96  # more junk, made by leading the plain tower astray
    batch: int = 32
    repainted_in_batch: int = 10
    junk_in_batch: int = 12
    learning_rate: float = 8e-4
    last_rate: float = 0.02  # of the first
    radius: float = 1.0  # reached after a third of the time
    attack_steps: int = 2
    attack_stride: float = 0.7  # of the radius
    sharpness: float = 20.0  # inverse temperature of the contrast
    likeness_weight: float = 4.0
    smallest_crop: float = 0.45
    checkpoint_s: float = 120.0


def train_robust(folder: Path = dataset.TRAINING, seed: int = 0, *, minutes: float,
                 recipe: Recipe | None = None,
                 progress: Callable[[Report], None] = print) -> dict[str, float]:
    """Train until `minutes` of work are spent, over all runs together; resumes from `folder`/robust.pt.

    Needs the exports of the VQGAN and of the joint space in `folder`; leaves robust_export.safetensors.
    Returns clean and attacked figures of both towers on validation pictures.
    """
    training = Training(folder, seed, recipe or Recipe())
    training.resume()
    saved = time.monotonic()
    while (share := training.seconds / 60 / minutes) < 1:
        loss = training.advance(share)
        if training.step % 50 == 0:
            progress(Report(share, training.step, training.seconds, f"loss {loss:.3f}"))
        if time.monotonic() - saved > training.recipe.checkpoint_s:
            training.save()
            progress(Report(share, training.step, training.seconds, f"validation {training.validate()}"))
            saved = time.monotonic()
    training.save()
    return training.validate()


class Training:
    """The state of a training: the tower, its optimiser, and pictures with what they should be seen as."""

    def __init__(self, folder: Path, seed: int, recipe: Recipe) -> None:
        self.folder, self.seed, self.recipe = folder, seed, recipe
        torch.manual_seed(seed)
        self.judge = plain_perceptor(folder)
        self.tower = copy.deepcopy(self.judge.clip.visual).requires_grad_(True)
        # Statistics of the norms stay those of the plain tower: junk and attacks must not move them.
        self.tower.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(self.tower.parameters(), lr=recipe.learning_rate,
                                           betas=(0.9, 0.98), weight_decay=0.02)
        self.material = Material.make(folder, self.judge, recipe, seed)
        self.step, self.seconds = 0, 0.0

    def advance(self, share: float) -> float:
        """One step at `share` in [0, 1) of the budget; gives the loss under attack."""
        began = time.monotonic()
        rng = np.random.default_rng([self.seed, self.step, 2])
        rate = self.recipe.last_rate + (1 - self.recipe.last_rate) * (1 + math.cos(math.pi * share)) / 2
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate * min(1, (self.step + 1) / 50) * rate
        pictures, sounds = self._batch(rng)
        with torch.no_grad():
            wanted = self._embed(self.judge.clip.visual, pictures)[: len(sounds)]
        radius = self.recipe.radius * min(1, 3 * share)
        hurt = attack(lambda seen: self._loss(seen, sounds, wanted), pictures, radius, self.recipe, rng)
        loss = self._loss(hurt, sounds, wanted)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.tower.parameters(), 2.0)
        self.optimiser.step()
        self.step += 1
        self.seconds += time.monotonic() - began
        return loss.item()

    def _batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Pictures [B + junk, 3, 64, 64], junk last, and the sounds [B, D] of the first B."""
        recipe, material = self.recipe, self.material
        painted = rng.choice(len(material.repainted), recipe.repainted_in_batch, replace=False)
        drawn = rng.choice(len(material.pictures), recipe.batch - len(painted), replace=False)
        junk = rng.choice(len(material.junk), recipe.junk_in_batch, replace=False)
        pictures = torch.cat([material.repainted[painted], material.pictures[drawn], material.junk[junk]])
        crops = random_crops(pictures.float() / 255, recipe.smallest_crop, rng)
        strength = 0.12 * rng.random((len(crops), 1, 1, 1)) ** 2
        noise = (rng.standard_normal(crops.shape) * strength).astype(np.float32)
        items = np.concatenate([material.repainted_items[painted], drawn])
        return crops + torch.from_numpy(noise), material.sounds[items]

    def _loss(self, pictures: Tensor, sounds: Tensor, wanted: Tensor) -> Tensor:
        """Contrast with the sounds, junk being nobody's picture, and unlikeness to the plain opinion."""
        seen = self._embed(self.tower, pictures)
        logits = self.recipe.sharpness * sounds @ seen.T  # [B, B + junk]
        own = torch.arange(len(sounds))
        contrast = F.cross_entropy(logits, own) + F.cross_entropy(logits[:, : len(sounds)].T, own)
        likeness = (seen[: len(sounds)] * wanted).sum(1).mean()
        return contrast / 2 + self.recipe.likeness_weight * (1 - likeness)

    def _embed(self, tower: nn.Module, pictures: Tensor) -> Tensor:
        normalised = (pictures - self.judge.mean) / self.judge.std
        with torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16()):
            seen = tower(normalised.contiguous(memory_format=torch.channels_last))
        return F.normalize(seen.float(), dim=-1)

    def validate(self) -> dict[str, float]:
        """Sound -> picture R@1 of 64, clean and under a stronger attack, of both towers; likeness to junk."""
        pairs = dataset.held_out_pairs(1, self.folder)
        pictures = full_view(torch.from_numpy(pairs.pictures[:64]))
        sounds = hear(self.judge, pairs.audio[:64])
        junk = full_view(self.material.junk[-64:])
        figures = {}
        for name, tower in (("plain", self.judge.clip.visual), ("robust", self.tower)):
            embed = lambda seen, tower=tower: self._embed(tower, seen)  # noqa: E731
            figures[f"{name}_r1"] = _first(sounds, embed(pictures))
            hurt = _worst_case(embed, pictures, sounds, self.recipe)
            figures[f"{name}_attacked_r1"] = _first(sounds, embed(hurt))
            with torch.no_grad():
                figures[f"{name}_junk"] = round((sounds @ embed(junk).T).amax(1).mean().item(), 3)
        return figures

    # -- files ----------------------------------------------------------------------------------------

    def save(self) -> None:
        """The checkpoint and, beside it, the tower as it would be exported now."""
        state = {"tower": self.tower.state_dict(), "optimiser": self.optimiser.state_dict(),
                 "step": self.step, "seconds": self.seconds}
        write(self.folder / CHECKPOINT, lambda path: torch.save(state, path))
        tower = {name: value.contiguous() for name, value in self.tower.state_dict().items()}
        write(self.folder / EXPORT, lambda path: save_file(tower, path))

    def resume(self) -> None:
        """Go on from the checkpoint in the folder, if there is one."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        self.tower.load_state_dict(state["tower"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]


@dataclass(frozen=True)
class Material:
    """Everything the tower is shown, uint8 [n, 3, 128, 128].

    pictures as drawn, with the embeddings `sounds` [n, D] of their music; `repainted` by the VQGAN, of
    the pictures `repainted_items`; `junk` from senseless codes.
    """

    pictures: Tensor
    sounds: Tensor
    repainted: Tensor
    repainted_items: np.ndarray
    junk: Tensor

    @classmethod
    def make(cls, folder: Path, judge: Perceptor, recipe: Recipe, seed: int) -> "Material":
        """Gathers, repaints and litters; the same for the same seed and the same exports."""
        rng = np.random.default_rng([seed, 3])
        vqgan = train_vqgan.load_export(folder)
        enough = math.ceil(recipe.pairs / dataset.PAIRS_PER_SHARD)
        shards = dataset.shards_at_hand("pairs", folder)[:enough] or [0]
        pairs = [dataset.pair_shard(shard, folder) for shard in shards]
        pictures = torch.cat([torch.from_numpy(each.pictures) for each in pairs])
        sounds = torch.cat([hear(judge, each.audio) for each in pairs])
        items = rng.choice(len(pictures), recipe.repainted, replace=False)
        codes = codes_of(vqgan, pictures[items])
        junk = torch.cat([paint(vqgan, senseless(codes, vqgan.config.n_embed, recipe.junk, rng)),
                          hunt(vqgan, judge, codes, sounds, recipe.hunted, rng)])
        shuffled = junk[torch.from_numpy(rng.permutation(len(junk)))]
        return cls(pictures, sounds, paint(vqgan, codes), items, shuffled)


def plain_perceptor(folder: Path = dataset.TRAINING) -> Perceptor:
    """The joint space as last exported into `folder`, with its plain image tower."""
    perceptor = Perceptor(PLAIN)
    perceptor.load(load_file(folder / train_joint.EXPORT))
    return perceptor


@torch.no_grad()
def hear(judge: Perceptor, audio: np.ndarray) -> Tensor:
    """Unit vectors [n, D] of clips [n, T], many at once: the sketch pack's tower hears each for itself."""
    clips = torch.from_numpy(audio.astype(np.float32))
    return torch.cat([F.normalize(judge.audio(some), dim=-1) for some in clips.split(50)])


@torch.no_grad()
def codes_of(vqgan: VQGAN, pictures: Tensor) -> Tensor:
    """Codes int64 [n, h, w] of pictures uint8 [n, 3, H, W]."""
    return torch.cat([vqgan.codes(vqgan.encode(some.float() / 255)) for some in pictures.split(8)])


@torch.no_grad()
def paint(vqgan: VQGAN, codes: Tensor) -> Tensor:
    """Pictures uint8 [n, 3, H, W] of codes [n, h, w]."""
    return torch.cat([(vqgan.decode(vqgan.lookup(some)) * 255 + 0.5).byte() for some in codes.split(8)])


def senseless(codes: Tensor, entries: int, count: int, rng: np.random.Generator) -> Tensor:
    """Codes [count, h, w] that mean nothing: random, sprinkled with errors, shuffled, or two in one."""
    return torch.stack([_nonsense(codes, entries, kind % 4, rng) for kind in range(count)])


def _nonsense(codes: Tensor, entries: int, kind: int, rng: np.random.Generator) -> Tensor:
    high, wide = codes.shape[1:]
    one, other = codes[rng.integers(len(codes))], codes[rng.integers(len(codes))]
    noise = torch.from_numpy(rng.integers(entries, size=(high, wide)))
    blocks = np.kron(rng.random((math.ceil(high / 4), math.ceil(wide / 4))), np.ones((4, 4)))[:high, :wide]
    if kind == 0:
        return noise
    if kind == 1:
        grains = rng.random((high, wide)) if rng.random() < 0.5 else blocks
        return torch.where(torch.from_numpy(grains < rng.uniform(0.15, 0.75)), noise, one)
    if kind == 2:
        return one.flatten()[torch.from_numpy(rng.permutation(high * wide))].view(high, wide)
    return torch.where(torch.from_numpy(blocks < 0.5), one, other)


def hunt(vqgan: VQGAN, judge: Perceptor, codes: Tensor, sounds: Tensor, count: int,
         rng: np.random.Generator, batch: int = 16, steps: int = 14) -> Tensor:
    """Junk uint8 [count, 3, H, W] that the plain tower takes for what it is not.

    Does what guidance without a prior would do: moves a latent, straight through the codebook, towards
    a sound's embedding for a few large steps. Hunts on the middle quarter of a picture, for speed.
    """
    found = []
    high, wide = codes.shape[1:]
    middle = codes[:, high // 4 : high // 4 + high // 2, wide // 4 : wide // 4 + wide // 2]
    for first in range(0, count, batch):
        size = min(batch, count - first)
        start = middle[torch.from_numpy(rng.integers(len(codes), size=size))]
        if first // batch % 2 == 0:
            start = torch.from_numpy(rng.integers(vqgan.config.n_embed, size=tuple(start.shape)))
        latent = vqgan.lookup(start).clone().requires_grad_(True)
        targets = sounds[torch.from_numpy(rng.integers(len(sounds), size=size))]
        optimiser = torch.optim.Adam([latent], lr=0.25 * vqgan.codebook.std().item())
        for _ in range(steps):
            painted = vqgan.decode(vqgan.quantise(latent))
            seen = judge.embed_images(F.interpolate(painted, (judge.input_size,) * 2, mode="area"))[0]
            (latent.grad,) = torch.autograd.grad(-(seen * targets).sum(), latent)
            optimiser.step()
        found.append(paint(vqgan, vqgan.codes(latent.detach())))
    side = dataset.PAIR_SIZE
    return F.interpolate(torch.cat(found).float(), (side, side), mode="bilinear").round().byte()


def attack(loss: Callable[[Tensor], Tensor], pictures: Tensor, radius: float, recipe: Recipe,
           rng: np.random.Generator | None = None) -> Tensor:
    """Pictures changed within `radius` so that the loss grows: projected gradient ascent in L2."""
    change = torch.zeros_like(pictures)
    if rng is not None:
        direction = torch.from_numpy(rng.standard_normal(pictures.shape).astype(np.float32))
        length = torch.from_numpy(rng.random((len(pictures), 1, 1, 1)).astype(np.float32))
        change = _scaled(direction, radius * length)
    for _ in range(recipe.attack_steps):
        change.requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(pictures + change), change)
        change = change.detach() + _scaled(gradient, recipe.attack_stride * radius)
        change = change * (radius / _norm(change).clamp(min=max(radius, 1e-9)))
    return pictures + change


def _worst_case(embed: Callable[[Tensor], Tensor], pictures: Tensor, sounds: Tensor,
                recipe: Recipe) -> Tensor:
    """Validation's attack: six steps away from the own sound."""
    moved = pictures
    unlike = lambda seen: -(embed(seen) * sounds).sum()  # noqa: E731
    for _ in range(3):
        moved = pictures + _within(attack(unlike, moved, recipe.radius / 2, recipe) - pictures, recipe.radius)
    return moved


def _within(change: Tensor, radius: float) -> Tensor:
    return change * (radius / _norm(change).clamp(min=radius))


def _scaled(change: Tensor, length: Tensor | float) -> Tensor:
    return change / (_norm(change) + 1e-12) * length


def _norm(change: Tensor) -> Tensor:
    """L2 norm of each picture's change, [n, 1, 1, 1]."""
    return change.flatten(1).norm(dim=1)[:, None, None, None]


def _first(sounds: Tensor, seen: Tensor) -> float:
    return round((ranks(sounds, seen.detach()) == 0).float().mean().item(), 3)
