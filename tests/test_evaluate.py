"""The yardsticks and trainers of the sketch pack: small cases with known answers, and the pack's own bars."""

import numpy as np
import pytest
import torch

from metamusic.perceptor import SAMPLE_RATE, SKETCH, Perceptor
from metamusic.sketch.bank import choose, striking
from metamusic.sketch.dataset import Pairs
from metamusic.sketch.evaluate import KEYS, carry_over, evaluate, repaint
from metamusic.sketch.train_joint import contrast, random_crops, ranks, retrieval
from metamusic.sketch.train_robust import Recipe, attack, senseless
from tests.models import tiny_models


def test_ranks_count_what_comes_before() -> None:
    queries = torch.eye(3)
    assert ranks(queries, torch.eye(3)).tolist() == [0, 0, 0]
    assert ranks(queries, torch.tensor([[0.5, 0, 0], [1, 0.1, 0], [0, 0, 1.0]])).tolist() == [1, 0, 0]


@pytest.mark.parametrize("queries", [torch.ones(4, 4), torch.full((4, 4), torch.nan)])
def test_whoever_knows_nothing_comes_last(queries: torch.Tensor) -> None:
    assert ranks(queries, torch.eye(4)).tolist() == [3, 3, 3, 3]


def test_contrast_rewards_what_belongs_together() -> None:
    vectors = torch.eye(8)
    sharp = torch.tensor(3.0)
    assert contrast(vectors, vectors, sharp, 60.0) < 0.01
    assert contrast(vectors, vectors.roll(1, 0), sharp, 60.0) > 10


def test_crops_stay_inside_and_keep_flat_colours() -> None:
    flat = torch.full((5, 3, 128, 128), 0.3)
    crops = random_crops(flat, 0.5, np.random.default_rng(0))
    assert crops.shape == (5, 3, 64, 64)
    assert torch.allclose(crops, torch.full_like(crops, 0.3), atol=1e-6)


def test_an_attack_stays_within_its_radius_and_does_harm() -> None:
    pictures = torch.rand(4, 3, 8, 8)
    loss = lambda seen: -(seen - pictures.flip(0)).square().sum()  # noqa: E731
    hurt = attack(loss, pictures, 0.5, Recipe(), np.random.default_rng(0))
    assert ((hurt - pictures).flatten(1).norm(dim=1) <= 0.5 + 1e-5).all()
    assert loss(hurt) > loss(pictures)


def test_senseless_codes_are_codes() -> None:
    codes = torch.arange(3 * 16).view(3, 4, 4)
    junk = senseless(codes, 48, 12, np.random.default_rng(0))
    assert junk.shape == (12, 4, 4) and junk.dtype == torch.int64
    assert junk.min() >= 0 and junk.max() < 48


def test_striking_pictures_are_colourful_and_contrasted() -> None:
    grey = torch.full((3, 128, 128), 128, dtype=torch.uint8)
    stripes = grey.clone()
    stripes[:, ::8] = 255
    red = stripes.clone()
    red[1:, :64] = 0
    levels = striking(torch.stack([grey, stripes, red]))
    assert levels[0] < levels[1] < levels[2]


def test_the_bank_prefers_what_is_different() -> None:
    """Grey ones are never kept; of four others, two of them nearly alike, one of the twins is left out."""
    torch.manual_seed(0)
    perceptor = Perceptor(SKETCH)
    rng = np.random.default_rng(0)
    kinds = torch.from_numpy(rng.integers(0, 255, (3, 3, 8, 8)).astype(np.uint8))
    pictures = kinds.repeat_interleave(16, 2).repeat_interleave(16, 3)
    twin = pictures[:1].clone()
    twin[..., :2, :2] = 0
    grey = torch.full((2, 3, 128, 128), 128, dtype=torch.uint8)
    chosen = choose(torch.cat([grey, pictures, twin]), perceptor, 3)
    left_out = [not any(torch.equal(each, kept) for kept in chosen) for each in (pictures[0], twin[0])]
    assert sum(left_out) == 1


def test_retrieval_finds_nothing_with_random_towers() -> None:
    rng = np.random.default_rng(0)
    moments = Pairs(
        pictures=rng.integers(0, 255, (16, 3, 128, 128)).astype(np.uint8),
        audio=rng.normal(0, 0.1, (16, SAMPLE_RATE)).astype(np.float16), moods=rng.random((16, 5)),
        scenes=np.arange(16), captions=np.full((16, 4), "a calm sea"))
    figures = retrieval(Perceptor(SKETCH), moments, among=8)
    assert set(figures) == {"audio_image_r1", "audio_image_r5", "text_image_r1", "text_image_r5"}
    assert figures["text_image_r1"] <= 0.2 and figures["audio_image_r5"] >= figures["audio_image_r1"]


def test_carry_over_tells_recordings_apart() -> None:
    """Even random towers hear a tone as itself and noise as itself."""
    time = np.arange(6 * SAMPLE_RATE) / SAMPLE_RATE
    recordings = {"tone": np.sin(2 * np.pi * 330 * time).astype(np.float32),
                  "noise": np.random.default_rng(0).normal(0, 0.3, len(time)).astype(np.float32)}
    torch.manual_seed(0)
    heard = carry_over(Perceptor(SKETCH), recordings)
    assert heard["windows"] == 6
    assert heard["within"] > heard["between"]
    assert set(heard["heard_as"]) == set(recordings)


def test_repainting_is_measured_against_the_whole_codebook() -> None:
    figures = repaint(tiny_models().vqgan, count=2, size=32)
    assert 0 < figures["psnr"] < 30
    assert 0 < figures["codebook_used"] <= 1


class TestSketchPack:
    """What the committed pack must show."""

    def test_it_clears_its_bars(self) -> None:
        figures = evaluate("sketch")
        assert tuple(figures) == KEYS
        assert figures["psnr"] >= 29
        assert figures["codebook_used"] > 0.5
        assert figures["audio_image_r1"] >= 0.6
        assert figures["audio_image_r5"] >= 0.96
        assert figures["text_image_r1"] >= 0.4
