"""The trainer of the sketch pack's VQGAN: learns, resumes exactly, exports what it measured."""

import json

import numpy as np
import pytest
import torch

from metamusic.sketch import train_vqgan as trainer
from metamusic.sketch.train_vqgan import Codebook, Pictures, Recipe, Training
from metamusic.vqgan import VQGAN, VQGANConfig

TINY = Recipe(
    config=VQGANConfig(ch=16, ch_mult=(1,), num_res_blocks=1, attn_resolutions=(), z_channels=8,
                       resolution=16, n_embed=32, embed_dim=4, unshuffle=4, norm_groups=4,
                       mid_attention=False),
    warm_up=5, small_crop=16, small_batch=4, large_crop=32, large_batch=1, revive_every=3,
    autoencoder_share=0.3)


@pytest.fixture(autouse=True)
def one_thread():
    """So small a model is slower with more: they wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def folder(tmp_path):
    """Two shards of smooth coloured pictures, one of each size."""
    rng = np.random.default_rng(0)
    for kind, size in (("pictures", 256), ("pairs", 128)):
        few = torch.from_numpy(rng.random((4, 3, 5, 5)))
        pictures = torch.nn.functional.interpolate(few, size, mode="bilinear").mul(255).byte()
        (tmp_path / kind).mkdir()
        np.savez(tmp_path / kind / "000.npz", pictures=pictures.numpy())
    return tmp_path


def walk(training: Training, first: int, last: int, budget: int) -> list[trainer.Progress]:
    return [training.advance(step / budget) for step in range(first, last)]


def test_it_learns_through_all_phases(folder):
    reports = walk(Training(folder, 0, TINY), 0, 60, 60)
    assert [report.phase for report in (reports[0], reports[-1])] == ["autoencoder", "codebook"]
    assert reports[-1].loss < 0.7 * reports[0].loss
    assert reports[-1].perplexity > 4


def test_an_interrupted_training_ends_with_the_same_weights(folder):
    whole = Training(folder, 7, TINY)
    walk(whole, 0, 12, 12)
    for stop in (3, 8):  # in the first phase, and after the codebook was laid
        first = Training(folder, 7, TINY)
        walk(first, 0, stop, 12)
        first.save()
        second = Training(folder, 7, TINY)
        second.resume()
        assert second.step == stop
        walk(second, stop, 12, 12)
        for name, value in whole.average.items():
            assert torch.equal(second.average[name], value), f"{name} after a stop at {stop}"
        (folder / trainer.CHECKPOINT).unlink()


def test_another_seed_gives_another_model(folder):
    one, other = Training(folder, 1, TINY), Training(folder, 2, TINY)
    assert not torch.equal(one.model.encoder.conv_in.weight, other.model.encoder.conv_in.weight)


def test_a_checkpoint_of_another_shape_is_not_continued(folder):
    Training(folder, 0, TINY).save()
    with pytest.raises(ValueError, match="another shape"):
        Training(folder, 0, Recipe()).resume()


def test_training_ends_at_its_budget_with_an_export_and_its_figures(folder, monkeypatch):
    monkeypatch.setattr(trainer.dataset, "held_out_pictures",
                        lambda size, count: np.full((2, 3, size, size), 128, np.uint8))
    figures = trainer.train_vqgan(folder, steps=6, recipe=TINY, progress=lambda report: None)
    assert figures["steps"] == 6 and figures["codes_used_128"] >= 1 and figures["psnr_256"] > 0
    assert json.loads((folder / "vqgan_export.json").read_text())["figures"] == figures
    assert trainer.load_export(folder).config == TINY.config
    with pytest.raises(ValueError, match="either in minutes or in steps"):
        trainer.train_vqgan(folder)


def test_the_export_has_a_codebook_of_unit_spread_and_paints_the_same():
    torch.manual_seed(0)
    model = VQGAN(TINY.config)
    model.codebook.copy_(torch.randn(32, 4) * 0.05)
    scaled = VQGAN.from_state(TINY.config, trainer.unit_codebook(model.state_dict()))
    picture = torch.rand(1, 3, 32, 32)
    assert scaled.codebook.std().item() == pytest.approx(1, abs=1e-5)
    assert torch.equal(scaled.codes(scaled.encode(picture)), model.codes(model.encode(picture)))
    codes = torch.randint(32, (1, 4, 4))
    torch.testing.assert_close(scaled.decode(scaled.lookup(codes)), model.decode(model.lookup(codes)))


def test_a_training_that_goes_astray_stops_before_it_overwrites_its_checkpoint(folder):
    training = Training(folder, 0, TINY)
    training.save()
    with torch.no_grad():
        training.model.encoder.conv_in.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="step 0"):
        training.advance(0.0)
    again = Training(folder, 0, TINY)
    again.resume()
    again.advance(0.0)


# -- its parts ----------------------------------------------------------------------------------------


def test_the_codebook_follows_the_latents_that_choose_it():
    codebook, entries = Codebook(2, 1, decay=0.5), torch.zeros(2, 1)
    codebook.start(entries, torch.tensor([[0.0], [10.0]]))
    for _ in range(30):
        codebook.follow(entries, torch.tensor([[1.0], [3.0]]), torch.tensor([0, 0]))
    assert entries[0].item() == pytest.approx(2.0, abs=1e-3)
    assert entries[1].item() == pytest.approx(10.0), "an entry that nobody chooses stays where it is"


def test_entries_out_of_use_are_moved_to_where_latents_are():
    codebook, entries = Codebook(3, 1, decay=0.5), torch.zeros(3, 1)
    codebook.start(entries, torch.tensor([[0.0], [10.0], [-99.0]]))
    latents = torch.tensor([[0.2], [10.2]])
    for _ in range(20):
        codebook.follow(entries, latents, torch.tensor([0, 1]))
    codebook.revive(entries, latents, np.random.default_rng(0))
    assert entries[2].item() in latents.flatten().tolist()
    assert entries[:2].flatten().tolist() == pytest.approx([0.2, 10.2], abs=1e-3)


def test_kmeans_finds_separate_clouds():
    centres = torch.tensor([[0.0, 0], [5, 5], [-5, 5], [5, -5]])
    noise = torch.randn(4, 50, 2, generator=torch.Generator().manual_seed(0))
    points = (centres[:, None] + 0.1 * noise).flatten(0, 1)
    found = trainer.kmeans(points, 12, np.random.default_rng(3))
    assert torch.cdist(points, found).min(1).values.max() < 0.5


def test_crops_come_from_both_sizes_and_stay_in_range(folder):
    crops = Pictures(folder).crops(16, 32, np.random.default_rng(0))
    assert crops.shape == (16, 3, 32, 32) and crops.min() >= 0 and crops.max() <= 1
    again = Pictures(folder).crops(16, 32, np.random.default_rng(0))
    assert torch.equal(crops, again)


def test_shards_that_appear_later_are_picked_up(folder):
    pictures = Pictures(folder, look_again=2)
    pictures.crops(1, 16, np.random.default_rng(0))
    np.savez(folder / "pictures" / "005.npz", pictures=np.zeros((1, 3, 256, 256), np.uint8))
    for step in range(2):
        pictures.crops(1, 16, np.random.default_rng(step))
    assert sorted(pictures.shards["pictures"]) == [0, 5]


def test_a_wrong_hue_costs_more_than_a_wrong_lightness():
    lightness = torch.full((1, 3, 32, 32), 0.1)
    hue = lightness * torch.tensor([1.0, 0, -1]).view(1, 3, 1, 1) * (3 / 2) ** 0.5  # of equal energy
    assert trainer.difference(hue) > trainer.difference(lightness) > trainer.difference(lightness * 0.5)
