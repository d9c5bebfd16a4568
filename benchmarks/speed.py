"""How long a user waits, with default settings and warm models, on this machine.

    python benchmarks/speed.py            one JSON object per line

Measures a default picture, the time to its first preview, and a default 8-second film. Run it when
nothing else computes.
"""

import json
import tempfile
import time
from pathlib import Path

import metamusic
from metamusic.events import Event, Frame, Preview
from metamusic.sketch.demo import write_demo


class Clock:
    """Notes when the first preview and the first frame came."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.first_preview = 0.0
        self.frames = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Preview) and not self.first_preview:
            self.first_preview = time.perf_counter() - self.start
        self.frames += isinstance(event, Frame)


def main() -> None:
    """Warm up once, then measure picture and film."""
    with tempfile.TemporaryDirectory() as folder:
        song = Path(folder) / "demo.wav"
        write_demo(song)
        metamusic.generate_image(song, Path(folder) / "warm.png", keep=False, seed=0, steps=2)
        measure("picture", metamusic.generate_image, song, Path(folder) / "a.png", seed=1)
        measure("film of 8 s", metamusic.generate_video, song, Path(folder) / "a.mp4", seed=1, duration=8.0)


def measure(what, generate, song: Path, output: Path, **settings) -> None:
    """Render once and print the figures."""
    clock = Clock()
    generate(song, output, keep=False, on_event=clock, **settings)
    print(json.dumps({"what": what, "seconds": round(time.perf_counter() - clock.start, 1),
                      "first_preview_s": round(clock.first_preview, 1), "frames": clock.frames}), flush=True)


if __name__ == "__main__":
    main()
