"""The contact sheet in docs/: eight pieces of music, three seeds each, default settings.

    python benchmarks/contact_sheet.py docs/pictures/contact-sheet.png

Rows are pieces that our own generator plays (none of them a training item), columns are seeds.
"""

import sys
import tempfile
import wave
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import metamusic
from metamusic.sketch.music import play
from metamusic.sketch.world import Moment, Mood

PIECES = {
    "calm low pad": Moment(Mood(0.10, 0.20, 0.70, 0.05, 0.10), "sunset"),
    "night bells": Moment(Mood(0.12, 0.70, 0.10, 0.10, 0.20), "snowfall"),
    "slow waves": Moment(Mood(0.25, 0.40, 0.35, 0.35, 0.15), "ocean"),
    "plucked spring": Moment(Mood(0.35, 0.90, 0.85, 0.05, 0.45), "blossom"),
    "bright arpeggio": Moment(Mood(0.60, 0.90, 0.70, 0.05, 0.90), "mandala"),
    "night drive": Moment(Mood(0.75, 0.45, 0.30, 0.30, 0.80), "city"),
    "burning riff": Moment(Mood(0.95, 0.40, 0.85, 0.80, 0.75), "flames"),
    "thunder and drums": Moment(Mood(0.92, 0.12, 0.12, 0.92, 0.50), "storm"),
}
SEEDS = (1, 2, 3)
SECONDS = 8.0
SIDE, GAP, LABEL = 256, 8, 24


def main(output: Path) -> None:
    """Render all of them and lay them out, labels above each row."""
    height, width = len(PIECES) // 2 * (SIDE + GAP + LABEL), 2 * (len(SEEDS) * (SIDE + GAP) + GAP)
    sheet = Image.new("RGB", (width, height), "#101216")
    pen = ImageDraw.Draw(sheet)
    with tempfile.TemporaryDirectory() as folder:
        for row, (title, moment) in enumerate(PIECES.items()):
            song = write_song(Path(folder) / f"{row}.wav", moment, seed=1000 + row)
            left, top = (row % 2) * width // 2, row // 2 * (SIDE + GAP + LABEL)
            pen.text((left + 4, top + 6), title, fill="#ECE8E1")
            for column, seed in enumerate(SEEDS):
                picture = metamusic.generate_image(song, Path(folder) / "out.png", keep=False, seed=seed)
                place = (left + column * (SIDE + GAP), top + LABEL)
                sheet.paste(Image.open(picture.path), place)
                print(f"{title}, seed {seed}: {picture.seconds:.1f} s, {picture.scores}", flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(output)


def write_song(path: Path, moment: Moment, seed: int) -> Path:
    """A piece as a 16-bit WAV."""
    samples = play(moment, np.random.default_rng([77, seed]), SECONDS)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures/contact-sheet.png"))
