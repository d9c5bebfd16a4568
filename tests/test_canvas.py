"""Canvases: what is painted shows, moves stay in bounds, momentum survives a frame."""

import pytest
import torch
from models import tiny_models

from metamusic.canvas import CANVASES, Canvas, PixelCanvas
from metamusic.randomness import generator

MODELS = tiny_models(bank=False)


@pytest.fixture(params=CANVASES)
def canvas(request) -> Canvas:
    made = CANVASES[request.param](MODELS, 3)
    made.paint(torch.rand(1, 3, 64, 48, generator=generator(0, "picture")))
    return made


def test_a_painted_picture_shows_on_the_pixel_canvas():
    canvas = PixelCanvas(levels=2)
    image = torch.rand(1, 3, 64, 48)
    canvas.paint(image)
    assert torch.allclose(canvas.decode(), image)


def test_the_offsets_are_what_is_optimised(canvas):
    assert [offset.shape[-2:] for offset in canvas.parameters()] == [
        (64 // canvas.cell >> level, 48 // canvas.cell >> level) for level in range(3)]
    picture = canvas.decode()
    assert picture.shape == (1, 3, 64, 48) and picture.min() >= 0 and picture.max() <= 1
    picture.sum().backward()
    assert all(offset.grad is not None and torch.isfinite(offset.grad).all() for offset in canvas.parameters())


def test_projection_brings_every_value_back_into_its_bounds(canvas):
    with torch.no_grad():
        for offset in canvas.parameters():
            offset.add_(torch.randn(offset.shape, generator=generator(0, "far")) * 50)
    canvas.project_()
    low, high = canvas.bounds()
    assert (canvas.latent() >= low - 1e-3).all() and (canvas.latent() <= high + 1e-3).all()


def test_painting_again_keeps_the_parameters_and_clears_them(canvas):
    before = list(canvas.parameters())
    with torch.no_grad():
        before[0].add_(1)
    assert canvas.pull() > 0
    canvas.paint(torch.zeros(1, 3, 64, 48))
    assert all(a is b for a, b in zip(before, canvas.parameters(), strict=True))
    assert canvas.pull() == 0
    canvas.paint(torch.zeros(1, 3, 32, 48))
    assert canvas.parameters()[0] is not before[0], "another size has other parameters"


def test_state_brings_back_the_same_picture(canvas):
    with torch.no_grad():
        for offset in canvas.parameters():
            offset.add_(torch.randn(offset.shape, generator=generator(1, "move")) * 0.1)
    state, picture = canvas.state(), canvas.decode()
    fresh = CANVASES["pixels" if isinstance(canvas, PixelCanvas) else "vqgan"](MODELS, 3)
    fresh.load_state(state)
    assert torch.equal(fresh.decode(), picture)


def test_random_latents_depend_on_the_address_alone(canvas):
    one, same, other = (canvas.random_latent(5, 7, generator(seed, "start")) for seed in (0, 0, 1))
    assert one.shape == (1, canvas.channels, 5, 7)
    assert torch.equal(one, same) and not torch.equal(one, other)
