"""Songs: every format ffmpeg reads, every way in which a file can be bad; on real files, made on the fly."""

import hashlib
import json
import subprocess
import sys
import tracemalloc
import wave

import numpy as np
import pytest

from metamusic import ffmpeg
from metamusic.errors import SongError
from metamusic.song import SAMPLE_RATE, Analysis, analyse, hash_file, load_song, probe_song

FORMATS = ["wav", "mp3", "flac", "ogg", "opus", "m4a", "mp4", "mkv", "aiff"]
NO_NOTES = ()


def make(path, *arguments):
    """Run ffmpeg to make a file."""
    status, _, log = ffmpeg.run(["-y", *arguments, ffmpeg.spell(path)])
    assert status == 0, log.text
    return path


def write_wav(path, waveform):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(waveform, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def clicks(seconds, bpm, first=0.35):
    """A drum of `bpm` beats per minute over soft noise."""
    rng = np.random.default_rng(0)
    sound = 0.01 * rng.standard_normal(int(seconds * SAMPLE_RATE))
    time = np.arange(int(0.08 * SAMPLE_RATE)) / SAMPLE_RATE
    drum = 0.6 * np.exp(-50 * time) * np.sin(2 * np.pi * 180 * time)
    for beat in np.arange(first, seconds - 0.2, 60 / bpm):
        at = int(beat * SAMPLE_RATE)
        sound[at:at + len(drum)] += drum
    return sound


def cut(source, target, share=0.5):
    data = source.read_bytes()
    target.write_bytes(data[:int(len(data) * share)])
    return target


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Eight seconds of a rising tone in every format; the mp4 and mkv with a picture."""
    folder = tmp_path_factory.mktemp("sounds")
    time = np.arange(8 * SAMPLE_RATE) / SAMPLE_RATE
    write_wav(folder / "song.wav", 0.5 * np.sin(2 * np.pi * (200 + 40 * time) * time))
    for suffix in FORMATS[1:]:
        picture = ["-f", "lavfi", "-i", "testsrc=d=8:s=32x32:r=5"] if suffix in ("mp4", "mkv") else []
        extra = ["-movflags", "+faststart"] if suffix == "m4a" else []
        make(folder / f"song.{suffix}", "-i", str(folder / "song.wav"), *picture, *extra)
    return folder


# -- what is read -----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_decodes_to_the_same_sound(sounds, suffix):
    path = sounds / f"song.{suffix}"
    song, original = load_song(path), load_song(sounds / "song.wav")
    assert (song.start_s, song.title, song.notes) == (0.0, "song", NO_NOTES)
    assert song.duration_s == pytest.approx(8, abs=0.05)
    assert (song.waveform.dtype, song.waveform.ndim) == (np.float32, 1)
    assert song.digest == hashlib.sha256(path.read_bytes()).hexdigest() == hash_file(path)
    length = min(len(song.waveform), len(original.waveform))
    assert np.corrcoef(song.waveform[:length], original.waveform[:length])[0, 1] > 0.98


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_region_is_cut_to_the_sample(sounds, suffix):
    """A jump into a compressed file gives what decoding it from the beginning gives."""
    path = sounds / f"song.{suffix}"
    whole, part = load_song(path).waveform, load_song(path, 3.3, 2.5)
    assert (part.start_s, part.duration_s, part.notes) == (3.3, 2.5, NO_NOTES)
    expected = whole[int(3.3 * SAMPLE_RATE):int(5.8 * SAMPLE_RATE)]
    assert np.abs(part.waveform - expected).max() < 0.01


@pytest.mark.parametrize("suffix", FORMATS)
def test_first_look(sounds, suffix):
    facts = probe_song(sounds / f"song.{suffix}")
    assert facts.duration_s == pytest.approx(8, abs=0.1)
    assert (facts.has_audio, facts.notes) == (True, NO_NOTES)


@pytest.mark.parametrize("name", ["-i.mp3", "with space & 'quotes' \"\".mp3", "Föhn 雨 %d.mp3", "http:x.mp3"])
def test_any_file_name_will_do(sounds, tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes((sounds / "song.mp3").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert load_song(name).duration_s == pytest.approx(8, abs=0.01)
    assert probe_song(name).has_audio


def test_a_cover_picture_is_no_film(sounds, tmp_path):
    cover = make(tmp_path / "cover.png", "-f", "lavfi", "-i", "testsrc=s=32x32", "-frames:v", "1")
    tagged = make(tmp_path / "tagged.mp3", "-i", str(sounds / "song.wav"), "-i", str(cover),
                  "-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v", "attached_pic",
                  "-metadata", "title=Stream #0:7: Video: no")
    assert load_song(tagged).notes == NO_NOTES
    assert load_song(cut(tagged, tmp_path / "half.mp3", 0.6)).notes[0].startswith("The file is cut off")


def test_stereo_becomes_mono_and_other_rates_16_khz(tmp_path):
    path = make(tmp_path / "s.wav", "-f", "lavfi", "-i", "sine=440:d=2:r=48000", "-ac", "2")
    assert len(load_song(path).waveform) == 2 * SAMPLE_RATE


def test_numbers_that_are_none_become_silence(tmp_path):
    samples = np.sin(np.arange(SAMPLE_RATE)).astype("<f4")
    samples[100:200], samples[200] = np.nan, np.inf
    raw = tmp_path / "raw"
    raw.write_bytes(samples.tobytes())
    path = make(tmp_path / "nan.wav", "-f", "f32le", "-ar", "16000", "-i", str(raw), "-c:a", "pcm_f32le")
    assert np.isfinite(load_song(path).waveform).all()
    assert all(np.isfinite(analyse(path).loudness))


def test_title_can_be_given(sounds):
    assert load_song(sounds / "song.wav", title="Für Elise").title == "Für Elise"


# -- what is refused --------------------------------------------------------------------------------


def refused(path, *words, **region):
    """load_song (for the whole song probe_song and analyse, too) refuses, and says why and what to do."""
    for read in [load_song] if region else [load_song, probe_song, analyse]:
        with pytest.raises(SongError) as caught:
            read(path, **region)
        assert all(word in caught.value.message for word in words), caught.value.message
        assert caught.value.cure


def test_missing_file(tmp_path):
    refused(tmp_path / "no.mp3", "no.mp3", "no file")


def test_folder(tmp_path):
    refused(tmp_path, "folder")


def test_empty_file(tmp_path):
    (tmp_path / "e.mp3").touch()
    refused(tmp_path / "e.mp3", "empty")


def test_text_named_mp3(tmp_path):
    (tmp_path / "t.mp3").write_text("Dear diary,\ntoday I renamed a letter.\n" * 50)
    refused(tmp_path / "t.mp3", "not a sound file")


def test_subtitles_have_no_sound(tmp_path):
    (tmp_path / "t.mp3").write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n\n")
    refused(tmp_path / "t.mp3")


def test_mp3_torn_to_pieces(sounds, tmp_path):
    """A beginning that says mp3, then nothing that decodes."""
    torn = tmp_path / "torn.mp3"
    torn.write_bytes((sounds / "song.mp3").read_bytes()[:300])
    refused(torn)
    torn.write_bytes(b"ID3\x04\x00\x00\x00\x00\x00\x00" + np.random.default_rng(0).bytes(5000))
    refused(torn)


def test_film_without_sound(tmp_path):
    refused(make(tmp_path / "mute.mp4", "-f", "lavfi", "-i", "testsrc=d=1:s=32x32:r=5"), "has no sound")


def test_a_playlist_reads_no_other_file(sounds, tmp_path):
    song = sounds / "song.mp3"
    (tmp_path / "list.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:8,\n{song}\n#EXT-X-ENDLIST\n")
    (tmp_path / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile '{song}'\n")
    refused(tmp_path / "list.m3u8", "not a sound file")
    refused(tmp_path / "list.ffconcat", "not a sound file")


def test_less_than_half_a_second(tmp_path):
    path = write_wav(tmp_path / "blip.wav", np.ones(int(0.3 * SAMPLE_RATE)) * 0.1)
    refused(path, "0.30 s", "at least 0.5 s")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("start", [8.7, 30.0])
def test_start_beyond_the_end(sounds, suffix, start):
    """Also in ogg, which ffmpeg would play from its beginning."""
    refused(sounds / f"song.{suffix}", "0:08", "cannot begin at", start=start)


def test_start_just_before_the_end(sounds):
    refused(sounds / "song.flac", "0.20 s", "left after 0:07.8", start=7.8)


def test_region_too_short(sounds):
    refused(sounds / "song.flac", "0.2 s", start=1, duration=0.2)


# -- what is accepted with a note -------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["wav", "mp3", "flac", "ogg", "opus", "m4a", "aiff"])
def test_a_file_cut_off_in_the_middle_is_used_as_far_as_it_goes(sounds, tmp_path, suffix):
    path = cut(sounds / f"song.{suffix}", tmp_path / f"cut.{suffix}")
    song = load_song(path)
    assert 0.9 < song.duration_s < 7
    for notes in (song.notes, probe_song(path).notes):
        assert len(notes) == 1
        assert "cut off" in notes[0] or "damaged" in notes[0]
    assert analyse(path).duration_s == pytest.approx(song.duration_s, abs=1e-3)


def test_a_file_hurt_in_the_middle_is_used_around_it(sounds, tmp_path):
    data = bytearray((sounds / "song.mp3").read_bytes())
    middle = len(data) // 2
    data[middle:middle + 4000] = np.random.default_rng(0).bytes(4000)
    (tmp_path / "hurt.mp3").write_bytes(data)
    song = load_song(tmp_path / "hurt.mp3")
    assert song.duration_s > 6
    assert song.notes == (
        "The file is cut off or damaged: it should last 0:08, but only 0:06.7 can be decoded; that is used.",)


def test_a_region_before_the_cut_is_whole(sounds, tmp_path):
    song = load_song(cut(sounds / "song.mp3", tmp_path / "cut.mp3"), 0.5, 2)
    assert (song.duration_s, song.notes) == (2.0, NO_NOTES)


def test_region_longer_than_the_song(sounds):
    song = load_song(sounds / "song.flac", 5, 10)
    assert song.duration_s == pytest.approx(3)
    assert song.notes == ("The song ends at 0:08: 3.0 s are used instead of the 10 s asked for.",)


def test_silence_is_told(tmp_path):
    path = write_wav(tmp_path / "silence.wav", np.zeros(3 * SAMPLE_RATE))
    assert "silent" in load_song(path).notes[0]
    assert analyse(path) == Analysis(3.0, 0.0, (), (0.0,) * 30, analyse(path).peaks, True)


# -- the analysis -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("bpm", "seconds"), [(120, 12), (90, 30), (140, 45)])
def test_beats_are_found_where_they_are(tmp_path, bpm, seconds):
    analysis = analyse(write_wav(tmp_path / "drum.wav", clicks(seconds, bpm)))
    assert analysis.tempo == pytest.approx(bpm, rel=0.03)
    assert len(analysis.beats) == pytest.approx((seconds - 0.55) * bpm / 60, abs=3)
    off = (np.array(analysis.beats) - 0.35) * bpm / 60
    assert np.abs(off - off.round()).mean() * 60 / bpm < 0.05  # seconds beside the next drum


def test_a_long_mix_may_change_its_tempo(tmp_path):
    """Beyond twenty minutes each ten have a tempo of their own (here on the onset curve, to save time)."""
    from metamusic.song import ONSETS_PER_S, _find_beats

    onsets = np.zeros(1260 * ONSETS_PER_S, np.float32)
    onsets[:600 * ONSETS_PER_S:25] = 1   # 120
    onsets[600 * ONSETS_PER_S::20] = 1   # 150
    _, beats = _find_beats(onsets)
    steps = np.diff(beats)
    assert np.median(steps[:1000]) == pytest.approx(0.5)
    assert np.median(steps[-1000:]) == pytest.approx(0.4)


@pytest.mark.parametrize("sound", [
    np.sin(np.arange(4 * SAMPLE_RATE) / 20) * 0.3, np.full(4 * SAMPLE_RATE, 0.3), clicks(0.6, 120),
    clicks(1.9, 120), np.eye(1, 4 * SAMPLE_RATE, 9000)[0],
], ids=["tone", "constant", "half a second", "two seconds", "one crack"])
def test_music_without_a_beat_has_none(tmp_path, sound):
    """No beat, no crash, no warning (warnings are errors here)."""
    analysis = analyse(write_wav(tmp_path / "x.wav", sound))
    assert (analysis.tempo, analysis.beats, analysis.silent) == (0.0, (), False)


def test_curves(tmp_path):
    loud, soft = np.full(2 * SAMPLE_RATE, 0.5), np.full(int(1.55 * SAMPLE_RATE), 0.1)
    analysis = analyse(write_wav(tmp_path / "steps.wav", np.concatenate([loud, soft])))
    assert analysis.loudness == pytest.approx((0.5,) * 20 + (0.1,) * 16, abs=1e-3)
    assert len(analysis.peaks) == 1200
    assert analysis.peaks[:670] == pytest.approx((0.5,) * 670, abs=2e-3)
    assert analysis.peaks[-500:] == pytest.approx((0.1,) * 500, abs=2e-3)


def test_analysis_survives_json(tmp_path):
    analysis = analyse(write_wav(tmp_path / "drum.wav", clicks(5, 120)))
    assert analysis.beats
    assert Analysis.from_json(analysis.to_json()) == analysis
    assert Analysis.from_dict(json.loads(json.dumps(analysis.to_dict()))) == analysis
    with pytest.raises(SongError, match="Analyse the song again"):
        Analysis.from_dict({"tempo": 1.0})


def test_beats_of_a_region():
    analysis = Analysis(10.0, 60.0, (1.0, 2.0, 3.0, 4.0), (), (), False)
    assert analysis.beats_in(2.0, 2.0) == (0.0, 1.0)


# -- length -----------------------------------------------------------------------------------------


def test_three_hours(tmp_path):
    """The region alone is decoded; the first look does not decode at all."""
    raw = tmp_path / "minute.mp3"
    make(raw, "-f", "lavfi", "-i", "sine=440:d=60:r=8000", "-b:a", "8k",
         "-write_xing", "0", "-id3v2_version", "0")
    path = tmp_path / "three hours.mp3"
    path.write_bytes(raw.read_bytes() * 180)
    tracemalloc.start()
    song = load_song(path, 2.9 * 3600, 10)
    facts = probe_song(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (song.duration_s, len(song.waveform)) == (10.0, 10 * SAMPLE_RATE)
    assert facts.duration_s == pytest.approx(3 * 3600, abs=60)  # 180 pieces, each of whole mp3 frames
    assert peak < 20e6


@pytest.mark.slow
def test_three_hours_are_analysed_in_little_memory(tmp_path):
    minute = write_wav(tmp_path / "minute.wav", clicks(60, 120, first=0.0))
    path = make(tmp_path / "long.flac", "-stream_loop", "179", "-i", str(minute))
    tracemalloc.start()
    analysis = analyse(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert analysis.duration_s == pytest.approx(3 * 3600)
    assert len(analysis.beats) == pytest.approx(3 * 7200, rel=0.02)
    assert peak < 250e6


def test_reading_songs_needs_no_torch():
    code = ("import sys; import metamusic.song, metamusic.segments, metamusic.video, metamusic.metadata;"
            "assert not {'torch', 'librosa', 'streamlit'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True)
