"""Train the sketch pack's joint space: pictures, sounds and captions of one moment side by side.

Contrastive learning after CLIP (Radford et al. 2021) and Wav2CLIP (Wu et al. 2022), with all three
towers learning together from nothing. Beside the contrast, one small linear head reads mood and scene
from every embedding; it is thrown away afterwards, but with a few thousand pairs it teaches the towers
what to attend to long before the contrast alone would.

Letters: n pairs, B batch, D embedding width, F frequencies, L spectrogram frames.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from metamusic.perceptor import SKETCH, NarrowResNet, Perceptor, PerceptorConfig
from metamusic.sketch import dataset
from metamusic.sketch.captions import describe
from metamusic.sketch.world import SCENE_NAMES, Moment, Mood

# The robust tower is a later fine-tune of the plain one, so one image tower is trained here.
PLAIN = replace(SKETCH, image_towers=1)
CHECKPOINT = "joint.pt"
EXPORT = "joint_export.safetensors"
AXES = 5  # of a mood
FULL_VIEW = 64  # px; what the towers look at


@dataclass(frozen=True)
class Recipe:
    """What worked. Times are shares of the whole budget."""

    batch: int = 64
    learning_rate: float = 1.5e-3
    warm_up: int = 100  # steps
    last_rate: float = 0.01  # of the first
    weight_decay: float = 0.02
    average_decay: float = 0.998
    hard_share: float = 0.5  # of the batches, drawn from few scenes: then only the mood tells pairs apart
    hard_scenes: int = 4
    smallest_crop: float = 0.55  # of a picture's side
    picture_noise: float = 0.3
    gain_spread: float = 0.3  # nepers of power, about 1.3 dB
    short_share: float = 0.2  # of the batches, heard for less than the whole clip
    text_weight: float = 0.7
    sound_text_weight: float = 0.3
    mood_weight: float = 3.0
    scene_weight: float = 0.3
    sharpest: float = 60.0  # inverse temperature
    checkpoint_s: float = 120.0


@dataclass(frozen=True)
class Report:
    """Where a training stands: the share of its budget in [0, 1], steps, seconds of work, and news."""

    share: float
    step: int
    seconds: float
    news: str

    def __str__(self) -> str:
        return f"{self.share:4.0%} step {self.step} {self.seconds:.0f} s {self.news}"


def train_joint(folder: Path = dataset.TRAINING, seed: int = 0, *, minutes: float,
                recipe: Recipe | None = None, progress: Callable[[Report], None] = print) -> dict[str, float]:
    """Train until `minutes` of work are spent, over all runs together; resumes from `folder`/joint.pt.

    Leaves joint_export.safetensors, the moving average of the towers, at every checkpoint; shards of
    pairs that appear meanwhile are picked up. Returns the figures of `retrieval` on validation pairs.
    """
    training = Training(folder, seed, recipe or Recipe())
    training.resume()
    saved = time.monotonic()
    while (share := training.seconds / 60 / minutes) < 1:
        loss = training.advance(share)
        if training.step % 50 == 0:
            progress(Report(share, training.step, training.seconds,
                            f"loss {loss:.3f} on {len(training.material)} pairs"))
        if time.monotonic() - saved > training.recipe.checkpoint_s:
            training.save()
            progress(Report(share, training.step, training.seconds, f"validation {training.validate()}"))
            saved = time.monotonic()
    training.save()
    return training.validate()


class Student(nn.Module):
    """The towers and what only training needs: the head that reads moods, and temperatures."""

    def __init__(self, config: PerceptorConfig) -> None:
        super().__init__()
        self.perceptor = Perceptor(config)
        self.head = nn.Linear(config.clip.embed_dim, AXES + len(SCENE_NAMES))
        # ln of the inverse temperatures of sound-picture, text-picture and sound-text.
        self.scales = nn.Parameter(torch.full((3,), math.log(10.0)))
        self.requires_grad_(True)
        # Words that training never shows stay at nought and say nothing, instead of something random.
        nn.init.zeros_(self.perceptor.clip.token_embedding.weight)
        nn.init.normal_(self.perceptor.clip.positional_embedding, std=0.02)

    def forward(self, pictures: Tensor, log_power: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit vectors [B, D] of pictures [B, 3, S, S], sounds [B, 1, F, L] and captions [B, context]."""
        perceptor, tower = self.perceptor, self.perceptor.audio
        encoder = tower.encoder
        assert isinstance(encoder, NarrowResNet)
        with torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16()):
            seen = perceptor.clip.visual((pictures - perceptor.mean) / perceptor.std)
            heard = tower.transform(encoder.hear(log_power))
        read = perceptor.clip.encode_text(tokens)  # so narrow that bfloat16 would only slow it down
        seen, heard, read = (F.normalize(each.float(), dim=-1) for each in (seen, heard, read))
        return seen, heard, read

    def judge(self, embeds: Tensor, moods: Tensor, scenes: Tensor, recipe: Recipe) -> Tensor:
        """How badly mood [B, 5] and scene [B] can be read from embeddings [B, D]."""
        # Unit vectors have entries of about 1 / sqrt(D); the head is given numbers of about one.
        told = self.head(embeds * math.sqrt(embeds.shape[1]))
        mood_error = F.mse_loss(told[:, :AXES], moods)
        return recipe.mood_weight * mood_error + recipe.scene_weight * F.cross_entropy(told[:, AXES:], scenes)


def contrast(one: Tensor, other: Tensor, log_scale: Tensor, sharpest: float) -> Tensor:
    """InfoNCE both ways between unit vectors [B, D] that belong together row by row (arXiv:1807.03748)."""
    logits = one @ other.T * log_scale.exp().clamp(max=sharpest)
    own = torch.arange(len(one))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


class Material:
    """All pairs at hand, in memory; `refresh` picks up shards that were made meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.perceptor = Perceptor(PLAIN)  # for its spectrogram and its tokenizer only
        self.pictures: list[Tensor] = []  # per shard uint8 [500, 3, 128, 128]
        self.log_power: list[Tensor] = []  # per shard float16 [500, F, L]
        self.moods = np.zeros((0, AXES), np.float32)
        self.scenes = np.zeros(0, np.int64)
        self.refresh()

    def __len__(self) -> int:
        return len(self.scenes)

    def refresh(self, at_least: int = 1) -> None:
        """Load what is new, in the order of the shards; the first ones are made if there are none."""
        known = len(self.pictures)
        ready = set(dataset.shards_at_hand("pairs", self.folder)) | set(range(at_least))
        while known in ready:
            pairs = dataset.pair_shard(known, self.folder)
            self.pictures.append(torch.from_numpy(pairs.pictures))
            self.log_power.append(spectrograms(self.perceptor, pairs.audio).half())
            self.moods = np.concatenate([self.moods, pairs.moods])
            self.scenes = np.concatenate([self.scenes, pairs.scenes])
            known += 1

    def draw(self, count: int, scenes: int | None, rng: np.random.Generator) -> np.ndarray:
        """`count` different pairs, of `scenes` random scenes only if that is given."""
        if scenes is None:
            return rng.choice(len(self), count, replace=False)
        chosen = rng.choice(len(SCENE_NAMES), scenes, replace=False)
        fitting = np.flatnonzero(np.isin(self.scenes, chosen))
        return rng.choice(fitting, min(count, len(fitting)), replace=False)

    def look(self, items: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> Tensor:
        """Random crops with noise, [B, 3, 64, 64], about [0, 1]."""
        pictures = torch.stack([self._of(self.pictures, item) for item in items]).float() / 255
        crops = random_crops(pictures, recipe.smallest_crop, rng)
        strength = recipe.picture_noise / 2 * rng.random((len(items), 1, 1, 1)) ** 2
        noise = rng.standard_normal(crops.shape, np.float32) * strength.astype(np.float32)
        return (crops + torch.from_numpy(noise)).contiguous(memory_format=torch.channels_last)

    def listen(self, items: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> Tensor:
        """Log power [B, 1, F, L], started anywhere, a little louder or softer, with a floor of noise."""
        heard = torch.stack([self._of(self.log_power, item) for item in items]).float()
        frames = heard.shape[-1]
        heard = heard.roll(int(rng.integers(frames)), dims=-1)
        if rng.random() < recipe.short_share:
            # Not under half: oneDNN's bfloat16 convolutions give NaN at layer4 for 31 frames (torch 2.11).
            heard = heard[..., : rng.integers(frames // 2, frames)]
        gain = torch.from_numpy(rng.normal(0, recipe.gain_spread, (len(items), 1, 1)).astype(np.float32))
        floor = torch.from_numpy(rng.uniform(-16, -5, (len(items), 1, 1)).astype(np.float32))
        return torch.logaddexp(heard + gain, floor)[:, None]

    def read(self, items: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Tokens [B, context] of new captions."""
        moods, scenes = self.moods[items].tolist(), self.scenes[items]
        moments = [Moment(Mood(*mood), SCENE_NAMES[scene]) for mood, scene in zip(moods, scenes, strict=True)]
        return self.perceptor.tokenizer([describe(moment, rng) for moment in moments])

    @staticmethod
    def _of(shards: list[Tensor], item: int) -> Tensor:
        shard, place = divmod(int(item), dataset.PAIRS_PER_SHARD)
        return shards[shard][place]


class Training:
    """The state of a training: towers, their moving average, optimiser, budget spent."""

    def __init__(self, folder: Path, seed: int, recipe: Recipe) -> None:
        self.folder, self.seed, self.recipe = folder, seed, recipe
        torch.manual_seed(seed)  # initial weights only; every later draw is counted by step
        self.student = Student(PLAIN).train()
        self.student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = {name: value.clone() for name, value in self.student.state_dict().items()}
        self.optimiser = torch.optim.AdamW(_groups(self.student, recipe.weight_decay),
                                           lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)
        self.material = Material(folder)
        self.step, self.seconds = 0, 0.0

    def advance(self, share: float) -> float:
        """One step at `share` in [0, 1) of the budget; gives the loss."""
        began = time.monotonic()
        rng = np.random.default_rng([self.seed, self.step, 1])
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate(share)
        loss = self._loss(rng)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.student.parameters(), 2.0)
        if torch.isfinite(norm):
            self.optimiser.step()
            self._follow()
        else:  # one bad batch would otherwise end the whole training
            self._heal()
        self.step += 1
        if self.step % 500 == 0:
            self.material.refresh()
        self.seconds += time.monotonic() - began
        return loss.item()

    def _loss(self, rng: np.random.Generator) -> Tensor:
        recipe, material = self.recipe, self.material
        few = recipe.hard_scenes if rng.random() < recipe.hard_share else None
        items = material.draw(recipe.batch, few, rng)
        pictures, sounds = material.look(items, recipe, rng), material.listen(items, recipe, rng)
        seen, heard, read = self.student(pictures, sounds, material.read(items, rng))
        moods, scenes = torch.from_numpy(material.moods[items]), torch.from_numpy(material.scenes[items])
        by_sound, by_text, sound_text = self.student.scales
        contrasts = (contrast(heard, seen, by_sound, recipe.sharpest)
                     + recipe.text_weight * contrast(read, seen, by_text, recipe.sharpest)
                     + recipe.sound_text_weight * contrast(heard, read, sound_text, recipe.sharpest))
        judged = [self.student.judge(each, moods, scenes, recipe) for each in (seen, heard, read)]
        return contrasts + judged[0] + judged[1] + 0.5 * judged[2]

    def _rate(self, share: float) -> float:
        """Learning rate: a short warm-up, then half a cosine down to `last_rate`."""
        fall = self.recipe.last_rate + (1 - self.recipe.last_rate) * (1 + math.cos(math.pi * share)) / 2
        return self.recipe.learning_rate * min(1, (self.step + 1) / self.recipe.warm_up) * fall

    @torch.no_grad()
    def _follow(self) -> None:
        """The moving average of weights and statistics; quicker at the start, to forget the first noise."""
        decay = min(self.recipe.average_decay, (1 + self.step) / (10 + self.step))
        state = self.student.state_dict()
        moving = [name for name, value in state.items() if value.is_floating_point()]
        slow, quick = [self.average[name] for name in moving], [state[name] for name in moving]
        torch._foreach_lerp_(slow, quick, 1 - decay)

    @torch.no_grad()
    def _heal(self) -> None:
        """Take the average's statistics for those that a bad batch has spoilt."""
        for name, value in self.student.named_buffers():
            if not value.isfinite().all():
                value.copy_(self.average[name])

    def perceptor(self) -> Perceptor:
        """The moving average, frozen, ready to judge."""
        perceptor = Perceptor(PLAIN)
        perceptor.load(_towers(self.average))
        return perceptor

    def validate(self) -> dict[str, float]:
        """`retrieval` over pairs that are neither trained on nor part of the pack's published figures."""
        pairs = dataset.held_out_pairs(1, self.folder)
        return retrieval(self.perceptor(), pairs)

    # -- files ----------------------------------------------------------------------------------------

    def save(self) -> None:
        """The checkpoint and, beside it, the towers as they would be exported now."""
        state = {"student": self.student.state_dict(), "average": self.average, "step": self.step,
                 "optimiser": self.optimiser.state_dict(), "seconds": self.seconds, "config": PLAIN.to_dict(),
                 "pairs": len(self.material)}
        write(self.folder / CHECKPOINT, lambda path: torch.save(state, path))
        towers = {name: value.contiguous() for name, value in _towers(self.average).items()}
        write(self.folder / EXPORT, lambda path: save_file(towers, path))

    def resume(self) -> None:
        """Go on from the checkpoint in the folder, if there is one."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        if PerceptorConfig.from_dict(state["config"]) != PLAIN:
            raise ValueError(f"{path} is of another shape; move it away to start anew")
        self.student.load_state_dict(state["student"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average, self.step, self.seconds = state["average"], state["step"], state["seconds"]


# -- measuring ----------------------------------------------------------------------------------------


@torch.no_grad()
def retrieval(perceptor: Perceptor, pairs: dataset.Pairs, among: int = 64) -> dict[str, float]:
    """How often the plain tower puts a sound's or a caption's own picture first, or among five.

    Means over draws of `among` pairs; every picture whole, every sound one clip per call, of the
    captions the first. Keys audio_image_r1, audio_image_r5, text_image_r1, text_image_r5 in [0, 1].
    """
    seen = torch.cat([perceptor.embed_images(full_view(some))[0]
                      for some in torch.from_numpy(pairs.pictures).split(64)])
    heard = torch.stack([perceptor.embed_audio(clip.astype(np.float32)) for clip in pairs.audio])
    read = perceptor.embed_text([str(captions[0]) for captions in pairs.captions])
    figures: dict[str, float] = {}
    for name, queries in (("audio_image", heard), ("text_image", read)):
        draws = zip(queries.split(among), seen.split(among), strict=True)
        rank = torch.cat([ranks(asked, answers) for asked, answers in draws if len(asked) == among])
        figures |= {f"{name}_r{k}": round((rank < k).float().mean().item(), 4) for k in (1, 5)}
    return figures


def ranks(queries: Tensor, answers: Tensor) -> Tensor:
    """How many answers [n, D] are not clearly behind each query's own, [n]; ties and NaN count against."""
    similarity = queries @ answers.T
    own = similarity.diag()[:, None]
    return len(answers) - (similarity < own).sum(1) - 1


def full_view(pictures: Tensor) -> Tensor:
    """Whole pictures as the towers see them: uint8 [n, 3, S, S] -> [n, 3, 64, 64] in [0, 1]."""
    return F.interpolate(pictures.float() / 255, (FULL_VIEW, FULL_VIEW), mode="area")


# -- material -----------------------------------------------------------------------------------------


def random_crops(pictures: Tensor, smallest: float, rng: np.random.Generator) -> Tensor:
    """Square crops, half of them mirrored, [B, 3, S, S] -> [B, 3, 64, 64].

    Pictures come at twice the size that leaves, so bilinear sampling between four pixels is enough.
    """
    count = len(pictures)
    side = smallest + (1 - smallest) * rng.random(count) ** 0.8
    theta = np.zeros((count, 2, 3), np.float32)
    theta[:, 0, 0] = side * np.where(rng.random(count) < 0.5, -1, 1)
    theta[:, 1, 1] = side
    theta[:, :, 2] = rng.uniform(-1, 1, (count, 2)) * (1 - side)[:, None]
    grid = F.affine_grid(torch.from_numpy(theta), [count, 3, FULL_VIEW, FULL_VIEW], align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)


@torch.no_grad()
def spectrograms(perceptor: Perceptor, audio: np.ndarray) -> Tensor:
    """Log power float32 [n, F, L] of clips [n, T]."""
    encoder = perceptor.audio.encoder
    assert isinstance(encoder, NarrowResNet)
    return torch.cat([encoder.log_power(clips.float())[:, 0] for clips in torch.from_numpy(audio).split(100)])


def fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware tiles; without them it is slower."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


def write(path: Path, how: Callable[[Path], object]) -> None:
    """Write under a temporary name and rename, so that a reader never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    how(unfinished)
    unfinished.replace(path)


def _groups(student: Student, weight_decay: float) -> list[dict[str, Any]]:
    """Weights with decay; norms, biases, temperatures and words, which may be rare, without."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, value in student.named_parameters():
        (free if value.ndim < 2 or "embedding" in name else decayed).append(value)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def _towers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The perceptor's part of a student's state."""
    prefix = "perceptor."
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
