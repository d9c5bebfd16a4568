"""Packs: written, checked, loaded, and refused with a cure when something does not fit."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize

from metamusic import packs
from metamusic.errors import PackError
from metamusic.packs import Bank, available, check, load, write_pack
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
                       "sha256": packs._sha256(path, path.stat().st_mtime_ns, path.stat().st_size)}
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
    files["vqgan"] |= {"bytes": 200, "sha256": packs._sha256(path, 0, 200)}
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
    files["bank"] |= {"bytes": size, "sha256": packs._sha256(path, 0, size)}
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
