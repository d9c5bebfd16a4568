"""Short memory: the same gradient from fewer cutouts at a time, chosen before memory ends and after."""

import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import make_song, tiny_models

from metamusic.canvas import CANVASES
from metamusic.errors import SettingsError
from metamusic.events import Checkpoint, Started, Step
from metamusic.job import prepare
from metamusic.judges import assemble
from metamusic.looking import look
from metamusic.memory import cutout_bytes, cutouts_that_fit, decode_bytes, is_out_of_memory
from metamusic.painter import Painter
from metamusic.perceptor import Perceptor
from metamusic.plan import choose_plan, narrow
from metamusic.prompt import Prompt
from metamusic.randomness import generator
from metamusic.render import render
from metamusic.settings import RenderSettings

MODELS = tiny_models()
STILL = RenderSettings(seed=0, width=64, height=64, steps=6, cutouts=8, text="sea:0.5 | storm:-0.2 @ left")
JURY = assemble(MODELS, STILL, music=True)
CANVAS = CANVASES["vqgan"](MODELS, 3)


def slopes(at_once, settings=STILL):
    job = prepare(make_song(), settings.changed(cutouts_at_once=at_once), MODELS)
    painter = Painter(job)
    painter.begin()
    moment = job.moment(0)
    losses = painter._slopes(moment, job.settings_at(moment))
    return losses, torch.cat([parameter.grad.flatten() for parameter in job.canvas.parameters()])


@pytest.mark.parametrize("at_once", [1, 3, 5])
@pytest.mark.parametrize("cut_method", ["crops", "latest", "updated"])
def test_fewer_cutouts_at_a_time_give_the_same_losses_and_the_same_gradient(at_once, cut_method):
    settings = STILL.changed(cut_method=cut_method)
    losses, gradient = slopes(8, settings)
    few, same = slopes(at_once, settings)
    assert {name: pytest.approx(float(loss), rel=1e-4, abs=1e-6) for name, loss in losses.items()} == \
        {name: float(loss) for name, loss in few.items()}
    assert torch.nn.functional.cosine_similarity(gradient, same, dim=0) > 0.99999
    assert (gradient - same).norm() < 1e-4 * gradient.norm()


def test_what_is_kept_is_measured():
    one = torch.zeros(1, 3, 32, 32, requires_grad=True)
    assert cutout_bytes(JURY[0]) > one.nbytes * 4
    assert decode_bytes(CANVAS, 256, 256) == pytest.approx(4 * decode_bytes(CANVAS, 128, 128), rel=0.01)


@pytest.mark.parametrize("share", [0.9, 3.5, 100])
def test_as_many_cutouts_are_judged_at_a_time_as_fit(share):
    each, decode = cutout_bytes(JURY[0]), decode_bytes(CANVAS, 64, 64)
    fixed = decode + 8 * 3 * 32 * 32 * 4 * 6
    count, reason = cutouts_that_fit(8, CANVAS, 64, 64, JURY, free=int((fixed + share * each) / 0.8) + 10)
    assert count == min(8, max(1, int(share))) and reason


def test_a_picture_that_cannot_fit_is_refused_with_the_figures():
    with pytest.raises(SettingsError, match="smaller picture"):
        cutouts_that_fit(8, CANVAS, 2048, 2048, JURY, free=1_000_000)


def test_the_choice_is_told_and_replayed():
    events = list(render(make_song(), STILL.changed(cutouts_at_once=3, steps=2), MODELS))
    assert events[0].cutouts_at_once == 3 and events[0].memory_reason == "as set"
    plan = choose_plan({"device": "cpu", "threads": 1, "cutouts_at_once": 2})
    replayed = next(e for e in render(make_song(), STILL, MODELS, plan=plan) if isinstance(e, Started))
    assert replayed.cutouts_at_once == 2


@pytest.mark.parametrize("text", ["CUDA out of memory. Tried to allocate 2.00 GiB",
                                  "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"])
def test_every_devices_cry_for_memory_is_understood(text):
    assert is_out_of_memory(RuntimeError(text)) and not is_out_of_memory(RuntimeError("shape mismatch"))
    assert is_out_of_memory(MemoryError()) and not is_out_of_memory(ValueError(text))


SQUEEZE = """
    import resource, sys
    import numpy as np, psutil
    sys.path.insert(0, "tests")
    from models import make_song, tiny_models
    import torch
    torch.set_num_threads(1)
    from metamusic.events import Finished, Frame, Squeezed
    from metamusic.render import render
    from metamusic.settings import RenderSettings

    models = tiny_models()
    settings = RenderSettings(seed=0, width=64, height=64, steps=4, cutouts=128, cutouts_at_once=128,
                              cut_method="latest", augments=())
    def finished(settings):
        events = list(render(make_song(), settings, models))
        return events, next(e.pixels for e in events if isinstance(e, Finished))
    finished(settings.changed(cutouts_at_once=4))  # every library is loaded and warm
    used = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (used + {room} * 2**20, -1))
    events, picture = finished(settings)
    notes = [e for e in events if isinstance(e, Squeezed)]
    few = notes[-1].cutouts_at_once if notes else 128
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    print(len(notes), few, notes[-1].note if notes else "", np.array_equal(picture, finished(
        settings.changed(cutouts_at_once=few))[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory in this way")
def test_memory_that_really_ends_in_mid_render_costs_no_render():
    """A limit on the process, not a pretence: the allocator itself refuses."""
    code = textwrap.dedent(SQUEEZE).replace("{room}", "24")
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    count, few, *note = done.stdout.split()
    assert int(count) >= 1 and 1 <= int(few) < 128 and "Memory" in note and done.stdout.strip().endswith("True")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_sees_nearly_the_same_and_paints_on(precision):
    """A processor computes both, only slowly; in float16 the loss is scaled, and its scale is resumed."""
    exact = [e for e in render(make_song(), STILL, MODELS) if isinstance(e, Step)]
    plan = replace(choose_plan(), precision=precision)
    narrow = list(render(make_song(), STILL.changed(steps=24), MODELS, plan=plan))
    losses = [e.losses for e in narrow if isinstance(e, Step)]
    assert losses[0]["audio"] == pytest.approx(exact[0].losses["audio"], rel=0.05)
    assert losses[0] != exact[0].losses, "it is another precision"
    assert losses[-1]["total"] < losses[0]["total"]
    point = next(e for e in narrow if isinstance(e, Checkpoint))
    rest = list(render(make_song(), STILL.changed(steps=24), MODELS, plan=plan, resume=point.state))
    assert np.array_equal(narrow[-1].pixels, rest[-1].pixels)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_stays_out_of_codes_and_cutouts(precision):
    """Half precision names other codes for one cell in eight, and puts crops elsewhere."""
    latent = torch.randn(1, 4, 32, 32, generator=generator(0, "latent"))
    image = torch.rand(1, 3, 64, 64, generator=generator(0, "image"), requires_grad=True)
    scale, looks = torch.ones(()), []

    def watched(images):
        looks.append(images.detach().clone())
        return Perceptor.embed_images(JURY[0].perceptor, images)

    codes = MODELS.vqgan.codes(latent)
    with narrow("cpu", precision), pytest.MonkeyPatch.context() as patch:
        assert torch.equal(MODELS.vqgan.codes(latent), codes)
        patch.setattr(JURY[0].perceptor, "embed_images", watched)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JURY[0].perceptor, "embed_images", watched)
        for narrowness in ("float32", precision):
            look(image, JURY[0], [Prompt("a", torch.eye(16)[0])], STILL, generator(0, "c"), 8, scale, narrowness)
    assert torch.equal(*looks)


def test_half_precision_is_measured_as_half():
    count = {precision: cutouts_that_fit(64, CANVAS, 64, 64, JURY, precision, free=12_000_000)[0]
             for precision in ("float32", "bfloat16")}
    assert count["bfloat16"] > count["float32"]


def test_precision_is_chosen_by_the_device_with_a_reason():
    plan = choose_plan()
    assert (plan.precision, bool(plan.precision_reason)) == ("float32", True)
    with pytest.raises(SettingsError, match="float16"):
        choose_plan(precision="float16")
    assert choose_plan({**plan.to_dict(), "precision": "bfloat16"}).precision == "bfloat16"
