"""Cutouts: shapes, counted randomness, gradients, the published constants by their effect."""

from typing import get_args

import pytest
import torch

from metamusic import cutouts as module
from metamusic.cutouts import AUGMENTS, CUTOUTS, NRUPDATED, UPDATED, UPDATEDPOOLING, augment, make_cutouts
from metamusic.randomness import generator
from metamusic.settings import Augment, RenderSettings, knobs

ALL = get_args(Augment)
EVERY_CUTOUT = {name: each for name, each in AUGMENTS.items() if not each.together}
ALL_OR_NONE = {name: each for name, each in AUGMENTS.items() if each.together}


def picture(height=96, width=80):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def settings_of(method, **more):
    """Settings whose method goes through every augment where it lets one choose."""
    return RenderSettings(cut_method=method, **({"augments": ALL} | more))


def certain(augmentation):
    return module.Augmentation(1, augmentation.make, augmentation.together, augmentation.in_range)


def distorted(augmentation, cutouts, seed=0):
    """All of them distorted: what the augment does, without the chance that it does it."""
    return augment(cutouts, certain(augmentation), generator(seed, "distorted"))


def ramps(size=64):
    """One cutout whose red rises from left to right, and whose green from top to bottom, [0, 1]."""
    line = torch.linspace(0, 1, size)
    red, green = line.expand(size, size), line[:, None].expand(size, size)
    return torch.stack([red, green, torch.zeros(size, size)])[None]


# -- every method -------------------------------------------------------------------------------------


def test_the_settings_know_exactly_these_methods_and_augments():
    choices = {knob.name: knob.choices for knob in knobs()}
    assert set(choices["cut_method"]) == set(CUTOUTS)
    assert set(choices["augments"]) == set(ALL) == set(AUGMENTS) == set(NRUPDATED)


@pytest.mark.parametrize("method", CUTOUTS)
@pytest.mark.parametrize(("height", "width", "size", "count"), [
    (96, 80, 32, 5), (64, 256, 32, 5), (300, 300, 32, 5), (64, 128, 96, 2), (2048, 64, 16, 1), (64, 64, 64, 1)])
def test_cutouts_have_the_size_asked_for_and_carry_the_gradient(method, height, width, size, count):
    image = picture(height, width).requires_grad_()
    cutouts = make_cutouts(image, size, settings_of(method, cutouts=count), generator(1, "cutouts", 0))
    assert cutouts.shape == (count, 3, size, size) and cutouts.dtype == torch.float32
    cutouts.square().sum().backward()
    assert torch.isfinite(image.grad).all() and image.grad.abs().sum() > 0


@pytest.mark.parametrize("method", CUTOUTS)
def test_without_noise_they_stay_in_the_range_of_pictures(method):
    settings = settings_of(method, cutouts=16, cut_noise=0, augments=[name for name in ALL if name != "noise"])
    cutouts = make_cutouts(picture(), 32, settings, generator(0, "cutouts", 0))
    over = 0.15 if "updated" in method else 1e-5  # bicubic resampling overshoots, and only `original` is clamped
    assert cutouts.min() >= -over and cutouts.max() <= 1 + over


@pytest.mark.parametrize("method", CUTOUTS)
def test_the_same_address_gives_the_same_cutouts(method):
    settings = settings_of(method, cutouts=4)
    one, same, other = (make_cutouts(picture(), 32, settings, generator(0, "cutouts", step)) for step in (3, 3, 4))
    assert torch.equal(one, same) and not torch.equal(one, other)


@pytest.mark.parametrize("method", CUTOUTS)
def test_the_global_stream_is_neither_read_nor_moved(method):
    def under(seed):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        cutouts = make_cutouts(picture(), 32, settings_of(method, cutouts=4), generator(0, "cutouts", 0))
        assert torch.equal(before, torch.get_rng_state())
        return cutouts

    assert torch.equal(under(1), under(2))


@pytest.mark.parametrize("method", CUTOUTS)
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0, -0.02, 1.03])
def test_the_gradient_is_finite_on_flat_pictures_and_slightly_outside(method, level):
    image = torch.full((1, 3, 64, 80), level).requires_grad_()
    for step in range(3):
        cutouts = make_cutouts(image, 32, settings_of(method, cutouts=6), generator(1, "cutouts", step))
        cutouts.square().sum().backward()
    assert torch.isfinite(image.grad).all()


@pytest.mark.parametrize("method", CUTOUTS)
@pytest.mark.parametrize("number", [torch.float16, torch.bfloat16])
def test_half_precision_stays_what_it_is(method, number):
    image = picture().to(number).requires_grad_()
    cutouts = make_cutouts(image, 32, settings_of(method, cutouts=4), generator(0, "cutouts", 0))
    cutouts.sum().backward()
    assert cutouts.dtype == image.grad.dtype == number and image.grad.isfinite().all()


@pytest.mark.parametrize("method", CUTOUTS)
def test_noise_is_on_every_method_but_the_original(method):
    quiet, loud = (make_cutouts(picture(), 32, settings_of(method, cutouts=4, cut_noise=noise),
                                generator(0, "cutouts", 0)) for noise in (0, 0.5))
    assert torch.equal(quiet, loud) == (method == "original")


@pytest.mark.parametrize("method", ["latest", "nrupdated"])
def test_the_order_of_augments_is_kept_and_none_is_allowed(method):
    def chosen(*names):
        settings = RenderSettings(cut_method=method, augments=names, cut_noise=0, cutouts=6, cut_power=1)
        return make_cutouts(picture(24, 24), 24, settings, generator(0, "cutouts", 0))

    assert not torch.equal(chosen("affine", "erasing"), chosen("erasing", "affine"))
    assert torch.equal(chosen()[0], chosen()[5])  # the picture is as small as a cutout: there is but one crop


# -- the crops ----------------------------------------------------------------------------------------


def test_crops_of_a_flat_picture_stay_flat():
    flat = torch.full((1, 3, 90, 70), 0.25)
    for method in ("crops", "original"):
        settings = RenderSettings(cut_method=method, cut_noise=0)
        cutouts = make_cutouts(flat, 32, settings, generator(0, "cutouts", 0))
        assert torch.allclose(cutouts, torch.full_like(cutouts, 0.25), atol=1e-5)


@pytest.mark.parametrize("method", ["crops", "original", "nrupdated"])
def test_crop_power_prefers_small_or_large_crops(method):
    def reach(power):
        settings = RenderSettings(cut_method=method, augments=(), cutouts=128, cut_power=power, cut_noise=0)
        cutouts = make_cutouts(ramps(128), 32, settings, generator(0, "cutouts", 0))
        return (cutouts[:, 0, :, -1] - cutouts[:, 0, :, 0]).abs().mean()

    assert reach(0.3) > reach(1) > reach(4)


def test_original_crops_reach_from_the_size_of_a_cutout_to_the_shorter_side_anywhere():
    wide = ramps(256)[..., :128, :]
    settings = RenderSettings(cut_method="original", cutouts=128, cut_power=1)
    cutouts = make_cutouts(wide, 32, settings, generator(0, "cutouts", 0))
    left, right = cutouts[:, 0, :, 0].mean(-1), cutouts[:, 0, :, -1].mean(-1)
    sides = (right - left) * 255 * 32 / 31  # pixels of the picture across a cutout
    assert 31 < sides.min() < 36 and 118 < sides.max() < 129 and 70 < sides.mean() < 90
    assert left.min() < 0.05 and right.max() > 0.95


def test_a_picture_as_large_as_a_cutout_is_seen_as_it_is():
    settings = RenderSettings(cut_method="original", cutouts=3)
    cutouts = make_cutouts(picture(64, 64), 64, settings, generator(0, "cutouts", 0))
    assert torch.allclose(cutouts, picture(64, 64).expand(3, -1, -1, -1), atol=1e-6)


def test_updated_mirrors_half_of_its_crops():
    settings = RenderSettings(cut_method="updated", cutouts=128, cut_noise=0)
    seen = [make_cutouts(ramps(32), 16, settings, generator(0, "cutouts", step)) for step in range(3)]
    mirrored = torch.cat(seen)[:, 0, 8]
    assert 0.4 < (mirrored[:, 12] < mirrored[:, 3]).float().mean() < 0.6


# -- the augments -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY_CUTOUT)
def test_each_cutout_has_its_own_chance_of_the_published_size(name):
    cutouts = torch.rand(400, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    changed = (augment(cutouts, AUGMENTS[name], generator(5, name)) != cutouts).flatten(1).any(1)
    assert changed.float().mean() == pytest.approx(0.5 if name in ("sharpness", "noise") else 0.7, abs=0.07)


@pytest.mark.parametrize("name", ALL_OR_NONE)
def test_some_augments_take_all_cutouts_or_none(name):
    cutouts = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    shares = []
    for draw in range(200):
        changed = (augment(cutouts, AUGMENTS[name], generator(5, name, draw)) != cutouts).flatten(1).any(1)
        shares.append(changed.float().mean())
    # Both crops may cut out the whole or nearly so, which changes less than all three.
    whole = torch.stack(shares)
    assert whole.gt(0).float().mean() == pytest.approx(0.5 if "crop" in name else 0.7, abs=0.1)
    assert "crop" in name or whole.unique().tolist() == [0, 1]


@pytest.mark.parametrize("name", AUGMENTS)
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0, 1.2])
def test_the_gradient_through_an_augment_is_finite_on_flat_pictures(name, level):
    cutouts = torch.full((8, 3, 16, 16), level).requires_grad_()
    distorted(AUGMENTS[name], cutouts).square().sum().backward()
    assert torch.isfinite(cutouts.grad).all()


def test_jitter_pulls_back_what_has_left_the_range():
    cutouts = torch.full((4, 3, 16, 16), 1.5).requires_grad_()
    distorted(UPDATEDPOOLING[2], cutouts).sum().backward()
    assert cutouts.grad.sum() > 0  # a descent makes it darker


def test_augments_work_on_what_is_expanded_and_leave_it_alone():
    one = picture(32, 32)
    expanded = one.expand(6, -1, -1, -1)
    for augmentation in AUGMENTS.values():
        assert augment(expanded, augmentation, generator(0, "expanded")).shape == (6, 3, 32, 32)
    assert torch.equal(one, picture(32, 32))


def test_the_generator_goes_on_behind_what_kornia_drew():
    random, only_the_chance = generator(0, "on"), generator(0, "on")
    augment(picture(32, 32), certain(AUGMENTS["noise"]), random)
    torch.rand(1, generator=only_the_chance)
    assert not torch.equal(random.get_state(), only_the_chance.get_state())


# -- the published constants, by what they do ---------------------------------------------------------


def angles(cutouts):
    """Degrees by which a horizontal bar was turned, from its second moments, [N]."""
    size = cutouts.shape[-1]
    along = torch.arange(size) - (size - 1) / 2
    weight = cutouts.mean(1) / cutouts.mean(1).sum((1, 2), keepdim=True)
    x, y = (weight * along).sum((1, 2)), (weight * along[:, None]).sum((1, 2))
    dx, dy = along - x[:, None, None], along[:, None] - y[:, None, None]
    xx, yy, xy = ((weight * a * b).sum((1, 2)) for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    return torch.rad2deg(torch.atan2(2 * xy, xx - yy) / 2)


def bar(count, size=64):
    bars = torch.zeros(count, 3, size, size)
    bars[..., size // 2 - 2:size // 2 + 2, size // 4:-size // 4] = 1
    return bars


@pytest.mark.parametrize(("augmentation", "degrees"), [
    (AUGMENTS["rotation"], 15), (AUGMENTS["affine"], 15), (UPDATEDPOOLING[0], 15),
    (NRUPDATED["affine"], 30), (UPDATED[3], 30)])
def test_how_far_a_picture_is_turned(augmentation, degrees):
    turned = angles(distorted(augmentation, bar(300)))
    assert 0.85 * degrees < turned.abs().max() < degrees + 0.7
    assert turned.min() < -degrees / 2 and turned.max() > degrees / 2


def test_an_affine_shifts_by_up_to_a_tenth():
    moved = distorted(UPDATED[3], bar(300)).mean(1)
    along = torch.arange(64) - 31.5
    shift = (moved * along).sum((1, 2)) / moved.sum((1, 2))
    assert 5 < shift.abs().max() < 6.8


@pytest.mark.parametrize(("augmentation", "black"), [(AUGMENTS["affine"], True), (UPDATED[3], False)])
def test_what_lies_outside_is_black_or_the_border(augmentation, black):
    assert (distorted(augmentation, torch.ones(20, 3, 32, 32)).min() < 0.5) == black


@pytest.mark.parametrize(("augmentation", "distortion"), [
    (AUGMENTS["perspective"], 0.7), (NRUPDATED["perspective"], 0.5), (UPDATED[4], 0.2)])
def test_how_far_a_perspective_pulls_the_corners_in(augmentation, distortion):
    seen = distorted(augmentation, torch.ones(400, 3, 64, 64)).mean((1, 2, 3))  # share that is not black
    least = (1 - distortion) ** 2  # all four corners as far in as they go
    assert least < seen.min() and seen.mean() == pytest.approx((1 - distortion / 2) ** 2, abs=0.05)


def test_erasing_blackens_the_same_ten_to_forty_per_cent_of_all():
    shares = []
    for seed in range(200):
        seen = distorted(AUGMENTS["erasing"], torch.ones(3, 3, 64, 64), seed)
        assert torch.equal(seen[0], seen[2])
        shares.append(1 - seen.mean())
    assert 0.09 < min(shares) < 0.13 and 0.35 < max(shares) < 0.41


def test_a_resized_crop_keeps_a_tenth_of_the_area_or_more():
    seen = distorted(AUGMENTS["resized_crop"], ramps().expand(300, -1, -1, -1))
    wide, high = seen[:, 0, 32, -1] - seen[:, 0, 32, 0], seen[:, 1, -1, 32] - seen[:, 1, 0, 32]
    assert 0.08 < (wide * high).min() < 0.15 and 0.9 < (wide * high).max() <= 1.0001
    assert 0.7 < (wide / high).min() < 0.8 and 1.25 < (wide / high).max() < 1.4


def test_a_crop_shifts_by_up_to_a_tenth_and_mirrors_the_border():
    seen = distorted(AUGMENTS["crop"], ramps(60).expand(300, -1, -1, -1))
    shift = (seen[:, 0, 30, 30] - ramps(60)[0, 0, 30, 30]) * 59
    assert shift.abs().max() == pytest.approx(6, abs=0.01) and len(shift.round().unique()) == 13
    assert seen[shift.argmin(), 0, 30, 0] == pytest.approx(6 / 59, abs=1e-5)


def test_sharpness_softens_and_noise_has_unit_strength():
    cutouts = torch.rand(32, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    assert (distorted(AUGMENTS["sharpness"], cutouts).std((1, 2, 3)) < cutouts.std((1, 2, 3))).all()
    noise = distorted(AUGMENTS["noise"], cutouts) - cutouts
    assert noise.mean().abs() < 0.02 and noise.std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("augmentation", "hue", "brightness"), [
    (AUGMENTS["jitter"], 0.1, 0.1), (UPDATEDPOOLING[2], 0.1, 0), (UPDATED[1], 0.01, 0)])
def test_how_far_a_jitter_moves_hue_and_brightness(augmentation, hue, brightness):
    red = torch.tensor([0.6, 0.2, 0.2]).view(1, 3, 1, 1).expand(300, -1, 4, 4)
    seen = distorted(augmentation, red)[..., 0, 0]
    high, low = seen.max(1).values, seen.min(1).values
    # Close to red, the hue is a sixth of the circle times how far green or blue has left the lowest.
    turned = (seen[:, 1] - seen[:, 2]).abs() / (high - low) / 6
    assert 0.9 * hue < turned.max() < 1.01 * hue
    change = (high - 0.6).abs().max()
    assert change < 1e-4 if not brightness else 0.7 * brightness < change < 1.7 * brightness  # contrast adds to it


def test_a_thin_plate_bends_all_cutouts_alike_and_elastic_each_its_own_way():
    same, own = (distorted(AUGMENTS[name], ramps().expand(2, -1, -1, -1)) for name in ("thin_plate", "elastic"))
    assert torch.equal(same[0], same[1]) and not torch.equal(own[0], own[1])
    assert (same - ramps()).abs().mean() > 0.02
    inside = (own - ramps())[..., 8:-8, 8:-8]
    assert 0 < inside.abs().mean() < 0.1
