"""The guide and the README: every command that they show does what they say, on small weights and small pictures.

A command is run as it stands, through the real command line, in a folder with the files that it names; only then,
when its settings have been read and found good, are size and steps brought down to what a test can afford.
"""

import contextlib
import re
import shlex
import shutil
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import official
import pytest
import torch
from hostile import Hostile
from models import PERCEPTOR
from PIL import Image
from shop import open_shop
from typer.testing import CliRunner

import metamusic
from metamusic import cli, ffmpeg, studio
from metamusic.formula import check_formula
from metamusic.lyrics import parse_lyrics
from metamusic.metadata import read_settings
from metamusic.packs import write_pack
from metamusic.perceptor import Perceptor
from metamusic.phrases import parse_prompts, parse_where
from metamusic.settings import CHECKOUT, RenderSettings, knobs
from metamusic.story import parse_story
from metamusic.video import probe_video

GUIDE = (CHECKOUT / "docs" / "guide.md").read_text(encoding="utf-8")
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NETWORK = "# needs the network\n"
CALL = "python -m metamusic "
LARGEST = {"width": 64, "height": 64, "steps": 3, "cutouts": 2, "fps": 2, "steps_per_frame": 1, "loudness_steps": 1,
           "duration": 10}  # what a test can afford; settings below that stay as they are
FILES = {name: text for kind, name, text in BLOCK.findall(GUIDE) if kind == "text"}
BLOCKS = [text for kind, _, text in BLOCK.findall(GUIDE) if kind == "sh"]
SPECIAL = ("again.png", "small.jpg", "first.png:0.8")  # in blocks that have tests of their own
RUN = [text for text in BLOCKS if not text.startswith(NETWORK) and not any(name in text for name in SPECIAL)]
# Which score of a still proves that a setting has acted.
LOSSES = {"text": "text 1", "image_prompts": "picture 1", "noise_prompts": "noise", "lyrics": "lyrics"}
NOT_SHOWN = {"bank_mix", "init_pull", "cut_noise"}  # of our own looks, and no kind of guidance
NAMED = {*LOSSES, "story", "target", "init_image"}


def title(block: str) -> str:
    """The heading above a block, for the names of the tests."""
    return re.findall(r"^## (.*)$", GUIDE[: GUIDE.index(block)], re.MULTILINE)[-1]


# -- where the commands are run -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """All files that the guide names but its own texts: songs, pictures, and weights as others publish them."""
    files, shop, server = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("shop"), Hostile()
    for name, hertz in {"song": 110, "first": 440, "second": 1500, "third": 4000}.items():
        song(files / f"{name}.mp3", hertz)
    ramp = np.linspace(0, 255, 80).astype(np.uint8)
    Image.fromarray(np.dstack(np.broadcast_arrays(ramp[:60, None], ramp, 255 - ramp))).save(files / "photo.jpg")
    Image.fromarray(np.dstack([ramp[None, :].repeat(50, 0)] * 3)[..., ::-1]).save(files / "other.png")
    Image.fromarray(np.where(ramp[None, :].repeat(40, 0) > 128, 255, 0).astype(np.uint8)).save(files / "mask.png")
    open_shop(shop, server)
    server.close()  # nothing is fetched here
    official.vqgan_yaml(files / "model.yaml", official.SMALL)
    for name, key in {"model.ckpt": "twin-vqgan", "ViT-B-32.pt": "tiny-clip", "Wav2CLIP.pt": "tiny-wav2clip"}.items():
        shutil.copyfile(shop / key, files / name)
    (files / "Downloads").mkdir()
    for key in ("tiny-vqgan", "tiny-clip", "tiny-wav2clip"):
        shutil.copyfile(shop / key, files / "Downloads" / f"{key} (1).bin")
    return files, shop / "catalogue.toml"


def song(path: Path, hertz: float) -> None:
    """Forty seconds of a tone that is struck twice a second, as mp3."""
    rate, raw = 16_000, path.with_suffix(".wav")
    time = np.arange(41 * rate) / rate
    sound = np.sin(2 * np.pi * hertz * time) * np.exp(-6 * (time % 0.5)) * np.linspace(0.2, 0.9, len(time))
    with wave.open(str(raw), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((sound * 32767).astype("<i2").tobytes())
    assert ffmpeg.run(["-y", *ffmpeg.source(raw), ffmpeg.spell(path)])[0] == 0
    raw.unlink()


@pytest.fixture(scope="module")
def home(tmp_path_factory, made, tiny_checkpoints):
    """A data folder with seven renders in it, small packs under the names that the guide fetches, no network."""
    checkpoints = tmp_path_factory.mktemp("packs")
    shutil.copytree(tiny_checkpoints / "sketch", checkpoints / "sketch")
    shutil.copytree(tiny_checkpoints / "sketch", checkpoints / "imagenet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METAMUSIC_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("METAMUSIC_DATABASE_URL", raising=False)
        patch.setenv("METAMUSIC_CHECKPOINTS", str(checkpoints))
        patch.setenv("METAMUSIC_CATALOGUE", str(made[1]))
        patch.setattr("psutil.cpu_count", lambda logical=True: 1)  # several threads crawl where much is running
        rename(checkpoints / "imagenet")
        judge("clip-vit-b16")
        for seed in range(7):
            metamusic.generate_image(made[0] / "song.mp3", checkpoints / "seven.png", seed=seed, duration=1.0,
                                     steps=1, width=64, height=64, cutouts=1)
        yield


def rename(folder: Path) -> None:
    manifest = folder / "pack.json"
    manifest.write_text(re.sub(r'("name":\s*)"sketch"', rf'\1"{folder.name}"', manifest.read_text()))


def judge(name: str) -> None:
    """A small CLIP as a pack of its own, without ears."""
    config = replace(PERCEPTOR, space="tests/judge", audio=None)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        write_pack(name, title="Judge", licence="MIT", perceptor=(config, Perceptor(config).state_dict()))


@pytest.fixture
def folder(home, made, tmp_path, monkeypatch):
    """The current folder of one block, with everything in it that it may name."""
    for path in made[0].iterdir():
        (tmp_path / path.name).symlink_to(path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    gather = cli.gather_settings
    monkeypatch.setattr(cli, "gather_settings", lambda *wishes: affordable(gather(*wishes)))
    return tmp_path


def affordable(settings: RenderSettings) -> RenderSettings:
    """The same, but no larger or longer than a test can wait for."""
    values = {name: getattr(settings, name) for name in LARGEST}
    return settings.changed(**{name: LARGEST[name] if value is None else min(value, LARGEST[name])
                               for name, value in values.items()})


# -- the commands -------------------------------------------------------------------------------------


def commands(block: str) -> list[str]:
    """The commands of a block, without the remarks behind them."""
    return [re.split(r"\s+# ", line)[0] for line in block.splitlines() if line.startswith("python -m")]


def run(command: str, folder: Path) -> None:
    """Run one command and look at what it left; MetaMusic's refusals come through as errors."""
    assert command.startswith(CALL), command
    command, _, written_to = command.partition(" > ")
    words = shlex.split(command.removeprefix(CALL))
    words = [official.SMALL_CLIP if word == "ViT-B-32-quickgelu" else word for word in words]
    result = CliRunner().invoke(cli.app, words, catch_exceptions=False)
    assert result.exit_code == 0, f"{command}: {result.output}"
    if written_to:
        (folder / written_to.strip()).write_text(result.stdout, encoding="utf-8")
    if words[0] in ("image", "video"):
        look(words, folder)


def look(words: list[str], folder: Path) -> None:
    """What came out is a picture or a film of what was asked for, led by it."""
    path = folder / words[words.index("-o") + 1]
    settings = read_settings(path)
    lost = [name for name in flags(words) if name in NAMED and not getattr(settings, name)]
    assert not lost, f"{lost} did not arrive"
    if words[0] == "video":
        facts = probe_video(path)
        assert facts.has_audio and facts.frames == round((settings.duration or 0) * settings.fps)
        return
    with Image.open(path) as picture:
        assert picture.size == (settings.width, settings.height)
    if "--no-keep" not in words:
        with contextlib.closing(studio.open_store()) as store:
            acted = set(store.list_renders().rows[0].scores)
        for name, loss in LOSSES.items():
            assert not getattr(settings, name) or any(key.startswith(loss) for key in acted), (name, acted)
        assert ("audio" in acted) == (settings.audio_weight != 0)


def flags(words: list[str]) -> dict[str, str]:
    """The settings among a command's words."""
    known = {f"--{knob.name.replace('_', '-')}": knob.name for knob in knobs()}
    return {known[word]: value for word, value in zip(words, words[1:], strict=False) if word in known}


@pytest.mark.parametrize("block", RUN, ids=[title(block) for block in RUN])
def test_the_commands_of_the_guide_work(block, folder):
    for command in commands(block):
        run(command, folder)


def test_only_what_needs_the_network_is_not_run():
    left_out = [command for block in BLOCKS if block.startswith(NETWORK) for command in commands(block)]
    assert left_out == [f"{CALL}packs get clip-vit-b16 --yes", f"{CALL}packs get imagenet --yes"]
    lines = [line for block in BLOCKS for line in block.splitlines() if line and line != NETWORK.strip()]
    assert len(lines) == sum(len(commands(block)) for block in BLOCKS), "every line is a command"
    assert {kind for kind, _, _ in BLOCK.findall(GUIDE)} == {"sh", "text"}


def test_a_picture_gives_itself_again(folder):
    """What the guide promises of --settings."""
    (block,) = (block for block in BLOCKS if "again.png" in block)
    for command in commands(block):
        run(command, folder)
    picture, again, another, mine = (np.asarray(Image.open(folder / f"{name}.png"))
                                     for name in ("picture", "again", "another", "mine"))
    assert np.array_equal(picture, again) and np.array_equal(picture, mine) and not np.array_equal(picture, another)
    (block,) = (block for block in BLOCKS if "small.jpg" in block)
    for command in commands(block):
        run(command, folder)
    assert read_settings(folder / "small.json") == read_settings(folder / "small.jpg")


def test_all_three_songs_are_in_the_cover(folder):
    """Another one of them, and the cover is judged otherwise: each has its say."""
    (block,) = (block for block in BLOCKS if "first.png:0.8" in block)
    judged = []
    for exchanged in ("none", "first", "second", "third"):
        for command in commands(block):
            run(command.replace(f"image {exchanged}.mp3", "image song.mp3"), folder)
        with contextlib.closing(studio.open_store()) as store:
            judged.append(store.list_renders().rows[0].scores)
    usual, *others = judged
    for name, other in zip(("picture 1", "picture 2", "audio"), others, strict=True):
        assert usual[name] != other[name], name


def test_the_readmes_commands_work(folder):
    shown = [command for _, _, block in BLOCK.findall(README) for command in commands(block)]
    assert len(shown) >= 5
    slow = {"worker", "evaluate", "train"}  # run until interrupted, for minutes and for hours
    assert {shlex.split(command)[3] for command in shown} >= slow | {"image", "video", "settings"}
    for command in shown:
        if shlex.split(command)[3] not in slow and "packs get" not in command:
            run(command, folder)


# -- what is said beside them -------------------------------------------------------------------------


def table(head: str) -> list[str]:
    """The first column of the table whose first heading this is, without its back quotes."""
    rows = GUIDE.split(f"| {head} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [re.match(r"\| `(.*?)` \|", row)[1].replace("\\|", "|") for row in rows]


def test_the_grammar_is_as_the_tables_have_it():
    prompts = {line: parse_prompts(line) for line in table("prompt")}
    assert prompts["a storm:1:0.6"][0].stop == 0.6 and prompts["a storm:(2*bass)"][0].formula == "(2*bass)"
    assert len(prompts["a storm | a city:0.3"]) == 2 and prompts["a storm @ left"][0].where == "left"
    assert prompts["rain at 12:30:1:-inf"][0].text == "rain at 12:30"
    for formula in table("formula"):
        check_formula(formula)
    assert [parse_where(place).kind for place in table("place")] == ["region", "picture", "words", "words"]
    assert parse_where(table("place")[-1]).inverted
    for line in table("lyrics"):
        assert parse_lyrics(f"1\n{line}\ntext" if "-->" in line else line)[0].text == "text"
    for scene in table("scene"):
        assert parse_story(scene, 8, 1).scenes


def test_every_setting_that_guides_is_shown():
    shown = {name for block in BLOCKS for command in commands(block) for name in flags(shlex.split(command))}
    for knob in knobs():
        if knob.group in ("Guidance", "Lyrics", "Story", "Pictures", "Start", "Cutouts", "Song"):
            assert knob.name in shown or knob.name in NOT_SHOWN, knob.name


def test_links_lead_somewhere():
    anchors = {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-")
               for head in re.findall(r"^#+ (.*)$", GUIDE, re.MULTILINE)}
    for link in re.findall(r"\]\(([^)]+)\)", GUIDE):
        assert link.removeprefix("#") in anchors if link.startswith("#") else (CHECKOUT / "docs" / link).is_file()


def test_the_words_of_the_recipes_are_known_to_the_sketch_pack():
    """Else who tries them would see no difference."""
    from metamusic.sketch.captions import VOCABULARY

    texts = [flags(shlex.split(command)).get("text", "") for block in RUN for command in commands(block)
             if "--pack" not in command]
    specs = [spec for text in texts for spec in parse_prompts(text)]
    specs += [spec for scene in parse_story(FILES["story.txt"], 8, 1).scenes for spec in scene.prompts]
    words = " ".join([spec.text for spec in specs] + [line.text for line in parse_lyrics(FILES["song.lrc"])])
    assert set(re.findall(r"[a-z]+", words.lower())) <= set(VOCABULARY)
