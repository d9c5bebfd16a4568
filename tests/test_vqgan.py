"""The VQGAN: taming's networks as published, a small one of our own, and its codebook."""

import os
from dataclasses import replace

import official
import pytest
import taming.modules.diffusionmodules.model as shipped
import torch
import yaml
from taming.modules.vqvae.quantize import VectorQuantizer
from torch import nn

from metamusic.errors import PackError
from metamusic.vqgan import VQGAN, VQGANConfig, clamp_with_grad, config_of, vqgan_config

OFFICIAL = VQGANConfig()  # vqgan_imagenet_f16_16384, as its model.yaml has it
OFFICIAL_WORDS = dict(double_z=False, z_channels=256, resolution=256, in_channels=3, out_ch=3, ch=128,
                      ch_mult=[1, 1, 2, 2, 4], num_res_blocks=2, attn_resolutions=[16], dropout=0.0)
SMALL = VQGANConfig(ch=32, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(16,), z_channels=16,
                    resolution=32, n_embed=64, embed_dim=4)
SKETCH_LIKE = replace(SMALL, ch=24, norm_groups=8, unshuffle=2, attn_resolutions=(), mid_attention=False)


def published(words: dict, n_embed: int, embed_dim: int) -> dict[str, torch.Tensor]:
    """The state dict of taming's own parts, put together as its VQModel does."""
    model = nn.ModuleDict({
        "encoder": shipped.Encoder(**words), "decoder": shipped.Decoder(**words),
        "quantize": VectorQuantizer(n_embed, embed_dim, beta=0.25),
        "quant_conv": nn.Conv2d(words["z_channels"], embed_dim, 1),
        "post_quant_conv": nn.Conv2d(embed_dim, words["z_channels"], 1)})
    return model.state_dict()


def words_of(config: VQGANConfig) -> dict:
    return OFFICIAL_WORDS | dict(z_channels=config.z_channels, resolution=config.resolution, ch=config.ch,
                                 ch_mult=list(config.ch_mult), num_res_blocks=config.num_res_blocks,
                                 attn_resolutions=list(config.attn_resolutions))


@pytest.fixture(scope="module")
def small() -> VQGAN:
    torch.manual_seed(1)
    model = VQGAN(SMALL)
    model.codebook.copy_(torch.randn_like(model.codebook))
    return model


@pytest.fixture(scope="module")
def official_state() -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return published(OFFICIAL_WORDS, 16384, 256)


# -- the published networks ---------------------------------------------------------------------------


def test_the_official_configuration_has_exactly_the_published_weights(official_state):
    with torch.device("meta"):
        ours = VQGAN(OFFICIAL).state_dict()
    assert {name: value.shape for name, value in ours.items()} == {
        name: value.shape for name, value in official_state.items()}
    assert OFFICIAL.cell == 16


def test_a_full_size_checkpoint_with_leftovers_of_training_loads_and_paints(official_state):
    torch.manual_seed(0)
    state = {name: torch.randn(value.shape) * 0.02 for name, value in official_state.items()}
    extra = {"loss.discriminator.main.0.weight": torch.zeros(1), "loss.perceptual_loss.lin0": torch.zeros(1)}
    model = VQGAN.from_state(OFFICIAL, state | extra)
    latent = model.encode(torch.rand(1, 3, 32, 48))
    assert latent.shape == (1, 256, 2, 3)
    assert model.codes(latent).max() < 16384
    assert model.decode(model.quantise(latent)).shape == (1, 3, 32, 48)
    assert torch.equal(model.codebook, state["quantize.embedding.weight"])


def test_our_attention_and_norms_give_what_the_shipped_ones_give(capsys):
    torch.manual_seed(2)
    state = published(words_of(SMALL), SMALL.n_embed, SMALL.embed_dim)
    encoder, decoder = shipped.Encoder(**words_of(SMALL)), shipped.Decoder(**words_of(SMALL))
    capsys.readouterr()  # the shipped decoder talks
    ours = VQGAN.from_state(SMALL, state)
    assert capsys.readouterr().out == ""
    encoder.load_state_dict({k.removeprefix("encoder."): v for k, v in state.items() if k[:8] == "encoder."})
    decoder.load_state_dict({k.removeprefix("decoder."): v for k, v in state.items() if k[:8] == "decoder."})

    picture, features = torch.rand(2, 3, 32, 48), torch.randn(2, 16, 16, 24)
    torch.testing.assert_close(ours.encoder(picture), encoder(picture), atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(ours.decoder(features), decoder(features), atol=2e-5, rtol=1e-4)
    assert any("FusedAttention" in type(part).__name__ for part in ours.modules())


def test_building_a_small_model_leaves_taming_as_it_was():
    before = shipped.Normalize, shipped.AttnBlock, shipped.nonlinearity
    VQGAN(SKETCH_LIKE)
    assert (shipped.Normalize, shipped.AttnBlock, shipped.nonlinearity) == before
    assert shipped.Normalize(64).num_groups == 32
    assert not hasattr(shipped, "print")


# -- what does not fit is refused ---------------------------------------------------------------------


def test_missing_weights_are_named(small):
    state = small.state_dict()
    del state["decoder.conv_in.bias"]
    with pytest.raises(PackError, match=r"lack decoder\.conv_in\.bias"):
        VQGAN.from_state(SMALL, state)


def test_unknown_weights_are_named(small):
    with pytest.raises(PackError, match=r"no place for the weights decoder\.extra"):
        VQGAN.from_state(SMALL, small.state_dict() | {"decoder.extra": torch.zeros(1)})


def test_weights_of_another_shape_are_named(small):
    with pytest.raises(PackError, match=r"quantize\.embedding\.weight should have shape \(128, 4\)"):
        VQGAN.from_state(replace(SMALL, n_embed=128), small.state_dict())


def test_half_precision_on_disk_is_single_in_use(small):
    state = {name: value.half() for name, value in small.state_dict().items()}
    assert {value.dtype for value in VQGAN.from_state(SMALL, state).state_dict().values()} == {torch.float32}


# -- the codebook -------------------------------------------------------------------------------------


def test_codes_are_the_nearest_entries(small):
    latent = torch.randn(2, 4, 5, 7)
    cells = latent.permute(0, 2, 3, 1).double()
    distance = (cells[..., None, :] - small.codebook.double()).square().sum(-1)  # [B, h, w, K]
    assert torch.equal(small.codes(latent), distance.argmin(-1))


def test_codes_follow_a_changed_codebook(small):
    model = VQGAN.from_state(SMALL, {name: value.clone() for name, value in small.state_dict().items()})
    latent = torch.randn(1, 4, 6, 6)
    model.codes(latent)  # the norms are kept from here
    model.codebook.mul_(torch.linspace(0.1, 5, 64)[:, None])
    expected = (latent.permute(0, 2, 3, 1)[..., None, :] - model.codebook).square().sum(-1).argmin(-1)
    assert torch.equal(model.codes(latent), expected)


def test_looking_codes_up_and_encoding_them_again_is_a_round_trip(small):
    codes = torch.randint(64, (2, 3, 4))
    assert torch.equal(small.codes(small.lookup(codes)), codes)


def test_quantising_passes_the_gradient_straight_through(small):
    latent = torch.randn(1, 4, 3, 3, requires_grad=True)
    weights = torch.randn(1, 4, 3, 3)
    quantised = small.quantise(latent)
    (quantised * weights).sum().backward()
    assert torch.equal(quantised.detach(), small.lookup(small.codes(latent)))
    assert torch.equal(latent.grad, weights)


def test_the_range_covers_the_codebook_and_touches_it(small):
    assert small.low.shape == small.high.shape == (1, 4, 1, 1)
    entries = small.lookup(torch.arange(64)[None, None])
    assert (entries >= small.low).all() and (entries <= small.high).all()
    assert torch.equal(entries.amin((0, 2, 3)), small.low.flatten())


# -- pictures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("clamped, gradient, passes", [
    (-0.5, 1.0, False), (-0.5, -1.0, True), (0.5, 1.0, True), (1.5, 1.0, True), (1.5, -1.0, False)])
def test_clamp_blocks_only_steps_that_lead_further_out(clamped, gradient, passes):
    """Descent moves against the gradient: at 1.5, a positive one leads back in."""
    value = torch.tensor([clamped], requires_grad=True)
    result = clamp_with_grad(value, 0.0, 1.0)
    assert result.item() == min(max(clamped, 0), 1)
    result.backward(torch.tensor([gradient]))
    assert value.grad.item() == (gradient if passes else 0)


@pytest.mark.parametrize("config", [SMALL, SKETCH_LIKE, replace(SKETCH_LIKE, unshuffle=4, ch_mult=(1,))])
def test_pictures_keep_their_size_and_range(config):
    model = VQGAN(config)
    picture = torch.rand(2, 3, 32, 48)
    latent = model.encode(picture)
    painted = model.decode(model.quantise(latent))
    assert latent.shape == (2, config.embed_dim, 32 // config.cell, 48 // config.cell)
    assert painted.shape == picture.shape and painted.min() >= 0 and painted.max() <= 1


def test_the_whole_way_from_latent_to_picture_is_differentiable(small):
    latent = torch.randn(1, 4, 8, 8, requires_grad=True)
    small.decode(small.quantise(latent)).mean().backward()
    assert latent.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in small.parameters())


def test_an_even_grey_is_zero_to_the_networks():
    """[0, 1] outside is [-1, 1] inside: what the encoder is given of mid grey is nothing."""
    model = VQGAN(SMALL)
    seen = []
    model.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model.encode(torch.full((1, 3, 8, 8), 0.5))
    assert seen[0].abs().max() == 0


# -- Gumbel ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gumbel() -> tuple[VQGAN, official.Taming]:
    reference = official.taming(official.SMALL_GUMBEL)
    return VQGAN.from_state(official.SMALL_GUMBEL, reference.state_dict()), reference


def test_the_published_gumbel_model_has_the_published_weights():
    """OpenImages f8: an embedding of [8192, 256] and a 1x1 convolution that scores it."""
    with torch.device("meta"):
        state, reference = VQGAN(official.F8_GUMBEL).state_dict(), official.Taming(official.F8_GUMBEL).state_dict()
    assert state["quantize.embed.weight"].shape == (8192, 256)
    assert state["quantize.proj.weight"].shape == (8192, 256, 1, 1) and state["quantize.proj.bias"].shape == (8192,)
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in reference.items()}
    assert official.F8_GUMBEL.cell == 8


def test_a_gumbel_model_encodes_to_the_entries_that_score_best_always_the_same(gumbel):
    ours, reference = gumbel
    picture = torch.rand(2, 3, 32, 48)
    latent = ours.encode(picture)
    with torch.no_grad():
        quantised, painted = reference(picture * 2 - 1)
    assert torch.equal(latent, quantised) and torch.equal(ours.encode(picture), latent)
    assert torch.equal(ours.quantise(latent), latent), "an entry is its own nearest"
    torch.testing.assert_close(ours.decode_unclamped(latent) * 2 - 1, painted, atol=1e-4, rtol=1e-4)
    assert len(ours.codes(latent).unique()) > 1


def test_a_gumbel_latent_is_optimised_among_the_entries(gumbel):
    ours = gumbel[0]
    latent = torch.randn(1, 16, 4, 4, requires_grad=True)
    cells = latent.detach().permute(0, 2, 3, 1)
    assert torch.equal(ours.codes(latent), (cells[..., None, :] - ours.codebook).square().sum(-1).argmin(-1))
    ours.decode(ours.quantise(latent)).mean().backward()
    assert latent.grad.abs().sum() > 0
    assert (ours.low <= ours.lookup(torch.arange(64)[None, None])).all()


def test_kinds_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="embed_dim 8 equal to z_channels 16"):
        replace(official.SMALL_GUMBEL, embed_dim=8)
    with pytest.raises(ValueError, match="vq and gumbel, not finite"):
        replace(official.SMALL, kind="finite")


def test_a_manifest_names_the_kind_only_where_it_is_not_the_first():
    assert "kind" not in SMALL.to_dict() and VQGANConfig(**SMALL.to_dict()) == SMALL
    assert VQGANConfig(**official.SMALL_GUMBEL.to_dict()) == official.SMALL_GUMBEL


# -- configurations as published ---------------------------------------------------------------------------


@pytest.mark.parametrize("net2net", [False, True])
@pytest.mark.parametrize("shape", [official.F16, official.F8_GUMBEL, official.SMALL], ids=["f16", "gumbel", "small"])
def test_a_published_configuration_is_understood(tmp_path, shape, net2net):
    assert vqgan_config(official.vqgan_yaml(tmp_path / "model.yaml", shape, net2net=net2net)) == shape


@pytest.mark.parametrize("shape", [official.F16, official.F8_GUMBEL, official.SMALL], ids=["f16", "gumbel", "small"])
def test_weights_tell_their_shape_themselves(shape):
    with torch.device("meta"):
        assert config_of(official.Taming(shape).state_dict()) == shape
    with pytest.raises(PackError, match="not the weights of a VQGAN"):
        config_of({"a": torch.zeros(1)})


@pytest.mark.parametrize("changes, word", [
    ({"double_z": True}, "double_z True; only False"), ({"in_channels": 4}, "in_channels 4"),
    ({"attn_type": "linear"}, "'attn_type', which taming"), ({"resamp_with_conv": False}, "resamp_with_conv"),
    ({"ch": "many"}, "ch is a whole number, not a str"), ({"ch_mult": [1, None]}, "an entry of ch_mult"),
    ({"ch": True}, "not a bool"), ({"ch": float("inf")}, "not a float"), ({"ch": 0}, "from 1 to 4096"),
    ({"ch": 10**6}, "from 1 to 4096"), ({"ch": 33}, "multiple of the 32 norm groups"), ({"ch_mult": []}, "1 to 8"),
    ({"ch_mult": [1] * 9}, "1 to 8 entries"), ({"ch_mult": 2}, "not iterable"), ({"resolution": 7}, "from 8 to 8192"),
    ({"attn_resolutions": [0]}, "attn_resolutions"), ({"num_res_blocks": 10**9}, "from 1 to 16"),
    ({"in_channels": [[3]]}, "of the type list")])
def test_another_network_is_refused_with_the_reason(tmp_path, changes, word):
    path = official.vqgan_yaml(tmp_path / "model.yaml", SMALL, **changes)
    with pytest.raises(PackError, match=word) as caught:
        vqgan_config(path)
    assert str(path) in caught.value.message and caught.value.cure


def test_dropout_does_not_matter(tmp_path):
    path = official.vqgan_yaml(tmp_path / "model.yaml", official.SMALL, dropout=0.1)
    assert vqgan_config(path) == official.SMALL


@pytest.mark.parametrize("text, word", [
    ("", "NoneType"), ("[1, 2]", "list"), ("model: 3", "under model, got int"), ("a: [", "while parsing"),
    ("model: {target: ldm.models.autoencoder.AutoencoderKL, params: {}}", "describes a AutoencoderKL"),
    ("model: {params: {}}", "nameless"), ("model: {target: a.VQModel, params: {}}", "under ddconfig"),
    ("model: {target: a.VQModel, params: {ddconfig: {ch: 3}}}", "lacks ch_mult"),
    ("model: {target: a.VQModel, params: {remap: used.npy}}", "remap"),
    ("model: {target: [a, VQModel], params: {}}", "target is a name, not a list"),
    ("model: !!int foo", "invalid literal"), ("model: 2001-99-99", "month must be"), ("? [a]\n: 3", "unhashable"),
    ("model: " + "9" * 5000, "limit"), ("[" * 3000, "recursion"), ("a: &a [1]\nb: *a", "aliases"),
    ("model: {target: a.VQModel, params: {ddconfig: {in_channels: 0x" + "f" * 9000 + "}}}", "of the type int"),
    ("model: !!python/object/apply:os.system ['touch ran']", "os.system"), ("\0", "special characters")])
def test_what_is_no_configuration(tmp_path, monkeypatch, text, word):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.yaml"
    path.write_text(text)
    with pytest.raises(PackError, match=word):
        vqgan_config(path)
    assert not (tmp_path / "ran").exists()


def test_a_few_lines_cannot_stand_for_endless_ones(tmp_path):
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    (tmp_path / "model.yaml").write_text("\n".join([*lines, "model: {target: *a39, params: {}}"]))
    with pytest.raises(PackError, match="aliases"):
        vqgan_config(tmp_path / "model.yaml")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model.yaml")
    with pytest.raises(PackError, match="no regular file"):
        vqgan_config(tmp_path / "model.yaml")


@pytest.mark.parametrize("changes", [
    {"encoder.conv_in.weight": torch.zeros(())}, {"encoder.conv_in.weight": torch.zeros(0, 3, 3, 3)},
    {"encoder.conv_out.weight": torch.zeros(())}, {"quantize.embedding.weight": torch.zeros(5)},
    {"quantize.embedding.weight": torch.zeros(0, 0)}, {"encoder.conv_in.weight": torch.zeros(128, 4, 3, 3)}])
def test_weights_of_odd_shapes_are_refused(official_state, changes):
    with pytest.raises(PackError, match="not the weights of a VQGAN"):
        config_of({**official_state, **changes})


def test_a_configuration_that_lacks_a_number_or_is_not_there(tmp_path):
    path = official.vqgan_yaml(tmp_path / "model.yaml", SMALL)
    whole = yaml.safe_load(path.read_text())
    del whole["model"]["params"]["n_embed"]
    path.write_text(yaml.safe_dump(whole))
    with pytest.raises(PackError, match="lacks 'n_embed'"):
        vqgan_config(path)
    with pytest.raises(PackError, match="There is no file"):
        vqgan_config(tmp_path / "other.yaml")
    with pytest.raises(PackError, match="cannot be read"):
        vqgan_config(tmp_path)
    path.write_text("#" * 2_000_000)
    with pytest.raises(PackError, match="far too long"):
        vqgan_config(path)
