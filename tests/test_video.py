"""Films: chunks join without a lost frame, the sound keeps step, equal frames give equal bytes."""

import os
import signal
import stat
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamusic import ffmpeg
from metamusic.errors import DiskFullError, EncodingError, SettingsError
from metamusic.segments import frame_count
from metamusic.song import load_song
from metamusic.video import (
    ChunkEncoder,
    check_in_step,
    decode_frames,
    first_frame,
    join_chunks,
    probe_video,
    read_comment,
    read_frame,
)

WIDTH, HEIGHT = 48, 32
RATE = 44100


def painted(count, first=0):
    """Frames that differ plainly from each other: a gradient that wanders."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for n in range(first, first + count):
        red, green, blue = x * 4 + n * 7, y * 5 + n * 3, x + y + n * 11
        yield (np.stack([red, green, blue], -1) % 256).astype(np.uint8)


def encode(path, frames, fps=12, crf=17):
    with ChunkEncoder(path, WIDTH, HEIGHT, fps, crf) as encoder:
        for pixels in frames:
            encoder.write(pixels)
    return path


def film(folder, sizes, fps, song, start=0.0, name="film.mp4", metadata="{}"):
    """Chunks of the given numbers of frames, joined; (film, chunks)."""
    firsts = np.cumsum([0, *sizes])
    chunks = [encode(folder / f"{index:04}.mp4", painted(size, first), fps)
              for index, (first, size) in enumerate(zip(firsts, sizes, strict=False))]
    join_chunks(chunks, song, start, sum(sizes) / fps, folder / name, metadata)
    return folder / name, chunks


def shown_at(path):
    """The seconds at which each frame is shown."""
    _, output, _ = ffmpeg.run([*ffmpeg.source(path), "-map", "0:v", "-fps_mode", "passthrough",
                               "-f", "framecrc", "pipe:1"])
    lines = output.decode().splitlines()
    up, down = next(line for line in lines if line.startswith("#tb 0")).split(": ")[1].split("/")
    return [int(line.split(",")[2]) * int(up) / int(down) for line in lines if not line.startswith("#")]


@pytest.fixture(scope="session")
def song(tmp_path_factory):
    """Ten seconds in which a click sounds at each whole second, the n-th as loud as n / 20."""
    sound = np.zeros(10 * RATE)
    for second in range(1, 10):
        sound[second * RATE:second * RATE + 200] = second / 20
    path = tmp_path_factory.mktemp("song") / "clicks.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((sound * 32767).astype("<i2").tobytes())
    return path


# -- chunks -----------------------------------------------------------------------------------------


def test_equal_frames_give_equal_bytes(tmp_path):
    one, two = (encode(tmp_path / name, painted(30)).read_bytes() for name in ("1.mp4", "2.mp4"))
    assert one == two


def test_a_chunk_holds_its_frames(tmp_path):
    path = encode(tmp_path / "c.mp4", painted(25), crf=0)
    facts = probe_video(path)
    assert (facts.width, facts.height, facts.fps, facts.frames) == (WIDTH, HEIGHT, 12, 25)
    assert (facts.video_s, facts.has_audio, facts.audio_s) == (pytest.approx(25 / 12), False, 0.0)


def test_colours_come_back(tmp_path):
    """Plain colours: what compression does to edges is not at issue."""
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 120, 40)]
    path = encode(tmp_path / "c.mp4", [np.full((HEIGHT, WIDTH, 3), c, np.uint8) for c in colours], crf=5)
    for colour, pixels in zip(colours, decode_frames(path), strict=True):
        assert np.abs(pixels.astype(int) - colour).max() <= 4


def test_nothing_is_there_before_the_end(tmp_path):
    path = tmp_path / "c.mp4"
    encoder = ChunkEncoder(path, WIDTH, HEIGHT, 12, 17)
    encoder.write(next(painted(1)))
    assert not path.exists()
    encoder.close()
    encoder.close()
    assert [p.name for p in tmp_path.iterdir()] == ["c.mp4"]
    with pytest.raises(ValueError, match="closed"):
        encoder.write(next(painted(1)))


def test_an_aborted_chunk_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), ChunkEncoder(tmp_path / "c.mp4", WIDTH, HEIGHT, 12, 17) as encoder:
        encoder.write(next(painted(1)))
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_chunk_without_frames_is_refused(tmp_path):
    with pytest.raises(EncodingError, match="without a frame"):
        encode(tmp_path / "c.mp4", [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [(47, 32), (48, 31), (0, 32)])
def test_odd_sizes_are_refused(tmp_path, size):
    with pytest.raises(SettingsError, match="even"):
        ChunkEncoder(tmp_path / "c.mp4", *size, 12, 17)


@pytest.mark.parametrize("bad", [np.zeros((32, 32, 3), np.uint8), np.zeros((HEIGHT, WIDTH, 3), np.float32)])
def test_a_frame_of_another_kind_is_a_bug(tmp_path, bad):
    with pytest.raises(ValueError, match="uint8"):
        encode(tmp_path / "c.mp4", [bad])


def test_frames_need_not_be_contiguous(tmp_path):
    turned = [np.ascontiguousarray(p.transpose(1, 0, 2)).transpose(1, 0, 2) for p in painted(3)]
    one, two = encode(tmp_path / "a.mp4", turned), encode(tmp_path / "b.mp4", painted(3))
    assert one.read_bytes() == two.read_bytes()


def test_an_encoder_that_dies_is_reported(tmp_path):
    encoder = ChunkEncoder(tmp_path / "c.mp4", WIDTH, HEIGHT, 12, 17)
    os.kill(encoder._process._process.pid, signal.SIGKILL)
    with pytest.raises(EncodingError, match="could not be encoded"):
        for pixels in painted(500):
            encoder.write(pixels)
        encoder.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("says", "error"), [
    ("[out#0/mp4 @ 0x1] [error] Error writing trailer: No space left on device", DiskFullError),
    ("[libx264 @ 0x1] [error] something else", EncodingError)])
def test_ffmpegs_last_word_reaches_the_user(tmp_path, monkeypatch, song, says, error):
    chunk = encode(tmp_path / "c.mp4", painted(2))
    fake = tmp_path / "ffmpeg"
    fake.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit 1\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(ffmpeg, "executable", lambda: str(fake))
    with pytest.raises(error, match="disk is full|something else"):
        encode(tmp_path / "d.mp4", painted(2))
    with pytest.raises(error, match="disk is full|something else"):
        join_chunks([chunk], song, 0, 1, tmp_path / "out.mp4", "")
    assert {p.name for p in tmp_path.iterdir()} == {"c.mp4", "ffmpeg"}


# -- the whole film ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", [1, 12, 24, 60])
@pytest.mark.parametrize("seconds", [2.0, 7.3])
def test_length_at_every_rate(tmp_path, song, fps, seconds):
    frames = frame_count(seconds, fps)
    chunk = 2 * fps
    sizes = [chunk] * (frames // chunk) + [frames % chunk] * (frames % chunk > 0)
    path, chunks = film(tmp_path, sizes, fps, song)
    facts = check_in_step(path, fps)
    assert (facts.frames, facts.fps) == (frames, fps)
    assert facts.video_s == pytest.approx(frames / fps, abs=1e-9)
    assert abs(facts.audio_s - facts.video_s) <= 1024 / 48000 / 2 + 1e-6 < 1 / fps
    assert shown_at(path) == pytest.approx([n / fps for n in range(frames)], abs=1e-6)


def test_joints_lose_nothing(tmp_path, song):
    """The pixels of the film are those of its chunks; chunks of one frame are no exception."""
    path, chunks = film(tmp_path, [24, 1, 24, 3, 2, 1], 12, song)
    joined, apart = list(decode_frames(path)), [p for chunk in chunks for p in decode_frames(chunk)]
    assert len(joined) == len(apart) == 55
    assert all(np.array_equal(a, b) for a, b in zip(joined, apart, strict=True))
    assert shown_at(path) == pytest.approx([n / 12 for n in range(55)], abs=1e-6)
    error = [np.abs(a.astype(int) - b).mean() for a, b in zip(joined, painted(55), strict=True)]
    assert max(error) < 8  # and it is these frames, in this order (others differ by more than 60)


@settings(max_examples=6, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4), fps=st.sampled_from([1, 10, 25, 60]))
def test_any_division_into_chunks_keeps_step(tmp_path_factory, song, sizes, fps):
    path, _ = film(tmp_path_factory.mktemp("film"), sizes, fps, song)
    assert check_in_step(path, fps).frames == sum(sizes)
    assert shown_at(path) == pytest.approx([n / fps for n in range(sum(sizes))], abs=1e-6)


@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg", "m4a"])
@pytest.mark.parametrize("start", [0.0, 0.4, 3.3])
def test_the_sound_is_the_songs_from_just_there(tmp_path, song, suffix, start):
    original = tmp_path / f"song.{suffix}"
    assert ffmpeg.run(["-y", *ffmpeg.source(song), ffmpeg.spell(original)])[0] == 0
    path, _ = film(tmp_path, [24, 22], 12, original, start)
    heard = load_song(path).waveform
    clicks = np.flatnonzero(np.abs(heard) > 0.6 * np.abs(heard).max()) / 16000
    expected = [second - start for second in range(1, 10) if 0 < second - start < 3.8]
    assert abs(clicks[-1] - expected[-1]) < 0.01


def test_a_song_that_ends_early_is_followed_by_silence(tmp_path, song):
    path, _ = film(tmp_path, [24, 24], 12, song, 8.0)
    facts = check_in_step(path, 12)
    assert facts.audio_s == pytest.approx(4, abs=0.011)
    assert np.abs(load_song(path, 2.5).waveform).max() < 1e-3


def test_the_file_is_as_players_want_it(tmp_path, song):
    path, _ = film(tmp_path, [24, 5], 12, song)
    _, _, log = ffmpeg.run(ffmpeg.source(path))
    assert "h264 (High)" in log.text
    assert "yuv420p(tv, bt709, progressive), 48x32" in log.text
    assert "aac (LC)" in log.text
    assert "48000 Hz, stereo" in log.text
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")  # it plays while it loads
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0000.mp4", "0001.mp4", "film.mp4"]


def test_any_file_name_will_do(tmp_path, song, monkeypatch):
    folder = tmp_path / "it's a \"föhn\" 雨 & co"
    folder.mkdir()
    monkeypatch.chdir(folder)
    mine = folder / "-song 'x'.wav"
    mine.write_bytes(song.read_bytes())
    names = ["-c 1's.mp4", "file:2 %d.mp4"]
    for name in names:
        encode(name, painted(6))
    join_chunks(names, mine.name, 0, 1.0, "-out 'it'.mp4", "")
    assert check_in_step("-out 'it'.mp4", 12).frames == 12


@pytest.mark.parametrize("comment", [
    "plain", '{"text": "Föhn 雨 🎵 = ; # \\\\ \\" \' \\n", "n": 1}', "two\nlines=3\n;four", "x" * 4096])
def test_the_comment_comes_back(tmp_path, song, comment):
    path, _ = film(tmp_path, [2], 12, song, metadata=comment)
    assert read_comment(path) == comment == probe_video(path).comment


def test_the_songs_own_tags_stay_out(tmp_path, song):
    tagged = tmp_path / "t.mp3"
    assert ffmpeg.run([*ffmpeg.source(song), "-metadata", "title=Secret", ffmpeg.spell(tagged)])[0] == 0
    path, _ = film(tmp_path, [2], 12, tagged, metadata="ours")
    assert b"Secret" not in path.read_bytes()


def test_joining_again_gives_the_same_bytes(tmp_path, song):
    path, chunks = film(tmp_path, [6, 6], 12, song)
    join_chunks(chunks, song, 0.0, 1.0, tmp_path / "again.mp4", "{}")
    assert path.read_bytes() == (tmp_path / "again.mp4").read_bytes()


@pytest.mark.parametrize("broken", ["song", "chunk", "nothing"])
def test_what_cannot_be_joined_leaves_nothing(tmp_path, song, broken):
    chunk = encode(tmp_path / "c.mp4", painted(2))
    if broken == "chunk":
        chunk.write_bytes(chunk.read_bytes()[:200])
    sound = tmp_path / "no.mp3" if broken == "song" else song
    with pytest.raises(EncodingError):
        join_chunks([] if broken == "nothing" else [chunk], sound, 0, 1, tmp_path / "out.mp4", "")
    assert [p.name for p in tmp_path.iterdir()] == ["c.mp4"]


# -- looking ----------------------------------------------------------------------------------------


def film_with(tmp_path, *sound):
    path = tmp_path / "made.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc=d=2:s=32x32:r=10"]
    status, _, log = ffmpeg.run(["-y", *picture, *sound, ffmpeg.spell(path)])
    assert status == 0, log.text
    return path


def test_sound_out_of_step_is_refused(tmp_path):
    short = ["-f", "lavfi", "-i", "sine=440:d=1.8"]
    with pytest.raises(EncodingError, match=r"not in step: 2\.000 s of picture, 1\.8"):
        check_in_step(film_with(tmp_path, *short), 10)
    late = ["-itsoffset", "0.4", "-f", "lavfi", "-i", "sine=440:d=2"]
    with pytest.raises(EncodingError, match=r"begins 0\.3"):
        check_in_step(film_with(tmp_path, *late), 10)
    assert check_in_step(film_with(tmp_path, "-f", "lavfi", "-i", "sine=440:d=2"), 10).has_audio
    with pytest.raises(EncodingError, match="no sound"):
        check_in_step(film_with(tmp_path), 10)


def test_what_is_no_film_is_refused(tmp_path, song):
    (tmp_path / "t.mp4").write_text("no film")
    for path in (tmp_path / "t.mp4", tmp_path / "missing.mp4", song):
        with pytest.raises(EncodingError):
            probe_video(path)
        with pytest.raises(EncodingError):
            next(decode_frames(path))
        with pytest.raises(EncodingError):
            first_frame(path)
    assert read_comment(tmp_path / "t.mp4") is None


def test_single_frames(tmp_path, song):
    path, _ = film(tmp_path, [24, 24], 12, song)
    frames = list(decode_frames(path))
    assert np.array_equal(first_frame(path), frames[0])
    for n in (1, 7, 23, 24, 47):
        assert np.array_equal(read_frame(path, n / 12), frames[n])
    assert np.array_equal(read_frame(path, 6.5 / 12), frames[7])  # the first at or after
    with pytest.raises(EncodingError, match="no frame at 9 s"):
        read_frame(path, 9)


def test_reading_may_stop_half_way(tmp_path):
    """The decoder ends with its reader; frames may be painted on."""
    frames = decode_frames(encode(tmp_path / "c.mp4", painted(200)))
    pixels = next(frames)
    pixels[:] = 0
    frames.close()
