"""Does what the sketch pack hears carry over to sounds that our synthesiser did not make?

    python -m benchmarks.real_recordings [PACK]

Plays short pieces on the sampled instruments of a General MIDI sound font (fluidsynth), lets espeak-ng
speak and sox make weather, and asks how windows of 2 s are heard: windows of one recording should agree
more than windows of different ones, and they should not all lead to the same scene. Needs the Debian
packages fluidsynth, fluid-soundfont-gm, espeak-ng and sox. Prints JSON.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metamusic import packs
from metamusic.sketch.evaluate import carry_over
from metamusic.song import load_song

SOUND_FONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
SECONDS = 14.0
GAIN = "1.4"  # about as loud as released music; fluidsynth's own 0.2 leaves room for 64 players
TICKS = 96  # per beat
DRUM_CHANNEL = 9


@dataclass(frozen=True)
class Part:
    """One player: a General MIDI program (1 to 128, 0 for drums) and how it plays."""

    program: int
    octave: int
    step: float  # beats from note to note
    length: float  # beats that a note lasts
    chord: int = 1  # notes at once
    velocity: int = 90


@dataclass(frozen=True)
class Piece:
    """A piece for a few players, in a key and at a tempo."""

    bpm: int
    scale: tuple[int, ...]
    root: int
    parts: tuple[Part, ...]


MAJOR, MINOR, PENTATONIC = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9)
PIECES = {
    "piano ballad": Piece(66, MAJOR, 0, (Part(1, 4, 1, 2, 3, 60), Part(1, 5, 0.5, 1, 1, 70))),
    "string adagio": Piece(50, MINOR, 2, (Part(49, 4, 4, 4, 3, 70), Part(49, 5, 2, 2, 1, 75))),
    "metal riff": Piece(168, MINOR, 4, (Part(31, 2, 0.5, 0.45, 2, 120), Part(0, 3, 0.25, 0.2, 1, 120),
                                        Part(34, 2, 0.5, 0.4, 1, 110))),
    "techno": Piece(132, MINOR, 9, (Part(82, 3, 0.25, 0.2, 1, 100), Part(0, 3, 0.5, 0.2, 1, 120),
                                    Part(39, 2, 0.5, 0.4, 1, 110))),
    "music box": Piece(80, MAJOR, 7, (Part(11, 6, 0.5, 1.5, 1, 80),)),
    "church organ": Piece(60, MAJOR, 5, (Part(20, 3, 4, 4, 4, 100), Part(20, 4, 1, 1, 1, 100))),
    "koto and flute": Piece(76, PENTATONIC, 2, (Part(108, 4, 0.5, 1.5, 1, 90), Part(74, 5, 2, 2, 1, 70))),
    "jazz trio": Piece(120, MAJOR, 10, (Part(5, 4, 1.5, 1, 4, 70), Part(33, 2, 1, 0.9, 1, 95),
                                        Part(0, 3, 1, 0.2, 1, 60))),
    "marimba": Piece(112, PENTATONIC, 5, (Part(13, 4, 0.5, 0.5, 1, 95), Part(13, 5, 0.75, 0.5, 1, 85))),
    "slow choir": Piece(46, MAJOR, 0, (Part(53, 4, 4, 4, 3, 80),)),
    "brass and timpani": Piece(90, MINOR, 0, (Part(62, 3, 1, 0.9, 3, 120), Part(48, 2, 0.5, 0.5, 1, 120))),
    "sweeping synth": Piece(60, MINOR, 7, (Part(96, 4, 4, 4, 3, 90), Part(90, 5, 4, 4, 2, 80))),
}
SPEECH = {
    "calm voice": ("-s", "120", "-p", "30", "The sea was very quiet that night. Nobody spoke for long."),
    "hasty voice": ("-s", "240", "-p", "80", "Run, run, the roof is burning, quick, run to the gate now!"),
}
WEATHER = {
    "wind": ("brownnoise", "tremolo", "0.3", "60", "vol", "0.4"),
    "rain": ("whitenoise", "highpass", "2000", "vol", "0.15"),
    "engine": ("sawtooth", "55", "overdrive", "20", "vol", "0.5"),
}


def main(pack: str = "sketch") -> None:
    """Make the recordings, listen, print."""
    with tempfile.TemporaryDirectory() as folder:
        recordings = {path.stem: load_song(path).waveform for path in record_all(Path(folder))}
    print(json.dumps(carry_over(packs.load(pack).perceptor, recordings), indent=2))


def record_all(folder: Path) -> list[Path]:
    """All recordings as WAV files, in the order of the lists above."""
    paths = []
    for number, (title, piece) in enumerate(PIECES.items()):
        paths.append(folder / f"{title}.wav")
        score = paths[-1].with_suffix(".mid")
        score.write_bytes(midi(piece, np.random.default_rng(number)))
        _run("fluidsynth", "-ni", "-q", "-g", GAIN, "-r", "44100", "-F", paths[-1], SOUND_FONT, score)
    for title, words in SPEECH.items():
        paths.append(folder / f"{title}.wav")
        _run("espeak-ng", "-w", paths[-1], *words[:-1], " ".join([words[-1]] * 3))
    for title, (source, *effects) in WEATHER.items():
        paths.append(folder / f"{title}.wav")
        tone = (effects.pop(0),) if source == "sawtooth" else ()
        _run("sox", "-R", "-n", "-r", "44100", paths[-1], "synth", str(SECONDS), source, *tone, *effects)
    return paths


def midi(piece: Piece, rng: np.random.Generator) -> bytes:
    """A standard MIDI file of format 0: every part wanders over the scale of four chords."""
    beats = SECONDS * piece.bpm / 60
    events: list[tuple[int, bytes]] = [(0, b"\xff\x51\x03" + int(60e6 / piece.bpm).to_bytes(3, "big"))]
    for number, part in enumerate(piece.parts):
        channel = number if part.program else DRUM_CHANNEL
        if part.program:
            events.append((0, bytes([0xC0 | channel, part.program - 1])))
        for beat in np.arange(0, beats, part.step):
            for pitch in _pitches(piece, part, beat, rng):
                velocity = int(np.clip(part.velocity + rng.normal(0, 6), 20, 127))
                first, last = int(beat * TICKS), int((beat + part.length) * TICKS)
                events += [(first, bytes([0x90 | channel, pitch, velocity])),
                           (last, bytes([0x80 | channel, pitch, 0]))]
    track = bytearray()
    now = 0
    for tick, message in sorted(events):
        track += _variable(tick - now) + message
        now = tick
    track += b"\x00\xff\x2f\x00"
    header = b"MThd" + (6).to_bytes(4, "big") + b"\x00\x00\x00\x01" + TICKS.to_bytes(2, "big")
    return header + b"MTrk" + len(track).to_bytes(4, "big") + bytes(track)


def _pitches(piece: Piece, part: Part, beat: float, rng: np.random.Generator) -> list[int]:
    """What a part plays at a beat, as MIDI numbers: kick, snare and hat for the drums."""
    if not part.program:
        return [36 if beat % 2 == 0 else 38 if beat % 2 == 1 else 42]
    degree = (0, 4, 5, 3)[int(beat // 4) % 4] if part.chord > 1 or part.octave < 4 else rng.integers(7)
    tones = [degree + 2 * voice for voice in range(part.chord)]
    size = len(piece.scale)
    return [12 * (part.octave + 1 + tone // size) + piece.root + piece.scale[tone % size] for tone in tones]


def _variable(number: int) -> bytes:
    """A MIDI number of variable length: seven bits a byte, all but the last marked."""
    parts = [number & 0x7F]
    while number := number >> 7:
        parts.append(number & 0x7F | 0x80)
    return bytes(reversed(parts))


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


if __name__ == "__main__":
    main(*sys.argv[1:2])
