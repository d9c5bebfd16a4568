"""Pictures in motion: sizes, the zoom, rates that do not depend on the frame rate."""

import numpy as np
import pytest
import torch

from metamusic.motion import LONGEST_ZOOM, broad, camera, dissolve, fit, journey, share_per_frame, zoom


def ramp(height=64, width=64):
    return torch.linspace(0.1, 0.9, width).view(1, 1, 1, width).expand(1, 3, height, width).contiguous()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96), (200, 40), (17, 31)])
def test_fit_covers_the_size_without_distortion(height, width):
    image = fit(ramp(), height, width)
    assert image.shape == (1, 3, height, width) and image.min() >= 0 and image.max() <= 1
    # The ramp's slope per pixel tells the scale across; it must be the scale that covers.
    slope = (image[..., width // 2 + 1] - image[..., width // 2 - 1]).mean() / 2
    assert slope.item() == pytest.approx(0.8 / 63 / max(height / 64, width / 64), rel=0.15)


def test_zoom_magnifies_about_the_middle():
    near = zoom(ramp(), 2.0)
    assert near[..., 32].mean().item() == pytest.approx(ramp()[..., 32].mean().item(), abs=0.02)
    assert (near[..., 63] - near[..., 0]).mean().item() == pytest.approx(0.4, abs=0.03)
    assert torch.allclose(zoom(ramp(), 1.0), ramp(), atol=1e-5)


@pytest.mark.parametrize("fps", [1, 12, 60])
def test_rates_are_per_second_whatever_the_frame_rate(fps):
    assert 1 - (1 - share_per_frame(0.5, fps)) ** fps == pytest.approx(share_per_frame(0.5, 1))


@pytest.mark.parametrize("speed", [0.04, -0.04, 0.5, 1.0, -1.0])
def test_the_camera_never_goes_too_near_and_never_jolts(speed):
    way = np.array([camera(travel, speed) for travel in journey([speed] * 60 * 60, 60)])
    assert way.min() >= 1 and way.max() <= LONGEST_ZOOM + 1e-9
    assert way[0] == pytest.approx(1 if speed > 0 else LONGEST_ZOOM)
    growth = np.abs(np.diff(np.log(way)) * 60)
    assert growth.max() == pytest.approx(np.log1p(abs(speed)), rel=0.01)
    assert np.abs(np.diff(growth)).max() < 0.1 * growth.max()


def test_a_camera_at_rest_shows_the_picture_as_it_is():
    at_rest = camera(journey([0.0] * 8, 1)[-1], 0)
    assert at_rest == 1 and torch.equal(zoom(ramp(), at_rest), ramp())


def test_a_camera_whose_speed_changes_does_not_jump():
    way = np.array([camera(travel, 0.1) for travel in journey([0.1] * 60 + [0.5] * 60 + [0] * 60 + [-0.2] * 60, 60)])
    assert np.abs(np.diff(np.log(way))).max() <= np.log1p(0.5) / 60 + 1e-6
    assert np.ptp(way[121:180]) == 0


def test_a_dissolve_begins_with_one_and_ends_with_the_other():
    one, other = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    pattern = torch.linspace(0, 1, 64).view(1, 1, 8, 8)
    assert torch.equal(dissolve(one, other, 0, pattern), one)
    assert torch.equal(dissolve(one, other, 1, pattern), other)
    shares = [dissolve(one, other, share, pattern).mean().item() for share in np.linspace(0, 1, 11)]
    assert all(b > a for a, b in zip(shares, shares[1:], strict=False))
    half = dissolve(one, other, 0.5, pattern)
    # It spreads from where the pattern is low.
    assert half[..., 0, 0].min() == 1 and half[..., 7, 7].max() == 0


def test_the_broad_forms_keep_colour_and_lose_structure():
    stripes = torch.zeros(1, 3, 64, 64)
    stripes[..., ::2] = 1
    assert broad(stripes).std() < 0.01 and broad(stripes).mean().item() == pytest.approx(0.5, abs=1e-3)
    assert broad(ramp()).shape == ramp().shape
    assert (broad(ramp()) - ramp()).abs().mean() < 0.05
