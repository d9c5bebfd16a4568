"""Packs: written, checked, loaded, and refused with a cure when something does not fit."""

import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import official
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize

from metamusic import conversion, packs
from metamusic.conversion import import_pack
from metamusic.errors import DiskFullError, PackError, SettingsError
from metamusic.packs import Bank, available, check, load, memory_need, remove_pack, write_pack
from metamusic.perceptor import AudioConfig, ClipConfig, Perceptor, PerceptorConfig
from metamusic.vqgan import VQGAN, VQGANConfig

VQGAN_SHAPE = VQGANConfig(ch=16, ch_mult=(1,), num_res_blocks=1, attn_resolutions=(), z_channels=8,
                          resolution=16, n_embed=300, embed_dim=4, unshuffle=4, norm_groups=4,
                          mid_attention=False)
SPACE = "test/tiny"
PERCEPTOR_SHAPE = PerceptorConfig(
    space=SPACE,
    clip=ClipConfig(embed_dim=16, vision={"image_size": 32, "layers": [1, 1, 1, 1], "width": 8},
                    text={"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1}),
    audio=AudioConfig(space=SPACE, width=4, stem_stride=(4, 2), level="absolute", pool="mean+std"))


@pytest.fixture(scope="session")
def parts() -> tuple[VQGAN, Perceptor, Bank]:
    torch.manual_seed(0)
    codes = torch.randint(300, (20, 4, 4)).to(torch.uint16)
    return VQGAN(VQGAN_SHAPE), Perceptor(PERCEPTOR_SHAPE), Bank(codes, normalize(torch.randn(20, 16), dim=-1))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("METAMUSIC_CHECKPOINTS", str(tmp_path))
    return tmp_path


@pytest.fixture
def tiny(parts, folder):
    """The folder of a whole small pack."""
    vqgan, perceptor, bank = parts
    write_pack("tiny", title="Tiny", licence="MIT", vqgan=(VQGAN_SHAPE, vqgan.state_dict()), bank=bank,
               perceptor=(PERCEPTOR_SHAPE, perceptor.state_dict()), defaults={"steps": 7}, card="# Tiny")
    return folder / "tiny"


def rewrite(folder, **changes) -> None:
    """Change the manifest by hand."""
    manifest = folder / "pack.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | changes))


# -- what is whole ------------------------------------------------------------------------------------


def test_a_written_pack_is_listed_checked_and_loaded(tiny, parts):
    assert [info.name for info in available()] == ["tiny"]
    info = check("tiny")
    assert (info.title, info.space, info.defaults, info.card) == ("Tiny", SPACE, {"steps": 7}, "# Tiny")
    models = load("tiny")
    assert models.info == info and models.device.type == "cpu"
    assert models.perceptor.space == SPACE
    assert not any(weight.requires_grad for weight in models.vqgan.parameters())
    assert sorted(path.name for path in tiny.iterdir()) == [
        "bank.safetensors", "pack.json", "perceptor.safetensors", "vqgan.safetensors"]
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in tiny.iterdir())


def test_weights_are_half_on_disk_and_the_same_to_that_precision_in_use(tiny, parts):
    on_disk = load_file(tiny / "vqgan.safetensors")
    assert {tensor.dtype for tensor in on_disk.values()} == {torch.float16}
    loaded = load("tiny").vqgan.state_dict()
    for name, value in parts[0].state_dict().items():
        assert loaded[name].dtype == torch.float32
        torch.testing.assert_close(loaded[name], value, atol=1e-4, rtol=1e-3)


def test_loaded_towers_see_and_hear_as_the_ones_written(tiny, parts):
    loaded, written = load("tiny").perceptor, parts[1]
    images, sound = torch.rand(2, 3, 32, 32), torch.sin(torch.arange(16000) / 20)
    torch.testing.assert_close(loaded.embed_images(images), written.embed_images(images), atol=2e-2, rtol=0)
    torch.testing.assert_close(loaded.embed_audio(sound), written.embed_audio(sound), atol=2e-2, rtol=0)


def test_the_bank_comes_back_with_its_codes_and_unit_vectors(tiny, parts):
    bank = load("tiny").bank
    assert bank.codes.dtype == torch.uint16 and torch.equal(bank.codes.long(), parts[2].codes.long())
    torch.testing.assert_close(bank.embeds.norm(dim=-1), torch.ones(20), atol=1e-6, rtol=0)


def test_the_bank_finds_what_is_nearest_and_paints_it(parts):
    vqgan, _, bank = parts
    assert bank.nearest(bank.embeds[7], 3)[0] == 7
    similar = bank.embeds[bank.nearest(bank.embeds[7], 3)] @ bank.embeds[7]
    assert torch.equal(similar, similar.sort(descending=True).values)
    assert len(bank.nearest(bank.embeds[0], 100)) == len(bank) == 20
    picture = bank.picture(7, vqgan)
    assert picture.shape == (1, 3, 16, 16)
    assert torch.equal(picture, vqgan.decode(vqgan.lookup(bank.codes[7:8].long())))


def test_a_pack_may_come_without_a_painter_and_without_a_bank(parts, folder):
    write_pack("judge", title="Judge", licence="MIT", perceptor=(PERCEPTOR_SHAPE, parts[1].state_dict()))
    models = load("judge")
    assert models.vqgan is None and models.bank is None


def test_a_perceptor_may_come_as_the_two_files_that_were_published(tiny, parts, folder):
    """CLIP and Wav2CLIP were published apart, under names of their own."""
    perceptor = parts[1]
    names = {"encoder.": "audio_encoder.", "transform.": "audio_transform."}
    audio = {new + name.removeprefix(old): value for name, value in perceptor.audio.state_dict().items()
             for old, new in names.items() if name.startswith(old)}
    files = json.loads((tiny / "pack.json").read_text())["files"]
    del files["perceptor"]
    for role, state in (("clip", perceptor.clip.state_dict()), ("audio", audio)):
        save_file({name: value.contiguous() for name, value in state.items()}, tiny / f"{role}.safetensors")
        path = tiny / f"{role}.safetensors"
        files[role] = {"file": path.name, "bytes": path.stat().st_size,
                       "sha256": packs.sha256_of(path, path.stat().st_mtime_ns, path.stat().st_size)}
    rewrite(tiny, files=files)
    images = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(load("tiny").perceptor.embed_images(images), perceptor.embed_images(images))


# -- the digest ---------------------------------------------------------------------------------------


def test_the_digest_stays_with_the_weights_and_not_with_the_words(tiny):
    before = check("tiny").digest
    rewrite(tiny, title="Another title", card="", defaults={})
    assert check("tiny").digest == before and len(before) == 64


def test_the_digest_changes_with_a_weight_and_with_a_shape(tiny, parts):
    info = check("tiny")
    before = info.digest
    assert info.model_copy(update={"vqgan": {**info.vqgan, "norm_groups": 2}}).digest != before
    state = parts[0].state_dict() | {"quant_conv.bias": torch.ones(4)}
    changed = write_pack("tiny", title="Tiny", licence="MIT", vqgan=(VQGAN_SHAPE, state),
                         perceptor=(PERCEPTOR_SHAPE, parts[1].state_dict()))
    assert changed.digest != before


# -- what is refused ----------------------------------------------------------------------------------


def refused(name: str = "tiny") -> PackError:
    with pytest.raises(PackError) as caught:
        check(name)
    assert caught.value.cure, "every refusal says how to mend it"
    with pytest.raises(PackError):
        load(name)
    return caught.value


def test_a_pack_that_is_not_there(tiny):
    error = refused("imagenet")
    assert "no pack 'imagenet'" in error.message and "there is tiny" in error.message


def test_an_empty_folder_of_packs(folder):
    assert available() == []
    error = refused("sketch")
    assert "none at all" in error.message and "train sketch" in error.cure


def test_a_missing_file_is_named(tiny):
    (tiny / "bank.safetensors").unlink()
    assert f"lacks {tiny / 'bank.safetensors'}" in refused().message


def test_a_truncated_file_is_named_with_both_sizes(tiny):
    path = tiny / "vqgan.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    message = refused().message
    assert str(path) in message and f"{len(whole)} bytes" in message and str(len(whole) - 100) in message


def test_a_changed_byte_is_noticed_even_after_a_good_check(tiny):
    check("tiny")
    path = tiny / "vqgan.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert "sha256" in refused().message


def test_a_file_is_read_through_only_once_while_it_lies_unchanged(tiny, monkeypatch):
    check("tiny")
    monkeypatch.setattr(packs.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    check("tiny")


def test_a_truncated_file_that_its_manifest_agrees_with(tiny):
    """A pack may have been packed broken: size and sum agree, yet there are no weights in it."""
    path = tiny / "vqgan.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    files = json.loads((tiny / "pack.json").read_text())["files"]
    files["vqgan"] |= {"bytes": 200, "sha256": packs.sha256_of(path, 0, 200)}
    rewrite(tiny, files=files)
    check("tiny")
    with pytest.raises(PackError, match="not a readable safetensors file"):
        load("tiny")


def test_a_perceptor_of_another_space(tiny):
    rewrite(tiny, space="openai/ViT-B-32")
    message = refused().message
    assert "'openai/ViT-B-32'" in message and f"'{SPACE}'" in message


def test_an_audio_tower_of_another_space(tiny, parts):
    shape = replace(PERCEPTOR_SHAPE, audio=replace(PERCEPTOR_SHAPE.audio, space="other/space"))
    rewrite(tiny, perceptor=shape.to_dict())
    assert "audio tower was made for 'other/space'" in refused().message


def test_a_bank_of_another_space(tiny, parts, folder):
    """Equal width proves nothing: the file itself says which space it was made for."""
    path = tiny / "bank.safetensors"
    save_file({"codes": parts[2].codes, "embeds": parts[2].embeds}, path, metadata={"space": "other/space"})
    files = json.loads((tiny / "pack.json").read_text())["files"]
    size = path.stat().st_size
    files["bank"] |= {"bytes": size, "sha256": packs.sha256_of(path, 0, size)}
    rewrite(tiny, files=files)
    with pytest.raises(PackError, match="bank was made for 'other/space'"):
        load("tiny")


def test_a_shape_that_the_weights_do_not_have(tiny):
    rewrite(tiny, vqgan={**check("tiny").vqgan, "n_embed": 64})
    with pytest.raises(PackError, match="should have shape"):
        load("tiny")


@pytest.mark.parametrize("shape", [{"norm_groups": 5}, {"depth": 3}])
def test_a_shape_that_no_vqgan_can_have(tiny, shape):
    rewrite(tiny, vqgan={**check("tiny").vqgan, **shape})
    with pytest.raises(PackError, match="does not know"):
        load("tiny")


@pytest.mark.parametrize("changes, word", [
    ({"format": 2}, "format 2"),
    ({"surprise": 1}, "surprise"),
    ({"name": "other"}, "calls itself 'other'"),
    ({"vqgan": None}, "or neither"),
    ({"defaults": {"stepz": 3}}, "stepz"),
    ({"files": {}}, "neither"),
    ({"files": {"perceptor": {"file": "../other", "bytes": 1, "sha256": "0" * 64}}}, "files.perceptor.file"),
])
def test_a_manifest_that_makes_no_sense(tiny, changes, word):
    rewrite(tiny, **changes)
    assert word in refused().message


def test_a_manifest_that_is_no_json_hides_only_its_own_pack(tiny, parts):
    write_pack("judge", title="Judge", licence="MIT", perceptor=(PERCEPTOR_SHAPE, parts[1].state_dict()))
    (tiny / "pack.json").write_text("{")
    assert [info.name for info in available()] == ["judge"]
    assert "cannot be read" in refused().message


def test_a_name_cannot_lead_out_of_the_folder(tiny, monkeypatch):
    (tiny.parent / "inner").mkdir()
    monkeypatch.setenv("METAMUSIC_CHECKPOINTS", str(tiny.parent / "inner"))
    refused("../tiny")


def test_weights_too_large_for_half_precision_are_not_written(parts):
    state = parts[0].state_dict() | {"quant_conv.bias": torch.full((4,), 1e6)}
    with pytest.raises(ValueError, match=r"quant_conv\.bias"):
        write_pack("big", title="Big", licence="MIT", vqgan=(VQGAN_SHAPE, state),
                   perceptor=(PERCEPTOR_SHAPE, parts[1].state_dict()))
    assert available() == []


def test_listing_packs_needs_no_torch(tiny):
    """Journey one begins with a page that lists packs: it must not wait for torch."""
    code = "import sys; from metamusic.packs import check; check('tiny'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=packs.CHECKOUT)


def test_a_pack_that_cannot_hear_is_whole_without_an_audio_tower(parts, folder):
    deaf = replace(PERCEPTOR_SHAPE, audio=None)
    state = {name: value for name, value in parts[1].state_dict().items() if not name.startswith("audio.")}
    write_pack("deaf", title="Deaf", licence="MIT", perceptor=(deaf, state))
    assert not load("deaf").perceptor.hears
    rewrite(folder / "deaf", perceptor=PERCEPTOR_SHAPE.to_dict())
    with pytest.raises(PackError, match="audio.* is missing"):
        load("deaf")


def test_manifests_of_before_imports_stay_as_they_were(tiny):
    manifest = json.loads((tiny / "pack.json").read_text())
    assert "asserted" not in manifest and "kind" not in manifest["vqgan"]
    assert "model" not in manifest["perceptor"]["clip"]
    assert check("tiny").asserted == {}


def test_weights_may_keep_their_precision(parts, folder):
    state = parts[0].state_dict() | {"quant_conv.bias": torch.full((4,), 1e6)}
    write_pack("whole", title="Whole", licence="MIT", vqgan=(VQGAN_SHAPE, state), keep_precision=True,
               perceptor=(PERCEPTOR_SHAPE, {name: value.half() if value.is_floating_point() else value
                                            for name, value in parts[1].state_dict().items()}))
    on_disk = load_file(folder / "whole" / "vqgan.safetensors")
    assert all(torch.equal(on_disk[name], value) and on_disk[name].dtype == value.dtype
               for name, value in state.items())
    kept = load_file(folder / "whole" / "perceptor.safetensors")
    assert {value.dtype for value in kept.values()} == {torch.float16, torch.int64}


def test_the_memory_a_pack_needs_is_that_of_its_weights_in_use(tiny):
    models = load("tiny")
    state = [*models.vqgan.state_dict().values(), *models.perceptor.state_dict().values()]
    bank = models.bank.codes.nbytes + models.bank.embeds.nbytes
    assert memory_need(check("tiny")) == sum(value.nbytes for value in state) + bank
    (tiny / "bank.safetensors").unlink()
    with pytest.raises(PackError, match="bank.safetensors"):
        memory_need(packs.available()[0])


# -- removing -------------------------------------------------------------------------------------------


def test_a_removed_pack_is_gone_with_its_files(tiny, folder):
    remove_pack("tiny")
    assert available() == [] and list(folder.iterdir()) == []
    with pytest.raises(PackError, match="no pack 'tiny'"):
        remove_pack("tiny")


def test_a_damaged_pack_can_be_removed(tiny, folder):
    (tiny / "pack.json").write_text("{")
    remove_pack("tiny")
    assert list(folder.iterdir()) == []


def test_a_pack_that_is_a_link_loses_the_link_only(tiny, folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "tiny"
    shutil.move(tiny, elsewhere)
    tiny.symlink_to(elsewhere)
    assert check("tiny")
    remove_pack("tiny")
    assert not tiny.exists() and (elsewhere / "vqgan.safetensors").is_file()


@pytest.mark.parametrize("name", ["sketch", "../tiny", ".", "", "tiny/", "absent"])
def test_what_cannot_be_removed_stays(tiny, name):
    with pytest.raises(PackError) as caught:
        remove_pack(name)
    assert caught.value.cure and check("tiny")


# -- importing ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Published files in a small size, and one of each kind that fits none of the others."""
    found = tmp_path_factory.mktemp("files")
    official.small_clips(tmp_path_factory.mktemp("configs"))
    official.lightning_vqgan(found / "vqgan.ckpt", official.SMALL)
    official.vqgan_yaml(found / "vqgan.yaml", official.SMALL)
    official.vqgan_yaml(found / "other.yaml", replace(official.SMALL, n_embed=128))
    official.openai_clip_archive(found / "clip.pt", official.SMALL_CLIP)
    official.open_clip_safetensors(found / "clip.safetensors", official.SMALL_CLIP)
    official.open_clip_safetensors(found / "narrow.safetensors", official.NARROW_CLIP)
    official.wav2clip_pt(found / "Wav2CLIP.pt")
    return found


def fetch(files: Path, name: str = "mine", **changes):
    """An import of all four files, some of them changed."""
    given = {"vqgan_config": files / "vqgan.yaml", "vqgan": files / "vqgan.ckpt", "clip": files / "clip.pt",
             "wav2clip": files / "Wav2CLIP.pt", "clip_model": official.SMALL_CLIP}
    return import_pack(name, **{**given, **changes})


def test_an_imported_pack_says_what_was_asserted_and_where_it_came_from(files, folder):
    info = fetch(files, title="Mine", licence="CC0", defaults={"steps": 9}, card="# Mine")
    assert (info.name, info.title, info.licence, info.defaults, info.card) == (
        "mine", "Mine", "CC0", {"steps": 9}, "# Mine")
    assert info.space == f"open_clip/{official.SMALL_CLIP}"
    asserted = info.asserted
    assert (asserted["clip"], asserted["audio_made_for"], asserted["vqgan_config"]) == (
        official.SMALL_CLIP, info.space, "vqgan.yaml")
    status = (files / "clip.pt").stat()
    assert asserted["sources"]["clip"] == {"file": "clip.pt", "bytes": status.st_size, "sha256": packs.sha256_of(
        files / "clip.pt", status.st_mtime_ns, status.st_size)}
    assert sorted(path.name for path in (folder / "mine").iterdir()) == [
        "audio.safetensors", "clip.safetensors", "pack.json", "vqgan.safetensors"]
    assert [path.name for path in folder.iterdir()] == ["mine"]


def test_weights_are_imported_in_the_precision_they_came_in_without_leftovers(files, folder):
    fetch(files)
    clip, vqgan = (load_file(folder / "mine" / f"{role}.safetensors") for role in ("clip", "vqgan"))
    assert clip["visual.conv1.weight"].dtype == torch.float16 and clip["logit_scale"].dtype == torch.float32
    assert "input_resolution" not in clip
    assert {value.dtype for value in vqgan.values()} == {torch.float32}
    assert not any(name.startswith("loss.") for name in vqgan)
    audio = load_file(folder / "mine" / "audio.safetensors")
    assert not any(name.startswith("image_transform.") for name in audio)


def test_without_a_configuration_the_weights_tell_their_shape(files):
    told, read = fetch(files, "told"), fetch(files, "read", vqgan_config=None)
    assert told.vqgan == read.vqgan and told.digest == read.digest
    assert read.asserted["vqgan_config"] == "read off the weights"


def test_a_pack_that_judges_only(files):
    info = fetch(files, vqgan=None, vqgan_config=None, wav2clip=None, clip=files / "clip.safetensors")
    models = load("mine")
    assert info.vqgan is None and models.vqgan is None and not models.perceptor.hears
    assert set(info.files) == {"clip"} and "audio_made_for" not in info.asserted
    assert models.perceptor.embed_text(["calm"]).shape == (1, 512)


def test_a_space_of_ones_own(files):
    assert fetch(files, space="mine/vit").space == "mine/vit"
    assert load("mine").perceptor.space == "mine/vit"


@pytest.mark.parametrize("changes, words", [
    ({"clip": None}, ["needs a CLIP"]),
    ({"vqgan": None}, ["vqgan.yaml", "no weights for it"]),
    ({"clip": "vqgan.ckpt"}, ["vqgan.ckpt", "given as a CLIP", "it is a VQGAN of 64 codes"]),
    ({"wav2clip": "clip.pt"}, ["given as a Wav2CLIP", "it is a CLIP"]),
    ({"vqgan": "Wav2CLIP.pt"}, ["given as a VQGAN", "it is a Wav2CLIP"]),
    ({"vqgan_config": "other.yaml"}, ["vqgan.ckpt", r"quantize.embedding.weight should have shape (128, 16)"]),
    ({"vqgan_config": "clip.pt"}, ["clip.pt", "not the configuration"]),
    ({"clip": "narrow.safetensors"}, ["as the weights of metamusic-tests-vit", "text_projection", "(64, 64)"]),
    ({"clip": "narrow.safetensors", "clip_model": official.NARROW_CLIP}, ["512 numbers, this CLIP in 64"]),
    ({"clip_model": "ViT-B-32-quickgelu"}, ["clip.pt", "instead of"]),
    ({"clip_model": "no-such-clip"}, ["knows no model"]),
    ({"vqgan": "absent.ckpt"}, ["no file", "absent.ckpt"])])
def test_files_that_do_not_fit_leave_nothing_behind(files, folder, changes, words):
    changes = {key: files / value if value and key != "clip_model" else value for key, value in changes.items()}
    with pytest.raises(PackError) as caught:
        fetch(files, **changes)
    assert all(word in caught.value.message for word in words), caught.value.message
    assert caught.value.cure and list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["", "Mine", "../mine", ".mine", "a b", "x" * 65, "mine\n"])
def test_names_that_no_pack_can_have(files, folder, name):
    with pytest.raises(PackError, match="cannot be called"):
        fetch(files, name)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["imagenet", "clip-rn50", "sketch", "dropped"])
def test_names_that_would_make_ones_own_pass_for_others(files, folder, name):
    with pytest.raises(PackError, match="is taken"):
        fetch(files, name)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind, make", [("folder", Path.mkdir), ("file", Path.touch),
                                        ("link that leads nowhere", lambda path: path.symlink_to("nowhere"))])
def test_what_lies_in_a_packs_place_and_is_none_is_named(files, folder, kind, make):
    make(folder / "mine")
    for act in (lambda: fetch(files), lambda: remove_pack("mine")):
        with pytest.raises(PackError, match=f"There is a {kind} .*mine, which is no pack") as caught:
            act()
        assert "Move it away" in caught.value.cure
    assert os.path.lexists(folder / "mine")


@pytest.mark.parametrize("changes", [{"title": "a\x07"}, {"licence": "a\nb"}, {"space": "\udce9"}, {"title": " "},
                                     {"space": "  "}])
def test_words_that_cannot_be_shown_are_refused_before_anything_is_written(files, folder, changes):
    with pytest.raises(PackError, match="cannot be shown|is blank"):
        fetch(files, **changes)
    assert list(folder.iterdir()) == []


def test_a_file_that_changes_while_it_is_read_is_refused(files, folder, tmp_path_factory, monkeypatch):
    clip = shutil.copy(files / "clip.pt", tmp_path_factory.mktemp("own") / "clip.pt")
    write = conversion.write_tensors

    def meanwhile(*given, **more):
        os.utime(clip, (1, 1))
        return write(*given, **more)

    monkeypatch.setattr(conversion, "write_tensors", meanwhile)
    with pytest.raises(PackError, match="was changed while"):
        fetch(files, clip=clip)
    assert list(folder.iterdir()) == []


def test_a_name_that_is_taken_and_settings_that_do_not_exist(files, tiny):
    before = check("tiny")
    with pytest.raises(PackError, match="a pack 'tiny' already"):
        fetch(files, "tiny")
    with pytest.raises(SettingsError, match="stepz"):
        fetch(files, defaults={"stepz": 1})
    assert available() == [before]


def test_room_is_looked_for_before_anything_is_written(files, folder, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(packs.shutil, "disk_usage", lambda _: usage(2**40, 2**40, 10**6))
    with pytest.raises(DiskFullError, match=r"needs 0\.\d\d GB .* 0\.00 GB are free") as caught:
        fetch(files)
    assert "METAMUSIC_CHECKPOINTS" in caught.value.cure and list(folder.iterdir()) == []


def test_an_import_that_breaks_off_leaves_nothing_and_can_be_done_again(files, folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(conversion, "write_manifest", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(DiskFullError, match="No space left"):
            fetch(files)
    assert list(folder.iterdir()) == []
    assert fetch(files).name == "mine"


def test_a_disk_that_fills_up_in_the_middle(files, folder):
    """The system itself refuses to write on, here after a megabyte of a file."""
    code = (f"import resource, sys, pathlib; sys.path[:0] = ['tests', '.']\n"
            f"import official, tempfile\nfrom metamusic.errors import DiskFullError\n"
            f"from metamusic import conversion\n"
            f"official.small_clips(pathlib.Path(tempfile.mkdtemp(dir={str(files)!r})))\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))\n"
            f"clip, model = {str(files / 'clip.pt')!r}, {official.SMALL_CLIP!r}\n"
            f"try:\n    conversion.import_pack('mine', clip=clip, clip_model=model)\n"
            f"except DiskFullError as error:\n    assert 'too large' in error.message, error.message\n"
            f"else:\n    sys.exit('written')\n")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=packs.CHECKOUT)
    assert list(folder.iterdir()) == []


def test_of_two_imports_under_one_name_the_first_stays(files, folder, monkeypatch):
    """The second finds the name taken only when it is done."""
    fetch(files, "first")
    before = check("first")
    free = conversion._check_free
    asked = []
    monkeypatch.setattr(conversion, "_check_free", lambda name: free(name) if asked else asked.append(name))
    with pytest.raises(PackError, match="a pack 'first' already"):
        fetch(files, "first", wav2clip=None)
    assert check("first") == before and [path.name for path in folder.iterdir()] == ["first"]


def test_what_a_killed_import_left_is_cleared_away_by_a_later_one(files, folder):
    old, new = folder / ".arriving-old", folder / ".arriving-new"
    for path in (old, new):
        path.mkdir()
        (path / "vqgan.safetensors").write_bytes(b"half")
    os.utime(old, (0, 0))
    fetch(files)
    assert not old.exists() and new.exists(), "the newer one may still be at work"


def test_what_is_on_its_way_is_not_listed(tiny, folder):
    shutil.copytree(tiny, folder / ".other.123")
    assert [info.name for info in available()] == ["tiny"]
