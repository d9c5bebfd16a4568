"""`python -m metamusic train sketch`: from nothing to the sketch pack, in one command.

Draws and plays the data, trains the VQGAN, then the joint space, then the robust tower, fills the bank,
exports, measures, and writes the card. Everything lies in .training/ and goes on where it stopped: a
stage that has had its time is passed over, so running the command again with more minutes trains on.
"""

import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import load_file

from metamusic.packs import Bank, PackInfo
from metamusic.sketch import dataset, train_joint, train_robust, train_vqgan
from metamusic.sketch.bank import export_pack
from metamusic.sketch.evaluate import evaluate
from metamusic.sketch.train_joint import write

PICTURE_SHARDS = 60  # of 100 pictures at 256 px
PAIR_SHARDS = 70  # of 500 pairs
SHARES = {"vqgan": 0.45, "joint": 0.42, "robust": 0.13}  # of the minutes
TRAINERS: dict[str, Callable[..., dict[str, Any]]] = {
    "vqgan": train_vqgan.train_vqgan, "joint": train_joint.train_joint, "robust": train_robust.train_robust}
FIGURES = "figures.json"
CARD = "README.md"


def main(minutes: float = 180.0, seed: int = 0, folder: Path = dataset.TRAINING, name: str = "sketch",
         picture_shards: int = PICTURE_SHARDS, pair_shards: int = PAIR_SHARDS) -> dict[str, float]:
    """Train the pack `name` for `minutes` in all and report its figures.

    Drawing the data (about a quarter of an hour on two cores) and filling the bank (about three) come on top.
    Raises ValueError for a budget that is not positive.
    """
    if minutes <= 0:
        raise ValueError(f"the budget must be more than 0 minutes, not {minutes}")
    with Progress(TextColumn("{task.description:<8}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
                  TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[news]}"),
                  console=Console(stderr=True)) as bars:
        _draw(folder, picture_shards, pair_shards, bars)
        for stage, train in TRAINERS.items():
            task = bars.add_task(stage, total=1.0, news="")
            figures = train(folder, seed, minutes=minutes * SHARES[stage], progress=_listener(bars, task))
            bars.update(task, completed=1.0)
            _note(folder, stage, figures)
    measured = finish(folder, seed, name)
    print(json.dumps(measured, indent=2))
    return measured


def finish(folder: Path = dataset.TRAINING, seed: int = 0, name: str = "sketch",
           bank: Bank | None = None) -> dict[str, float]:
    """Export what is trained, measure the exported pack as a stranger would, and write its card.

    A bank that was filled with the same VQGAN and plain tower may be given; otherwise it is filled.
    """
    info = export_pack(folder, name, seed, bank=bank)
    figures = evaluate(name)
    _write_card(info, folder, figures)
    return figures


def _draw(folder: Path, picture_shards: int, pair_shards: int, bars: Progress) -> None:
    """Make the shards that are missing, one process per core."""
    task = bars.add_task("data", total=picture_shards + pair_shards, news="")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(_make, "pictures", shard, folder) for shard in range(picture_shards)]
        jobs += [pool.submit(_make, "pairs", shard, folder) for shard in range(pair_shards)]
        for job in jobs:
            job.result()
            bars.advance(task)


def _make(kind: str, shard: int, folder: Path) -> None:
    """One shard, if it is missing; nothing is sent back between processes."""
    if not dataset.shard_file(folder, kind, shard).exists():
        {"pictures": dataset.picture_shard, "pairs": dataset.pair_shard}[kind](shard, folder)


def _listener(bars: Progress, task: TaskID) -> Callable[[train_joint.Report | train_vqgan.Progress], None]:
    """Moves a stage's bar as its trainer reports."""
    def listen(report: train_joint.Report | train_vqgan.Progress) -> None:
        news = report.news if isinstance(report, train_joint.Report) else f"{report.psnr:.1f} dB"
        bars.update(task, completed=report.share, news=news)

    return listen


def _note(folder: Path, stage: str, figures: dict[str, Any]) -> None:
    """Keep a stage's own figures beside the weights, for the card."""
    text = json.dumps(_noted(folder) | {stage: figures}, indent=2)
    write(folder / FIGURES, lambda path: path.write_text(text))


def _noted(folder: Path) -> dict[str, Any]:
    path = folder / FIGURES
    return json.loads(path.read_text()) if path.exists() else {}


# -- the card -----------------------------------------------------------------------------------------


def _write_card(info: PackInfo, folder: Path, figures: dict[str, float]) -> None:
    text = card(info, effort(folder), figures, _noted(folder))
    write(info.folder / CARD, lambda path: path.write_text(text, encoding="utf-8"))


def effort(folder: Path) -> dict[str, dict[str, float]]:
    """Steps, minutes and pairs that went into each stage, as its checkpoint counts them."""
    spent = {}
    for stage, file in (("vqgan", train_vqgan.CHECKPOINT), ("joint", train_joint.CHECKPOINT),
                        ("robust", train_robust.CHECKPOINT)):
        if (folder / file).exists():
            state = torch.load(folder / file, weights_only=True, mmap=True)
            spent[stage] = {"steps": state["step"], "minutes": round(state["seconds"] / 60, 1)}
            spent[stage] |= {"pairs": state["pairs"]} if "pairs" in state else {}
    return spent


def card(info: PackInfo, spent: dict[str, dict[str, float]], figures: dict[str, float],
         noted: dict[str, Any]) -> str:
    """The pack's card in Markdown: what it is, how it was trained, on what, how good it is.

    figures: what `evaluate` gives; noted: under `robust` what `train_robust` gives, under `recordings`
    what benchmarks/real_recordings.py prints, where they are known.
    """
    rows = "\n".join(f"| {_TITLES[key]} | {value:.1f} dB |" if key == "psnr"
                     else f"| {_TITLES[key]} | {value:.1%} |" for key, value in figures.items())
    stages = "\n".join(f"| {stage} | {each['steps']} | {each['minutes']} |" for stage, each in spent.items())
    files = "\n".join(f"| {file.file} | {_numbers(info.folder / file.file):,} | {file.bytes / 1e6:.1f} MB |"
                      for file in info.files.values())
    towers, heard = noted.get("robust"), noted.get("recordings")
    attacked = _ATTACKED.format(**{key: f"{value:.0%}" for key, value in towers.items()}) if towers else ""
    outside = _OUTSIDE.format(**heard) if heard else ""
    return _CARD.format(space=info.space, rows=rows, stages=stages, files=files, attacked=attacked + outside,
                        pairs=spent["joint"]["pairs"])


def _numbers(path: Path) -> int:
    """How many numbers a safetensors file holds."""
    total = 0
    for tensor in load_file(path).values():
        total += tensor.numel()
    return total


_TITLES = {
    "psnr": "repainting, mean PSNR over 64 pictures at 128 px",
    "codebook_used": "share of the codebook used on those 64",
    "audio_image_r1": "sound to picture, own one first of 64 (R@1)",
    "audio_image_r5": "sound to picture, own one among the first five of 64 (R@5)",
    "text_image_r1": "caption to picture, own one first of 64 (R@1)",
}

_ATTACKED = """
The robust tower finds a sound's own picture first of 64 in {robust_r1} of cases and, while the picture is
changed against it within an L2 radius of 1, in {robust_attacked_r1}; the plain tower manages {plain_r1} and
{plain_attacked_r1} on the same 64.
"""

_OUTSIDE = """
On {windows} windows of 2 s from recordings that were never trained on (sampled instruments, speech, weather;
`python -m benchmarks.real_recordings`), windows of one recording have a mean cosine of {within:.2f}, of
different ones {between:.2f}; they lead to {scenes} of the 16 scenes, the commonest taking {most:.0%}.
"""

_CARD = """# The sketch pack

Small weights that come with MetaMusic, so that a picture grows on a fresh machine without any download.
A VQGAN that paints, two image towers, a text tower and an audio tower that judge in one space
(`{space}`), and a bank of pictures to start from. Nothing in it comes from anybody else's data.

## What it was trained on
A procedural world: sixteen scenes (sunset, ocean, nebula, city, flames, forest, ink, mandala, storm, aurora,
dunes, bokeh, reef, snowfall, blossom, crystal) in moods of five axes (energy, brightness, warmth, roughness,
density). For every moment `metamusic/sketch/` draws a picture, plays two seconds of music and writes
captions that see the same mood and scene and nothing else of each other; the towers learned from {pairs:,}
such moments. There are no photographs and no recordings in it.

## How it was trained
`python -m metamusic train sketch` does all of it: a VQGAN (taming's encoder, decoder and quantiser behind a
pixel-unshuffle), the joint space (open_clip's CLIP with a small ModifiedResNet, wav2clip's ResNet narrowed,
InfoNCE between all three), and a second image tower hardened by adversarial training on drawn pictures,
on the VQGAN's repaintings and against junk. On two shared CPU cores, no GPU:

| stage | steps | minutes |
|---|---|---|
{stages}

## Figures
On moments never trained on, by `python -m metamusic evaluate sketch` (plain tower):

| | |
|---|---|
{rows}
{attacked}
## Files
Half precision on disk.

| file | numbers | size |
|---|---|---|
{files}

## What to expect, and what not
Pictures look like soft, painted posters of those sixteen scenes; nothing is photographic, and what is not
one of the scenes cannot appear. The start picture decides the composition, the music the choice, the
colours and the texture. Music unlike anything our synthesiser plays is heard as what it is closest to in
mood; speech and noises are heard as music. Words outside the captions' vocabulary of English scene and
mood words say nothing to the text tower.

## Licence
MIT, as the rest of MetaMusic.
"""
