"""The sheet of guidance in docs/: one song, one row per kind of guidance, so that one sees what each does.

    python benchmarks/guidance_sheet.py docs/pictures/guidance.png

Every row begins with what is given (a picture, or words) and goes on with what comes of it; the song, the pack
(sketch) and the seed are the same throughout, and what is not named is as by default.
"""

import sys
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from contact_sheet import write_song
from PIL import Image, ImageDraw, ImageFont

import metamusic
from metamusic.pictures import read_picture
from metamusic.settings import BUILT_IN_PRESETS
from metamusic.sketch.scenes import draw
from metamusic.sketch.world import SCENES, Moment
from metamusic.video import decode_frames

SIDE, GAP, LABEL, WORDS = 192, 8, 22, 236
PICTURES = 4
PAPER, INK, DIM = "#101216", "#ECE8E1", "#9C978E"
SEED = 4
FONT = Path(__file__).resolve().parent.parent / "static"


@dataclass(frozen=True)
class Shot:
    """One picture: what changes, or, for a film, the seconds that are shown of it."""

    label: str
    settings: dict[str, object]
    given: Path | None = None


@dataclass(frozen=True)
class Row:
    """A kind of guidance. film: one film, of which the shots' labels name the seconds."""

    title: str
    about: str
    shots: Sequence[Shot]
    film: dict[str, object] | None = None


def rows(folder: Path) -> list[Row]:
    """What the sheet shows."""
    sea, city, mask = (folder / f"{name}.png" for name in ("sea", "city", "mask"))
    return [
        Row("Music alone", "Four seeds: one song, several pictures.",
            [Shot(f"seed {seed}", {"seed": seed}) for seed in (4, 5, 6, 9)]),
        Row("Words beside the music", "text: a weight says how much, a negative one pushes away.",
            [Shot(text, {"text": text}) for text in ("snow:0.5", "snow:2", "flames:2", "pink:-2")]),
        Row("Lyrics", "lyrics: each line acts while it is sung; the four pictures are of one film.",
            [Shot(f"{second:g} s", {}) for second in (0.9, 2.9, 4.9, 6.9)],
            film={"lyrics": "[00:00]a city at night\n[00:02]snow is falling\n[00:04]flames\n[00:06]waves of the sea",
                  "lyrics_mix": "instead"}),
        Row("A story", "story: scenes cross-fade; settings may change with them.",
            [Shot(f"{second:g} s", {}) for second in (0.9, 2.9, 4.9, 6.9)],
            film={"story": "0:00 dunes:2\n0:02 forest:2\n0:04 aurora:2\n0:06 coral reef:2", "audio_weight": 0.3}),
        Row("A picture's content", "image_prompts: seen through CLIP, like a prompt; -1 pushes away from it.",
            [Shot("given", {}, sea), *(Shot(f"weight {weight:g}", {
                "image_prompts": f"{sea}:{weight:g}", "audio_weight": 0.3}) for weight in (0.5, 2, -1))]),
        Row("A picture's pixels", "target: mean squared error, 4 x weight.",
            [Shot("given", {}, city), *(Shot(f"weight {weight:g}", {
                "target": str(city), "target_weight": weight, "steps": 120, "coarse_share": 0.0,
                "init_pull": 0.0}) for weight in (1, 4, 20))]),
        Row("A picture to begin with", "init_image: painted over, the further the more steps.",
            [Shot("given", {}, city), *(Shot(f"{steps} steps", {
                "init_image": str(city), "steps": steps, "coarse_share": 0.0,
                "init_pull": 0.0}) for steps in (10, 40, 120))]),
        Row("Other beginnings", "init: where the first latent comes from.",
            [Shot(init, {"init": init, "steps": 80}) for init in ("random", "smooth", "noise", "gradient")]),
        Row("Places", "@ where: a prompt acts in a part of the picture, a mask, or where words find it.",
            [Shot("ocean @ left | flames @ right", {
                "text": "ocean:2 @ left | flames:2 @ right", "audio_weight": 0.3}),
             Shot("snow | aurora @ sky", {"text": "snow on mountains:2 | aurora:2 @ sky", "audio_weight": 0.0}),
             Shot("mask given", {}, mask),
             Shot("snow | flames @ [mask]", {"text": f"snow:2 | flames:2 @ [{mask}]", "audio_weight": 0.3})]),
        Row("Noise prompts", "noise_prompts: a push in no direction in particular.",
            [Shot(f"seed {seed}", {"noise_prompts": f"{seed}:2"}) for seed in (1, 2, 3, 4)]),
        Row("Cutouts", "cut_method: how the judges look.",
            [Shot(method, {"cut_method": method, "cutouts": 16}) for method in
             ("original", "updated", "updatedpooling", "latest")]),
        Row("The family's own ways", "Presets: as four other systems paint (docs/family.md).",
            [Shot("metamusic-2023", {"preset": "metamusic-2023"}),
             Shot("vqgan-clip", {"preset": "vqgan-clip", "text": "waves of the sea", "steps": 200}),
             Shot("music2video", {"preset": "music2video"}), Shot("wav2clip", {"preset": "wav2clip", "steps": 200})]),
    ]


def main(output: Path) -> None:
    """Render all of it and lay it out."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_givens(folder)
        song = write_song(folder / "song.wav", Moment(SCENES["blossom"], "blossom"), seed=1003)
        shown = rows(folder)
        width, height = WORDS + PICTURES * (SIDE + GAP) + GAP, len(shown) * (SIDE + LABEL + GAP) + GAP
        sheet = Image.new("RGB", (width, height), PAPER)
        for number, row in enumerate(shown):
            lay(sheet, GAP + number * (SIDE + LABEL + GAP), row, paint(row, song, folder))
            print(row.title, flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(output, optimize=True)


def draw_givens(folder: Path) -> None:
    """Pictures to give: two that our own generators draw, and a mask."""
    for name, scene in (("sea", "ocean"), ("city", "city")):
        pixels = draw(Moment(SCENES[scene], scene), np.random.default_rng([5, 11]), 256)
        Image.fromarray((pixels.transpose(1, 2, 0) * 255).round().astype(np.uint8)).save(folder / f"{name}.png")
    mask = Image.new("L", (256, 256))
    ImageDraw.Draw(mask).ellipse((58, 58, 198, 198), fill=255)
    mask.save(folder / "mask.png")


def paint(row: Row, song: Path, folder: Path) -> list[np.ndarray]:
    """The pictures of a row, uint8 [H, W, 3]."""
    if row.film is not None:
        film = metamusic.generate_video(song, folder / "film.mp4", keep=False, seed=SEED, fps=8, **row.film)
        frames = list(decode_frames(film.path))
        return [frames[round(float(shot.label.split()[0]) * 8)] for shot in row.shots]
    return [read_picture(shot.given) if shot.given else still(shot, song, folder) for shot in row.shots]


def still(shot: Shot, song: Path, folder: Path) -> np.ndarray:
    """One picture of the song under a shot's settings."""
    values = dict(shot.settings)
    preset = BUILT_IN_PRESETS[str(values.pop("preset", "Standard"))]
    made = metamusic.generate_image(song, folder / "out.png", keep=False,
                                    **{**preset, "width": 256, "height": 256, "seed": SEED, **values})
    return read_picture(made.path)


def lay(sheet: Image.Image, top: int, row: Row, pictures: list[np.ndarray]) -> None:
    """A row: its words on the left, its pictures with their labels."""
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP + 4, top + LABEL), row.title, fill=INK, font=font(17))
    for number, line in enumerate(textwrap.wrap(row.about, 34)):
        pen.text((GAP + 4, top + LABEL + 28 + 19 * number), line, fill=DIM, font=font(13))
    for place, (shot, pixels) in enumerate(zip(row.shots, pictures, strict=True)):
        left = WORDS + place * (SIDE + GAP)
        pen.text((left, top + 3), shot.label, fill=INK if shot.given is None else DIM, font=font(13))
        sheet.paste(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, top + LABEL))


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The pages' own typeface where Pillow can read it."""
    for path in sorted(FONT.rglob("inter-latin-wght*")):
        return ImageFont.truetype(path, size)
    return ImageFont.load_default(size)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures/guidance.png"))
