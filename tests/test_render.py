"""The loop itself, on real classes with small random weights: order, counts, exactness, resume."""

import itertools

import numpy as np
import pytest
import torch
from models import make_song, tiny_models

from metamusic.canvas import CANVASES
from metamusic.errors import PackError, SettingsError
from metamusic.events import Checkpoint, Finished, Frame, Preview, Started, Step
from metamusic.job import chunk_length
from metamusic.optimisers import OPTIMISERS
from metamusic.render import render
from metamusic.settings import RenderSettings, knobs

MODELS = tiny_models()
STILL = RenderSettings(seed=0, width=64, height=64, steps=6, cutouts=4)
FILM = RenderSettings(kind="video", seed=0, width=64, height=64, steps=3, cutouts=4, fps=4, chunk=0.5,
                      steps_per_frame=1, longest_segment=1.0)


def run(settings, models=MODELS, seconds=3.0, resume=None, beats=(), song=None):
    return list(render(song or make_song(seconds), settings, models, beats=beats, resume=resume))


def frames(events):
    return [event.pixels for event in events if isinstance(event, Frame)]


def of(events, kind):
    return [event for event in events if isinstance(event, kind)]


def same(one, other):
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_settings_know_exactly_these_canvases_and_optimisers():
    choices = {knob.name: set(knob.choices) for knob in knobs()}
    assert choices["canvas"] == set(CANVASES) and choices["optimiser"] == set(OPTIMISERS)


@pytest.mark.parametrize("canvas", CANVASES)
def test_a_still_is_a_film_of_one_frame(canvas):
    events = run(STILL.changed(canvas=canvas))
    assert isinstance(events[0], Started) and events[0].frames == 1 and events[0].steps == 6
    assert isinstance(events[1], Preview), "the start is shown before the first step"
    assert [step.step for step in of(events, Step)] == [1, 2, 3, 4, 5, 6]
    assert isinstance(events[-1], Finished) and set(events[-1].scores) == {"audio"}
    (frame,) = frames(events)
    assert frame.shape == (64, 64, 3) and frame.dtype == np.uint8
    assert np.array_equal(frame, events[-1].pixels)


@pytest.mark.parametrize(("seconds", "fps"), [(3.0, 4), (0.5, 4), (1.3, 7)])
def test_a_film_has_the_frames_of_its_duration(seconds, fps):
    events = run(FILM.changed(fps=fps), seconds=seconds)
    indices = [frame.index for frame in of(events, Frame)]
    assert indices == list(range(round(seconds * fps)))
    assert of(events, Step)[-1].step == of(events, Started)[0].steps == len(of(events, Step))


def test_checkpoints_come_at_chunk_borders_only():
    events = run(FILM, seconds=1.25)  # 5 frames in chunks of 2
    assert chunk_length(FILM) == 2
    before = [events[i - 1].index + 1 for i, event in enumerate(events) if isinstance(event, Checkpoint)]
    assert before == [2, 4, 5]


@pytest.mark.parametrize("settings", [STILL, FILM, STILL.changed(canvas="pixels", cut_method="latest")])
def test_the_same_seed_gives_the_same_pixels_and_zero_is_a_seed(settings):
    one, same_again = frames(run(settings)), frames(run(settings))
    other = frames(run(settings.changed(seed=1)))
    assert same(one, same_again) and not same(one, other)


def test_the_global_stream_neither_matters_nor_moves():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = frames(run(STILL))
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(2)
    assert same(one, frames(run(STILL)))


@pytest.mark.parametrize(("settings", "seconds"), [
    (STILL.changed(steps=45, coarse_share=0.5, width=128, height=128), 1.0),
    (STILL.changed(steps=45, canvas="pixels", optimiser="radam"), 1.0),
    (FILM, 2.0), (FILM.changed(canvas="pixels", init="random"), 2.0)])
def test_resuming_from_any_checkpoint_gives_the_same_pixels(settings, seconds):
    whole = run(settings, seconds=seconds)
    checkpoints = of(whole, Checkpoint)
    assert checkpoints
    for point in checkpoints:
        rest = run(settings, seconds=seconds, resume=point.state)
        assert same(frames(whole)[point.frame:], frames(rest))
        assert np.array_equal(of(whole, Finished)[0].pixels, of(rest, Finished)[0].pixels)
        if of(rest, Step):
            assert of(rest, Step)[0].step == point.step + 1


def test_a_checkpoint_is_not_moved_by_what_comes_after_it():
    loop = render(make_song(2.0), FILM, MODELS)
    point = next(event for event in loop if isinstance(event, Checkpoint))
    before = {name: value.clone() for name, value in _tensors(point.state)}
    for _ in loop:
        pass
    assert all(torch.equal(before[name], value) for name, value in _tensors(point.state))


def _tensors(nest, path=""):
    if isinstance(nest, torch.Tensor):
        yield path, nest
    elif isinstance(nest, dict):
        for key, value in nest.items():
            yield from _tensors(value, f"{path}/{key}")
    elif isinstance(nest, list | tuple):
        for index, value in enumerate(nest):
            yield from _tensors(value, f"{path}/{index}")


def test_closing_the_generator_cancels():
    loop = render(make_song(), STILL, MODELS)
    list(itertools.islice(loop, 4))
    loop.close()
    assert list(loop) == []


def test_audio_and_text_act_together_with_their_weights():
    settings = STILL.changed(text="a storm:0.5 | sea:-1", audio_weight=2)
    (first, *_) = of(run(settings), Step)
    assert list(first.losses) == ["audio", "text 1: a storm", "text 2: sea", "variation", "pull", "total"]
    parts = [value for name, value in first.losses.items() if name != "total"]
    assert first.losses["total"] == pytest.approx(sum(parts), rel=1e-5)
    assert first.losses["text 2: sea"] < 0 < first.losses["text 1: a storm"]
    double = of(run(settings.changed(audio_weight=4)), Step)[0]
    assert double.losses["audio"] == pytest.approx(2 * first.losses["audio"], rel=0.3)


def test_silence_lets_the_text_lead_or_the_seed_alone():
    silence = make_song(silent=True)
    with_text = run(STILL.changed(text="storm"), song=silence)
    assert "audio" not in of(with_text, Step)[0].losses
    alone = run(STILL, song=silence)
    assert any("seed alone" in note for note in alone[0].notes)
    assert not same(frames(alone), frames(run(STILL.changed(seed=5), song=silence)))


def test_audio_weight_nought_leaves_the_music_out():
    settings = STILL.changed(audio_weight=0, text="sea")
    assert same(frames(run(settings)), frames(run(settings, song=make_song(silent=True))))


@pytest.mark.parametrize(("canvas", "size", "rounded"), [("vqgan", 70, 68), ("pixels", 71, 70)])
def test_a_size_is_rounded_to_the_cell_with_a_note(canvas, size, rounded):
    events = run(STILL.changed(canvas=canvas, width=size, steps=2))
    assert frames(events)[0].shape == (64, rounded, 3)
    assert any(f"rounded down to {rounded} x 64" in note for note in events[0].notes)


@pytest.mark.parametrize("init", ["nearest", "random", "smooth"])
@pytest.mark.parametrize("canvas", CANVASES)
def test_every_start_works_and_the_seed_governs_it(init, canvas):
    def start(seed):
        settings = STILL.changed(init=init, canvas=canvas, seed=seed, width=96)
        return next(e for e in render(make_song(), settings, MODELS) if isinstance(e, Preview)).pixels

    assert start(1).shape == (64, 96, 3)
    assert np.array_equal(start(1), start(1))
    assert len({start(seed).tobytes() for seed in range(6)}) > 2


def test_nearest_without_a_bank_is_refused():
    with pytest.raises(PackError, match="no bank"):
        run(STILL.changed(init="nearest"), models=tiny_models(bank=False))


def test_an_empty_seed_is_refused_before_work():
    with pytest.raises(SettingsError, match="seed"):
        run(STILL.changed(seed=None))


def test_segments_follow_the_beats_and_targets_fade_between_them():
    events = run(FILM.changed(beats_per_segment=1, fps=8), seconds=3.0, beats=(1.0, 2.0))
    assert events[0].segments == 3
    heard = [step.listening for step in of(events, Step)]
    assert heard[0].startswith("segment 1 of 3") and heard[-1].startswith("segment 3 of 3")


def test_motion_changes_the_film_and_no_motion_keeps_it_steady():
    still_film = FILM.changed(zoom=0, scene_pull=0, smoothing=0, audio_weight=0, init_pull=0,
                              total_variation=0, canvas="pixels", init="smooth")
    steady = frames(run(still_film))
    assert max(np.abs(a.astype(int) - steady[0]).max() for a in steady) <= 1
    moving = frames(run(still_film.changed(zoom=0.5)))
    assert np.abs(moving[-1].astype(int) - moving[0]).mean() > 2


@pytest.mark.parametrize("init", ["nearest", "random"])
def test_a_film_whose_first_steps_were_all_coarse_is_full_size(init):
    settings = FILM.changed(width=128, height=128, coarse_share=1.0, steps=2, init=init)
    whole = run(settings, seconds=1.5)
    assert all(frame.shape == (128, 128, 3) for frame in frames(whole))
    point = of(whole, Checkpoint)[0]
    assert same(frames(whole)[point.frame:], frames(run(settings, seconds=1.5, resume=point.state)))


def test_a_text_too_long_for_the_pack_is_noted():
    events = run(STILL.changed(text="wave " * 60, steps=1))
    assert any("Only the beginning" in note for note in events[0].notes)


def test_smoothing_calms_the_film():
    def flicker(smoothing):
        film = np.stack(frames(run(FILM.changed(smoothing=smoothing, learning_rate=0.5, init="random"))))
        return np.abs(np.diff(film.astype(int), axis=0)).mean()

    assert flicker(0.8) < 0.7 * flicker(0.0)
