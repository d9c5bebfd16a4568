"""The catalogue, and the shelf that fetches, recognises, converts and removes its packs."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hostile import Answer, Hostile
from shop import open_shop

from metamusic import downloads, packs, shelf, studio
from metamusic.catalogue import addresses, catalogue
from metamusic.downloads import Stopped
from metamusic.errors import DiskFullError, PackError
from metamusic.recognition import recognise
from metamusic.settings import RenderSettings

OWN = ["imagenet", "imagenet-1024", "openimages", "coco", "sflckr", "faceshq", "wikiart", "wikiart-1024",
       "clip-vit-b16", "clip-rn50", "clip-vit-l14"]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    for name in ("METAMUSIC_CATALOGUE", "METAMUSIC_MIRRORS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("METAMUSIC_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setattr(downloads, "BACKOFF_S", 0.01)
    monkeypatch.setattr(downloads, "SPARE", 0)
    monkeypatch.setattr(shelf, "CONVERTED", 0)
    yield
    for running in shelf._RUNNING.values():  # a thread that outlived its test would write into the real folder
        running.stop.set()
        running.thread.join()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The shop's files, written once; its server changes what it answers from test to test."""
    server = Hostile()
    yield open_shop(tmp_path_factory.mktemp("shop"), server)
    server.close()


@pytest.fixture
def shop(made, monkeypatch):
    made.server.asked.clear()
    for key, content in made.files.items():
        made.answer(key, Answer(content))
    monkeypatch.setenv("METAMUSIC_CATALOGUE", str(made.folder / "catalogue.toml"))
    return made


@pytest.fixture
def here(tmp_path):
    """The folder of packs."""
    (tmp_path / "checkpoints" / "dropped").mkdir(parents=True)
    return tmp_path / "checkpoints"


def raw(here) -> list[str]:
    """Files as published that are kept."""
    folder = here / ".downloads"
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".pt") if folder.is_dir() else []


def until(condition) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came about")


# -- the data ------------------------------------------------------------------------------------------


def test_the_catalogue_has_what_was_published():
    assert list(catalogue().packs) == OWN
    for pack in catalogue().packs.values():
        assert pack.licence and pack.card and pack.title
        RenderSettings.parse({**pack.defaults, "pack": pack.name})
        assert bool(pack.vqgan) == bool(pack.wav2clip) == (not pack.name.startswith("clip-"))


def test_every_shape_in_it_is_one_that_a_vqgan_can_have(tmp_path):
    from metamusic.vqgan import vqgan_config

    for pack in catalogue().packs.values():
        if pack.vqgan:
            config = vqgan_config(shelf._configuration(pack))
            assert config.n_embed == pack.config["n_embed"]
            assert (config.kind, config.cell) == (("gumbel", 8) if pack.name == "openimages" else ("vq", 16))


def test_openai_states_its_hashes_in_the_addresses():
    for file in catalogue().files.values():
        if file.role == "clip":
            assert f"/{file.sha256}/" in file.urls[0]


def test_addresses_are_of_the_web_and_each_has_a_hash_or_is_recorded():
    for file in catalogue().files.values():
        assert all(url.startswith(("https://", "http://")) for url in file.urls)
        assert bool(file.sha256) == bool(file.sha256_from) and (file.bytes or file.about)


def test_a_fine_tuned_model_does_not_pass_for_a_mirror():
    """boris/vqgan_f16_16384 is ImageNet's VQGAN trained further: other weights under the same file name."""
    assert not any("boris" in url for file in catalogue().files.values() for url in file.urls)


def test_mirrors_come_first(monkeypatch, tmp_path):
    file = catalogue().files["clip-rn50"]
    monkeypatch.setenv("METAMUSIC_MIRRORS", "http://mirror.example/weights/")
    assert addresses(file) == ["http://mirror.example/weights/RN50.pt", *file.urls]
    table = tmp_path / "mirrors.toml"
    table.write_text('base = ["https://one.example"]\n[files]\n"RN50.pt" = ["https://two.example/x"]\n')
    monkeypatch.setenv("METAMUSIC_MIRRORS", str(table))
    assert addresses(file) == ["https://two.example/x", "https://one.example/RN50.pt", *file.urls]


def test_a_mirror_is_not_a_way_to_read_this_disk(monkeypatch):
    monkeypatch.setenv("METAMUSIC_MIRRORS", "file:///etc")
    with pytest.raises(PackError, match="no http or https"):
        addresses(catalogue().files["clip-rn50"])


@pytest.mark.parametrize("text", ["base = 3", "files = 3", "files = { x = 3 }", "base = ['ftp://x']", "bass = 'http://x'"])
def test_mirrors_that_cannot_be_understood_are_named(monkeypatch, tmp_path, text):
    (tmp_path / "mirrors.toml").write_text(text)
    monkeypatch.setenv("METAMUSIC_MIRRORS", str(tmp_path / "mirrors.toml"))
    with pytest.raises(PackError, match="METAMUSIC_MIRRORS"):
        addresses(catalogue().files["clip-rn50"])


def test_a_mirror_may_be_one_address_without_brackets(monkeypatch, tmp_path):
    (tmp_path / "mirrors.toml").write_text("base = 'http://one.example/'")
    monkeypatch.setenv("METAMUSIC_MIRRORS", str(tmp_path / "mirrors.toml"))
    assert addresses(catalogue().files["clip-rn50"])[0] == "http://one.example/RN50.pt"


FILE = "[files.x]\nrole='clip'\nname='{}'\nabout=1\nlicence=''\nurls=['http://x/y']"


@pytest.mark.parametrize("text", ["[files.x]\nrole = 'vqgan'", "not toml", "[packs.x]\nclip = 'nowhere'",
                                  "[files.x]\nrole='clip'\nname='x'\nabout=1\nlicence=''\nurls=['file:///x']",
                                  "files = 3", "packs = [1]", "[packs]\nx = 3", "more = 1", "[packs.x]\nclip = ['y']",
                                  "[packs.sketch]\nclip='clip-rn50'\ntitle=''\nclip_model='x'\nspace='x'",
                                  "[packs.x]\nclip='clip-rn50'\ntitle=\"a\\u0007\"\nclip_model='x'\nspace='x'",
                                  "[packs.x]\nclip='clip-rn50'\ntitle=''\nclip_model='x'\nspace=' '",
                                  FILE.format("ViT-B-32.pt"), FILE.format("vit-b-32.PT"), FILE.format("x.part")])
def test_a_catalogue_that_cannot_be_understood_is_named(monkeypatch, tmp_path, text):
    (tmp_path / "own.toml").write_text(text)
    monkeypatch.setenv("METAMUSIC_CATALOGUE", str(tmp_path / "own.toml"))
    with pytest.raises(PackError, match="own.toml"):
        catalogue()


# -- fetching ------------------------------------------------------------------------------------------


def test_a_pack_is_fetched_converted_and_usable(shop, here):
    info = shelf.fetch("tiny")
    assert (info.name, info.title, info.space, info.defaults) == ("tiny", "The tiny", "test/small", {"steps": 7})
    models = packs.load("tiny")
    assert models.vqgan is not None and models.perceptor.hears
    assert raw(here) == ["tiny-clip.pt", "tiny-wav2clip.pt"]  # the VQGAN's pickle is gone, the rest is shared


def test_what_two_packs_share_is_fetched_once_and_lies_there_once(shop, here):
    one, two = shelf.fetch("tiny"), shelf.fetch("twin")
    assert shop.asked().count("tiny-clip") == shop.asked().count("tiny-wav2clip") == 1
    assert one.path("clip").samefile(two.path("clip")) and not one.path("vqgan").samefile(two.path("vqgan"))
    shelf.remove("tiny")
    assert packs.load("twin").perceptor.hears


def test_a_judge_comes_without_vqgan_and_ears(shop, here):
    shelf.fetch("judge")
    item = shelf.item("judge")
    assert (item.state, item.paints, item.hears) == ("ready", False, False)
    assert item.memory > 1_000_000 and not item.asserted


def test_a_pack_that_is_here_is_not_fetched_again(shop, here):
    assert shelf.fetch("tiny") == shelf.fetch("tiny")
    assert len(shop.asked()) == 3


def test_a_damaged_pack_is_shown_and_mended(shop, here):
    info = shelf.fetch("tiny")
    info.path("vqgan").write_bytes(b"short")
    item = shelf.item("tiny")
    assert item.state == "broken" and "should have" in item.error and item.cure
    shelf.fetch("tiny")
    assert shelf.item("tiny").state == "ready" and "is whole" in shelf.verify("tiny")


def test_verify_finds_a_single_bit(shop, here):
    path = shelf.fetch("tiny").path("vqgan")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(PackError, match="sha256"):
        shelf.verify("tiny")


def test_no_room_is_said_before_anything_is_fetched(shop, here, monkeypatch):
    monkeypatch.setattr(shelf, "CONVERTED", 10**15)
    for begin in (shelf.fetch, shelf.start):
        with pytest.raises(DiskFullError, match="GB are free"):
            begin("tiny")
    assert not shop.asked()


def test_a_failure_is_kept_for_the_shelf_and_the_next_try_forgets_it(shop, here):
    shop.answer("tiny-clip", Answer(status=404))
    with pytest.raises(PackError, match="404"):
        shelf.fetch("tiny")
    item = shelf.item("tiny")
    assert item.state == "paused" and "404" in item.error and item.cure and 0 < item.progress < 1
    shop.answer("tiny-clip", Answer(shop.files["tiny-clip"]))
    shelf.fetch("tiny")
    assert not shelf.item("tiny").error


@pytest.mark.parametrize("what", ["folder", "file", "link that leads nowhere"])
def test_what_lies_in_a_packs_place_is_named_before_anything_is_fetched(shop, here, what):
    place = here / "tiny"
    lay = {"folder": place.mkdir, "file": place.touch}.get(what, lambda: place.symlink_to("nowhere"))
    lay()
    for begin in (shelf.fetch, shelf.start, shelf.remove):
        with pytest.raises(PackError, match=f"There is a {what} .*tiny, which is no pack") as caught:
            begin("tiny")
        assert "Move it away" in caught.value.cure
    assert not shop.asked() and os.path.lexists(place)


def test_a_file_of_the_same_name_and_other_content_is_fetched_anew(shop, here):
    """Another catalogue's file, say, or one that was damaged."""
    file = catalogue().files["tiny-clip"]
    (here / ".downloads").mkdir()
    (here / ".downloads" / file.name).write_bytes(bytes(file.bytes))
    path = downloads.download(file, here / ".downloads")
    assert path.read_bytes() == shop.files["tiny-clip"] and shop.asked() == ["tiny-clip"]


def test_a_relative_link_as_a_cache_has_them_is_followed(shop, here, tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshots").mkdir()
    shutil.copy(shop.folder / "tiny-clip", tmp_path / "blobs" / "1234")
    (tmp_path / "snapshots" / "clip.pt").symlink_to("../blobs/1234")
    shelf.bring([tmp_path / "snapshots" / "clip.pt"])
    kept = here / ".downloads" / "tiny-clip.pt"
    assert not kept.is_symlink() and kept.read_bytes() == shop.files["tiny-clip"]


def test_a_file_without_a_description_has_no_gap_in_the_cure(shop, here, monkeypatch):
    file = catalogue().files["tiny-clip"].model_copy(update={"source": ""})
    shop.answer("tiny-clip", Answer(status=404))
    with pytest.raises(PackError) as caught:
        downloads.download(file, here / ".downloads")
    assert "fetch tiny-clip.pt elsewhere and drop it" in caught.value.cure


def test_an_unknown_pack_is_refused_with_the_known_ones(shop):
    with pytest.raises(PackError, match="no pack 'nothing'") as caught:
        shelf.fetch("nothing")
    assert "imagenet" in caught.value.cure


# -- in the background ---------------------------------------------------------------------------------


def test_pause_resume_and_the_way_it_looks(shop, here):
    shop.answer("tiny-vqgan", Answer(shop.files["tiny-vqgan"], pause_s=0.005))
    assert studio.get_pack("tiny").state == "downloading"
    until(lambda: shelf.item("tiny").progress > 0.005)
    item = next(one for one in studio.shelf() if one.name == "tiny")
    assert item.stage == "fetching tiny-vqgan.pt" and item.speed > 0
    paused = studio.pause_pack("tiny")
    assert paused.state == "paused" and 0 < paused.progress < 1 and not paused.error
    shop.answer("tiny-vqgan", Answer(shop.files["tiny-vqgan"]))
    studio.get_pack("tiny")
    until(lambda: shelf.item("tiny").state == "ready")
    assert [wanted for wanted in shop.server.ranges("tiny-vqgan") if wanted]  # it went on where it was


def test_what_another_process_fetches_is_seen_here_and_outlives_it(shop, here, monkeypatch):
    shop.answer("tiny-vqgan", Answer(shop.files["tiny-vqgan"], pause_s=0.01))
    code = "import sys; sys.path.insert(0, 'tests'); from metamusic import shelf; shelf.fetch('tiny')"
    other = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent.parent)
    try:
        until(lambda: shelf.item("tiny").state == "downloading" and shelf.item("tiny").progress > 0.005)
        assert shelf.item("tiny").stage == "fetched by another process"
        with pytest.raises(PackError, match="Another process"):
            shelf.fetch("tiny")
        assert shelf.start("tiny").state == "downloading"
    finally:
        other.kill()
        other.wait()
    item = shelf.item("tiny")
    assert item.state == "paused" and 0 < item.progress < 1


def test_removing_what_is_on_its_way_leaves_nothing(shop, here):
    shop.answer("tiny-vqgan", Answer(shop.files["tiny-vqgan"], pause_s=0.005))
    studio.get_pack("tiny")
    until(lambda: shelf.item("tiny").progress > 0.005)
    studio.remove_pack("tiny")
    assert shelf.item("tiny").state == "available"
    assert not [path for path in (here / ".downloads").iterdir() if path.suffix in (".pt", ".part", ".job")]


def test_stopping_the_foreground_keeps_the_part(shop, here):
    shop.answer("tiny-vqgan", Answer(shop.files["tiny-vqgan"], pause_s=0.002))
    seen = []
    with pytest.raises(Stopped):
        shelf.fetch("tiny", on_progress=seen.append, stopped=lambda: len(seen) > 3)
    assert shelf.item("tiny").state == "paused" and shelf.item("tiny").progress > 0


def test_the_sketch_pack_stays(pack):
    with pytest.raises(PackError, match="comes with MetaMusic"):
        shelf.remove("sketch")
    assert not shelf.item("sketch").removable


# -- files that are here already -----------------------------------------------------------------------


def test_a_dropped_file_is_found_by_its_content_under_any_name(shop, here):
    shutil.copy(shop.folder / "tiny-vqgan", here / "holiday.jpg")
    shutil.copy(shop.folder / "tiny-clip", here / "dropped" / "x")
    shelf.fetch("tiny")
    assert shop.asked() == ["tiny-wav2clip"]
    assert (here / "holiday.jpg").is_file()  # the user's own file stays


def test_a_folder_completes_a_pack(shop, here, tmp_path):
    for key in shop.files:
        shutil.copy(shop.folder / key, tmp_path / f"{key}.bin")
    folder = tmp_path / "mine"
    folder.mkdir()
    for key in ("tiny-vqgan", "tiny-clip", "tiny-wav2clip"):
        shutil.move(tmp_path / f"{key}.bin", folder / f"{key}.bin")
    brought = shelf.bring([folder], chosen="tiny")
    assert "tiny is ready." in brought.said and not brought.refused and not shop.asked()
    assert "as published" in brought.said[1] and "as you say" in brought.said[2]
    assert sorted(path.name for path in folder.iterdir()) == ["tiny-clip.bin", "tiny-vqgan.bin", "tiny-wav2clip.bin"]


def test_shape_alone_is_no_proof_and_the_user_is_asked(shop, here):
    said = shelf.bring([shop.folder / "twin-vqgan"]).said
    assert "say whether it is twin-vqgan (The twin)" in said[0] and "proves nothing" in said[0] and len(said) == 1
    said = shelf.bring([shop.folder / "twin-vqgan"], chosen="twin").said
    assert said[0].endswith("taken as twin-vqgan.pt, as you say.")
    assert "twin still lacks tiny-clip.pt" in said[1] and "get the pack" in said[1]
    assert not any("`" in line or "--" in line for line in said), "a page shows these sentences, too"


def test_what_was_said_once_is_recorded_and_recognised_from_then_on(shop, here):
    shelf.bring([shop.folder / "twin-vqgan"], chosen="twin")
    assert recognise(shop.folder / "twin-vqgan").certain
    kept = json.loads((here / ".downloads" / "hashes.json").read_text())["twin-vqgan.pt"]
    assert kept["from"] == str(shop.folder / "twin-vqgan")


def test_a_file_of_another_shape_is_not_offered_as_one(shop, here, tmp_path):
    import official

    path = tmp_path / "other.ckpt"
    official.lightning_vqgan(path, official.SMALL_GUMBEL)
    found = recognise(path)
    assert not found.files and "Gumbel" in found.words
    assert "not in the catalogue" in shelf.bring([path]).said[0]


def test_the_users_word_must_name_something_known(shop, here):
    with pytest.raises(PackError, match="no pack 'nothing'"):
        shelf.bring([shop.folder / "twin-vqgan"], chosen="nothing")
    with pytest.raises(PackError, match="There is no"):
        shelf.bring([here / "nowhere"])
    with pytest.raises(PackError, match="no file"):
        shelf.bring([here / "dropped"])


def test_a_stranger_among_friends_is_refused_and_the_friends_are_kept(shop, here, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    shutil.copy(shop.folder / "tiny-clip", folder / "a")
    (folder / "b").write_text("notes")
    brought = shelf.bring([folder])
    assert "as published" in brought.said[0] and "is text" in brought.refused[0]
    assert studio.import_pack_files([folder])[-1] == brought.refused[0]
