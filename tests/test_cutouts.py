"""Cutouts: shapes, counted randomness, gradients, and the names that the settings know."""

from typing import get_args

import pytest
import torch

from metamusic.cutouts import AUGMENTS, CUTOUTS, make_cutouts
from metamusic.randomness import generator
from metamusic.settings import Augment, RenderSettings, knobs


def picture(height=96, width=80):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_the_settings_know_exactly_these_methods_and_augments():
    choices = {knob.name: knob.choices for knob in knobs()}
    assert set(choices["cut_method"]) == set(CUTOUTS)
    assert set(choices["augments"]) == set(get_args(Augment)) == set(AUGMENTS)


@pytest.mark.parametrize("method", CUTOUTS)
@pytest.mark.parametrize(("height", "width"), [(96, 80), (64, 256), (300, 300)])
def test_cutouts_have_the_size_asked_for_and_carry_the_gradient(method, height, width):
    image = picture(height, width).requires_grad_()
    settings = RenderSettings(cut_method=method, cutouts=5)
    cutouts = make_cutouts(image, 32, settings, generator(1, "cutouts", 0))
    assert cutouts.shape == (5, 3, 32, 32)
    cutouts.square().sum().backward()
    assert torch.isfinite(image.grad).all() and image.grad.abs().sum() > 0


@pytest.mark.parametrize("method", CUTOUTS)
def test_the_same_address_gives_the_same_cutouts(method):
    settings = RenderSettings(cut_method=method, cutouts=4)
    one, same, other = (make_cutouts(picture(), 32, settings, generator(0, "cutouts", step)) for step in (3, 3, 4))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_nothing_draws_from_the_global_stream():
    before = torch.random.get_rng_state()
    for method in CUTOUTS:
        make_cutouts(picture(), 32, RenderSettings(cut_method=method), generator(0, "cutouts", 0))
    assert torch.equal(before, torch.random.get_rng_state())


def test_crops_of_a_flat_picture_stay_flat():
    flat = torch.full((1, 3, 90, 70), 0.25)
    cutouts = make_cutouts(flat, 32, RenderSettings(cut_noise=0), generator(0, "cutouts", 0))
    assert torch.allclose(cutouts, torch.full_like(cutouts, 0.25), atol=1e-5)


def test_crop_power_prefers_small_or_large_crops():
    ramp = torch.linspace(0, 1, 128).view(1, 1, 1, 128).expand(1, 3, 128, 128)

    def reach(power):
        settings = RenderSettings(cutouts=128, cut_power=power, cut_noise=0)
        cutouts = make_cutouts(ramp, 32, settings, generator(0, "cutouts", 0))
        return (cutouts[..., -1] - cutouts[..., 0]).abs().mean()

    assert reach(0.3) > reach(1) > reach(4)


@pytest.mark.parametrize("name", AUGMENTS)
def test_each_augment_changes_some_cutouts_and_leaves_some(name):
    cutouts = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    changed = (AUGMENTS[name](cutouts, generator(5, name)) != cutouts).flatten(1).any(1)
    assert 0.5 < changed.float().mean() < 0.9


@pytest.mark.parametrize("name", AUGMENTS)
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_the_gradient_through_an_augment_is_finite_on_flat_pictures(name, level):
    cutouts = torch.full((8, 3, 16, 16), level).requires_grad_()
    AUGMENTS[name](cutouts, generator(1, name)).square().sum().backward()
    assert torch.isfinite(cutouts.grad).all()


def test_the_order_of_augments_is_kept_and_none_is_allowed():
    def latest(*names):
        settings = RenderSettings(cut_method="latest", augments=names, cut_noise=0, cutouts=6)
        return make_cutouts(picture(), 16, settings, generator(0, "cutouts", 0))

    assert not torch.equal(latest("affine", "erasing"), latest("erasing", "affine"))
    assert torch.equal(latest()[0], latest()[5])
