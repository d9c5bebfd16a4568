"""Every kind of guidance, through the whole loop on real classes with small random weights."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from models import PERCEPTOR, make_song, tiny_models

from metamusic import painter
from metamusic.errors import PackError, PictureError, SettingsError
from metamusic.events import Checkpoint, Finished, Frame, Preview, Started, Step
from metamusic.job import prepare
from metamusic.material import Material
from metamusic.painter import Painter
from metamusic.perceptor import Perceptor
from metamusic.render import render
from metamusic.settings import BUILT_IN_PRESETS, RenderSettings, preset_about
from metamusic.song import SAMPLE_RATE
from metamusic.targets import as_image

MODELS = tiny_models()
STILL = RenderSettings(seed=0, width=64, height=64, steps=6, cutouts=4)
FILM = RenderSettings(kind="video", seed=0, width=64, height=64, steps=2, cutouts=4, fps=4, chunk=0.5,
                      steps_per_frame=1, longest_segment=60.0)
RED, BLUE, HALF = "1" * 64, "2" * 64, "3" * 64


def flat(colour, height=40, width=60):
    return np.full((height, width, 3), colour, np.uint8)


def half_white(height=64, width=64):
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, : width // 2] = 255
    return picture


MATERIAL = Material({RED: flat((220, 20, 20)), BLUE: flat((20, 20, 220), 90, 30), HALF: half_white()})


def run(settings, models=MODELS, seconds=3.0, resume=None, beats=(), song=None, plan=None):
    return list(render(song or make_song(seconds), settings, models, beats=beats, material=MATERIAL,
                       plan=plan, resume=resume))


def of(events, kind):
    return [event for event in events if isinstance(event, kind)]


def frames(events):
    return np.stack([event.pixels for event in of(events, Frame)]).astype(int)


def steps_of(events, frame):
    return [step for step in of(events, Step) if step.frame == frame]


# -- the music ----------------------------------------------------------------------------------------


def hum(seconds):
    """A low tone that turns into a high one in the middle."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    wave = np.where(time < seconds / 2, np.sin(2 * np.pi * 150 * time), np.sin(2 * np.pi * 3000 * time))
    return replace(make_song(seconds), waveform=(0.5 * wave).astype(np.float32))


def audio_targets(settings, song, beats=()):
    job = prepare(song, settings, MODELS, beats)
    targets = job.jury[0][1]
    return [targets.hearing.at(job.moment(frame)) for frame in range(job.frames)]


def test_whole_song_segments_and_a_window_hear_differently():
    song = hum(4.0)
    whole = audio_targets(FILM.changed(listen="song"), song)
    assert all(torch.equal(whole[0], target) for target in whole)
    cut = audio_targets(FILM.changed(listen="segment", beats_per_segment=1, fade=0), song, beats=(2.0,))
    assert torch.equal(cut[0], cut[7]) and torch.equal(cut[8], cut[15]) and not torch.equal(cut[7], cut[8])
    window = audio_targets(FILM.changed(listen="window", window=1.0, hop=0.5), song)
    assert len({tuple(target.tolist()) for target in window}) > 4, "the window slides"
    apart = [float((window[0] * target).sum()) for target in window]
    assert apart[1] > apart[5] > apart[-1], "neighbouring windows overlap"


def test_every_clip_is_heard_alone():
    """Wav2CLIP normalises over its batch: together, clips would change each other's embedding."""
    perceptor = MODELS.perceptor
    song = hum(4.0)
    halves = [song.waveform[:32000], song.waveform[32000:]]
    alone = [perceptor.embed_audio(half) for half in halves]
    assert torch.equal(alone[0], perceptor.embed_audio(halves[0]))
    cut = audio_targets(FILM.changed(beats_per_segment=1, fade=0, bank_mix=0), song, beats=(2.0,))
    assert torch.equal(cut[0], alone[0]) and torch.equal(cut[-1], alone[1])


def test_a_pack_without_ears_is_refused_unless_the_music_is_left_out():
    deaf = replace(MODELS, perceptor=Perceptor(replace(PERCEPTOR, audio=None)))
    with pytest.raises(PackError, match="no ears"):
        run(STILL, models=deaf)
    with pytest.raises(PackError, match="no ears"):
        run(STILL.changed(audio_weight=0, story="0:00 sea {audio_weight=2}"), models=deaf)
    assert "audio" not in of(run(STILL.changed(audio_weight=0, text="sea"), models=deaf), Step)[0].losses


def test_the_end_of_the_song_is_heard_however_far_the_last_hop_is():
    targets = audio_targets(FILM.changed(listen="window", window=0.5, hop=10.0), make_song(16.0))
    assert all(target is not None for target in targets)


def test_the_line_under_the_picture_says_what_is_heard():
    heard = [of(run(FILM.changed(listen=listen, beats_per_segment=1), beats=(1.0, 2.0)), Step)[-1].listening
             for listen in ("segment", "song", "window")]
    assert heard[0].startswith("segment 3 of 3, from 0:02") and heard[1:] == ["the whole region", "around 0:02.8"]


# -- words --------------------------------------------------------------------------------------------


def test_a_weight_in_a_text_is_a_weight_and_never_a_stop():
    """The peers' parsers made a stop of 1 out of `text:0.5`, which silently switched the prompt off."""
    whole, half = (of(run(STILL.changed(text=text, audio_weight=0)), Step)[0].losses["text 1: storm"]
                   for text in ("storm", "storm:0.5"))
    assert half == pytest.approx(whole / 2, rel=1e-5)
    moved = frames(run(STILL.changed(text="storm:0.5", audio_weight=0, init_pull=0, total_variation=0)))
    begun = of(run(STILL.changed(text="storm:0.5", audio_weight=0)), Preview)[0].pixels
    assert np.abs(moved[-1] - begun).max() > 3


def test_a_reached_stop_ends_the_pull():
    stopped = STILL.changed(text="storm:1:9", audio_weight=0, init_pull=0, total_variation=0, canvas="pixels")
    events = run(stopped)
    assert np.array_equal(of(events, Preview)[0].pixels, of(events, Finished)[0].pixels)


def test_a_weight_may_follow_the_music():
    song = make_song(4.0)  # it swells
    losses = [step.losses for step in of(run(FILM.changed(text="sea:(loudness)", init_pull=0), song=song), Step)]
    pulls = [some.get("text 1: sea", 0.0) for some in losses]
    assert pulls[-1] > 3 * pulls[1] > 0


# -- lyrics -------------------------------------------------------------------------------------------

LYRICS = "[00:00.50]a red sun\n[00:01.00]over the sea\n[00:01.50]\n"


def test_each_line_acts_while_it_is_sung_and_two_in_one_segment_both_count():
    """Music2Video's pointer stalled at the second line of a segment and lost all later ones."""
    events = run(FILM.changed(lyrics=LYRICS, lyrics_fade=0), seconds=3.0)
    assert of(events, Started)[0].segments == 1
    singing = {step.frame for step in of(events, Step) if "lyrics" in step.losses}
    assert singing == {2, 3, 4, 5}
    first, second = (steps_of(events, frame)[0].losses["lyrics"] for frame in (2, 4))
    assert first != pytest.approx(second, rel=1e-3), "another line, another target"
    assert all("audio" in step.losses for step in of(events, Step)), "music and lyrics act together"


def test_lines_sung_at_the_same_time_act_together():
    both = "1\n00:00:00,000 --> 00:00:02,000\nred\n\n2\n00:00:00,500 --> 00:00:02,000\nblue\n"
    settings = FILM.changed(lyrics=both, lyrics_fade=0, init_pull=0, total_variation=0, audio_weight=0)
    targets = prepare(make_song(), settings, MODELS).jury[0][1]
    job = prepare(make_song(), settings, MODELS)
    assert [len(targets.at(job.moment(frame), settings)) for frame in (0, 3)] == [1, 2]


def test_lyrics_may_stand_in_for_the_music():
    events = run(FILM.changed(lyrics=LYRICS, lyrics_fade=0, lyrics_mix="instead"), seconds=3.0)
    for step in of(events, Step):
        assert ("lyrics" in step.losses) != ("audio" in step.losses)


def test_lyrics_without_weight_do_not_silence_the_music():
    events = run(FILM.changed(lyrics=LYRICS, lyrics_weight=0, lyrics_mix="instead"))
    assert all("audio" in step.losses for step in of(events, Step))


@pytest.mark.parametrize("settings", [STILL, FILM])
def test_lyrics_outside_the_region_are_told_to_lead_nothing(settings):
    events = run(settings.changed(lyrics=LYRICS, start=100.0, audio_weight=0))
    assert any("seed alone" in note for note in events[0].notes)


def test_lyrics_are_in_song_time_and_have_a_weight():
    settings = FILM.changed(lyrics="[00:10.00]sea\n[00:11.00]", start=10.0, lyrics_fade=0)
    losses = [step.losses for step in of(run(settings), Step)]
    assert "lyrics" in losses[0] and "lyrics" not in losses[-1]
    heavy = of(run(settings.changed(lyrics_weight=2)), Step)[0].losses["lyrics"]
    assert heavy == pytest.approx(2 * losses[0]["lyrics"], rel=1e-4)


def test_a_still_reads_the_lines_of_its_region_at_once():
    losses = of(run(STILL.changed(lyrics=LYRICS)), Step)[0].losses
    assert "lyrics" in losses
    assert "lyrics" not in of(run(STILL.changed(lyrics=LYRICS, start=100.0)), Step)[0].losses


# -- stories ------------------------------------------------------------------------------------------


def test_scenes_change_prompts_and_settings_at_their_times():
    story = "0:00 sea {audio_weight=0}\n0:02 storm {audio_weight=3, total_variation=1}"
    events = run(FILM.changed(story=story, story_fade=0, total_variation=0.1), seconds=4.0)
    before, after = steps_of(events, 3)[0].losses, steps_of(events, 12)[0].losses
    assert "audio" not in before and "audio" in after and "story" in before and "story" in after
    assert after["variation"] > 3 * before["variation"]


def test_scenes_cross_fade():
    settings = FILM.changed(story="sea ^ storm", story_every=2.0, story_fade=1.0)
    job = prepare(make_song(4.0), settings, MODELS)
    weights = [[prompt.weight for prompt in job.jury[0][1].at(job.moment(frame), settings) if prompt.name == "story"]
               for frame in range(job.frames)]
    assert all(sum(some) == pytest.approx(1) for some in weights)
    score = of(run(settings.changed(story_every=1.9)), Finished)[0].scores["story"]
    assert -1 <= score <= 1
    assert [len(some) for some in weights[6:11]] == [1, 2, 2, 2, 1] and weights[8] == pytest.approx([0.5, 0.5])


def test_a_still_hears_a_story_out_in_its_steps():
    events = run(STILL.changed(story="0:00 sea\n0:01.5 storm", story_fade=0, steps=10))
    told = [step.losses["story"] for step in of(events, Step)]
    assert abs(told[5] - told[4]) > 3 * abs(told[1] - told[0])


def test_a_story_may_turn_the_camera():
    quiet = FILM.changed(canvas="pixels", init="smooth", zoom=0, scene_pull=0, smoothing=0, audio_weight=0,
                         init_pull=0, total_variation=0, text="", fps=8)
    steady, moving = (frames(run(quiet.changed(story=story, story_fade=0), seconds=3.0))
                      for story in ("", "0:00 sea:0\n0:01.5 sea:0 {zoom=0.8}"))
    assert np.abs(steady - steady[0]).max() <= 1
    assert np.abs(moving[10] - moving[0]).max() <= 1 and np.abs(moving[-1] - moving[0]).mean() > 2


def test_a_story_may_change_the_step_size():
    still = STILL.changed(canvas="pixels", steps=10, init_pull=0, total_variation=0)
    events = run(still.changed(story="0:00 sea\n0:01.5 sea {learning_rate=0.0001}", story_fade=0))
    shown = [event.pixels.astype(int) for event in of(events, Preview)]
    moved = [np.abs(b - a).mean() for a, b in zip(shown, shown[1:], strict=False)]
    assert max(moved[7:]) < 0.2 * min(moved[1:5])


# -- pictures -----------------------------------------------------------------------------------------


def test_an_image_prompt_is_judged_by_content_and_its_sign_counts():
    losses = of(run(STILL.changed(image_prompts=f"{RED}:1 | {BLUE}:-0.5")), Step)[0].losses
    assert losses["picture 1"] > 0 > losses["picture 2"]


def test_an_image_prompt_draws_the_picture_to_it():
    settings = STILL.changed(image_prompts=RED, audio_weight=0, canvas="pixels", init="noise", steps=60,
                             learning_rate=0.05, init_pull=0, total_variation=0, coarse_share=0)
    losses = [step.losses["picture 1"] for step in of(run(settings), Step)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_a_noise_prompt_depends_on_its_own_seed_alone():
    one, same, other = (of(run(STILL.changed(noise_prompts=text, seed=3)), Step)[0].losses
                        for text in ("7", "7:1", "8"))
    assert one["noise 7"] == same["noise 7"] and "noise 8" in other and other["noise 8"] != one["noise 7"]
    elsewhere = prepare(make_song(), STILL.changed(noise_prompts="7", seed=4), MODELS).jury[0][1].always[0]
    here = prepare(make_song(), STILL.changed(noise_prompts="7", seed=3), MODELS).jury[0][1].always[0]
    assert torch.equal(here.embedding, elsewhere.embedding)


def test_the_target_picture_is_reached_pixel_by_pixel_whatever_its_size():
    settings = STILL.changed(target=RED, target_weight=5, audio_weight=0, canvas="pixels", steps=80, width=70,
                             learning_rate=0.1, init_pull=0, total_variation=0)
    events = run(settings)
    assert np.abs(frames(events)[-1] - np.array([220, 20, 20])).mean() < 12
    losses = [step.losses["target"] for step in of(events, Step)]
    assert losses[0] > 10 * losses[-1]


def test_the_targets_loss_is_four_times_its_weight_times_the_squared_error():
    settings = STILL.changed(target=BLUE, target_weight=1.5, init="image", init_image=RED, canvas="pixels",
                             audio_weight=0, coarse_share=0)
    red, blue = (np.array(colour) / 255 for colour in ((220, 20, 20), (20, 20, 220)))
    first = of(run(settings), Step)[0].losses["target"]
    assert first == pytest.approx(4 * 1.5 * np.mean((red - blue) ** 2), rel=1e-3)


@pytest.mark.parametrize("values", [
    {"target": "9" * 64}, {"init_image": "9" * 64}, {"image_prompts": "9" * 64}, {"text": f"sea @ [{'9' * 64}]"},
    {"story": f"0:00 sea\n0:30 sun @ [{'9' * 64}]"}])
def test_a_missing_picture_is_refused_before_work(values):
    with pytest.raises(PictureError, match="9999"):
        next(render(make_song(), STILL.changed(**values), MODELS, material=MATERIAL))


def test_a_useless_mask_is_refused_before_work_even_in_a_late_scene():
    with pytest.raises(PictureError, match="one brightness"):
        next(render(make_song(), FILM.changed(story=f"0:00 sea\n0:02 sun @ [{RED}]"), MODELS, material=MATERIAL))


def test_a_picture_is_reduced_only_as_far_as_it_still_covers_the_canvas():
    """Scaled by its longer side it would be enlarged again, and blurred for nothing."""
    job = prepare(make_song(), STILL.changed(width=128, height=72, seed=0), MODELS)
    tall = np.random.default_rng(0).integers(0, 256, (640, 480, 3), np.uint8)
    image = as_image(tall, job.settings, job.jury[0][0])
    over = min(image.shape[-2] / 72, image.shape[-1] / 128)
    assert image.shape[-2] >= 72 and image.shape[-1] >= 128 and over < 1.02


# -- the first picture --------------------------------------------------------------------------------


def begun(settings):
    return of(run(settings.changed(steps=1)), Preview)[0].pixels.astype(int)


def test_a_picture_may_come_first_and_is_fitted():
    picture = begun(STILL.changed(init="image", init_image=RED, canvas="pixels", width=96))
    assert picture.shape == (64, 96, 3) and np.abs(picture - np.array([220, 20, 20])).max() <= 2
    with pytest.raises(SettingsError, match="none is named"):
        run(STILL.changed(init="image"))
    assert np.array_equal(begun(STILL.changed(init_image=RED, canvas="pixels")),
                          begun(STILL.changed(init="image", init_image=RED, canvas="pixels")))


@pytest.mark.parametrize("canvas", ["vqgan", "pixels"])
@pytest.mark.parametrize("init", ["noise", "gradient"])
def test_noise_and_gradient_belong_to_the_seed(init, canvas):
    one, same, other = (begun(STILL.changed(init=init, canvas=canvas, seed=seed, width=128)) for seed in (1, 1, 2))
    assert one.shape == (64, 128, 3) and np.array_equal(one, same) and not np.array_equal(one, other)


def test_a_gradient_runs_straight_along_the_picture():
    picture = begun(STILL.changed(init="gradient", canvas="pixels", width=128, coarse_share=0))
    for colour in range(3):
        rows, columns = np.ptp(picture[..., colour], axis=0).max(), np.ptp(picture[..., colour], axis=1).max()
        assert min(rows, columns) <= 1  # and which way it runs, and how far, is the seed's
    assert np.ptp(picture, axis=(0, 1)).max() > 20


def test_the_pull_to_the_first_picture_holds_and_fades():
    free = STILL.changed(canvas="pixels", init="image", init_image=RED, steps=40, init_pull=0, total_variation=0,
                         learning_rate=0.1, coarse_share=0)
    def strayed(**values):
        events = run(free.changed(**values))
        return np.abs(frames(events)[-1] - of(events, Preview)[0].pixels).mean()

    loose, held, fading = strayed(), strayed(init_weight=10), strayed(init_weight=10, init_half_life=2)
    assert held < 0.5 * loose and held < fading
    losses = [step.losses["init"] for step in of(run(free.changed(init_weight=1)), Step)]
    assert losses[0] == 0 < losses[-1]


# -- the segment before -------------------------------------------------------------------------------


def test_the_last_picture_acts_for_as_many_steps_as_asked_and_is_the_newest():
    """The original's was up to 19 steps old and acted once, whatever was asked."""
    settings = FILM.changed(previous_weight=1, previous_steps=3, beats_per_segment=1, steps_per_frame=2)
    events = run(settings, seconds=4.0, beats=(2.0,))
    acting = [step.frame for step in of(events, Step) if "previous" in step.losses]
    assert acting == [8, 8, 9]


def test_the_picture_that_is_held_to_is_the_last_one_shown(monkeypatch):
    seen = []
    whole = painter.picture_targets
    monkeypatch.setattr(painter, "picture_targets", lambda image, *rest: seen.append(image) or whole(image, *rest))
    events = run(FILM.changed(previous_weight=1, beats_per_segment=1), seconds=4.0, beats=(2.0,))
    (image,) = seen
    shown = (image[0].permute(1, 2, 0) * 255).round().numpy()
    assert np.array_equal(shown, of(events, Frame)[7].pixels)


# -- places -------------------------------------------------------------------------------------------

PLAIN = STILL.changed(canvas="pixels", init="smooth", audio_weight=0, init_pull=0, total_variation=0, steps=10,
                      learning_rate=0.1, coarse_share=0, offset_levels=1, cut_noise=0)


def moved(settings):
    events = run(settings)
    return np.abs(frames(events)[-1] - of(events, Preview)[0].pixels).sum(-1)


PLACES = [
    ("left", np.s_[:, :20], np.s_[:, -20:]), ("-left", np.s_[:, -20:], np.s_[:, :20]),
    ("top", np.s_[:20], np.s_[-20:]), ("centre", np.s_[24:40, 24:40], np.s_[:3]),
    (f"[{HALF}]", np.s_[:, :28], np.s_[:, -28:]), (f"-[{HALF}]", np.s_[:, -28:], np.s_[:, :28])]


@pytest.mark.parametrize(("place", "inside", "outside"), PLACES)
def test_a_prompt_changes_only_its_place(place, inside, outside):
    change = moved(PLAIN.changed(text=f"storm @ {place}"))
    assert change[inside].mean() > 1 and change[outside].max() == 0


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize(("place", "inside", "outside"), PLACES)
def test_a_prompt_keeps_to_its_place_on_a_vqgan_too(place, inside, outside, levels):
    """Its decoder lets a little of every slope into every cell, and Adam would make full steps of it."""
    job = prepare(make_song(), PLAIN.changed(text=f"storm @ {place}", canvas="vqgan", offset_levels=levels),
                  MODELS, material=MATERIAL)
    one = Painter(job)
    one.begin()
    job.canvas.project_()  # a smooth start leaves the bounds a little
    before = job.canvas.latent().detach().clone()
    for _ in range(5):
        one.step()
    change = (job.canvas.latent().detach() - before).abs().sum((0, 1)).repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert change[inside].mean() > 0.1
    assert change[outside].mean() <= (0 if levels == 1 else 0.2 * change[inside].mean())


def test_two_prompts_share_the_picture():
    change = moved(PLAIN.changed(text="storm @ left | sea @ right"))
    assert change[:, :20].mean() > 1 and change[:, -20:].mean() > 1


def test_a_place_may_be_found_by_words():
    with_words, everywhere = moved(PLAIN.changed(text="storm @ sky")), moved(PLAIN.changed(text="storm"))
    assert with_words.mean() > 0 and not np.array_equal(with_words, everywhere)
    here, elsewhere = (moved(PLAIN.changed(text=f"storm @ {sign}sky", steps=1)) for sign in ("", "-"))
    assert np.corrcoef(here.ravel(), elsewhere.ravel())[0, 1] < 0.5


# -- several judges -----------------------------------------------------------------------------------


def second_pack(ears):
    """Another CLIP, of another size and space, with ears of its own or without."""
    clip = replace(PERCEPTOR.clip, embed_dim=24, vision={**PERCEPTOR.clip.vision, "image_size": 48})
    audio = replace(PERCEPTOR.audio, space="tests/other") if ears else None
    with torch.random.fork_rng():
        torch.manual_seed(9)
        perceptor = Perceptor(replace(PERCEPTOR, space="tests/other", clip=clip, audio=audio))
    return replace(MODELS, perceptor=perceptor, bank=None, vqgan=None)


@pytest.mark.parametrize("ears", [True, False])
def test_several_judges_look_together_and_hear_with_their_own_ears_only(ears):
    models = replace(MODELS, judges={"other": second_pack(ears)})
    losses = of(run(STILL.changed(text="sea", judges="other:0.5", image_prompts=RED), models=models), Step)[0].losses
    assert {"text 1: sea", "text 1: sea, other", "picture 1, other", "audio"} <= set(losses)
    assert ("audio, other" in losses) == ears
    double = of(run(STILL.changed(text="sea", judges="other:1"), models=models), Step)[0].losses
    assert double["text 1: sea, other"] == pytest.approx(2 * losses["text 1: sea, other"], rel=1e-4)


def test_the_packs_own_judge_may_be_silenced():
    models = replace(MODELS, judges={"other": second_pack(True)})
    losses = of(run(STILL.changed(judges="sketch:0 | other:1"), models=models), Step)[0].losses
    assert "audio, other" in losses and "audio" not in losses


def test_a_judge_that_was_not_loaded_is_named():
    with pytest.raises(PackError, match="'other'"):
        run(STILL.changed(judges="other"))


# -- everything together ------------------------------------------------------------------------------

def through_a_file(state):
    """As a checkpoint travels: written, and read without executing anything."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


EVERYTHING = {
    "text": "sea:(bass) @ left | storm:-0.3", "lyrics": LYRICS, "story": "0:00 sun {zoom=0.1}\n0:01 moon {zoom=0}",
    "image_prompts": f"{RED}:0.5 @ sky", "noise_prompts": "3:0.2", "target": BLUE, "target_weight": 0.3,
    "init": "image", "init_image": HALF, "init_weight": 0.2, "init_half_life": 9.0, "previous_weight": 0.5,
    "previous_steps": 3, "judges": "other:0.5", "latent_smoothing": 0.4, "loudness_steps": 2.0, "schedule": "plateau",
    "warmup": 2, "optimiser": "adamp", "beats_per_segment": 1, "cutouts_at_once": 3, "cut_method": "updated"}


def test_everything_at_once_resumes_to_the_pixel():
    models = replace(MODELS, judges={"other": second_pack(True)})
    settings = FILM.changed(**EVERYTHING)
    whole = run(settings, models=models, seconds=2.0, beats=(1.0,))
    for point in of(whole, Checkpoint)[::2]:
        rest = run(settings, models=models, seconds=2.0, beats=(1.0,), resume=through_a_file(point.state))
        assert np.array_equal(frames(whole)[point.frame:], frames(rest) if of(rest, Frame) else frames(whole)[:0])
        assert of(whole, Step)[point.step:] == of(rest, Step)
        assert np.array_equal(of(whole, Finished)[0].pixels, of(rest, Finished)[0].pixels)


def test_louder_segments_get_more_steps():
    events = run(FILM.changed(loudness_steps=6, beats_per_segment=1, listen="song"), seconds=4.0, beats=(1, 2, 3))
    counts = [len(steps_of(events, frame)) for frame in range(1, 16)]
    assert counts == sorted(counts) and counts[-1] == 7 > counts[0]
    assert of(events, Started)[0].steps == len(of(events, Step))


def test_latent_smoothing_calms_the_film():
    def flicker(share):
        film = frames(run(FILM.changed(latent_smoothing=share, smoothing=0, zoom=0, learning_rate=0.5, fps=8,
                                       init="smooth", canvas="pixels")))
        return np.abs(np.diff(film[2:], axis=0)).mean()

    assert flicker(0.8) < 0.85 * flicker(0.0)


@pytest.mark.parametrize("name", BUILT_IN_PRESETS)
@pytest.mark.parametrize("kind", ["image", "video"])
def test_every_preset_runs(name, kind):
    values = {**BUILT_IN_PRESETS[name], "kind": kind, "width": 64, "height": 64, "steps": 2, "seed": 0,
              "text": "sea", "cutouts": 2, "fps": 4}
    values["steps_per_frame"] = min(2, values.get("steps_per_frame", 2))
    events = run(RenderSettings.parse(values), seconds=1.0)
    assert len(of(events, Frame)) == (1 if kind == "image" else 4)
    assert preset_about(name)


@pytest.mark.parametrize("canvas", ["vqgan", "pixels"])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (1024, 64), (64, 777), (333, 130)])
def test_every_size_and_shape_is_painted_and_rounding_is_told(width, height, canvas):
    settings = STILL.changed(width=width, height=height, steps=2, cutouts=1, canvas=canvas,
                             text="sea @ top | sun @ sky", target=RED)
    events = run(settings)
    started, picture = of(events, Started)[0], of(events, Finished)[0].pixels
    assert picture.shape == (started.height, started.width, 3)
    cell = 4 if canvas == "vqgan" else 2
    assert (started.width, started.height) == (width // cell * cell, height // cell * cell)
    assert any("rounded down" in note for note in started.notes) == ((width % cell, height % cell) != (0, 0))


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(2048, 2048), (2048, 64), (64, 2048)])
def test_the_largest_sizes_are_painted(width, height):
    events = run(STILL.changed(width=width, height=height, steps=1, cutouts=1))
    assert of(events, Finished)[0].pixels.shape == (height, width, 3)


@pytest.mark.parametrize(("values", "error"), [
    ({"noise_prompts": "abc"}, "not a seed"), ({"judges": "other:1 | other:5"}, "named twice"),
    ({"init": "random", "init_image": RED}, "init is random")])
def test_the_engine_itself_refuses_what_cannot_be(values, error):
    with pytest.raises(SettingsError, match=error):
        next(render(make_song(), STILL.changed(**values), MODELS, material=MATERIAL))


@pytest.mark.parametrize("values", [{}, {"init": "nearest"}])
def test_a_pack_without_a_vqgan_cannot_paint_with_one(values):
    with pytest.raises(PackError, match="no VQGAN"):
        next(render(make_song(), STILL.changed(**values), replace(MODELS, vqgan=None), material=MATERIAL))


def test_what_is_averaged_moves_with_the_camera():
    """Otherwise pictures of other magnifications are laid over each other, and contrast goes."""
    still_life = FILM.changed(canvas="pixels", init="image", init_image=HALF, audio_weight=0, init_pull=0, fps=8,
                              total_variation=0, smoothing=0, zoom=0.5, steps=1, coarse_share=0)
    sharp, averaged = (frames(run(still_life.changed(latent_smoothing=share)))[-1].std() for share in (0, 0.8))
    assert averaged > 0.95 * sharp


def test_each_place_begins_with_a_picture_of_its_own():
    """In front of a bank, what is asked for on the left does not choose the picture of the whole."""
    base = STILL.changed(text="sea", audio_weight=0, coarse_share=0, steps=1, canvas="pixels")
    whole, split = begun(base), begun(base.changed(text="sea | storm @ left"))
    assert np.array_equal(whole[:, -20:], split[:, -20:]) and np.abs(whole - split)[:, :20].mean() > 5
