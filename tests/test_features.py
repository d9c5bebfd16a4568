"""docs/features.md: every row of the family's features and of the original's defects, with what proves it.

Below the checks of the tables stand the proofs that had no place elsewhere: what is looked for in the code itself,
and the defects that only a whole render could show.
"""

import ast
import re
import sys
import threading
import wave
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import packages_distributions
from pathlib import Path

import click
import numpy as np
import pytest
import torch
import typer
from hostile import Answer, Hostile
from models import make_song, tiny_models
from PIL import Image

import metamusic
from db import Store
from metamusic import studio
from metamusic.cli import app
from metamusic.errors import MetaMusicError
from metamusic.events import Finished, Frame, Preview, Step
from metamusic.optimisers import OPTIMISERS
from metamusic.phrases import parse_prompts
from metamusic.plan import ExecutionPlan, apply_plan, plan_differences
from metamusic.render import render
from metamusic.settings import CHECKOUT, RenderSettings
from metamusic.video import decode_frames
from metamusic.worker import run_now
from metamusic.worker.models import models_of

TEXT = (CHECKOUT / "docs" / "features.md").read_text(encoding="utf-8")
ROWS = {
    "Guidance": [
        "Weighted text prompts", "Negative weight / stop", "Image prompts (CLIP)", "Noise prompts",
        "Timestamped lyrics as prompts", "Audio AND text mixed with weights at once", "Pixel target image loss",
        "Init image", "Init noise pixels/gradient", "Init-weight regulariser", "Semantic/spatial masks",
        "Prompt stories / scenes over time", "Cross-fade between segments/prompts",
        "Prompt weight as function of audio"],
    "Generators: the VQGAN ones": [
        "VQGAN ImageNet 1024/16384", "Other VQGANs (coco, sflckr, faceshq, wikiart)", "Gumbel f8",
        "Choice of CLIP / several CLIPs at once", "Model download + cache"],
    "Canvas, cutouts, optimisers": [
        "Five cutout methods", "11 selectable augments", "8 optimisers", "LR schedule/plateau",
        "TV / smoothness loss", "Gradient accumulation over cuts", "Mixed precision", "VRAM-aware default size"],
    "Output, metadata, reproducibility": [
        "Parameters in PNG", "Parameters in JPG / MP4", "Sidecar settings, reloadable", "Seed always recorded",
        "Code commit / model hash recorded", "Seed governs the initial image too", "Deterministic mode"]}
DEFECTS = "The defects of the original, and whether they can come back"
STILL = RenderSettings(seed=1, width=64, height=64, steps=3, cutouts=2, canvas="pixels", init="smooth")
SMALL = {"seed": 1, "width": 64, "height": 64, "steps": 2, "cutouts": 2}


def table(head: str) -> list[list[str]]:
    """The cells of the table under a heading, row by row, without the headings of its columns."""
    lines = TEXT.split(f"## {head}\n", 1)[1].split("\n## ", 1)[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]
    return rows[1:]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# -- the tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ROWS)
def test_every_feature_of_the_family_is_here(group):
    rows = table(group)
    assert [row[0] for row in rows] == ROWS[group]
    for name, who, here, setting, proofs in rows:
        assert who and here.startswith("yes") and names(setting) and names(proofs), name


def test_every_defect_is_answered():
    rows = table(DEFECTS)
    assert [row[0] for row in rows] == [f"D{number}" for number in range(1, 27)]
    for name, wrong, reason, proofs in rows:
        assert wrong and reason and names(proofs), name


@pytest.mark.parametrize("wish", sorted({wish for group in ROWS for row in table(group) for wish in names(row[3])}))
def test_every_setting_and_verb_exists(wish):
    name, _, value = wish.partition("=")
    if value:
        RenderSettings.parse({name: value})
    elif wish not in RenderSettings.model_fields:
        assert wish.startswith("--") or " " in wish
        assert_on_the_command_line(wish.split())


def assert_on_the_command_line(words: list[str]) -> None:
    """`--flag` of `image`, `verb`, or `verb --flag`."""
    command: click.Command = typer.main.get_command(app)
    for word in ["image", *words] if words[0].startswith("--") else words:
        if word.startswith("--"):
            assert any(word in parameter.opts for parameter in command.params), word
        else:
            command = command.commands[word]  # type: ignore[attr-defined]


def test_every_proof_exists():
    known = {f"{path.name}::{node.name}" for path in (CHECKOUT / "tests").glob("test_*.py")
             for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)}
    named = {proof for group in (*ROWS, DEFECTS) for row in table(group) for proof in names(row[-1])}
    assert not named - known


# -- what is looked for in the code itself ------------------------------------------------------------


def code() -> Iterator[tuple[Path, ast.Module]]:
    """Every file of the product."""
    parts = [path for name in ("metamusic", "db", "pages") for path in (CHECKOUT / name).rglob("*.py")]
    for path in [CHECKOUT / "app.py", CHECKOUT / "serve.py", *parts]:
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def found(*kinds: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """Nodes of some kinds, each with the place to look at."""
    for path, tree in code():
        for node in ast.walk(tree):
            if isinstance(node, kinds):
                yield f"{path.relative_to(CHECKOUT)}:{getattr(node, 'lineno', 0)}", node


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    for place, node in found(ast.Call):
        assert isinstance(node, ast.Call)
        yield place, ast.unparse(node.func), node


def test_everything_imported_is_required():
    """D3: what pip knows a module by must be among what is installed for MetaMusic."""
    imported = {name.split(".")[0] for _, node in found(ast.Import, ast.ImportFrom) for name in
                ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])}
    strange = imported - set(sys.stdlib_module_names) - {"metamusic", "db", "pages", "app", "serve"}
    pinned = {plain(name) for name in re.findall(r"^([\w.-]+)==", (CHECKOUT / "requirements.txt").read_text(), re.M)}
    providers = packages_distributions()
    missing = {module for module in strange if not {plain(name) for name in providers.get(module, [])} & pinned}
    assert not missing


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_no_error_is_made_without_being_raised():
    """D4"""
    alone = [(place, node.value) for place, node in found(ast.Expr) if isinstance(node, ast.Expr)]
    assert not [place for place, value in alone if isinstance(value, ast.Call)
                and re.search(r"(Error|Exception)$", ast.unparse(value.func))]


def test_no_except_is_bare():
    """D5, D23"""
    assert not [place for place, node in found(ast.ExceptHandler)
                if isinstance(node, ast.ExceptHandler) and node.type is None]


def test_no_clock_depends_on_the_time_zone():
    """D19"""
    for place, name, call in calls():
        assert not name.endswith(("ctime", "localtime", "utcnow", "utcfromtimestamp")), place
        if name.endswith(("datetime.now", "datetime.fromtimestamp")):
            assert len(call.args) + len(call.keywords) > name.endswith("fromtimestamp"), place


def test_nothing_is_given_to_a_shell():
    """D20"""
    for place, name, call in calls():
        assert name not in ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"), place
        assert not any(word.arg == "shell" for word in call.keywords), place


def test_no_default_can_be_changed():
    """D23"""
    for place, node in found(ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda):
        for default in [*node.args.defaults, *node.args.kw_defaults]:  # type: ignore[attr-defined]
            assert not isinstance(default, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp), place
            assert not (isinstance(default, ast.Call) and ast.unparse(default.func) in ("list", "dict", "set")), place


def test_no_function_is_long():
    """D23: the original's had a thousand lines. A migration is a list."""
    lengths = {place: node.end_lineno - node.lineno + 1 for place, node in found(ast.FunctionDef)  # type: ignore
               if "migrations" not in place}
    assert max(lengths.values()) <= 50, max(lengths, key=lambda place: lengths[place])


def test_nobody_silences_the_warnings_of_others():
    """D23: only inside of `with warnings.catch_warnings()`."""
    for path, tree in code():
        guarded = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.With)
                   and any("catch_warnings" in ast.unparse(item) for item in node.items) for inner in ast.walk(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("filterwarnings", "simplefilter")):
                assert id(node) in guarded, path


# -- what the engine does -----------------------------------------------------------------------------


def of(events, kind):
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_paints(name):
    assert len(OPTIMISERS) == 8
    events = list(render(make_song(1.0), STILL.changed(optimiser=name), tiny_models()))
    before, after = of(events, Preview)[0].pixels.astype(int), of(events, Finished)[0].pixels.astype(int)
    assert np.abs(after - before).max() > 0


def test_total_variation_calms_the_picture():
    def speckle(weight):
        settings = STILL.changed(init="noise", audio_weight=0, init_pull=0, steps=12, total_variation=weight)
        picture = of(render(make_song(1.0), settings, tiny_models()), Finished)[0].pixels.astype(int)
        return np.abs(np.diff(picture, axis=0)).mean() + np.abs(np.diff(picture, axis=1)).mean()

    assert speckle(5.0) < 0.9 * speckle(0.0)


def test_no_two_steps_see_the_same_cutouts():
    """D12: a picture that stands still is judged otherwise at every step, in every segment."""
    film = RenderSettings(kind="video", canvas="pixels", init="smooth", text="sea", audio_weight=0, zoom=0,
                          smoothing=0, scene_pull=0, init_pull=0, total_variation=0, learning_rate=1e-9, fps=4,
                          steps_per_frame=2, beats_per_segment=1, **SMALL)
    steps = of(render(make_song(4.0), film, tiny_models(), beats=(1.0, 2.0, 3.0)), Step)
    losses = [round(step.losses["text 1: sea"], 9) for step in steps]
    assert len(losses) > 30 and len(set(losses)) == len(losses)


def test_the_last_step_is_in_the_picture():
    """D15"""
    one, two = (list(render(make_song(1.0), STILL.changed(steps=steps, coarse_share=0), tiny_models()))
                for steps in (1, 2))
    begun, after_one, after_two = (of(events, kind)[0].pixels for events, kind in
                                   ((one, Preview), (one, Finished), (two, Finished)))
    assert not np.array_equal(begun, after_one) and not np.array_equal(after_one, after_two)


@pytest.mark.parametrize("size", [(128, 64), (64, 128)])
@pytest.mark.parametrize("init", ["noise", "gradient", "random", "smooth", "nearest"])
@pytest.mark.parametrize("canvas", ["vqgan", "pixels"])
def test_a_beginning_lies_the_right_way_round(canvas, init, size):
    """D17"""
    width, height = size
    settings = RenderSettings(seed=1, width=width, height=height, steps=1, cutouts=2, canvas=canvas, init=init)
    assert of(render(make_song(1.0), settings, tiny_models()), Preview)[0].pixels.shape == (height, width, 3)


def test_a_drive_letter_is_no_weight():
    """D10"""
    (one, two) = parse_prompts(r"C:\pictures\sea.png:0.5 | D:/a b.jpg @ [E:\mask.png]")
    assert (one.text, one.weight, one.stop) == (r"C:\pictures\sea.png", 0.5, -np.inf)
    assert (two.text, two.weight, two.where) == ("D:/a b.jpg", 1.0, r"[E:\mask.png]")


@pytest.fixture
def kernels(monkeypatch):
    """What torch was asked about kernels that always add alike; its own switches are put back."""
    asked: list[bool] = []
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda wish, warn_only: asked.append(wish))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
    yield asked
    cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before


def test_a_gpu_is_asked_for_what_it_can_and_says_what_it_cannot(kernels):
    plan = ExecutionPlan(device="cuda:0", threads=1, precision="float32", engine="2", torch="2", machine="here",
                         reason="")
    apply_plan(plan)
    assert kernels == [True]
    (difference,) = plan_differences(plan.to_dict(), plan)
    assert "no fixed order" in difference
    apply_plan(ExecutionPlan(**{**plan.to_dict(), "device": "cpu"}))
    assert kernels == [True], "a CPU needs no asking"


# -- whole renders ------------------------------------------------------------------------------------


@pytest.fixture
def here(store, pack, tmp_path, monkeypatch):
    """An empty current folder, and a data folder of one's own."""
    monkeypatch.setattr("psutil.cpu_count", lambda logical=True: 1)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture(scope="module")
def hum(tmp_path_factory):
    """Six and a half seconds of an even tone, without any beat, as wav."""
    path, time = tmp_path_factory.mktemp("hum") / "hum.wav", np.arange(104_000) / 16_000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((9000 * np.sin(2 * np.pi * 220 * time)).astype("<i2").tobytes())
    return path


def test_a_film_of_many_pieces_keeps_their_order(here, hum):
    """D7: thirteen pieces, and each frame is likest to what the engine painted at its time."""
    shown = []
    film = metamusic.generate_video(
        hum, "film.mp4", fps=4, chunk=0.5, canvas="pixels", init="gradient", learning_rate=0.1, zoom=0.5, smoothing=0,
        total_variation=10, steps_per_frame=1, **SMALL,
        on_event=lambda event: shown.append(event.pixels.astype(int)) if isinstance(event, Frame) else None)
    frames = [frame.astype(int) for frame in decode_frames(film.path)]
    assert len(frames) == len(shown) == 26
    for number, frame in enumerate(frames):
        apart = [np.abs(frame - other).mean() for other in shown]
        assert int(np.argmin(apart)) == number


def test_a_sound_without_beats_becomes_a_picture_and_a_film(here, hum):
    """D5"""
    with Image.open(metamusic.generate_image(hum, "short.png", duration=0.5, **SMALL).path) as picture:
        assert picture.size == (64, 64)
    film = metamusic.generate_video(hum, "short.mp4", duration=0.5, fps=4, **SMALL)
    assert len(list(decode_frames(film.path))) == 2


def test_a_second_film_takes_the_place_of_the_first(here, hum):
    """D2"""
    first, second = (metamusic.generate_video(hum, "film.mp4", duration=seconds, fps=4, **SMALL).path
                     for seconds in (0.5, 1.0))
    assert first == second and len(list(decode_frames(second))) == 4
    assert [path.name for path in here.iterdir()] == ["film.mp4"]


def test_two_renders_at_once_keep_out_of_each_others_way(here, store, hum):
    """D20, D21: the same pixels as alone, nothing in the current folder, nothing left over."""
    wishes = [RenderSettings(kind=kind, duration=1.0, fps=4, chunk=0.5, **{**SMALL, "seed": seed})
              for kind, seed in (("image", 3), ("video", 3), ("video", 4))]
    alone = [pixels(run_now(store, studio.submit(store, hum, wish, claim=True).id)) for wish in wishes]
    together: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        own = Store.open(store.files.home)
        with suppress(MetaMusicError):
            row = studio.submit(own, hum, wishes[number], claim=True)
            together[number] = pixels(run_now(own, row.id))
        own.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(wishes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, picture in enumerate(alone):
        assert np.array_equal(picture, together[number])
    assert not list(here.iterdir())
    assert not list(store.files.tmp.iterdir()) and not list(store.files.work.iterdir())


def pixels(row) -> np.ndarray:
    """What a render has made, frame by frame."""
    assert row.state == "done", row.error
    final = row.assets["final"].file
    if row.kind == "video":
        return np.stack(list(decode_frames(final)))
    with Image.open(final) as picture:
        return np.asarray(picture.convert("RGB"))[None]


def test_models_are_kept_between_renders(pack):
    """D22"""
    assert models_of("sketch", "cpu").vqgan is models_of("sketch", "cpu").vqgan


@pytest.mark.parametrize("setting", ["song", "init_image", "target", "image_prompts", "text", "story", "lyrics",
                                     "lyrics text", "judges", "pack"])
def test_no_address_is_fetched(here, hum, setting):
    """D25: neither a picture, a mask, a text nor a song; the server is never asked."""
    server = Hostile()
    address = f"{server.url}/a.png"
    for path in ("a.png", "a.mp3", "a.lrc", "a.txt"):
        server.serve(path, Answer(b"x" * 100))
    wishes = {"image_prompts": f"{address}:0.5", "text": f"a storm @ [{address}]", "story": f"{server.url}/a.txt",
              "lyrics": f"{server.url}/a.lrc", "judges": f"{server.url}/pack", "pack": server.url}
    try:
        with pytest.raises(MetaMusicError):
            if setting == "song":
                metamusic.generate_image(f"{server.url}/a.mp3", "x.png", **SMALL)
            elif setting == "lyrics text":
                metamusic.generate_image(hum, "x.png", lyrics=address, **SMALL)
            else:
                metamusic.generate_image(hum, "x.png", **{setting: wishes.get(setting, address)}, **SMALL)
        assert server.asked == []
    finally:
        server.close()
