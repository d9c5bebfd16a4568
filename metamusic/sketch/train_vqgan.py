"""Train the sketch pack's VQGAN on pictures that our own generator draws.

Three phases. First an autoencoder without a codebook, until colours have settled: a codebook made
earlier freezes whatever the encoder has not learnt by then. Then k-means lays the codebook into the
cloud of latents. Then everything trains through the quantiser, the codebook following its latents as
a moving average (van den Oord et al. 2017, appendix A) and entries that nobody uses moved to where
latents are. No discriminator and no perceptual network: the one wants time, the other weights from
elsewhere, and this pack is to be made of nothing but its own world.

Pictures are compared in opponent colours (light, red against blue, green against both), so that hue
counts, and at several scales, so that sharp edges do not cost the large masses their place.
"""

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from metamusic.sketch import dataset
from metamusic.vqgan import VQGAN, VQGANConfig

SKETCH_VQGAN = VQGANConfig(ch=128, ch_mult=(1,), num_res_blocks=2, attn_resolutions=(), z_channels=64,
                           resolution=64, n_embed=4096, embed_dim=8, unshuffle=4, norm_groups=8,
                           mid_attention=False)

CHECKPOINT = "vqgan.pt"
EXPORT = "vqgan_export.safetensors"


@dataclass(frozen=True)
class Recipe:
    """What worked; a `share` is a share of the whole budget, be that minutes or steps."""

    config: VQGANConfig = field(default_factory=lambda: SKETCH_VQGAN)
    learning_rate: float = 1.5e-3
    warm_up: int = 50  # steps
    last_rate: float = 0.02  # of the first
    autoencoder_share: float = 0.15
    small_crop: int = 64  # px; most of the time, several at once
    small_batch: int = 8
    large_crop: int = 128  # px; as the pictures will be decoded
    large_batch: int = 2
    large_share: float = 0.25  # of the steps at the end
    revive_until: float = 0.8
    revive_every: int = 50  # steps
    codebook_decay: float = 0.99
    average_every: int = 4  # steps
    weights_decay: float = 0.996  # per look, that is every fourth step
    commitment: float = 0.25
    checkpoint_s: float = 120.0


@dataclass
class Progress:
    """Where a training stands, as it is reported and printed."""

    step: int
    share: float
    phase: str
    loss: float
    psnr: float
    perplexity: float
    seconds: float

    def __str__(self) -> str:
        return (f"{self.share:4.0%} step {self.step} {self.phase} loss {self.loss:.4f} "
                f"psnr {self.psnr:.2f} dB perplexity {self.perplexity:.0f} {self.seconds:.0f} s")


def train_vqgan(folder: Path = dataset.TRAINING, seed: int = 0, *, minutes: float | None = None,
                steps: int | None = None, recipe: Recipe | None = None,
                progress: Callable[[Progress], None] = print) -> dict[str, Any]:
    """Train until the budget (either minutes or steps) is spent, and export the moving average.

    Goes on from `folder`/vqgan.pt if that is there; the budget counts from the very first step. Leaves
    vqgan_export.safetensors and .json in `folder` at every checkpoint. Returns the figures on held-out
    pictures: psnr_128, psnr_256 in dB, codes_used_128, codes_used_256, steps, minutes. Raises
    FloatingPointError rather than save a model that has gone astray.
    """
    if (minutes is None) == (steps is None):
        raise ValueError("state the budget either in minutes or in steps")
    training = Training(folder, seed, recipe or Recipe())
    training.resume()
    saved = time.monotonic()
    while (share := training.spent(minutes, steps)) < 1:
        report = training.advance(share)
        if report.step % 50 == 0:
            progress(report)
        if time.monotonic() - saved > training.recipe.checkpoint_s:
            training.save()
            saved = time.monotonic()
    training.save()
    return export(folder)


class Training:
    """The state of a training: weights, their moving average, optimiser, codebook statistics."""

    def __init__(self, folder: Path, seed: int, recipe: Recipe) -> None:
        self.folder, self.seed, self.recipe = folder, seed, recipe
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # the initial weights; every later draw is counted by step
            model = VQGAN(recipe.config)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = model.requires_grad_(True)
        self.model.codebook.requires_grad_(False)  # follows its latents instead
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}
        trained = [value for value in self.model.parameters() if value.requires_grad]
        self.optimiser = torch.optim.Adam(trained, lr=recipe.learning_rate, betas=(0.9, 0.99), fused=True)
        self.codebook = Codebook(recipe.config.n_embed, recipe.config.embed_dim, recipe.codebook_decay)
        self.pictures = Pictures(folder)
        self.phase, self.step, self.seconds = "autoencoder", 0, 0.0
        self.latents: list[Tensor] = []  # the last ones of the first phase, for k-means
        self.recent: list[float] = []  # decibels, for the report

    def spent(self, minutes: float | None, steps: int | None) -> float:
        """How much of the budget is spent, from 0 to 1."""
        return self.seconds / (60 * minutes) if minutes else self.step / (steps or 1)

    def advance(self, share: float) -> Progress:
        """One step at `share` in [0, 1) of the budget."""
        began = time.monotonic()
        rng = np.random.default_rng([self.seed, self.step, 0])
        if self.phase == "autoencoder" and share >= self.recipe.autoencoder_share:
            self._lay_codebook(rng)
        loss, psnr = self._learn(self._batch(share, rng), share, rng)
        if self.step % self.recipe.average_every == 0:
            self._follow()
        self.step += 1
        self.seconds += time.monotonic() - began
        self.recent = [*self.recent[-49:], psnr]
        return Progress(self.step, share, self.phase, loss, float(np.mean(self.recent)),
                        self.codebook.perplexity(), self.seconds)

    def _batch(self, share: float, rng: np.random.Generator) -> Tensor:
        """Small crops for most of the time; at the end every other batch shows whole 128 px pictures."""
        recipe = self.recipe
        if share > 1 - recipe.large_share and self.step % 2:
            return self.pictures.crops(recipe.large_batch, recipe.large_crop, rng)
        return self.pictures.crops(recipe.small_batch, recipe.small_crop, rng)

    def _learn(self, pictures: Tensor, share: float, rng: np.random.Generator) -> tuple[float, float]:
        """Optimise once on pictures [B, 3, S, S]: (loss, psnr in dB)."""
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate(share)
        with torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16()):
            latent = self.model.encode(pictures)
        latent = latent.float()
        quantised, commitment = self._quantised(latent, share, rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16()):
            painted = self.model.decode_unclamped(quantised)
        error = painted.float() - pictures
        loss = difference(error) + commitment
        if not loss.isfinite():
            raise FloatingPointError(f"the loss is no number at step {self.step}; the last checkpoint is "
                                     "whole, run again to go on from it")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.optimiser.param_groups[0]["params"], 1.0)
        self.optimiser.step()
        return loss.item(), -10 * math.log10(error.detach().square().mean().item())

    def _quantised(self, latent: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """What the decoder is given, and what keeps the encoder near it."""
        if self.phase == "autoencoder":
            self.latents = [*self.latents[-79:], cells(latent.detach())]
            return latent, 0.002 * latent.square().mean()
        codes = self.model.codes(latent)
        chosen = self.model.lookup(codes)
        commitment = self.recipe.commitment * F.mse_loss(latent, chosen)
        self.codebook.follow(self.model.codebook, cells(latent.detach()), codes.flatten())
        if share < self.recipe.revive_until and self.step % self.recipe.revive_every == 0:
            self.codebook.revive(self.model.codebook, cells(latent.detach()), rng)
        return latent + (chosen - latent).detach(), commitment

    def _rate(self, share: float) -> float:
        """Learning rate: a short warm-up, then half a cosine down to `last_rate`."""
        recipe = self.recipe
        fall = recipe.last_rate + (1 - recipe.last_rate) * (1 + math.cos(math.pi * share)) / 2
        return recipe.learning_rate * min(1, (self.step + 1) / recipe.warm_up) * fall

    def _lay_codebook(self, rng: np.random.Generator) -> None:
        """From here on through the quantiser."""
        self.codebook.start(self.model.codebook, kmeans(torch.cat(self.latents), self.codebook.size, rng))
        self.average["quantize.embedding.weight"].copy_(self.model.codebook)
        self.phase, self.latents = "codebook", []

    @torch.no_grad()
    def _follow(self) -> None:
        """The moving average of all weights; quicker at the start, so that it forgets the first noise."""
        looks = self.step / self.recipe.average_every
        decay = min(self.recipe.weights_decay, (1 + looks) / (10 + looks))
        state = self.model.state_dict()
        torch._foreach_lerp_(list(self.average.values()), [state[name] for name in self.average], 1 - decay)

    # -- files ----------------------------------------------------------------------------------------

    def save(self) -> None:
        """The checkpoint and, beside it, the export as it would be now."""
        state = {name: getattr(self, name) for name in ("phase", "step", "seconds", "average", "latents")}
        state |= {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(),
                  "codebook": self.codebook.state(), "config": asdict(self.recipe.config)}
        _write(self.folder / CHECKPOINT, lambda path: torch.save(state, path))
        write_export(self.folder, self.recipe.config, self.average,
                     {"steps": self.step, "minutes": round(self.seconds / 60, 1)})

    def resume(self) -> None:
        """Go on from the checkpoint in the folder, if there is one of this shape."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        if VQGANConfig(**state["config"]) != self.recipe.config:
            raise ValueError(f"{path} is of another shape: {state['config']}; move it away to start anew")
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.codebook.load_state(state["codebook"])
        for name in ("phase", "step", "seconds", "average", "latents"):
            setattr(self, name, state[name])


class Codebook:
    """How often and for what each codebook entry was lately chosen."""

    def __init__(self, size: int, width: int, decay: float) -> None:
        self.size, self.decay = size, decay
        self.counts, self.sums = torch.zeros(size), torch.zeros(size, width)

    def start(self, entries: Tensor, centres: Tensor) -> None:
        """Lay `centres` [K, D] into the codebook `entries` [K, D]."""
        entries.copy_(centres)
        self.counts.fill_(1.0)
        self.sums.copy_(centres)

    def follow(self, entries: Tensor, latents: Tensor, codes: Tensor) -> None:
        """Move each entry to the mean of the latents [n, D] that lately chose it (codes [n])."""
        self.counts.mul_(self.decay).index_add_(0, codes, torch.full((len(codes),), 1 - self.decay))
        self.sums.mul_(self.decay).index_add_(0, codes, latents, alpha=1 - self.decay)
        # Entries nobody chose lately stay where they are: a mean over next to nothing is noise.
        fresh = (self.counts > 1e-4)[:, None]
        entries.copy_(torch.where(fresh, self.sums / self.counts.clamp(min=1e-4)[:, None], entries))

    def revive(self, entries: Tensor, latents: Tensor, rng: np.random.Generator, most: int = 64) -> None:
        """Move the least used entries to latents of this batch."""
        idle = (self.counts < 0.02 * self.counts.mean()).nonzero()[:most, 0]
        if len(idle):
            places = latents[torch.from_numpy(rng.integers(len(latents), size=len(idle)))]
            entries[idle] = places
            self.counts[idle] = self.counts.mean()
            self.sums[idle] = places * self.counts.mean()

    def perplexity(self) -> float:
        """Number of entries in use, as the exponential of the entropy of their use."""
        use = self.counts / self.counts.sum().clamp(min=1e-9)
        return torch.exp(-(use * use.clamp(min=1e-12).log()).sum()).item() if self.counts.any() else 0.0

    def state(self) -> dict[str, Tensor]:
        return {"counts": self.counts, "sums": self.sums}

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.counts, self.sums = state["counts"], state["sums"]


class Pictures:
    """Crops of the shards at hand; shards that appear while training goes on are picked up.

    The few pictures drawn at 256 px and the many drawn at 128 px with their sounds are shown equally
    often: the model has to paint at both sizes.
    """

    def __init__(self, folder: Path, look_again: int = 500) -> None:
        self.folder, self.look_again = folder, look_again
        self.shards: dict[str, dict[int, Tensor]] = {"pictures": {}, "pairs": {}}
        self.batches = 0

    def crops(self, count: int, size: int, rng: np.random.Generator) -> Tensor:
        """Random crops [count, 3, size, size] in [0, 1], some mirrored."""
        if self.batches % self.look_again == 0:
            self._look()
        self.batches += 1
        crops = torch.stack([self._crop(size, rng) for _ in range(count)])
        return crops.contiguous(memory_format=torch.channels_last)

    def _crop(self, size: int, rng: np.random.Generator) -> Tensor:
        kinds = [shards for shards in self.shards.values() if shards]
        shards = kinds[rng.integers(len(kinds))]
        pictures = shards[sorted(shards)[rng.integers(len(shards))]]
        picture = pictures[rng.integers(len(pictures))]  # [3, S, S]
        side = picture.shape[-1]
        scale = 2 if side >= 2 * max(size, dataset.PAIR_SIZE) and rng.random() < 0.3 else 1
        top, left = rng.integers(side - scale * size + 1, size=2)
        crop = picture[:, top:top + scale * size, left:left + scale * size].float() / 255
        crop = F.avg_pool2d(crop, scale) if scale > 1 else crop
        return crop.flip(-1) if rng.random() < 0.5 else crop

    def _look(self) -> None:
        """Load what is new; draw the first shard if nothing is there at all."""
        if not dataset.shards_at_hand("pictures", self.folder):
            dataset.picture_shard(0, self.folder)
        for kind, shards in self.shards.items():
            for number in dataset.shards_at_hand(kind, self.folder):
                if number not in shards:
                    with np.load(dataset.shard_file(self.folder, kind, number)) as arrays:
                        shards[number] = torch.from_numpy(arrays["pictures"])  # the sounds stay on disk


# -- the yardstick ------------------------------------------------------------------------------------

# Light, red against blue, green against both [3, 3]; colour weighs more than light, because there is less
# of it to see and a small model would rather paint grey.
OPPONENTS = F.normalize(torch.tensor([[1.0, 1, 1], [1, 0, -1], [1, -2, 1]]))
OPPONENTS *= torch.tensor([[1.0], [1.6], [1.6]])


def difference(error: Tensor) -> Tensor:
    """How wrong pictures look, [], from their error [B, 3, S, S] in [-1, 1]."""
    opponent = torch.einsum("kc,bchw->bkhw", OPPONENTS, 2 * error)
    root = error.square().mean((1, 2, 3)).add(1e-6).sqrt().mean()  # what the decibels measure
    near, far = F.avg_pool2d(opponent, 4).abs().mean(), F.avg_pool2d(opponent, 16).abs().mean()
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return 0.4 * opponent.abs().mean() + 1.0 * root + 0.8 * near + 0.4 * far + edges


def cells(latent: Tensor) -> Tensor:
    """Latents [B, D, h, w] as a list of cells [B h w, D]."""
    return latent.permute(0, 2, 3, 1).flatten(0, 2)


def kmeans(points: Tensor, count: int, rng: np.random.Generator, rounds: int = 10) -> Tensor:
    """`count` centres [K, D] of points [n, D]; a centre that loses all its points restarts at one."""
    centres = points[torch.from_numpy(rng.choice(len(points), count, replace=len(points) < count))].clone()
    for _ in range(rounds):
        nearest = torch.cat([torch.cdist(part, centres).argmin(1) for part in points.split(8192)])
        sizes = torch.bincount(nearest, minlength=count)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        strays = points[torch.from_numpy(rng.integers(len(points), size=count))]
        centres = torch.where(sizes[:, None] > 0, sums / sizes.clamp(min=1)[:, None], strays)
    return centres


@lru_cache
def fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware tiles; without them it is slower."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


# -- export -------------------------------------------------------------------------------------------


def unit_codebook(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same model with a codebook of standard deviation 1, so that learning rates on the latent
    mean the same for every pack; the factor goes into the convolutions on both sides."""
    scale = state["quantize.embedding.weight"].std()
    scaled = dict(state)
    for name in ("quant_conv.weight", "quant_conv.bias", "quantize.embedding.weight"):
        scaled[name] = state[name] / scale
    scaled["post_quant_conv.weight"] = state["post_quant_conv.weight"] * scale
    return scaled


def write_export(folder: Path, config: VQGANConfig, state: dict[str, Tensor],
                 figures: dict[str, Any]) -> None:
    """vqgan_export.safetensors and .json: what `VQGAN.from_state` needs, and how good it is."""
    tensors = {name: value.contiguous() for name, value in unit_codebook(state).items()}
    path = folder / EXPORT
    _write(path, lambda part: save_file(tensors, part))
    text = json.dumps({"config": asdict(config), "figures": figures}, indent=2)
    _write(path.with_suffix(".json"), lambda part: part.write_text(text + "\n"))


def load_export(folder: Path = dataset.TRAINING) -> VQGAN:
    """The VQGAN as last exported into `folder`."""
    from safetensors.torch import load_file

    about = json.loads((folder / EXPORT).with_suffix(".json").read_text())
    return VQGAN.from_state(VQGANConfig(**about["config"]), load_file(folder / EXPORT))


def export(folder: Path = dataset.TRAINING) -> dict[str, Any]:
    """Measure the export in `folder` on held-out pictures and note the figures beside it."""
    path = (folder / EXPORT).with_suffix(".json")
    about = json.loads(path.read_text())
    about["figures"] |= measure(load_export(folder))
    _write(path, lambda part: part.write_text(json.dumps(about, indent=2) + "\n"))
    return about["figures"]


@torch.no_grad()
def measure(model: VQGAN, count: int = 64) -> dict[str, float]:
    """psnr_128, psnr_256 in dB (mean over pictures) and codes_used_*, on `count` held-out pictures."""
    figures: dict[str, float] = {}
    for size in (128, 256):
        used, psnrs = set(), []
        for picture in torch.from_numpy(dataset.held_out_pictures(size, count)).split(1):
            picture = picture.float() / 255
            codes = model.codes(model.encode(picture))
            used.update(codes.unique().tolist())
            error = model.decode(model.lookup(codes)) - picture
            psnrs.append(-10 * math.log10(error.square().mean().item()))
        figures |= {f"psnr_{size}": round(float(np.mean(psnrs)), 2), f"codes_used_{size}": len(used)}
    return figures


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Write under a temporary name and rename, so that a reader never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    write(unfinished)
    unfinished.replace(path)
