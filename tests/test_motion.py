"""Pictures in motion: sizes, the zoom, rates that do not depend on the frame rate."""

import pytest
import torch

from metamusic.motion import fit, grow, growth_per_frame, share_per_frame, zoom


def ramp(height=64, width=64):
    return torch.linspace(0.1, 0.9, width).view(1, 1, 1, width).expand(1, 3, height, width).contiguous()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96), (200, 40), (17, 31)])
def test_fit_covers_the_size_without_distortion(height, width):
    image = fit(ramp(), height, width)
    assert image.shape == (1, 3, height, width) and 0 <= image.min() and image.max() <= 1
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
    assert growth_per_frame(0.04, fps) ** fps == pytest.approx(1.04)
    assert 1 - (1 - share_per_frame(0.5, fps)) ** fps == pytest.approx(share_per_frame(0.5, 1))


def test_growing_brings_back_fine_detail():
    torch.manual_seed(0)
    fine = torch.rand(1, 3, 64, 64) * 0.2 + 0.4
    small = torch.nn.functional.interpolate(fine, (32, 32), mode="bicubic", antialias=True)
    plain, detailed = grow(small, 64, 64), grow(small, 64, 64, fine)
    assert (detailed - fine).abs().mean() < 0.3 * (plain - fine).abs().mean()
