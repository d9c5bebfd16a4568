"""Optimisers and schedules: names, shapes of the course, exact resumption, plain states."""

import io
import math
import subprocess
import sys

import pytest
import torch

from metamusic.optimisers import OPTIMISERS, PLATEAU_PATIENCE, SCHEDULES, base_rate, make_optimiser, make_schedule
from metamusic.settings import CHECKOUT, RenderSettings, knobs

FALLING = ("linear", "cosine", "exponential")


def offsets(seed=0):
    """Parameters as a canvas has them: offsets at two resolutions, at nought."""
    random = torch.Generator().manual_seed(seed)
    goals = [torch.randn(1, 4, side, side, generator=random) for side in (4, 2)]
    return [torch.zeros_like(goal).requires_grad_() for goal in goals], goals


class Walk:
    """A small render: optimiser, schedule and the parameters they move towards goals."""

    def __init__(self, settings, steps, done=0):
        self.parameters, self.goals = offsets()
        self.optimiser = make_optimiser(settings, self.parameters)
        self.schedule = make_schedule(settings, self.optimiser, steps, done)

    def go(self, steps):
        """The losses on the way."""
        losses = []
        for _ in range(steps):
            self.optimiser.zero_grad(set_to_none=True)
            loss = sum((one - goal).square().mean() for one, goal in zip(self.parameters, self.goals, strict=True))
            loss.backward()
            self.optimiser.step()
            self.schedule.step(loss.item())
            losses.append(loss.item())
        return losses

    def state(self):
        return {"parameters": [one.detach().clone() for one in self.parameters],
                "optimiser": self.optimiser.state_dict(), "schedule": self.schedule.state_dict()}

    def load(self, state):
        with torch.no_grad():
            for one, kept in zip(self.parameters, state["parameters"], strict=True):
                one.copy_(kept)
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def rates(settings, steps, loss=lambda step: 1.0):
    """The step size that each step of a render takes, as the optimiser has it, in shares of the base."""
    optimiser = make_optimiser(settings, offsets()[0])
    schedule = make_schedule(settings, optimiser, steps)
    taken = []
    for step in range(steps):
        assert optimiser.param_groups[0]["lr"] == schedule.rate
        taken.append(schedule.rate / base_rate(settings))
        schedule.step(loss(step))
    return taken


# -- names and the base rate --------------------------------------------------------------------------


def test_the_settings_know_exactly_these_optimisers_and_schedules():
    choices = {knob.name: set(knob.choices) for knob in knobs() if knob.choices}
    assert choices["optimiser"] == set(OPTIMISERS) and choices["schedule"] == set(SCHEDULES)


def test_the_levels_share_the_learning_rate():
    assert base_rate(RenderSettings(learning_rate=0.3, offset_levels=1)) == pytest.approx(0.3)
    assert base_rate(RenderSettings(learning_rate=0.3, offset_levels=3)) == pytest.approx(0.15)
    assert base_rate(RenderSettings(learning_rate=0.3, offset_levels=3), 0.6) == pytest.approx(0.3)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_starts_at_the_base_rate_and_comes_nearer(name):
    settings = RenderSettings(optimiser=name, learning_rate=0.1, offset_levels=3)
    walk = Walk(settings, 40)
    assert walk.optimiser.param_groups[0]["lr"] == pytest.approx(0.05)
    losses = walk.go(40)
    assert all(math.isfinite(loss) for loss in losses) and losses[-1] < 0.9 * losses[0]


def test_diffgrad_has_its_published_constants():
    group = make_optimiser(RenderSettings(optimiser="diffgrad"), offsets()[0]).param_groups[0]
    assert group["eps"] == group["weight_decay"] == 1e-9 and not group["weight_decouple"]


def test_the_library_of_two_optimisers_is_not_loaded_for_the_others():
    code = ("import sys, torch\nfrom metamusic.optimisers import make_optimiser\n"
            "from metamusic.settings import RenderSettings\n"
            "make_optimiser(RenderSettings(optimiser='adamw'), [torch.zeros(1, requires_grad=True)])\n"
            "assert 'pytorch_optimizer' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True)


# -- the course ---------------------------------------------------------------------------------------


def test_a_constant_schedule_is_the_default_and_stays():
    assert RenderSettings().schedule == "constant" and rates(RenderSettings(), 9) == [1.0] * 9


@pytest.mark.parametrize("name", FALLING)
def test_a_schedule_falls_from_the_first_step_to_the_final_share_at_the_last(name):
    taken = rates(RenderSettings(schedule=name, final_rate=0.2), 21)
    assert taken[0] == pytest.approx(1) and taken[-1] == pytest.approx(0.2)
    assert all(before > after for before, after in zip(taken, taken[1:], strict=False))


def test_the_shapes_differ_as_their_names_say():
    half = {name: rates(RenderSettings(schedule=name, final_rate=0.01), 21)[10] for name in FALLING}
    assert half == pytest.approx({"linear": 0.505, "cosine": 0.505, "exponential": 0.1})
    quarter = {name: rates(RenderSettings(schedule=name, final_rate=0.01), 21)[5] for name in FALLING}
    assert quarter["cosine"] > quarter["linear"] > quarter["exponential"]


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_rises_first(name):
    taken = rates(RenderSettings(schedule=name, warmup=4, final_rate=0.5), 12)
    assert taken[:5] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    assert taken[-1] == pytest.approx(0.5 if name in FALLING else 1)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("warmup", "steps"), [(0, 1), (1, 1), (0, 2), (5000, 3), (3, 4)])
def test_the_shortest_renders_have_a_rate_as_well(name, warmup, steps):
    taken = rates(RenderSettings(schedule=name, warmup=warmup), steps)
    assert all(0 < rate <= 1 for rate in taken)


@pytest.mark.parametrize("name", FALLING)
def test_beyond_the_last_step_it_stays_at_the_end(name):
    settings = RenderSettings(schedule=name)
    schedule = make_schedule(settings, make_optimiser(settings, offsets()[0]), 5, done=50)
    assert schedule.rate == pytest.approx(0.1 * base_rate(settings))


def test_a_plateau_halves_when_the_loss_stands_still_and_has_a_floor():
    settings = RenderSettings(schedule="plateau", final_rate=0.2)
    wait = PLATEAU_PATIENCE + 1
    assert rates(settings, 60, lambda step: 1 - step / 100) == [1.0] * 60
    taken = rates(settings, 60, lambda step: 1.0)
    assert taken[:wait + 1] == [1.0] * (wait + 1) and taken[wait + 1] == 0.5
    assert sorted(set(taken)) == [0.2, 0.25, 0.5, 1.0]


def test_a_plateau_of_a_negative_loss_is_one_too():
    assert rates(RenderSettings(schedule="plateau"), 30, lambda step: -1.0)[-1] < 1


def test_a_plateau_is_not_looked_for_in_the_rise():
    taken = rates(RenderSettings(schedule="plateau", warmup=30), 40, lambda step: float(step))
    assert taken[30:] == [1.0] * 10


# -- changes in mid-render ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_base_may_change_and_the_course_stays(name):
    settings = RenderSettings(schedule=name, warmup=2)
    optimiser = make_optimiser(settings, offsets()[0])
    schedule = make_schedule(settings, optimiser, 20)
    for _ in range(8):
        schedule.step(1.0)
    before = schedule.rate
    schedule.set_rate(3 * base_rate(settings))
    assert optimiser.param_groups[0]["lr"] == schedule.rate == pytest.approx(3 * before)
    schedule.step(1.0)
    schedule.set_rate(base_rate(settings))
    assert schedule.rate == pytest.approx(rates(settings, 20)[9] * base_rate(settings))


@pytest.mark.parametrize("name", ["constant", *FALLING])
def test_a_fresh_optimiser_starts_where_the_course_stands(name):
    settings = RenderSettings(schedule=name, warmup=3)
    taken = rates(settings, 20)
    optimiser = make_optimiser(settings, offsets()[0])
    schedule = make_schedule(settings, optimiser, 20, done=12)
    assert optimiser.param_groups[0]["lr"] == schedule.rate == pytest.approx(taken[12] * base_rate(settings))
    schedule.step(1.0)
    assert schedule.rate == pytest.approx(taken[13] * base_rate(settings))


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_course_may_be_attached_to_another_optimiser(name):
    settings = RenderSettings(schedule=name)
    old = make_optimiser(settings, offsets()[0])
    schedule = make_schedule(settings, old, 40)
    for _ in range(15):
        schedule.step(1.0)
    before, fresh = schedule.rate, make_optimiser(settings, offsets()[0])
    schedule.attach(fresh)
    assert fresh.param_groups[0]["lr"] == schedule.rate == before
    schedule.set_rate(1.5)
    assert fresh.param_groups[0]["lr"] == schedule.rate and old.param_groups[0]["lr"] == before


def test_every_group_of_parameters_follows():
    settings = RenderSettings(schedule="linear")
    one, other = offsets()[0]
    optimiser = make_optimiser(settings, [{"params": [one]}, {"params": [other]}])
    schedule = make_schedule(settings, optimiser, 3)
    schedule.step(1.0)
    assert {group["lr"] for group in optimiser.param_groups} == {schedule.rate}


def test_a_step_that_moved_nothing_counts_as_well():
    schedule = make_schedule(RenderSettings(schedule="linear"), make_optimiser(RenderSettings(), offsets()[0]), 3)
    schedule.step(0.0)  # the optimiser has not stepped; warnings are errors here
    assert schedule.rate < base_rate(RenderSettings())


# -- interrupted = undisturbed ------------------------------------------------------------------------


def check_resumption(settings):
    undisturbed, first, second = (Walk(settings, 40) for _ in range(3))
    undisturbed.go(40)
    first.go(17)
    second.load(through_a_file(first.state()))
    assert second.schedule.rate == first.schedule.rate
    second.go(23)
    for one, other in zip(undisturbed.parameters, second.parameters, strict=True):
        assert torch.equal(one, other)
    assert undisturbed.schedule.state_dict() == second.schedule.state_dict()


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_every_optimiser_resumes_exactly_from_a_file_of_plain_values(name, schedule):
    check_resumption(RenderSettings(optimiser=name, schedule=schedule, warmup=3, learning_rate=0.2))


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_resumes_exactly(name):
    # So large a step overshoots: the loss goes up and down, and a plateau has halved before the interruption.
    check_resumption(RenderSettings(optimiser="rmsprop", schedule=name, learning_rate=2, offset_levels=1))


def test_a_plateau_that_has_fallen_and_a_changed_base_survive_a_file():
    settings = RenderSettings(schedule="plateau")
    one, other = (make_schedule(settings, make_optimiser(settings, offsets()[0]), 60) for _ in range(2))
    one.set_rate(0.7)
    for _ in range(18):
        one.step(1.0)
    assert one.rate == pytest.approx(0.35)
    other.load_state_dict(through_a_file(one.state_dict()))
    for _ in range(12):
        assert one.rate == other.rate
        one.step(1.0)
        other.step(1.0)
    assert one.rate == other.rate == pytest.approx(0.175)
