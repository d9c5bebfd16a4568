"""`python -m metamusic packs ...` in processes of its own."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import official
import pytest
from hostile import Answer, Hostile
from shop import open_shop

from metamusic import packs

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    server = Hostile()
    yield open_shop(tmp_path_factory.mktemp("shop"), server)
    server.close()


@pytest.fixture
def run(shop, tmp_path, monkeypatch):
    """The command line as a user calls it, with the shop's catalogue and the tests' small CLIPs."""
    monkeypatch.setenv("METAMUSIC_CHECKPOINTS", str(tmp_path / "checkpoints"))
    code = (f"import open_clip; open_clip.add_model_config({str(shop.folder)!r}); "
            "from metamusic.cli import main; main()")
    further = {"METAMUSIC_CATALOGUE": str(shop.folder / "catalogue.toml"),
               "METAMUSIC_HOME": str(tmp_path / "data"), "COLUMNS": "200"}

    def call(*words: object) -> subprocess.CompletedProcess[str]:
        small = {"--yes", "--as", "--clip-model"} & set(words)
        start = [sys.executable, "-c", code] if small else [sys.executable, "-m", "metamusic"]
        return subprocess.run([*start, "packs", *map(str, words)] if words[0] else [*start, "packs"], cwd=CHECKOUT,
                              env={**os.environ, **further}, capture_output=True, text=True, stdin=subprocess.DEVNULL)

    return call


def hostile_pickle(path: Path, witness: Path) -> None:
    """A file of weights that would write another file, were it loaded as pickles are."""

    class Bomb:
        def __reduce__(self):
            return os.system, (f"touch {witness}",)

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"state_dict": Bomb()}))
        archive.writestr("archive/version", "3")


def refused(result: subprocess.CompletedProcess[str]) -> str:
    """What was said in one sentence or two, without a traceback, and status 2."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr and result.stderr.startswith("metamusic: ")
    return result.stderr


# -- what there is -------------------------------------------------------------------------------------


def test_bare_packs_lists_what_is_here_and_what_can_be_had(run, tmp_path):
    shutil.copytree(CHECKOUT / "checkpoints" / "sketch", tmp_path / "checkpoints" / "sketch")
    said = run("").stdout
    assert said.startswith("sketch\tready\t") and "\nimagenet\tavailable\t" in said
    assert said == run("list").stdout


def test_the_list_has_state_size_memory_and_licence_for_people_and_for_programs(run):
    lines = run("list").stdout.splitlines()
    line = next(line for line in lines if line.startswith("imagenet\t"))
    assert "available" in line and "about 1.4 GB" in line and "in use" in line and "not stated" in line
    items = {item["name"]: item for item in json.loads(run("list", "--json").stdout)}
    assert items["tiny"]["state"] == "available" and items["judge"]["paints"] is False


def test_a_listing_needs_no_torch():
    code = ("import sys; from metamusic.cli import main\nsys.argv[1:] = ['packs', 'list']\n"
            "try: main()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules")
    assert subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True).returncode == 0


# -- from the catalogue --------------------------------------------------------------------------------


def test_get_verify_remove(run, shop):
    got = run("get", "tiny", "--yes")
    assert (got.returncode, got.stdout) == (0, "tiny is ready.\n"), got.stderr
    assert "here already" in run("get", "tiny", "--yes").stderr
    assert "tiny is whole" in run("verify", "tiny").stdout
    packs.check("tiny").path("vqgan").write_bytes(b"")
    assert "should have" in refused(run("verify", "tiny"))
    assert "broken" in run("list").stdout
    assert run("remove", "tiny").stdout == "tiny is removed.\n"
    assert "no pack 'tiny'" in refused(run("remove", "tiny"))


def test_size_and_licence_are_told_before_anything_is_fetched(run, shop):
    before = len(shop.asked())
    said = refused(run("get", "tiny"))
    assert "tiny-clip: as you like" in said and "--yes" in said and len(shop.asked()) == before


def test_what_cannot_be_had_is_said_with_the_cure(run, shop):
    shop.answer("tiny-vqgan", Answer(b"<html>moved</html>", kind="text/html"))
    said = refused(run("get", "tiny", "--yes"))
    assert "web page" in said and "checkpoints/" in said
    shop.answer("tiny-vqgan", Answer(shop.files["tiny-vqgan"]))
    assert "no pack 'nothing'" in refused(run("get", "nothing", "--yes"))


# -- what the user has ---------------------------------------------------------------------------------


def test_import_says_what_a_file_is_and_a_folder_completes_a_pack(run, shop, tmp_path):
    first = run("import", shop.folder / "tiny-vqgan")
    assert first.returncode == 0, first.stderr
    assert "tiny-vqgan.pt, as published" in first.stdout and "tiny still lacks tiny-clip.pt" in first.stdout
    (tmp_path / "rest").mkdir()
    for key in ("tiny-clip", "tiny-wav2clip"):
        shutil.copy(shop.folder / key, tmp_path / "rest")
    last = run("import", tmp_path / "rest", "--as", "tiny")
    assert "as you say" in last.stdout and "tiny is ready.\n" in last.stdout


def test_a_hostile_pickle_is_refused_and_named_and_nothing_in_it_has_run(run, tmp_path):
    hostile_pickle(tmp_path / "lovely.ckpt", tmp_path / "witness")
    said = refused(run("import", tmp_path / "lovely.ckpt"))
    assert "lovely.ckpt names" in said and ".system" in said
    assert not (tmp_path / "witness").exists()


def test_a_hostile_pickle_is_refused_as_a_part_of_a_pack_too(run, shop, tmp_path):
    hostile_pickle(tmp_path / "lovely.ckpt", tmp_path / "witness")
    official.vqgan_yaml(tmp_path / "model.yaml", official.SMALL)
    said = refused(run("import", "--name", "mine", "--vqgan-config", tmp_path / "model.yaml",
                       "--vqgan", tmp_path / "lovely.ckpt", "--clip", shop.folder / "tiny-clip",
                       "--wav2clip", shop.folder / "tiny-wav2clip", "--clip-model", official.SMALL_CLIP))
    assert ".system" in said and not (tmp_path / "witness").exists()
    assert not (tmp_path / "checkpoints" / "mine").exists()


def test_weights_of_ones_own_become_a_pack_with_what_was_asserted(run, shop, tmp_path):
    official.vqgan_yaml(tmp_path / "model.yaml", official.SMALL)
    made = run("import", "--name", "mine", "--vqgan-config", tmp_path / "model.yaml",
               "--vqgan", shop.folder / "twin-vqgan", "--clip", shop.folder / "tiny-clip",
               "--wav2clip", shop.folder / "tiny-wav2clip", "--clip-model", official.SMALL_CLIP,
               "--space", "ours/one")
    assert (made.returncode, made.stdout) == (0, "mine is ready, space ours/one.\n"), made.stderr
    listed = run("list").stdout
    assert f"says that the CLIP is {official.SMALL_CLIP}" in listed and "made for ours/one" in listed
    assert packs.load("mine").perceptor.hears


def test_a_file_that_may_be_several_is_asked_about_with_the_option(run, shop):
    said = run("import", shop.folder / "twin-vqgan")
    assert "say whether it is twin-vqgan (The twin)" in said.stdout and "--as twin-vqgan" in said.stderr


@pytest.mark.parametrize("words, option", [(["import", "x", "--clip", "y", "--title", "z"], "--clip, --title"),
                                           (["import", "--name", "mine", "--as", "tiny"], "--as")])
def test_an_option_that_would_be_ignored_is_refused(run, words, option):
    assert f"{option} would do nothing" in refused(run(*words))


@pytest.mark.parametrize("words", [["get", "tiny", "--yes"], ["import", "tiny-clip", "--as", "judge"],
                                   ["import", "--name", "mine", "--clip", "tiny-clip", "--clip-model",
                                    official.SMALL_CLIP]])
@pytest.mark.parametrize("place", ["/dev/null/x", "file"])
def test_a_folder_of_packs_that_cannot_be_made_is_said_with_the_cure(run, shop, tmp_path, monkeypatch, words, place):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("METAMUSIC_CHECKPOINTS", str(tmp_path / place))
    words = [shop.folder / word if word == "tiny-clip" else word for word in words]
    assert "METAMUSIC_CHECKPOINTS" in refused(run(*words))


def test_names_that_are_not_utf_8_are_no_obstacle(run, shop, tmp_path):
    odd = tmp_path / os.fsdecode(b"caf\xe9.pt")
    shutil.copy(shop.folder / "tiny-clip", odd)
    made = run("import", "--name", "mine", "--clip", odd, "--clip-model", official.SMALL_CLIP)
    assert made.returncode == 0, made.stderr
    assert packs.check("mine").asserted["sources"]["clip"]["file"] == "caf?.pt"
    assert "caf?.pt: tiny-clip.pt, as published" in run("import", odd, "--as", "judge").stdout
    bad = run("import", "--name", "other", "--clip", odd, "--clip-model", official.SMALL_CLIP, "--title", os.fsdecode(
        b"caf\xe9"))
    assert "The title has a character" in refused(bad)


@pytest.mark.parametrize("words", [["import"], ["import", "x", "--name", "y"]])
def test_import_wants_a_path_or_a_name(run, words):
    assert "either a path, or --name" in refused(run(*words))
