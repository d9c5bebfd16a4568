"""The sketch pack's training data: counted, resumable, and never met again in evaluation."""

import itertools

import numpy as np
import pytest

from metamusic.sketch import dataset
from metamusic.sketch.world import SCENE_NAMES


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(dataset, "PICTURES_PER_SHARD", 2)
    monkeypatch.setattr(dataset, "PAIRS_PER_SHARD", 2)
    monkeypatch.setattr(dataset, "HELD_OUT_PER_DRAW", 2)
    monkeypatch.setattr(dataset, "PICTURE_SIZE", 64)
    monkeypatch.setattr(dataset, "PAIR_SIZE", 32)


def equal(one: dataset.Pairs, other: dataset.Pairs) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))


def test_a_shard_is_the_same_whoever_makes_it_and_kept_when_made(tmp_path):
    made = dataset.pair_shard(1, tmp_path / "here")
    assert equal(made, dataset.pair_shard(1, tmp_path / "there"))
    kept = dataset.shard_file(tmp_path / "here", "pairs", 1)
    before = kept.stat().st_mtime_ns
    assert equal(made, dataset.pair_shard(1, tmp_path / "here"))
    assert kept.stat().st_mtime_ns == before
    assert [path.name for path in kept.parent.iterdir()] == ["001.npz"]


def test_pairs_have_the_promised_shapes(tmp_path):
    pairs = dataset.pair_shard(0, tmp_path)
    assert len(pairs) == 2
    assert pairs.pictures.shape == (2, 3, 32, 32) and pairs.pictures.dtype == np.uint8
    assert pairs.audio.shape == (2, 32000) and pairs.audio.dtype == np.float16
    assert pairs.moods.shape == (2, 5) and pairs.moods.min() >= 0 and pairs.moods.max() <= 1
    assert all(0 <= scene < len(SCENE_NAMES) for scene in pairs.scenes)
    assert pairs.captions.shape == (2, 4) and all(pairs.captions.flatten())


def test_items_do_not_depend_on_how_they_are_cut_into_shards(tmp_path, monkeypatch):
    by_two = np.concatenate([dataset.picture_shard(shard, tmp_path / "two") for shard in (0, 1)])
    monkeypatch.setattr(dataset, "PICTURES_PER_SHARD", 4)
    assert np.array_equal(by_two, dataset.picture_shard(0, tmp_path / "four"))


def test_evaluation_meets_nothing_that_was_trained_on(tmp_path):
    trained, unseen = dataset.pair_shard(0, tmp_path), dataset.held_out_pairs(0, tmp_path)
    another = dataset.held_out_pairs(1, tmp_path)
    for one, other in ((trained, unseen), (trained, another), (unseen, another)):
        assert not np.array_equal(one.moods, other.moods)
        assert not np.array_equal(one.audio, other.audio)
    assert not np.array_equal(dataset.held_out_pictures(64, 2), dataset.picture_shard(0, tmp_path))


def test_a_seed_is_told_apart_from_its_neighbours():
    """numpy pads seeds with zeros; streams of all parts of all items must differ nevertheless."""
    seeds = list(itertools.product((11, 12, 91, 92), range(3), range(4)))
    first_draws = {dataset.rng_for(*seed).integers(2**62) for seed in seeds}
    assert len(first_draws) == len(seeds)


@pytest.mark.parametrize("remains", [b"", b"PK\x03\x04 half a file", b"no archive"])
def test_a_damaged_shard_is_made_again(tmp_path, remains):
    whole = dataset.picture_shard(0, tmp_path)
    dataset.shard_file(tmp_path, "pictures", 0).write_bytes(remains)
    assert np.array_equal(dataset.picture_shard(0, tmp_path), whole)
    with np.load(dataset.shard_file(tmp_path, "pictures", 0)) as arrays:
        assert np.array_equal(arrays["pictures"], whole)


def test_shards_at_hand_are_listed_in_order_without_the_unfinished(tmp_path):
    assert dataset.shards_at_hand("pictures", tmp_path) == []
    for shard in (10, 2):
        dataset.picture_shard(shard, tmp_path)
    (tmp_path / "pictures" / ".003.77.npz").write_bytes(b"unfinished")
    assert dataset.shards_at_hand("pictures", tmp_path) == [2, 10]
