"""Prompts: the sphere, the pull, the words."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from metamusic.errors import SettingsError
from metamusic.phrases import PromptSpec, parse_prompts
from metamusic.prompt import Prompt, slerp, spherical_distance

shares = st.floats(0, 1)
seeds = st.integers(0, 1000)


def unit(seed: int, width: int = 16) -> torch.Tensor:
    return F.normalize(torch.randn(width, generator=torch.Generator().manual_seed(seed)), dim=0)


@given(seeds, seeds, shares)
def test_slerp_stays_on_the_sphere_and_on_the_way(one, other, share):
    a, b = unit(one), unit(other)
    mixed = slerp(a, b, share)
    assert mixed.norm().item() == pytest.approx(1, abs=1e-5)
    whole = torch.acos((a * b).sum().clamp(-1, 1)).item()
    way = torch.acos((a * mixed).sum().clamp(-1, 1)).item()
    assert way == pytest.approx(share * whole, abs=2e-3)


@given(seeds, shares)
def test_slerp_between_opposites_is_still_a_unit_vector(seed, share):
    mixed = slerp(unit(seed), -unit(seed), share)
    assert torch.isfinite(mixed).all() and mixed.norm().item() == pytest.approx(1, abs=1e-4)


def test_slerp_ends_where_it_should():
    a, b = unit(1), unit(2)
    assert torch.allclose(slerp(a, b, 0), a, atol=1e-6) and torch.allclose(slerp(a, b, 1), b, atol=1e-6)


@given(seeds, seeds)
def test_spherical_distance_is_half_the_squared_angle(one, other):
    a, b = unit(one), unit(other)
    angle = torch.acos((a.double() * b.double()).sum().clamp(-1, 1))
    expected = angle.square().item() / 2
    assert spherical_distance(a, b).item() == pytest.approx(expected, abs=1e-2 * angle.item() + 1e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_slope_is_finite_where_vectors_meet_and_oppose(sign):
    a = unit(3).requires_grad_()
    spherical_distance(a, sign * unit(3)).backward()
    assert torch.isfinite(a.grad).all()


def descend(prompt: Prompt, steps: int = 60) -> float:
    """The cosine to the prompt after walking down its loss."""
    point = unit(9).clone().requires_grad_()
    walker = torch.optim.Adam([point], 0.05)
    for _ in range(steps):
        walker.zero_grad()
        loss = prompt.loss(F.normalize(point, dim=0)[None, None])
        if loss.requires_grad:
            loss.backward()
            walker.step()
    return float(F.normalize(point.detach(), dim=0) @ prompt.embedding)


def test_a_prompt_pulls_and_a_negative_one_pushes():
    start = float(unit(9) @ unit(5))
    assert descend(Prompt("p", unit(5))) > 0.95
    assert descend(Prompt("p", unit(5), weight=-1)) < start - 0.3


def test_a_stop_ends_the_pull():
    stopped = descend(Prompt("p", unit(5), stop=0.4))
    assert descend(Prompt("p", unit(5))) > stopped + 0.1
    assert math.acos(stopped) ** 2 / 2 < 0.4


def test_the_weight_scales_the_loss():
    embeds = unit(1)[None, None]
    one, three = (Prompt("p", unit(2), weight).loss(embeds).item() for weight in (1, 3))
    assert three == pytest.approx(3 * one, rel=1e-5)


@pytest.mark.parametrize(("line", "expected"), [
    ("", ()), ("  |  ", ()), ("storm", (PromptSpec("storm"),)),
    ("text:0.5", (PromptSpec("text", 0.5),)),  # weight 0.5 and no stop
    ("storm:2:-.2 | calm sea : -1", (PromptSpec("storm", 2, -0.2), PromptSpec("calm sea", -1))),
    ("rain at 12:30 pm:0.5", (PromptSpec("rain at 12:30 pm", 0.5),)),
    ("scene: a harbour", (PromptSpec("scene: a harbour"),)),
    ("blue:1e-1", (PromptSpec("blue", 0.1),)), ("x:inf", (PromptSpec("x:inf"),)),
])
def test_prompts_are_read_as_written(line, expected):
    assert parse_prompts(line) == expected


@pytest.mark.parametrize("line", ["storm:1e30", "rain at 12:30", "sea:-11:0.2"])
def test_a_weight_out_of_range_is_refused(line):
    with pytest.raises(SettingsError, match="outside -10 to 10"):
        parse_prompts(line)


@pytest.mark.parametrize("line", [":0.5", "sea | :1:2", " : "])
def test_a_weight_without_a_text_is_refused(line):
    with pytest.raises(SettingsError, match="no text"):
        parse_prompts(line)


@given(st.text(max_size=60))
def test_any_line_is_read_or_refused_with_a_cure(line):
    try:
        specs = parse_prompts(line)
    except SettingsError as refusal:
        assert refusal.cure
    else:
        assert all(spec.text and math.isfinite(spec.weight) for spec in specs)
